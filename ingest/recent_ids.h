/* The last record of each id among the last messages of a partition: what a replay needs to judge the
 * records that expect a version (store/expected_version.c) as the shard did. A record is met unless one of its
 * id came after the version that it expects; it was read no longer ago than `distance` offsets, so
 * nothing older has to be remembered. Private to ingest/. */
#ifndef INGEST_RECENT_IDS_H
#define INGEST_RECENT_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_record;

struct recent_id {
    uint64_t hash;
    int64_t offset; /* of its last record that counted */
    bool used, is_delete;
};

/* Two tables: the younger one takes what comes; when it spans `distance` offsets it becomes the
 * older one. */
struct recent_ids {
    int64_t distance;
    struct recent_ids_table {
        struct recent_id *slots;
        size_t capacity, count; /* the capacity is a power of two, or 0 */
        int64_t from_offset;
    } tables[2];
};

/** Whether the record counts, as far as is remembered; then it is remembered itself. In order. */
bool recent_ids_take(struct recent_ids *ids, const struct store_record *record);
/** Whether the id of a record is known to have a living version. */
bool recent_ids_lives(const struct recent_ids *ids, const struct store_record *record);
void recent_ids_destroy(struct recent_ids *ids);

#endif
