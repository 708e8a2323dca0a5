/* The definition of a collection that was made over HTTP in a cluster: what nodes agree on, what each keeps
 * beside its configuration, and what a node does about a difference of the two.
 *
 *     {"cluster": "prod", "created": 1700000000000, "revision": 1700000060000,
 *      "settings": {"topics": ["news"], "dim": 4, "metric": "cosine", "ttl": "1h"}}
 *
 * `revision` is the wall clock of who wrote it, in milliseconds, but always above the one it follows. It
 * does not begin anew when NATS loses its disk, as the numbers of the bucket do. `created` is the revision
 * at which the collection was made: another one is another collection of the same name, whose data has
 * nothing to do with that of the former. Without `settings` the collection is deleted; "deleted" then says where its
 * topic ended (deletion.h), as far as that is known.
 *
 * A node keeps the same text as a comment in DATA_DIR/conf.d/NAME.yaml, above the settings as YAML. */
#ifndef WINDROW_DEFINITION_H
#define WINDROW_DEFINITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/doc.h"

struct definition {
    uint64_t created, revision; /* 0: there is no definition */
    const struct doc *settings; /* a map: keys of collections.NAME in windrow.yaml; NULL: deleted */
    const struct doc
        *ends; /* of a deleted one: where its topic ended (deletion.h); NULL: unknown */
};

/** Reads an entry. Its settings point into the arena and the text. ERROR_INVALID: it is none, or of
 * another cluster than `cluster`. */
int definition_parse(const char *text, size_t size_bytes, const char *cluster, struct arena *arena,
                     struct definition *definition, struct error *error);
void definition_write(const struct definition *definition, const char *cluster,
                      struct buffer *text);

/** What follows `former` (which may be absent or deleted) at the time `now_ms`: a new collection of these
 * settings. */
struct definition definition_create(const struct definition *former, const struct doc *settings,
                                    int64_t now_ms);
/** The same collection with these settings. NULL: without the collection; `ends` is the caller's to set. */
struct definition definition_follow(const struct definition *former, const struct doc *settings,
                                    int64_t now_ms);
/** `settings` with other values, in the arena. */
struct doc definition_with(const struct doc *settings, const struct doc *changes,
                           struct arena *arena);

/** The topic of such settings, in the arena; NULL: there is none. */
const char *definition_topic(const struct doc *settings, struct arena *arena);
/** ERROR_INVALID: it does not say where a topic ended, as deletion.h has it. */
int definition_check_ends(const struct doc *ends, struct error *error);
/** `settings` of a collection that begins where its topic ended when the former one of its name was deleted, in the
 * arena. They stay as they are when it reads another topic; `ends` NULL or null: there was none. */
struct doc definition_begin(const struct doc *settings, const struct doc *ends,
                            struct arena *arena);

/** The start of the first line of each file that is written over HTTP. */
#define DEFINITION_MARK "# Made over HTTP"

/** Appends the text of conf.d/NAME.yaml. `cluster` NULL: the process is alone. A key that is given twice
 * is an error of the file, as everywhere. */
void definition_write_file(const char *name, const struct definition *definition,
                           const char *cluster, struct buffer *text);
/** What such a file says. ERROR_INVALID: it is not one of this cluster. */
int definition_read_file(const char *text, size_t size_bytes, const char *cluster,
                         struct arena *arena, struct definition *definition, struct error *error);

/* What a node has under a name. */
enum definition_local {
    DEFINITION_NONE,
    DEFINITION_OWN,    /* the operator's: a file that no node of the cluster wrote defines it */
    DEFINITION_SHARED, /* as a file of the cluster says, and it is served */
    DEFINITION_HALF    /* the file of the cluster is there, and it is not served */
};

enum definition_action {
    DEFINITION_KEEP,
    DEFINITION_MAKE,
    DEFINITION_CHANGE,  /* its settings */
    DEFINITION_REPLACE, /* drop, then make: it is another collection */
    DEFINITION_DROP,
    DEFINITION_PUBLISH, /* the cluster lost it: tell it what is here */
    DEFINITION_OPPOSE   /* the operator's file wins, and the log says so */
};

/** What a node does that has `mine` (of DEFINITION_SHARED and _HALF) when the cluster has `agreed`. The newest
 * revision wins; nodes that know the same two come to the same end, whoever is asked first. */
enum definition_action definition_decide(enum definition_local local, const struct definition *mine,
                                         const struct definition *agreed);

#endif
