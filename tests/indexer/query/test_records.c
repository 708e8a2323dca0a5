/* Pages, orders, counts, single records, virtual keys, waiting for offsets, damaged files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/indexer/query/query_world.h"

enum { HOUR_MS = 3600000 };
static const int64_t START_MS = 1760000000000 / HOUR_MS * HOUR_MS;

static void open_world(struct world *world, size_t shards, int64_t ttl_ms, uint64_t seed)
{
    struct world_options options = {.shard_count = shards,
                                    .dim = 8,
                                    .metric = VECTOR_METRIC_COSINE,
                                    .window_ms = HOUR_MS,
                                    .ttl_ms = ttl_ms,
                                    .seed = seed};

    world_open(world, &options);
    atomic_store(&world->clock.now_ms, START_MS + 3 * HOUR_MS);
}

/* Three windows: one sealed, one in a chunk, one in memory, with upserts and deletes across them. */
static void fill(struct world *world, uint64_t ids)
{
    for (int hour = 0; hour < 3; hour++) {
        for (uint64_t id = 0; id < ids; id++) {
            uint64_t dice = test_random(&world->random);
            size_t shard = id % world->shard_count;
            int64_t time_ms = START_MS + hour * HOUR_MS + (int64_t)(dice % HOUR_MS);
            if ((dice >> 32) % 3 != 0)
                world_change(world, shard, id * 3, time_ms, dice >> 40);
        }
        for (size_t shard = 0; shard < world->shard_count; shard++) {
            if (hour == 0)
                world_seal(world, shard, START_MS);
            else if (hour == 1)
                world_flush(world, shard);
        }
    }
}

static uint64_t model_count(const struct world *world, int64_t below)
{
    uint64_t count = 0;

    for (size_t i = 0; i < world->record_count; i++)
        count += world_visible(world, &world->records[i]) && world->records[i].number < below;
    return count;
}

/* Pages. */

static void check_pages(struct world *world, uint32_t limit, const char *json, int64_t below)
{
    struct query_view *view = world_view(world);
    struct store_key from = {0};
    bool first = true;
    uint64_t id = 0;
    uint64_t seen = 0;

    for (;;) {
        struct arena arena;
        struct query_result result;
        struct error error = {0};
        const uint8_t *next;
        size_t next_bytes;
        struct query_scroll scroll = {.limit = limit, .arena = &arena};
        arena_create(&arena, 0);
        if (!first) {
            scroll.from_key = from.bytes;
            scroll.from_key_bytes = from.size_bytes;
        }
        scroll.filter = json ? world_filter(&arena, json) : NULL;
        ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
        ck_assert_uint_le(result.hit_count, limit);
        for (size_t i = 0; i < result.hit_count; i++) {
            uint64_t hit = world_hit_id(&result.hits[i].row);
            const struct world_record *record = world_find(world, hit);
            ck_assert(seen == 0 || hit > id);
            ck_assert(world_visible(world, record) && record->number < below);
            ck_assert_int_eq(store_row_offset(result.hits[i].row.source, result.hits[i].row.row),
                             record->offset);
            id = hit;
            seen++;
        }
        if (next) {
            ck_assert_uint_eq(result.hit_count, limit);
            memcpy(from.bytes, next, next_bytes);
            from.size_bytes = (uint16_t)next_bytes;
        }
        arena_destroy(&arena);
        first = false;
        if (!next)
            break;
    }
    ck_assert_uint_eq(seen, model_count(world, below));
    query_view_close(view);
}

START_TEST(pages_in_id_order_show_every_record_once)
{
    uint64_t seed = test_seed();

    for (size_t shards = 1; shards <= 3; shards += 2) {
        struct world world;
        open_world(&world, shards, 0, seed);
        check_pages(&world, 10, NULL, INT64_MAX);
        fill(&world, 300);
        check_pages(&world, 1, NULL, INT64_MAX);
        check_pages(&world, 7, NULL, INT64_MAX);
        check_pages(&world, 1000, NULL, INT64_MAX);
        check_pages(&world, 7, "{\"must\":{\"key\":\"n\",\"range\":{\"lt\":2000}}}", 2000);
        world_close(&world);
    }
}
END_TEST

