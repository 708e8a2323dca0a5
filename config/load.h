/* From the text of a file to a config: what the steps share. Private to config/.
 *
 *     tree.c        text -> tree with places
 *     load.c        walks the tree along the property table, defaults first
 *     values.c      one node -> one field
 *     secrets.c     files and environment
 *     kafka_properties.c   what librdkafka would refuse
 *     checks.c      combinations of values */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "base/arena.h"
#include "config/config.h"
#include "config/properties.h"
#include "config/report.h"
#include "config/tree.h"

/* Where a value came from: line 0 is the default, this line the environment. */
enum { LOADED_FROM_ENVIRONMENT = UINT32_MAX };

/* A config and the origin of each value. */
struct loaded_config {
    struct config config; /* first: a struct config * is a struct loaded_config * */
    struct arena arena;   /* every string, array and mark */
    const char *api_key_path, *read_only_key_path, *internal_key_path;
    bool api_key_from_environment;
    struct report_mark *marks;             /* one per property: of the global ones */
    struct report_mark *pair_marks;        /* one per kafka.properties */
    struct report_mark **collection_marks; /* per collection: one per property */
    struct report_mark *collection_name_marks;
    struct loaded_config *adopted; /* more of them, whose collections are also in this one */
};

/* A file that was read. */
struct loaded_source {
    const char *path; /* only a name in messages */
    const char *text;
    size_t size_bytes;
};

/** As config_load, from memory. The first source is the file itself, others bring collections only.
 * Secrets in files are read. */
int loaded_config_parse_all(const struct loaded_source *sources, size_t count,
                            struct loaded_config **loaded, struct buffer *report);
/** The same for one. */
int loaded_config_parse(const char *path, const char *text, size_t size_bytes,
                        struct loaded_config **loaded, struct buffer *report);
/** `data_dir` as the file says it, or the environment, whatever else is wrong; NULL: it has none. To be freed. */
char *loaded_config_data_dir(const struct loaded_source *source);

/** Reads `node` into the field of `base` (a struct loaded_config or a struct config_collection) or
 * reports why not, in which case the field stays as it is. `path` names the value in messages. */
bool value_set(struct loaded_config *loaded, const struct property *property,
               const struct tree_node *node, const char *path, void *base, struct report *report);

/** The text of a file of keys as it is kept (config_key_next); NULL is reported. `name` is what the file is
 * for. */
const char *keys_parse(struct loaded_config *loaded, const char *name, const char *text,
                       struct report_mark mark, struct report *report);
/** What `begin_identity` of the collection is. */
uint64_t begin_identity(const struct config_collection *collection);
/** Around reads of a running config's client_settings, which may be replaced at any time. */
void client_settings_hold(void);
void client_settings_release(void);
/** NULL equals NULL. */
bool config_same_text(const char *a, const char *b);

/** Whether not every user may read the file of a secret; else that is reported. */
bool secret_is_private(const char *name, const char *path, struct report_mark mark,
                       struct report *report);
/** Reads the files of API keys and `file:` values of kafka.properties, then lets WINDROW_HTTP_API_KEY
 * and WINDROW_KAFKA_<PROPERTY> override. */
void secrets_read(struct loaded_config *loaded, struct report *report);

/** Tries kafka.properties, secrets included, on librdkafka. */
void kafka_properties_check(const struct loaded_config *loaded, struct report *report);

/** Checks of one collection whose values were all valid by themselves. */
void check_collection(const struct loaded_config *loaded, size_t index, struct report *report);
/** Checks of everything else. */
void check_config(const struct loaded_config *loaded, struct report *report);

#endif
