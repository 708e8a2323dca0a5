/* Hostile requests to a node and hostile answers to one. A checksum alone would stop every changed
 * input at the door, so the input is sealed first: what is left is the structure, which must be
 * refused or taken without a step outside of it. FUZZ_ANSWERS: the first byte chooses the operation
 * that the rest is an answer to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/query/wire.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"

enum { DIM = 8, IDS = 40, SHARDS = 4, OPERATIONS = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t start_ms = 1700000000000 / 3600000 * 3600000;

/* The node: shard 0 is here, the others are asked for. */
static struct node {
    char folder[40];
    struct store *store;
    struct store_registry *registry;
    struct config_collection collection;
} node;

static int64_t stopped_clock_ms(struct io *io)
{
    (void)io;
    return start_ms + 2 * INT64_C(3600000);
}

static struct io *still_io(void)
{
    static struct io_operations operations;
    static struct io io;

    operations = *io_posix()->operations;
    operations.wall_ms = stopped_clock_ms;
    io.operations = &operations;
    return &io;
}

static void require(int code, const struct error *error)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s\n", error->text);
    abort();
}

static void remove_node(void)
{
    char command[80];

    store_registry_close_all(node.registry, false);
    store_registry_delete(node.registry);
    store_close(node.store);
    (void)snprintf(command, sizeof(command), "rm -rf %s", node.folder);
    if (system(command) != 0)
        perror(node.folder);
}

static void append(struct store_shard *shard, uint64_t id)
{
    static const uint8_t payload[] = "\x81\xa3tag\xa2t1"; /* {"tag": "t1"} */
    float vector[DIM] = {1, (float)id};
    struct error error = {0};
    struct store_key key;
    struct store_record record = {.offset = (int64_t)id,
                                  .event_time_ms = start_ms + (int64_t)id * 60000,
                                  .vector = vector,
                                  .payload = payload,
                                  .payload_bytes = sizeof(payload) - 1};
    const struct store_group group = {.records = &record,
                                      .record_count = 1,
                                      .next_offset = (int64_t)id + 1,
                                      .clock = {.watermark_ms = record.event_time_ms}};

    store_key_from_u64(id, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    require(store_shard_append(shard, &group, &error), &error);
}

static struct node *the_node(void)
{
    static const char *topics[] = {"topic"};
    static const struct store_expected_shard all[SHARDS] = {
        {"0", "topic[0]"}, {"1", "topic[1]"}, {"2", "topic[2]"}, {"3", "topic[3]"}};
    struct store_options options = {.io = still_io(),
                                    .data_dir = node.folder,
                                    .memory_max_bytes = 64 << 20,
                                    .memtable_max_bytes = 1 << 20};
    struct store_shard *shard;
    struct error error = {0};

    if (node.store)
        return &node;
    (void)snprintf(node.folder, sizeof(node.folder), "/tmp/windrow-fuzz-XXXXXX");
    if (!mkdtemp(node.folder))
        abort();
    node.collection = (struct config_collection){.name = "world",
                                                 .topics = topics,
                                                 .topic_count = 1,
                                                 .dim = DIM,
                                                 .metric = VECTOR_METRIC_COSINE,
                                                 .window_ms = 3600000,
                                                 .ttl_ms = INT64_C(360000000),
                                                 .durability = CONFIG_DURABILITY_KAFKA};
    require(store_open(&options, &node.store, &error), &error);
    node.registry = store_registry_new(&(struct store_registry_options){.store = node.store});
    require(store_registry_claim(node.registry, &node.collection, "0", &shard, &error), &error);
    for (uint64_t id = 0; id < IDS; id++)
        append(shard, id);
    store_registry_expect(node.registry, "world", all, SHARDS);
    (void)atexit(remove_node);
    return &node;
}

#ifndef FUZZ_ANSWERS

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node *the = the_node();
    const struct config config = {.collections = &the->collection, .collection_count = 1};
    const struct query_view_options options = {
        .registry = the->registry, .io = still_io(), .timeout_ms = 1000};
    struct buffer body = {0}, reply = {0};
    struct error error = {0};

    if (size == 0)
        return 0;
    buffer_append(&body, data, size);
    wire_seal(&body, 0);
    (void)query_answer(&config, &options, body.data, body.size, &reply, &error);
    buffer_destroy(&body);
    buffer_destroy(&reply);
    return 0;
}

#else

/* The peer says what the input says. */
struct query_exchange {
    const struct query_peer_call *call;
};

static struct buffer the_answer;

static struct query_exchange *start(void *context, const struct query_peer_call *call)
{
    static struct query_exchange exchange;

    (void)context;
    exchange.call = call;
    return &exchange;
}

