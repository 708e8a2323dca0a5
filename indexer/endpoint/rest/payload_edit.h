/* Payloads with parts changed, as Qdrant changes them. Documents are not written to: what changes is
 * copied into the arena, the rest is shared. */
#ifndef INDEXER_ENDPOINT_REST_PAYLOAD_EDIT_H
#define INDEXER_ENDPOINT_REST_PAYLOAD_EDIT_H

#include "base/arena.h"
#include "base/doc.h"

/** The map with the pairs of `added` put in; a null takes its key out. */
struct doc payload_merge(struct arena *arena, const struct doc *map, const struct doc *added);
/** The same for the map at a path (or for each, with "[]"); objects on the way are made, arrays are
 * not made longer, and what is no array where one is expected becomes an empty one. */
struct doc payload_merge_at(struct arena *arena, const struct doc *payload, const char *path,
                            size_t path_length, const struct doc *added);
/** Without what lies at a path. "[]" at its end empties an array, "[0]" there takes nothing. */
struct doc payload_remove_at(struct arena *arena, const struct doc *payload, const char *path,
                             size_t path_length);

#endif