START_TEST(counts_are_exact)
{
    struct world world;
    struct arena arena;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    open_world(&world, 2, 0, test_seed());
    fill(&world, 400);
    arena_create(&arena, 0);
    view = world_view(&world);
    ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
    ck_assert_uint_eq(count, model_count(&world, INT64_MAX));
    for (int64_t below = 1; below <= 10000; below *= 10) {
        char json[100];
        snprintf(json, sizeof(json), "{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":%lld}}]}",
                 (long long)below);
        ck_assert_int_eq(query_count(view, world_filter(&arena, json), &count, &error), 0);
        ck_assert_uint_eq(count, model_count(&world, below));
    }
    query_view_close(view);
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* Order_by. */

static int64_t order_value(const struct world_record *record, const char *key)
{
    return strcmp(key, "n") == 0 ? record->number : record->time_ms;
}

static void check_order(struct world *world, const char *key, bool descending, int64_t start_from,
                        uint32_t limit)
{
    struct query_view *view = world_view(world);
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct doc start = doc_integer(start_from);
    const uint8_t *next;
    size_t next_bytes, wanted = 0;
    struct query_scroll scroll = {.limit = limit,
                                  .order_by = key,
                                  .descending = descending,
                                  .start_from = start_from ? &start : NULL,
                                  .arena = &arena};

    arena_create(&arena, 0);
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
    ck_assert_ptr_null(next);
    for (size_t i = 0; i < world->record_count; i++) {
        const struct world_record *record = &world->records[i];
        int64_t value = order_value(record, key);
        size_t before = 0;
        if (!world_visible(world, record) ||
            (start_from && (descending ? value > start_from : value < start_from)))
            continue;
        wanted++;
        /* Its place is how many come before it. */
        for (size_t j = 0; j < world->record_count; j++) {
            const struct world_record *other = &world->records[j];
            int64_t other_value = order_value(other, key);
            if (!world_visible(world, other) ||
                (start_from && (descending ? other_value > start_from : other_value < start_from)))
                continue;
            before +=
                other_value != value ? (other_value > value) == descending : other->id < record->id;
        }
        if (before < limit)
            ck_assert_uint_eq(world_hit_id(&result.hits[before].row), record->id);
    }
    ck_assert_uint_eq(result.hit_count, wanted < limit ? wanted : limit);
    arena_destroy(&arena);
    query_view_close(view);
}

START_TEST(rows_come_in_the_order_of_a_field)
{
    struct world world;

    open_world(&world, 2, 0, test_seed());
    fill(&world, 150);
    for (int descending = 0; descending < 2; descending++) {
        check_order(&world, "n", descending, 0, 10);
        check_order(&world, "n", descending, 5000, 1000);
        check_order(&world, "@time", descending, 0, 25);
        check_order(&world, "@time", descending, START_MS + HOUR_MS, 50);
    }
    world_close(&world);
}
END_TEST

START_TEST(rows_without_an_orderable_value_are_left_out)
{
    struct world world;
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct doc word, null_doc = {.type = DOC_NULL};
    const uint8_t *next;
    size_t next_bytes;
    struct query_view *view;
    struct query_scroll scroll = {.limit = 10, .order_by = "tag", .arena = &arena};

    open_world(&world, 1, 0, test_seed());
    fill(&world, 20);
    arena_create(&arena, 0);
    view = world_view(&world);
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
    ck_assert_uint_eq(result.hit_count, 0);
    scroll.start_from = &null_doc;
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
    word = doc_string(&arena, "soon");
    scroll.start_from = &word;
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error),
                     ERROR_INVALID);
    scroll.limit = 0;
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error),
                     ERROR_INVALID);
    query_view_close(view);
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* Single records. */