static void finish(struct query_exchange *exchange, bool cancel, struct query_peer_counts *counts)
{
    const struct query_peer_call *call = exchange->call;
    bool served[SHARDS] = {false};
    const struct query_peer_answer answer = {.node = "peer",
                                             .shards = call->shards,
                                             .shard_count = call->shard_count,
                                             .body = the_answer.data,
                                             .body_bytes = the_answer.size,
                                             .served = served};
    struct error error = {0};

    if (!cancel)
        counts->answered += call->accept(call->context, &answer, &error) == 0;
}

static bool serves(void *context, const struct config_collection *collection, const char *shard)
{
    (void)context;
    (void)collection;
    (void)shard;
    return true;
}

static int protocol(void *context)
{
    (void)context;
    return QUERY_PROTOCOL;
}

/* Hits are read to the bottom: what was taken must be whole. */
static void read_hits(const struct query_result *result, struct arena *arena)
{
    for (size_t i = 0; i < result->hit_count; i++) {
        const struct query_row *row = &result->hits[i].row;
        struct error error = {0};
        struct doc payload;
        const float *vector;
        (void)query_row_payload(row, arena, &payload, &error);
        (void)query_row_vector(row, arena, &vector, &error);
        (void)query_row_id(row, arena);
        (void)query_row_window_ms(row);
    }
}

static void search(struct query_view *view, size_t count, struct arena *arena, struct error *error)
{
    static const float vector[DIM] = {1};
    const struct query_search one = {.vector = vector,
                                     .limit = 10,
                                     .from_ms = INT64_MIN,
                                     .to_ms = INT64_MAX,
                                     .explain = true,
                                     .wants = {true, true},
                                     .arena = arena};
    const struct query_search searches[] = {one, one};
    struct query_result results[2];

    if (query_searches_run(view, searches, count, results, error) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        read_hits(&results[i], arena);
}

static void scroll(struct query_view *view, struct arena *arena, struct error *error)
{
    const struct query_scroll scroll = {.limit = 10, .wants = {true, true}, .arena = arena};
    struct query_result result;
    const uint8_t *next;
    size_t next_bytes;

    if (query_scroll_run(view, &scroll, &result, &next, &next_bytes, error) == 0)
        read_hits(&result, arena);
}

static void ids(struct query_view *view, bool locate, struct arena *arena, struct error *error)
{
    enum { ASKED = 8 };
    struct store_key keys[ASKED];
    struct query_key asked[ASKED];
    struct query_row rows[ASKED];
    struct query_holders *holders;

    for (uint64_t i = 0; i < ASKED; i++) {
        store_key_from_u64(i, &keys[i]);
        asked[i] = (struct query_key){keys[i].bytes, keys[i].size_bytes};
    }
    if (locate)
        (void)query_locate(view, asked, ASKED, arena, &holders, error);
    else
        (void)query_find_many(view, asked, ASKED, (struct query_wants){true, true}, arena, rows,
                              error);
}

static void run(struct query_view *view, unsigned operation, struct arena *arena)
{
    struct query_written written[] = {{.shard = "0", .offset = 1}, {.shard = "1", .offset = 2}};
    struct query_facet_value *values;
    struct query_totals totals;
    struct error error = {0};
    uint64_t count;
    size_t value_count;

    switch (operation) {
    case 0:
        search(view, 1, arena, &error);
        break;
    case 1:
        scroll(view, arena, &error);
        break;
    case 2:
        (void)query_count(view, NULL, &count, &error);
        break;
    case 3:
        (void)query_facet(view, "tag", NULL, arena, &values, &value_count, &error);
        break;
    case 6:
        (void)query_totals(view, &totals, &error);
        break;
    case 7:
        (void)query_view_wait(view, written, 2, &error);
        break;
    case 8:
        search(view, 2, arena, &error);
        break;
    default:
        ids(view, operation == 5, arena, &error);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct query_peers peers = {
        .serves = serves, .protocol = protocol, .start = start, .finish = finish};
    struct node *the = the_node();
    const struct query_view_options options = {.collection = &the->collection,
                                               .registry = the->registry,
                                               .io = still_io(),
                                               .peers = &peers};
    struct query_view *view;
    struct error error = {0};
    struct arena arena;

    if (size < 2)
        return 0;
    buffer_append(&the_answer, data + 1, size - 1);
    wire_seal(&the_answer, 0);
    arena_create(&arena, 0);
    if (query_view_open(&options, &view, &error) == 0) {
        run(view, data[0] % OPERATIONS, &arena);
        query_view_close(view);
    }
    arena_destroy(&arena);
    the_answer.size = 0;
    return 0;
}

#endif
