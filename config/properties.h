/* The property table: one row says everything about one value of windrow.yaml. Parsing, bounds,
 * defaults, --print, reload and docs/configuration.md are all driven by it. Private to config/. */
#ifndef CONFIG_PROPERTIES_H
#define CONFIG_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum property_type {
    PROPERTY_TEXT,      /* const char * */
    PROPERTY_INTEGER,   /* uint32_t */
    PROPERTY_ROWS,      /* uint64_t, a plain count */
    PROPERTY_NUMBER,    /* double */
    PROPERTY_DURATION,  /* int64_t, milliseconds */
    PROPERTY_SIZE,      /* uint64_t, bytes */
    PROPERTY_CHOICE,    /* an enum */
    PROPERTY_TEXT_LIST, /* const char **, with a count */
    PROPERTY_ROLES,     /* unsigned, CONFIG_ROLE_* */
    PROPERTY_LISTEN,    /* const char * host, with a uint16_t port */
    PROPERTY_PAIRS,     /* const struct config_pair *, with a count */
    PROPERTY_VECTORS    /* const struct config_vector *, with a count */
};

enum property_flag {
    PROPERTY_NULLABLE = 1 << 0,   /* `~` is a value: NULL or 0 */
    PROPERTY_AUTO = 1 << 1,       /* `auto` is a value: 0 */
    PROPERTY_RELOADABLE = 1 << 2, /* taken over by a running service on SIGHUP */
    PROPERTY_URL_SECRET = 1 << 3  /* user:password@ of a URL is not printed */
};

struct property_choice {
    const char *name;
    int value;
    bool refused; /* the feature does not exist yet */
};

/* What is wrong with a text, and what to write instead. */
struct property_complaint {
    char text[200];
    char hint[200];
};

struct property {
    const char *path; /* "collections.*.window" */
    enum property_type type;
    unsigned flags;
    size_t offset;       /* into struct config, or struct config_collection under collections.* */
    size_t extra_offset; /* of the count or the port */
    double minimum, maximum; /* of numbers, durations (ms) and sizes; 0, 0: any */
    const char *default_yaml;
    const char *default_words; /* for the documentation, when the default is computed */
    const struct property_choice *choices;
    size_t choice_count;
    bool (*check)(const char *text, struct property_complaint *complaint);
    const char *refused; /* NULL, or what to do instead: the feature does not exist yet, and only
                            the default is accepted */
    const char *documentation;
};

extern const struct property properties[];
extern const size_t property_count;

/** By full path with "*" for a collection's name, or NULL. */
const struct property *property_find(const char *path);
/** Whether some property lies below `path`. */
bool property_is_section(const char *path);
/** Whether it belongs to a collection. */
bool property_is_collection(const struct property *property);
/** Whether a librdkafka setting of this name is not to be shown: it holds a password, a token, a
 * key or the like. */
bool property_name_is_secret(const char *name);
/** Why `kafka.properties` may not set this name, or NULL. */
const char *property_kafka_reserved(const char *name);

/** Whether `text` may name a collection. */
bool check_collection_name(const char *text, struct property_complaint *complaint);
/** HOST:PORT or [HOST]:PORT. Fills host (at most `host_bytes`) and port. */
bool split_address(const char *text, char *host, size_t host_bytes, uint32_t *port);

/** "a duration", "a size", ... */
const char *property_type_name(const struct property *property);

/** The name of a PROPERTY_CHOICE's value, or NULL. */
const char *property_choice_name(const struct property *property, int value);

/** Writes the value in `base` as one line: JSON, or YAML that reads back to the same value. Secrets
 * become (hidden) unless `reveal`. */
void property_write(const struct property *property, const void *base, bool json, bool reveal,
                    struct buffer *out);
void property_write_text(const char *text, bool json, struct buffer *out);

#endif
