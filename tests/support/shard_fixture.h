/* A shard, and a model of what must be visible in it: a sorted array that is plainly right. */
#ifndef TESTS_SUPPORT_SHARD_FIXTURE_H
#define TESTS_SUPPORT_SHARD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "store/files/key.h"
#include "store/files/record.h"

struct store;
struct store_shard;
struct store_snapshot;
struct store_source;
struct store_window_info;

enum { FIXTURE_DIM = 6, FIXTURE_GROUP_MAX = 64 };

/* One living row of the model. */
struct model_row {
    struct store_key key;
    int64_t offset;
    int64_t event_time_ms;
    int64_t ttl_ms;
    uint32_t payload_bytes;
    bool bare; /* it has no vector */
};

struct model {
    struct model_row *rows; /* by key */
    size_t count, capacity;
    int64_t next_offset; /* -1: nothing was ever appended */
    struct store_topic_fingerprint topic;
};

void model_copy(struct model *to, const struct model *from);
void model_destroy(struct model *model);
/** Puts a row in or replaces the one of its key. */
void model_put(struct model *model, const struct model_row *row);
void model_delete(struct model *model, const struct store_key *key);
/** Applies the records of a group in order. */
void model_apply(struct model *model, const struct store_group *group);
/** Removes the rows of a window; all of them with length 0. */
void model_drop(struct model *model, int64_t start_ms, int64_t length_ms);
const struct model_row *model_find(const struct model *model, const struct store_key *key);

/** The operating system's files with a wall clock that the test sets. */
struct io *fixture_io(int64_t **wall_ms);

/** The i-th id: numbers, UUIDs and other strings in turn. */
void fixture_key(uint32_t i, struct store_key *key);
/** The vector and payload that go with a key and an offset. */
void fixture_vector(const uint8_t *key, size_t key_bytes, int64_t offset, float *vector);
void fixture_payload(const uint8_t *key, size_t key_bytes, int64_t offset, uint32_t payload_bytes,
                     uint8_t *payload);

/** The topic fingerprint that goes with a next offset. */
struct store_topic_fingerprint fixture_topic_fingerprint(int64_t next_offset);

/* Builds groups with storage of their own. */
struct fixture_group {
    struct store_group group;
    struct store_record records[FIXTURE_GROUP_MAX];
    struct store_key keys[FIXTURE_GROUP_MAX];
    float vectors[FIXTURE_GROUP_MAX][FIXTURE_DIM];
    uint8_t payloads[FIXTURE_GROUP_MAX][512];
};

void fixture_group_start(struct fixture_group *group, int64_t next_offset);
/** Adds a record at the group's next offset, which moves on unless `same_message`. */
void fixture_group_put(struct fixture_group *group, uint32_t id, int64_t event_time_ms,
                       int64_t ttl_ms, uint32_t payload_bytes, bool same_message);
void fixture_group_delete(struct fixture_group *group, uint32_t id, bool same_message);

/** Random group, one record in ten without a vector, over `id_count` ids and event times in [from_ms, to_ms). */
void fixture_group_random(struct fixture_group *group, uint64_t *random, int64_t next_offset,
                          uint32_t record_count, uint32_t id_count, int64_t from_ms, int64_t to_ms);

struct store *fixture_store(struct io *io, const char *data_dir, uint64_t memtable_max_bytes);
struct store_shard *fixture_shard(struct store *store, int64_t window_ms, int64_t ttl_ms,
                                  enum store_durability durability);

/** What a process that dies leaves: nothing is flushed. Both may be NULL, and are then. */
void fixture_abandon(struct store **store, struct store_shard **shard);

/** Asserts that from level `sorted_from` on no key is in two chunks of one level. */
void fixture_check_levels(const struct store_window_info *window, uint8_t sorted_from);

/** Compares everything a snapshot can answer with the model at `now_ms`. Returns NULL or what is
 * wrong, in a static buffer. */
const char *fixture_compare(const struct store_snapshot *snapshot, const struct model *model,
                            int64_t now_ms, int64_t ttl_ms);
/** Whether a visible row is the model's of its key, bit by bit; vectors and payloads that cannot be
 * read are not wrong. */
bool fixture_row_is_right(const struct store_source *source, uint32_t row,
                          const struct model *model, struct arena *arena);
/** Whether some visible row cannot be read. */
bool fixture_read_error(struct store_shard *shard, int64_t now_ms);
/** The same with a fresh snapshot. */
const char *fixture_check(struct store_shard *shard, const struct model *model, int64_t now_ms,
                          int64_t ttl_ms);

#endif
