/* snapshot: copies of shards between nodes. Inside the room only.
 *
 *     fetcher                                        node that has the shard
 *     POST   /internal/snapshot  collection, shard   flushes it, links its files into a folder of their own, lists
 *                                                    them: {"id", "collection", "shard", "dim", "metric",
 *                                                    "next_offset", "files": [{"name", "bytes"}]}
 *     GET    /internal/snapshot  id, file, offset,   checksum (8 bytes) and a range of the file
 *                                length
 *     DELETE /internal/snapshot  id                  the folder goes; it does so by itself after ten idle minutes
 *
 * A POST with the id of a snapshot that is still there lists it again: whoever was interrupted goes on behind the bytes
 * that it has. The checksum covers name, offset and bytes, so that a range of another file fails. What was
 * fetched is verified as a whole before it is used (store_copy_verify). */
#ifndef CLUSTER_SNAPSHOT_H
#define CLUSTER_SNAPSHOT_H

#include "base/buffer.h"
#include "cluster/nodes.h"

enum {
    SNAPSHOT_CHECKSUM_BYTES = 8,
    SNAPSHOT_PART_BYTES = 4 << 20,
    SNAPSHOT_NAME_BYTES = 80,
    SNAPSHOT_ID_BYTES = 33
};

/** Checksum of a range. */
uint64_t snapshot_checksum(const void *bytes, size_t size_bytes, const char *name, uint64_t offset);

/* The side that has shards. */
struct snapshot_source;

struct snapshot_source *snapshot_source_new(const struct cluster_options *options);
/** The HTTP server must have stopped. Removes all folders. NULL is allowed. */
void snapshot_source_delete(struct snapshot_source *source);
/** Removes the folders that nobody has asked for in ten minutes. Any thread, often. */
void snapshot_source_tick(struct snapshot_source *source);
void snapshot_source_add_routes(struct snapshot_source *source, struct http_server *server);

/* The side that wants one. */
struct snapshot_fetcher;

struct snapshot_fetcher *snapshot_fetcher_new(const struct cluster_options *options,
                                              struct nodes *nodes);
/** No fetch may be under way. NULL is allowed. */
void snapshot_fetcher_delete(struct snapshot_fetcher *fetcher);

/** See cluster_fetch_worth and cluster_fetch_shard. */
int64_t snapshot_fetch_worth(struct snapshot_fetcher *fetcher, const char *collection,
                             const char *shard, int64_t next_offset);
int snapshot_fetch(struct snapshot_fetcher *fetcher, const struct cluster_fetch *fetch,
                   char *folder, struct error *error);

#endif
