/* Entries of an order: one for each value of an array that is in its range. */
#include <stdio.h>
#include <string.h>

#include "store/append.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "tests/indexer/query/query_world.h"

#define T0 INT64_C(1700000000000)

static void append(struct world *world, uint64_t id, const char *json)
{
    static const float vector[WORLD_DIM_MAX] = {1};
    const int64_t offset = world->next_offset[0]++;
    struct store_record record = {
        .offset = offset, .event_time_ms = T0 + (int64_t)id, .vector = vector};
    const struct store_group group = {
        .records = &record, .record_count = 1, .next_offset = offset + 1};
    struct buffer payload = {0};
    struct store_key key;
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    ck_assert_int_eq(doc_parse_json(&arena, json, strlen(json), NULL, &doc, ERROR_IGNORED), 0);
    doc_write_msgpack(&payload, &doc);
    store_key_from_u64(id, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    record.payload = payload.data;
    record.payload_bytes = (uint32_t)payload.size;
    ck_assert_int_eq(store_shard_append(world->shards[0], &group, ERROR_IGNORED), 0);
    buffer_destroy(&payload);
    arena_destroy(&arena);
}

static const struct {
    const char *order_by;
    bool descending, once;
    const char *start; /* JSON */
    uint32_t limit;
    const char *entries; /* "id=value ..." */
} cases[] = {
    {"v", false, false, "null", 99, "3=-2 1=1 2=3 3=4 1=5 2=5 1=9 4=9.5"},
    {"v", true, false, "null", 99, "4=9.5 1=9 1=5 2=5 3=4 2=3 1=1 3=-2"},
    {"v", false, false, "5", 99, "1=5 2=5 1=9 4=9.5"},
    {"v", true, false, "4", 99, "3=4 2=3 1=1 3=-2"},
    {"v", false, false, "null", 3, "3=-2 1=1 2=3"},
    {"v", true, false, "null", 4, "4=9.5 1=9 1=5 2=5"},
    {"v", false, true, "null", 99, "3=-2 1=1 2=3 4=9.5"},
    {"v", true, true, "null", 99, "4=9.5 1=9 2=5 3=4"},
    {"v", false, true, "4", 99, "3=4 1=5 2=5 4=9.5"}, /* the first value in range */
    {"v", true, true, "4", 2, "3=4 2=3"},
    {"o[].v", false, false, "null", 99, "5=1 5=2 5=7"},
    {"@offset", true, false, "2", 99, "3=2 2=1 1=0"},
};

static void check(struct query_view *view, size_t i, const char *when)
{
    struct query_result result;
    struct error error = {0};
    struct buffer text = {0};
    struct arena arena;
    struct doc start;
    const uint8_t *next;
    size_t next_bytes;
    struct query_scroll scroll = {.limit = cases[i].limit,
                                  .order_by = cases[i].order_by,
                                  .descending = cases[i].descending,
                                  .once = cases[i].once,
                                  .start_from = &start,
                                  .wants = {.payload = true},
                                  .arena = &arena};

    arena_create(&arena, 0);
    ck_assert_int_eq(
        doc_parse_json(&arena, cases[i].start, strlen(cases[i].start), NULL, &start, ERROR_IGNORED),
        0);
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &next_bytes, &error), 0);
    for (size_t k = 0; k < result.hit_count; k++) {
        struct doc value;
        ck_assert_int_eq(
            query_hit_order_value(&result.hits[k], cases[i].order_by, &arena, &value, &error), 0);
        buffer_append_format(&text, "%s%llu=", k > 0 ? " " : "",
                             (unsigned long long)world_hit_id(&result.hits[k].row));
        doc_write_json(&text, &value);
    }
    ck_assert_msg(strcmp(buffer_text(&text), cases[i].entries) == 0, "%s, case %zu: %s", when, i,
                  buffer_text(&text));
    buffer_destroy(&text);
    arena_destroy(&arena);
}

START_TEST(each_value_of_an_array_is_an_entry)
{
    struct world world;
    struct query_view *view;

    world_open(&world, &(struct world_options){.shard_count = 1,
                                               .dim = 4,
                                               .metric = VECTOR_METRIC_L2,
                                               .window_ms = 3600000,
                                               .seed = test_seed()});
    append(&world, 1, "{\"v\":[5,1,9,5,\"soon\",null]}");
    append(&world, 2, "{\"v\":[3,5]}");
    append(&world, 3, "{\"v\":[4,-2,4.0]}");
    append(&world, 4, "{\"v\":9.5}");
    append(&world, 5, "{\"v\":[],\"o\":[{\"v\":[7,1]},{\"v\":2},{\"v\":1}]}");
    for (int sealed = 0; sealed < 2; sealed++) {
        view = world_view(&world);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            check(view, i, sealed ? "in a run" : "in memory");
        query_view_close(view);
        world_flush(&world, 0);
        world_seal(&world, 0, T0);
    }
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(each_value_of_an_array_is_an_entry))
