#include "tests/support/shard_fixture.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "store/append.h"
#include "store/describe.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/test_main.h"

static int compare_keys(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

void model_copy(struct model *to, const struct model *from)
{
    *to = *from;
    to->capacity = from->count + 1;
    to->rows = malloc(to->capacity * sizeof(*to->rows));
    if (!to->rows)
        abort();
    if (from->count > 0)
        memcpy(to->rows, from->rows, from->count * sizeof(*to->rows));
}

void model_destroy(struct model *model)
{
    free(model->rows);
    *model = (struct model){.next_offset = -1};
}

static size_t lower_bound(const struct model *model, const struct store_key *key)
{
    size_t low = 0;
    size_t high = model->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct store_key *other = &model->rows[middle].key;
        if (compare_keys(other->bytes, other->size_bytes, key->bytes, key->size_bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct model_row *model_find(const struct model *model, const struct store_key *key)
{
    size_t at = lower_bound(model, key);

    if (at == model->count ||
        compare_keys(model->rows[at].key.bytes, model->rows[at].key.size_bytes, key->bytes,
                     key->size_bytes) != 0)
        return NULL;
    return &model->rows[at];
}

void model_put(struct model *model, const struct model_row *row)
{
    size_t at = lower_bound(model, &row->key);

    if (model_find(model, &row->key)) {
        model->rows[at] = *row;
        return;
    }
    if (model->count == model->capacity) {
        model->capacity = model->capacity ? model->capacity * 2 : 64;
        model->rows = realloc(model->rows, model->capacity * sizeof(*model->rows));
        if (!model->rows)
            abort();
    }
    memmove(&model->rows[at + 1], &model->rows[at], (model->count - at) * sizeof(*model->rows));
    model->rows[at] = *row;
    model->count++;
}

void model_delete(struct model *model, const struct store_key *key)
{
    size_t at = lower_bound(model, key);

    if (!model_find(model, key))
        return;
    model->count--;
    memmove(&model->rows[at], &model->rows[at + 1], (model->count - at) * sizeof(*model->rows));
}

void model_apply(struct model *model, const struct store_group *group)
{
    for (size_t i = 0; i < group->record_count; i++) {
        const struct store_record *record = &group->records[i];
        struct model_row row = {.offset = record->offset,
                                .event_time_ms = record->event_time_ms,
                                .ttl_ms = record->ttl_ms,
                                .payload_bytes = record->payload_bytes,
                                .bare = !record->vector};
        row.key.size_bytes = record->key_bytes;
        memcpy(row.key.bytes, record->key, record->key_bytes);
        if (record->is_delete)
            model_delete(model, &row.key);
        else
            model_put(model, &row);
    }
    model->next_offset = group->next_offset;
    model->topic = group->topic;
}

void model_drop(struct model *model, int64_t start_ms, int64_t length_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < model->count; i++)
        if ((length_ms > 0 && model->rows[i].event_time_ms < start_ms) ||
            (length_ms > 0 && model->rows[i].event_time_ms >= start_ms + length_ms))
            model->rows[kept++] = model->rows[i];
    model->count = kept;
}

static int64_t fixture_wall_ms = 1000000;

static int64_t read_wall_ms(struct io *io)
{
    (void)io;
    return __atomic_load_n(&fixture_wall_ms, __ATOMIC_RELAXED);
}

struct io *fixture_io(int64_t **wall_ms)
{
    static struct io_operations operations;
    static struct io io = {&operations};

    operations = *io_posix()->operations;
    operations.wall_ms = read_wall_ms;
    if (wall_ms)
        *wall_ms = &fixture_wall_ms;
    return &io;
}

void fixture_key(uint32_t i, struct store_key *key)
{
    char text[64];

    if (i % 3 == 0) {
        store_key_from_u64(i, key);
        return;
    }
    if (i % 3 == 1)
        snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012" PRIx32, i);
    else
        snprintf(text, sizeof(text), "package/%" PRIu32 "/a rather long name", i);
    /* libcheck writes a mark for each assertion, and this runs a million times. */
    if (store_key_from_text(text, strlen(text), false, key, ERROR_IGNORED) != 0)
        abort();
}

void fixture_vector(const uint8_t *key, size_t key_bytes, int64_t offset, float *vector)
{
    uint64_t random = checksum_block(key, key_bytes, (uint64_t)offset, 1, 1) | 1;

    for (uint32_t i = 0; i < FIXTURE_DIM; i++)
        vector[i] = (float)(int32_t)test_random(&random) / 65536.0f;
}

void fixture_payload(const uint8_t *key, size_t key_bytes, int64_t offset, uint32_t payload_bytes,
                     uint8_t *payload)
{
    uint64_t random = checksum_block(key, key_bytes, (uint64_t)offset, 2, 2) | 1;

    for (uint32_t i = 0; i < payload_bytes; i++)
        payload[i] = (uint8_t)test_random(&random);
}

struct store_topic_fingerprint fixture_topic_fingerprint(int64_t next_offset)
{
    if (next_offset <= 0)
        return (struct store_topic_fingerprint){0};
    return (struct store_topic_fingerprint){
        next_offset - 1, (uint64_t)next_offset * UINT64_C(0x9e3779b97f4a7c15) | 1};
}

void fixture_group_start(struct fixture_group *group, int64_t next_offset)
{
    group->group = (struct store_group){.records = group->records,
                                        .next_offset = next_offset < 0 ? 0 : next_offset,
                                        .clock = {.watermark_ms = next_offset}};
}

static struct store_record *add_record(struct fixture_group *group, uint32_t id, bool same_message)
{
    size_t i = group->group.record_count++;
    struct store_record *record = &group->records[i];

    assert(i < FIXTURE_GROUP_MAX);
    fixture_key(id, &group->keys[i]);
    *record =
        (struct store_record){.key = group->keys[i].bytes, .key_bytes = group->keys[i].size_bytes};
    if (i == 0 || !same_message)
        group->group.next_offset++;
    record->offset = group->group.next_offset - 1;
    return record;
}

void fixture_group_put(struct fixture_group *group, uint32_t id, int64_t event_time_ms,
                       int64_t ttl_ms, uint32_t payload_bytes, bool same_message)
{
    struct store_record *record = add_record(group, id, same_message);
    size_t i = group->group.record_count - 1;

    record->event_time_ms = event_time_ms;
    record->ttl_ms = ttl_ms;
    fixture_vector(record->key, record->key_bytes, record->offset, group->vectors[i]);
    record->vector = group->vectors[i];
    fixture_payload(record->key, record->key_bytes, record->offset, payload_bytes,
                    group->payloads[i]);
    record->payload = payload_bytes > 0 ? group->payloads[i] : NULL;
    record->payload_bytes = payload_bytes;
}

void fixture_group_delete(struct fixture_group *group, uint32_t id, bool same_message)
{
    add_record(group, id, same_message)->is_delete = true;
}

void fixture_group_random(struct fixture_group *group, uint64_t *random, int64_t next_offset,
                          uint32_t record_count, uint32_t id_count, int64_t from_ms, int64_t to_ms)
{
    fixture_group_start(group, next_offset);
    for (uint32_t i = 0; i < record_count; i++) {
        uint32_t id = (uint32_t)(test_random(random) % id_count);
        bool same_message = test_random(random) % 4 == 0;
        uint64_t chance = test_random(random) % 10;
        if (chance == 0) {
            fixture_group_delete(group, id, same_message);
            continue;
        }
        fixture_group_put(group, id,
                          from_ms + (int64_t)(test_random(random) % (uint64_t)(to_ms - from_ms)),
                          chance == 1 ? 200 + (int64_t)(test_random(random) % 2000) : 0,
                          (uint32_t)(test_random(random) % 5 * 40), same_message);
        if (chance == 2)
            group->records[group->group.record_count - 1].vector = NULL;
    }
    /* Kafka's transaction markers take offsets too. */
    group->group.next_offset += (int64_t)(test_random(random) % 2);
    group->group.clock.watermark_ms = group->group.next_offset;
    group->group.topic = fixture_topic_fingerprint(group->group.next_offset);
}

struct store *fixture_store(struct io *io, const char *data_dir, uint64_t memtable_max_bytes)
{
    struct store_options options = {.data_dir = data_dir,
                                    .memory_max_bytes = UINT64_C(1) << 28,
                                    .memtable_max_bytes = memtable_max_bytes,
                                    .io = io};
    struct store *store = NULL;
    struct error error = {0};

    /* A simulated disk sees one thread. */
    if (io->operations->pread == io_posix()->operations->pread)
        options.merge_threads = 3;
    ck_assert_msg(store_open(&options, &store, &error) == 0, "%s", error.text);
    return store;
}

struct store_shard *fixture_shard(struct store *store, int64_t window_ms, int64_t ttl_ms,
                                  enum store_durability durability)
{
    struct store_shard_options options = {.collection = "news",
                                          .name = "3",
                                          .dim = FIXTURE_DIM,
                                          .metric = VECTOR_METRIC_L2,
                                          .window_ms = window_ms,
                                          .ttl_ms = ttl_ms,
                                          .durability = durability};
    struct store_shard *shard = NULL;
    struct error error = {0};

    ck_assert_msg(store_shard_open(store, &options, &shard, &error) == 0, "%s", error.text);
    return shard;
}

void fixture_abandon(struct store **store, struct store_shard **shard)
{
    if (*shard)
        (void)store_shard_close(*shard, false, ERROR_IGNORED);
    if (*store)
        store_close(*store);
    *shard = NULL;
    *store = NULL;
}

void fixture_check_levels(const struct store_window_info *window, uint8_t sorted_from)
{
    for (size_t i = 0; i < window->chunk_count; i++) {
        for (size_t j = 0; j < i; j++) {
            const struct store_file_info *a = &window->chunks[i];
            const struct store_file_info *b = &window->chunks[j];
            if (a->level == b->level && a->level >= sorted_from)
                ck_assert(compare_keys(a->first_key, a->first_key_bytes, b->last_key,
                                       b->last_key_bytes) > 0 ||
                          compare_keys(b->first_key, b->first_key_bytes, a->last_key,
                                       a->last_key_bytes) > 0);
        }
    }
}

static char complaint[512];

static bool model_expired(const struct model_row *row, int64_t now_ms, int64_t ttl_ms)
{
    int64_t shorter = ttl_ms;

    if (row->ttl_ms > 0 && (shorter == 0 || row->ttl_ms < shorter))
        shorter = row->ttl_ms;
    return shorter > 0 && row->event_time_ms + shorter <= now_ms;
}

/* Compares what a row of the store says with a row of the model. */
static const char *compare_row(const struct store_source *source, uint32_t row,
                               const struct model_row *expected, struct arena *arena)
{
    float vector[FIXTURE_DIM];
    uint8_t payload[512] = {0x80};
    const uint8_t *key;
    const uint8_t *got_payload;
    const float *got_vectors;
    size_t key_bytes;
    size_t payload_bytes;
    uint32_t count = 0;
    struct error error = {0};
    size_t expected_bytes = expected->payload_bytes ? expected->payload_bytes : 1;

    key = store_row_key(source, row, &key_bytes);
    if (compare_keys(key, key_bytes, expected->key.bytes, expected->key.size_bytes) != 0) {
        snprintf(complaint, sizeof(complaint),
                 "another key: offset %" PRId64 ", time %" PRId64 " instead of offset %" PRId64
                 ", time %" PRId64,
                 store_row_offset(source, row), store_row_event_time_ms(source, row),
                 expected->offset, expected->event_time_ms);
        return complaint;
    }
    if (store_row_offset(source, row) != expected->offset) {
        snprintf(complaint, sizeof(complaint), "offset %" PRId64 " instead of %" PRId64,
                 store_row_offset(source, row), expected->offset);
        return complaint;
    }
    if (store_row_event_time_ms(source, row) != expected->event_time_ms)
        return "another time";
    if (store_row_vectors(source, row, &got_vectors, &count, &error) != 0 || count == 0) {
        snprintf(complaint, sizeof(complaint), "no vector: %.400s", error.text);
        return complaint;
    }
    if (store_row_is_bare(source, row) != expected->bare)
        return expected->bare ? "a vector" : "no vector";
    if (store_row_ttl_ms(source, row) != expected->ttl_ms)
        return "another TTL";
    fixture_vector(key, key_bytes, expected->offset, vector);
    if (expected->bare)
        memset(vector, 0, sizeof(vector));
    if (memcmp(vector, got_vectors, sizeof(vector)) != 0)
        return "another vector";
    if (store_row_payload(source, row, arena, &got_payload, &payload_bytes, &error) != 0) {
        snprintf(complaint, sizeof(complaint), "no payload: %.400s", error.text);
        return complaint;
    }
    if (expected->payload_bytes > 0)
        fixture_payload(key, key_bytes, expected->offset, expected->payload_bytes, payload);
    if (payload_bytes != expected_bytes || memcmp(payload, got_payload, payload_bytes) != 0)
        return "another payload";
    return NULL;
}

bool fixture_row_is_right(const struct store_source *source, uint32_t row,
                          const struct model *model, struct arena *arena)
{
    const struct model_row *expected;
    struct store_key key;
    const char *problem;
    size_t key_bytes;
    const uint8_t *bytes = store_row_key(source, row, &key_bytes);

    if (key_bytes > sizeof(key.bytes))
        return false;
    key.size_bytes = (uint16_t)key_bytes;
    memcpy(key.bytes, bytes, key_bytes);
    expected = model_find(model, &key);
    problem = expected ? compare_row(source, row, expected, arena) : "no such row";
    return !problem || strncmp(problem, "no vector", 9) == 0 ||
           strncmp(problem, "no payload", 10) == 0;
}

bool fixture_read_error(struct store_shard *shard, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    bool failed = false;
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t s = 0; s < count; s++)
        for (uint32_t row = 0; row < sources[s].row_count; row++) {
            const float *vectors;
            const uint8_t *payload;
            size_t payload_bytes;
            uint32_t rows;
            if (!store_row_visible(snapshot, &sources[s], row))
                continue;
            failed |= store_row_vectors(&sources[s], row, &vectors, &rows, ERROR_IGNORED) != 0 ||
                      store_row_payload(&sources[s], row, &arena, &payload, &payload_bytes,
                                        ERROR_IGNORED);
            arena_reset(&arena);
        }
    arena_destroy(&arena);
    store_snapshot_release(snapshot);
    return failed;
}

static const char *compare_scan(const struct store_snapshot *snapshot, const struct model *model,
                                int64_t now_ms, int64_t ttl_ms, struct arena *arena)
{
    struct store_cursor *cursor = store_cursor_open(snapshot, NULL, 0);
    const struct store_source *source;
    const char *problem = NULL;
    uint32_t row;

    for (size_t i = 0; i < model->count && !problem; i++) {
        if (model_expired(&model->rows[i], now_ms, ttl_ms))
            continue;
        if (!store_cursor_next(cursor, &source, &row)) {
            snprintf(complaint, sizeof(complaint),
                     "the scan ends before row %zu of %zu (offset %" PRId64 ", time %" PRId64 ")",
                     i, model->count, model->rows[i].offset, model->rows[i].event_time_ms);
            problem = complaint;
            break;
        }
        problem = compare_row(source, row, &model->rows[i], arena);
        arena_reset(arena);
    }
    if (!problem && store_cursor_next(cursor, &source, &row)) {
        snprintf(complaint, sizeof(complaint), "the scan gives a row too many: offset %" PRId64,
                 store_row_offset(source, row));
        problem = complaint;
    }
    store_cursor_close(cursor);
    return problem;
}

/* How many rows lie in all of time, and in a part of it. */
static const char *compare_time_ranges(const struct store_snapshot *snapshot,
                                       const struct model *model, int64_t now_ms, int64_t ttl_ms)
{
    int64_t one = model->count > 0 ? model->rows[0].event_time_ms : 0;
    int64_t other = model->count > 0 ? model->rows[model->count - 1].event_time_ms : 0;
    const int64_t ranges[][2] = {{INT64_MIN, INT64_MAX},
                                 {one < other ? one : other, one < other ? other : one}};

    for (size_t r = 0; r < 2; r++) {
        uint64_t expected = 0;
        for (size_t i = 0; i < model->count; i++)
            expected += model->rows[i].event_time_ms >= ranges[r][0] &&
                        model->rows[i].event_time_ms < ranges[r][1] &&
                        !model_expired(&model->rows[i], now_ms, ttl_ms);
        if (store_snapshot_count(snapshot, ranges[r][0], ranges[r][1]) != expected)
            return "the count of a time range is wrong";
    }
    return NULL;
}

/* What a search does: every row of every source, visible or not. */
static const char *compare_counts(const struct store_snapshot *snapshot, const struct model *model,
                                  int64_t now_ms, int64_t ttl_ms)
{
    size_t source_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &source_count);
    size_t visible = 0;
    size_t expected = 0;

    for (size_t s = 0; s < source_count; s++)
        for (uint32_t row = 0; row < sources[s].row_count; row++)
            visible += store_row_visible(snapshot, &sources[s], row);
    for (size_t i = 0; i < model->count; i++)
        expected += !model_expired(&model->rows[i], now_ms, ttl_ms);
    if (visible == expected)
        return NULL;
    snprintf(complaint, sizeof(complaint), "%zu rows are visible, %zu expected", visible, expected);
    return complaint;
}

const char *fixture_compare(const struct store_snapshot *snapshot, const struct model *model,
                            int64_t now_ms, int64_t ttl_ms)
{
    struct arena arena;
    const char *problem = NULL;

    if (store_snapshot_next_offset(snapshot) != model->next_offset) {
        snprintf(complaint, sizeof(complaint), "next offset %" PRId64 ", expected %" PRId64,
                 store_snapshot_next_offset(snapshot), model->next_offset);
        return complaint;
    }
    arena_create(&arena, 0);
    problem = compare_scan(snapshot, model, now_ms, ttl_ms, &arena);
    if (!problem)
        problem = compare_counts(snapshot, model, now_ms, ttl_ms);
    if (!problem)
        problem = compare_time_ranges(snapshot, model, now_ms, ttl_ms);
    for (uint32_t id = 0; id < 64 && !problem; id++) {
        const struct store_source *source;
        const struct model_row *expected;
        struct store_key key;
        uint32_t row;
        int code;
        fixture_key(id, &key);
        expected = model_find(model, &key);
        if (expected && model_expired(expected, now_ms, ttl_ms))
            expected = NULL;
        code =
            store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED);
        if ((code == 0) != (expected != NULL)) {
            snprintf(complaint, sizeof(complaint), "id %u: find says %d, expected %d", id, code,
                     expected != NULL);
            problem = complaint;
        } else if (expected) {
            problem = compare_row(source, row, expected, &arena);
        }
        arena_reset(&arena);
    }
    arena_destroy(&arena);
    return problem;
}

const char *fixture_check(struct store_shard *shard, const struct model *model, int64_t now_ms,
                          int64_t ttl_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    const char *problem = fixture_compare(snapshot, model, now_ms, ttl_ms);
    struct store_topic_fingerprint topic = store_shard_topic_fingerprint(shard);

    store_snapshot_release(snapshot);
    if (!problem && (topic.offset != model->topic.offset || topic.hash != model->topic.hash)) {
        snprintf(complaint, sizeof(complaint),
                 "topic fingerprint %016" PRIx64 " at offset %" PRId64 ", expected %016" PRIx64
                 " at %" PRId64,
                 topic.hash, topic.offset, model->topic.hash, model->topic.offset);
        problem = complaint;
    }
    return problem;
}