START_TEST(a_record_is_found_by_id_in_its_newest_version)
{
    struct world world;
    struct arena arena;
    struct query_view *view;

    open_world(&world, 2, 0, test_seed());
    fill(&world, 200);
    arena_create(&arena, 0);
    view = world_view(&world);
    for (uint64_t id = 0; id < 650; id++) {
        const struct world_record *record = world_find(&world, id);
        struct store_key key;
        struct query_row row;
        struct error error = {0};
        struct doc payload, name;
        const float *vector;
        int code;
        store_key_from_u64(id, &key);
        code = query_find(view, key.bytes, key.size_bytes, &arena, &row, &error);
        if (!record || !world_visible(&world, record)) {
            ck_assert_int_eq(code, ERROR_NOT_FOUND);
            continue;
        }
        ck_assert_int_eq(code, 0);
        ck_assert_int_eq(store_row_offset(row.source, row.row), record->offset);
        ck_assert_int_eq(query_row_payload(&row, &arena, &payload, &error), 0);
        ck_assert_int_eq(doc_get(&payload, "n")->integer, record->number);
        ck_assert_int_eq(query_row_vector(&row, &arena, &vector, &error), 0);
        ck_assert(!vector == record->bare);
        if (vector)
            ck_assert_mem_eq(vector, record->vector, 8 * sizeof(float));
        name = query_row_id(&row, &arena);
        ck_assert_uint_eq((uint64_t)name.integer, id);
        ck_assert_int_eq(query_row_window_ms(&row), record->time_ms / HOUR_MS * HOUR_MS);
    }
    query_view_close(view);
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

START_TEST(expired_records_are_gone_at_once)
{
    struct world world;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    open_world(&world, 1, 2 * HOUR_MS, test_seed());
    atomic_store(&world.clock.now_ms, START_MS + HOUR_MS);
    fill(&world, 200);
    for (int step = 0; step < 60; step++) {
        atomic_fetch_add(&world.clock.now_ms, HOUR_MS / 10);
        view = world_view(&world);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
        ck_assert_uint_eq(count, model_count(&world, INT64_MAX));
        query_view_close(view);
        check_pages(&world, 50, NULL, INT64_MAX);
    }
    ck_assert_uint_eq(count, 0);
    world_close(&world);
}
END_TEST

/* Virtual keys. */

START_TEST(virtual_keys_filter_time_window_offset_and_partition)
{
    static const char *const filters[] = {
        "{\"must\":{\"key\":\"@time\",\"range\":{\"gte\":1759999000000,\"lt\":1760003600000}}}",
        ("{\"must\":{\"key\":\"@time\",\"range\":{\"gte\":\"2025-10-09T08:36:40Z\","
         "\"lt\":\"2025-10-09T09:53:20Z\"}}}"),
        "{\"must\":{\"key\":\"@window\",\"match\":{\"value\":\"2025-10-09T09:00:00Z\"}}}",
        "{\"must\":{\"key\":\"@window\",\"range\":{\"gt\":\"2025-10-09T08:00:00Z\"}}}",
        "{\"must\":{\"key\":\"@offset\",\"range\":{\"lt\":50}}}",
        "{\"must\":{\"key\":\"@partition\",\"match\":{\"value\":1}}}",
        "{\"must\":{\"key\":\"@partition\",\"match\":{\"value\":\"0\"}}}",
        "{\"must\":{\"key\":\"@partition\",\"match\":{\"except\":[0]}}}",
        "{\"must\":{\"has_id\":[3,6,9,3000]}}",
        "{\"must_not\":{\"has_id\":[3,6,9,\"x\"]}}",
        "{\"must_not\":{\"is_empty\":{\"key\":\"@time\"}}}",
        "{\"must\":{\"is_null\":{\"key\":\"@offset\"}}}",
    };
    const int64_t hour_ms = START_MS + HOUR_MS;
    struct world world;
    struct arena arena;
    struct query_view *view;
    struct error error = {0};

    ck_assert_int_eq(START_MS, 1759996800000); /* 2025-10-09T08:00:00Z */
    open_world(&world, 2, 0, test_seed());
    fill(&world, 200);
    arena_create(&arena, 0);
    view = world_view(&world);
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        uint64_t count, wanted = 0;
        for (size_t j = 0; j < world.record_count; j++) {
            const struct world_record *record = &world.records[j];
            const bool holds[] = {
                record->time_ms >= 1759999000000 && record->time_ms < 1760003600000,
                record->time_ms >= 1759999000000 && record->time_ms < 1760003600000,
                record->time_ms >= hour_ms && record->time_ms < hour_ms + HOUR_MS,
                record->time_ms >= hour_ms,
                record->offset < 50,
                record->shard == 1,
                record->shard == 0,
                record->shard != 0,
                record->id == 3 || record->id == 6 || record->id == 9,
                record->id != 3 && record->id != 6 && record->id != 9,
                true,
                false};
            wanted += world_visible(&world, record) && holds[i];
        }
        ck_assert_int_eq(query_count(view, world_filter(&arena, filters[i]), &count, &error), 0);
        ck_assert_msg(count == wanted, "%s: %llu, not %llu", filters[i], (unsigned long long)count,
                      (unsigned long long)wanted);
    }
    query_view_close(view);
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* The oracle's cases, on records. */

enum { COPIES = 3 }; /* of every payload: ids i, i + 1000, i + 2000 */

static void append_payload(struct world *world, uint64_t id, const struct doc *payload)
{
    struct buffer bytes = {0};
    struct store_key key;
    struct error error = {0};
    float vector[8] = {1};
    struct store_record record = {.offset = world->next_offset[0],
                                  .event_time_ms = START_MS + (int64_t)(id % 1000),
                                  .vector = vector};
    struct store_group group = {
        .records = &record, .record_count = 1, .next_offset = record.offset + 1};

    doc_write_msgpack(&bytes, payload);
    store_key_from_u64(id, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    record.payload = bytes.data;
    record.payload_bytes = (uint32_t)bytes.size;
    ck_assert_int_eq(store_shard_append(world->shards[0], &group, &error), 0);
    world->next_offset[0]++;
    buffer_destroy(&bytes);
}

static void check_case(struct query_view *view, const struct doc *test_case, uint32_t payloads,
                       uint32_t number)
{
    const struct doc *rows = doc_get(test_case, "rows");
    struct buffer text = {0};
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct query_scroll scroll = {.limit = 1000, .arena = &arena};
    const uint8_t *next;
    size_t next_bytes;
    size_t at = 0;
    uint64_t count;
    bool by_id;

    doc_write_json(&text, doc_get(test_case, "filter"));
    by_id = strstr(buffer_text(&text), "has_id") != NULL;
    arena_create(&arena, 0);
    scroll.filter = world_filter(&arena, buffer_text(&text));
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
    for (uint32_t i = 0; i < rows->count; i++, at++) {
        ck_assert_msg(at < result.hit_count, "case %u: too few", number);
        ck_assert_msg(world_hit_id(&result.hits[at].row) == (uint64_t)rows->items[i].integer,
                      "case %u: %s", number, buffer_text(&text));
    }
    if (at < result.hit_count)
        ck_assert_msg(world_hit_id(&result.hits[at].row) >= payloads, "case %u: too many", number);
    if (!by_id)
        ck_assert_msg(result.hit_count == (size_t)rows->count * COPIES, "case %u", number);
    ck_assert_int_eq(query_count(view, scroll.filter, &count, &error), 0);
    ck_assert_uint_eq(count, result.hit_count);
    arena_destroy(&arena);
    buffer_destroy(&text);
}

START_TEST(filters_on_stored_records_match_as_qdrants_engine_does)
{
    FILE *file = fopen(WINDROW_FILTER_CASES, "rb");
    char *text = malloc(1 << 20);
    struct world world;
    struct arena arena;
    struct error error = {0};
    struct query_view *view;
    struct doc root;
    const struct doc *payloads, *cases;
    size_t size_bytes;

    ck_assert_ptr_nonnull(file);
    size_bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    arena_create(&arena, 0);
    ck_assert_int_eq(doc_parse_json(&arena, text, size_bytes, NULL, &root, &error), 0);
    payloads = doc_get(&root, "payloads");
    cases = doc_get(&root, "cases");
    open_world(&world, 1, 0, test_seed());
    for (uint64_t copy = 0; copy < COPIES; copy++)
        for (uint32_t i = 0; i < payloads->count; i++)
            append_payload(&world, i + copy * 1000, &payloads->items[i]);
    /* From memory, from a chunk, from a run; the last two through columns, made and known. */
    for (int stage = 0; stage < 3; stage++) {
        if (stage == 1)
            world_flush(&world, 0);
        else if (stage == 2)
            world_seal(&world, 0, START_MS);
        view = world_view(&world);
        for (uint32_t i = 0; i < cases->count; i++)
            check_case(view, &cases->items[i], payloads->count, i);
        query_view_close(view);
    }
    world_close(&world);
    arena_destroy(&arena);
    free(text);
}
END_TEST

START_TEST(fields_of_the_payload_index_are_ready_before_a_filter_asks)
{
    static const char *fields[] = {"n", "tag"};
    struct world world;
    struct world_options options = {
        .shard_count = 1, .dim = 4, .window_ms = 1000, .seed = test_seed()};
    struct query_view_options view = {.collection = &world.collection};
    struct error error = {0};
    size_t made;

    world_open(&world, &options);
    view.registry = world.registry;
    view.io = &world.clock.io;
    for (uint64_t id = 0; id < 300; id++)
        world_upsert(&world, 0, id, 1000 + (int64_t)(id % 3) * 1000, 0, NULL);
    world_flush(&world, 0);
    world_seal(&world, 0, 1000);
    ck_assert_int_eq(query_column_preload(&view, &made, &error), 0);
    ck_assert_uint_eq(made, 0); /* no field is named */
    world.collection.payload_index = fields;
    world.collection.payload_index_count = 2;
    ck_assert_int_eq(query_column_preload(&view, &made, &error), 0);
    ck_assert_uint_eq(made, 3); /* a run and two chunks, each read once for both fields */
    ck_assert_int_eq(query_column_preload(&view, &made, &error), 0);
    ck_assert_uint_eq(made, 0);
    world_seal(&world, 0, 2000);
    ck_assert_int_eq(query_column_preload(&view, &made, &error), 0);
    ck_assert_uint_eq(made, 1);
    store_registry_interrupt(world.registry); /* who closes the shard does not wait for it */
    world_seal(&world, 0, 3000);
    ck_assert_int_eq(query_column_preload(&view, &made, &error), ERROR_CANCELLED);
    ck_assert_uint_eq(made, 0);
    world.collection.payload_index_count = 0;
    world_close(&world);
}
END_TEST

START_TEST(long_texts_have_no_column_and_are_found_all_the_same)
{
    enum { ROWS = 3000 };
    struct world world;
    struct arena arena;
    struct error error = {0};
    uint64_t count;

    open_world(&world, 1, 0, test_seed());
    for (uint64_t id = 0; id < ROWS; id++) {
        char text[300];
        struct arena payload;
        struct doc map, *items;
        arena_create(&payload, 0);
        snprintf(text, sizeof(text),
                 "entry %llu with %s and enough words around it that a column of all these texts "
                 "would cost more memory than it is worth: %llu %llu %llu %llu %llu",
                 (unsigned long long)id, id % 7 == 0 ? "a Needle" : "hay",
                 (unsigned long long)test_random(&world.random),
                 (unsigned long long)test_random(&world.random),
                 (unsigned long long)test_random(&world.random),
                 (unsigned long long)test_random(&world.random),
                 (unsigned long long)test_random(&world.random));
        items = doc_items(&payload, 2);
        items[0] = doc_string(&payload, "text");
        items[1] = doc_string(&payload, text);
        map = (struct doc){.type = DOC_MAP, .count = 1, .items = items};
        append_payload(&world, id, &map);
        arena_destroy(&payload);
    }
    world_seal(&world, 0, START_MS);
    arena_create(&arena, 0);
    for (int again = 0; again < 2; again++) {
        const struct query_filter *filter =
            world_filter(&arena, "{\"must\":{\"key\":\"text\",\"match\":{\"text\":\"needle\"}}}");
        struct query_view *view = world_view(&world);
        float vector[8] = {1};
        struct query_result result;
        struct query_search search = {.vector = vector,
                                      .limit = ROWS,
                                      .filter = filter,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        ck_assert_int_eq(query_count(view, filter, &count, &error), 0);
        ck_assert_uint_eq(count, (ROWS + 6) / 7);
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
        ck_assert_uint_eq(result.hit_count, count);
        for (size_t i = 0; i < result.hit_count; i++)
            ck_assert_uint_eq(world_hit_id(&result.hits[i].row) % 7, 0);
        query_view_close(view);
    }
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* Freshness. */

static void *write_later(void *context)
{
    struct world *world = context;

    usleep(20000);
    for (uint64_t i = 0; i < 10; i++)
        world_upsert(world, 0, i, START_MS, 0, NULL);
    return NULL;
}

START_TEST(a_view_waits_until_an_offset_is_searchable)
{
    struct world world;
    struct query_min_offset wanted = {"0", 9};
    struct query_view_options options = {.min_offsets = &wanted, .min_offset_count = 1};
    const struct query_shard_freshness *fresh;
    struct query_view *view;
    struct error error = {0};
    pthread_t thread;
    size_t count;

    open_world(&world, 1, 0, test_seed());
    options.collection = &world.collection;
    options.registry = world.registry;
    options.io = &world.clock.io;
    options.timeout_ms = 5;
    ck_assert_int_eq(query_view_open(&options, &view, &error), ERROR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(error.text, "offset 9 of partition 0"));
    world_restart(&world); /* no lease was kept, or closing would wait for ever */
    options.registry = world.registry;
    options.timeout_ms = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_later, &world), 0);
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    fresh = query_view_freshness(view, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(fresh[0].shard, "0");
    ck_assert_int_ge(fresh[0].next_offset, 10);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    query_view_close(view);
    wanted.shard = "7"; /* not here */
    options.timeout_ms = 5;
    ck_assert_int_eq(query_view_open(&options, &view, &error), ERROR_TIMEOUT);
    world_close(&world);
}
END_TEST

START_TEST(long_requests_end_at_their_deadline_and_when_a_shard_is_wanted_back)
{
    enum { ROWS = 6000 };
    struct world world;
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct query_view *view;
    const uint8_t *next;
    size_t next_bytes;
    float vector[8] = {1};
    uint64_t count;

    open_world(&world, 1, 0, test_seed());
    for (uint64_t id = 0; id < ROWS; id++)
        world_upsert(&world, 0, id, START_MS, 0, NULL);
    arena_create(&arena, 0);
    for (int late = 1; late >= 0; late--) {
        struct query_view_options options = {.collection = &world.collection,
                                             .registry = world.registry,
                                             .io = &world.clock.io,
                                             .timeout_ms = late ? 1 : 30000};
        struct query_scroll scroll = {.limit = ROWS, .arena = &arena};
        struct query_search search = {.vector = vector,
                                      .limit = 10,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        int wanted = late ? ERROR_TIMEOUT : ERROR_CANCELLED;
        ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
        usleep(5000);
        if (!late)
            store_registry_interrupt(world.registry);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), wanted);
        ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error),
                         wanted);
        /* A search is only stopped by its deadline; who asks for it gets what was found. */
        ck_assert_int_eq(query_search_run(view, &search, &result, &error),
                         late ? ERROR_TIMEOUT : 0);
        search.partial = true;
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
        ck_assert_int_eq(result.partial, late);
        query_view_close(view);
    }
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* Damage. */

/* Flips a byte in the middle of the largest file with this ending. */
static void damage_file(const char *directory, const char *ending)
{
    char path[600], largest[600] = "";
    off_t size = 0;
    DIR *folder = opendir(directory);
    const struct dirent *entry;
    uint8_t byte;
    int file;

    ck_assert_ptr_nonnull(folder);
    while ((entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        if (length < strlen(ending) || strcmp(entry->d_name + length - strlen(ending), ending) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        file = open(path, O_RDONLY);
        if (lseek(file, 0, SEEK_END) > size) {
            size = lseek(file, 0, SEEK_END);
            snprintf(largest, sizeof(largest), "%s", path);
        }
        close(file);
    }
    closedir(folder);
    ck_assert_int_gt(size, 0);
    file = open(largest, O_RDWR);
    ck_assert_int_eq(pread(file, &byte, 1, size / 2), 1);
    byte ^= 0x40;
    ck_assert_int_eq(pwrite(file, &byte, 1, size / 2), 1);
    close(file);
}

START_TEST(a_damaged_window_is_left_out_and_said_so)
{
    struct world world;
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct query_view *view;
    float vector[8] = {1};
    size_t fresh = 0;

    open_world(&world, 1, 0, test_seed());
    for (uint64_t id = 0; id < 400; id++)
        world_upsert(&world, 0, id, START_MS + (int64_t)id, 0, NULL);
    world_seal(&world, 0, START_MS);
    for (uint64_t id = 400; id < 440; id++)
        world_upsert(&world, 0, id, START_MS + HOUR_MS, 0, NULL);
    damage_file(store_shard_directory(world.shards[0]), ".vectors");
    world_restart(&world); /* what the seal has checked is not checked again by its process */
    arena_create(&arena, 0);
    for (int again = 0; again < 2; again++) {
        struct query_search search = {.vector = vector,
                                      .limit = 500,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        view = world_view(&world);
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
        ck_assert(result.partial);
        ck_assert_uint_lt(result.hit_count, 440);
        fresh = 0;
        for (size_t i = 0; i < result.hit_count; i++) {
            uint64_t id = world_hit_id(&result.hits[i].row);
            ck_assert(world_visible(&world, world_find(&world, id)));
            fresh += id >= 400;
        }
        ck_assert_uint_eq(fresh, 40);
        query_view_close(view);
    }
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

START_TEST(a_view_that_leaves_shards_out_names_them_or_is_refused)
{
    static const struct store_expected_shard two[] = {{"0", "t[0]"}, {"7", "t[7]"}};
    struct world world;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};

    open_world(&world, 1, 0, test_seed());
    options = (struct query_view_options){
        .collection = &world.collection, .registry = world.registry, .io = &world.clock.io};
    view = world_view(&world);
    ck_assert(query_view_whole(view));
    query_view_close(view);
    store_registry_expect(world.registry, world.collection.name, two, 2);
    view = world_view(&world);
    ck_assert(!query_view_whole(view));
    ck_assert_uint_eq(query_view_coverage(view)->missing_count, 1);
    ck_assert_str_eq(query_view_coverage(view)->missing[0], "t[7]");
    query_view_close(view);
    options.whole = true;
    ck_assert_int_eq(query_view_open(&options, &view, &error), ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "t[7]"));
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(pages_in_id_order_show_every_record_once), TEST(counts_are_exact),
           TEST(rows_come_in_the_order_of_a_field),
           TEST(rows_without_an_orderable_value_are_left_out),
           TEST(a_record_is_found_by_id_in_its_newest_version),
           TEST(expired_records_are_gone_at_once),
           TEST(virtual_keys_filter_time_window_offset_and_partition),
           TEST(filters_on_stored_records_match_as_qdrants_engine_does),
           TEST(fields_of_the_payload_index_are_ready_before_a_filter_asks),
           TEST(long_texts_have_no_column_and_are_found_all_the_same),
           TEST(a_view_waits_until_an_offset_is_searchable),
           TEST(long_requests_end_at_their_deadline_and_when_a_shard_is_wanted_back),
           TEST(a_damaged_window_is_left_out_and_said_so),
           TEST(a_view_that_leaves_shards_out_names_them_or_is_refused))
