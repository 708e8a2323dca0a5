/* definitions: what the nodes of a cluster agreed on, one entry for each name of a collection that was
 * made over HTTP.
 *
 * The truth is one key-value bucket of NATS JetStream, PREFIX_CLUSTER_collections. NATS replicates it
 * (`nats.replicas`), numbers its revisions and refuses a write that follows another revision than the
 * last one: of two nodes that change an entry at the same time one wins, and the other one hears of it.
 * Nothing of windrow votes, and no node is asked by another one. Announcements of nodes could not say
 * who was first, and Kafka has no conditional write.
 *
 * A deleted collection keeps its entry, which says so. A node that was down meanwhile reads it when it
 * comes back, and deletes its own copy.
 *
 * Each entry carries a revision of its own, too (windrow/daemon/definition.h), and each node keeps the
 * entry beside its configuration. NATS may lose its disk: nodes then put back what is missing, and the
 * newest revision wins. */
#ifndef CLUSTER_DEFINITIONS_H
#define CLUSTER_DEFINITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "config/config.h"

struct definitions;

enum { DEFINITIONS_NAME_MAX = 100 };
/** Whether a collection may have this name: 1 to 100 letters, digits, - and _. Names come from NATS. */
bool definitions_name_is_valid(const char *name);

/** Connects in the background; a server that does not answer is retried for ever. */
int definitions_open(const struct config *config, struct definitions **definitions,
                     struct error *error);
/** Nobody may be in its functions any more. NULL is allowed. */
void definitions_close(struct definitions *definitions);

/** Appends the entry of `name` to `text`; `number` is for definitions_put. An entry that does not exist
 * is no failure: no text, and 0. ERROR_UNAVAILABLE: NATS does not answer. Any thread. */
int definitions_get(struct definitions *definitions, const char *name, struct buffer *text,
                    uint64_t *number, struct error *error);
/** Writes the entry, if it is still the one of `number`. ERROR_EXISTS: somebody else was faster.
 * ERROR_UNAVAILABLE: NATS did not confirm it. Any thread. */
int definitions_put(struct definitions *definitions, const char *name, const struct buffer *text,
                    uint64_t number, struct error *error);

enum definitions_event {
    DEFINITIONS_NOTHING, /* in this time */
    DEFINITIONS_AWAY,    /* NATS does not answer: the caller waits before it asks again */
    DEFINITIONS_BEGIN,   /* all entries follow: at first, after NATS was away, and now and then */
    DEFINITIONS_ENTRY,   /* `name` and `text` are filled */
    DEFINITIONS_ALL      /* of the entries that there are each was told since BEGIN */
};
/** Waits for what happens next, for about `wait_ms`. One thread. */
enum definitions_event definitions_next(struct definitions *definitions, int64_t wait_ms,
                                        char name[DEFINITIONS_NAME_MAX + 1], struct buffer *text);
/** All entries shall be told again, soon. The thread of definitions_next. */
void definitions_repeat(struct definitions *definitions);

#endif
