#include "tests/indexer/query/query_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "indexer/query/wire.h"
#include "store/lease.h"
#include "store/registry.h"
#include "tests/support/test_main.h"

uint64_t cluster_random(struct cluster *cluster)
{
    cluster->random = cluster->random * 6364136223846793005U + 1442695040888963407U;
    return cluster->random >> 33;
}

struct query_exchange {
    const struct query_peer_call *call;
    struct cluster *cluster;
};

static struct query_exchange *start(void *context, const struct query_peer_call *call)
{
    struct query_exchange *exchange = malloc(sizeof(*exchange));

    ck_assert_ptr_nonnull(exchange);
    *exchange = (struct query_exchange){call, context};
    return exchange;
}

static void refuse(struct buffer *body)
{
    struct arena arena;
    struct doc map;
    struct doc *pair;

    arena_create(&arena, 0);
    map = doc_map(&arena, 2);
    pair = doc_items(&arena, 2);
    pair[0] = doc_integer(ERROR_INVALID);
    pair[1] = wire_text("it does not know the operation");
    doc_put(&map, "v", doc_integer(QUERY_PROTOCOL));
    doc_put(&map, "error", (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair});
    body->size = 0;
    doc_write_msgpack(body, &map);
    wire_seal(body, 0);
    arena_destroy(&arena);
}

/* An answer with hits; its checksum fits afterwards. Whether it was one. */
static bool change(struct cluster *cluster, struct buffer *body)
{
    static const struct doc_limits limits = {.max_bytes = 64 << 20, .max_depth = 96};
    struct error error = {0};
    struct arena arena;
    struct doc answer;
    size_t body_bytes = body->size;
    const uint8_t *bytes;
    bool changed = false;

    arena_create(&arena, 0);
    ck_assert_int_eq(wire_open(body->data, &body_bytes, &error), 0);
    bytes = (const uint8_t *)arena_copy(&arena, body->data, body_bytes);
    ck_assert_int_eq(doc_parse_msgpack(&arena, bytes, body_bytes, &limits, &answer, &error), 0);
    if (doc_get(doc_get(&answer, "result"), "hits")) {
        cluster->change(&answer, &arena);
        changed = true;
        body->size = 0;
        doc_write_msgpack(body, &answer);
        wire_seal(body, 0);
    }
    arena_destroy(&arena);
    return changed;
}

/* Whether the answer is not sound afterwards. */
static bool spoil(struct cluster *cluster, enum damage damage, struct buffer *body)
{
    switch (damage) {
    case GARBAGE:
        for (size_t i = 0; i < body->size; i++)
            body->data[i] = (uint8_t)cluster_random(cluster);
        break;
    case HALF:
        body->size /= 2;
        break;
    case REFUSING:
        refuse(body);
        break;
    case CHANGED:
        return change(cluster, body);
    case FLIPPED:
        body->data[cluster_random(cluster) % body->size] ^=
            (uint8_t)(1U << cluster_random(cluster) % 8);
        break;
    default:
        break;
    }
    return damage != SOUND;
}

static bool is_superseded(void *asker, size_t place, int32_t generation)
{
    const struct cluster *cluster = asker;

    (void)place;
    return generation < cluster->newer_generation;
}

/* One request to one node for all of its shards that are wanted. */
static void ask(struct query_exchange *exchange, struct node *node)
{
    const struct query_peer_call *call = exchange->call;
    struct cluster *cluster = exchange->cluster;
    struct stop stop;
    const struct query_view_options options = {.registry = node->world.registry,
                                               .io = &node->world.clock.io,
                                               .stop = &stop,
                                               .describer = cluster->describer};
    const char *shards[SHARDS];
    bool served[SHARDS] = {false};
    struct query_peer_answer answer = {.node = "peer",
                                       .shards = shards,
                                       .served = served,
                                       .superseded = is_superseded,
                                       .asker = cluster};
    struct buffer request = {0}, reply = {0};
    struct error error = {0};
    size_t asked;
    bool spoiled;
    int code;

    for (size_t i = 0; i < call->shard_count; i++)
        if (node->owns[call->shards[i][0] - '0'])
            shards[answer.shard_count++] = call->shards[i];
    if (answer.shard_count == 0)
        return;
    cluster->requests++;
    if (node->damage == SILENT)
        return;
    stop_create(&stop, io_posix());
    if (node->out_of_time)
        stop.deadline_ns = 0;
    asked = answer.shard_count;
    if (node->damage == OTHER_SHARDS) {
        answer.shard_count = asked - 1;
        if (asked == 1)
            shards[0] = "9";
    }
    query_peer_request(call, node->damage == OTHER_SHARDS && asked == 1 ? call->shards : shards,
                       asked, &request);
    code = query_answer(&cluster->config, &options, request.data, request.size, &reply, &error);
    ck_assert_msg(code == 0, "%d: %s", code, error.text);
    spoiled = spoil(cluster, node->damage, &reply);
    answer.body = reply.data;
    answer.body_bytes = reply.size;
    code = call->accept(call->context, &answer, &error);
    cluster->refused += code != 0;
    if (spoiled)
        ck_assert_int_ne(code, 0);
    else if (!node->out_of_time &&
             cluster->newer_generation ==
                 0) /* it has no use where there is a copy at the asking node */
        ck_assert_msg(code == 0, "%s", error.text);
    buffer_destroy(&request);
    buffer_destroy(&reply);
}

static void finish(struct query_exchange *exchange, bool cancel, struct query_peer_counts *counts)
{
    struct cluster *cluster = exchange->cluster;

    for (size_t i = 0; i < cluster->node_count && !cancel; i++)
        if (i != cluster->asking && !atomic_load(&cluster->lost)) {
            counts->asked++;
            exchange->cluster->asked++;
            if (cluster->before_ask)
                cluster->before_ask(cluster);
            ask(exchange, &cluster->nodes[i]);
        }
    free(exchange);
}

static bool serves(void *context, const struct config_collection *collection, const char *shard)
{
    const struct cluster *cluster = context;
    bool served = atomic_load(&cluster->moves);

    (void)collection;
    for (size_t i = 0; i < cluster->node_count; i++)
        served |= i != cluster->asking && cluster->nodes[i].owns[shard[0] - '0'];
    return served && !atomic_load(&cluster->lost);
}

static bool reaches(void *context, const struct config_collection *collection, const char *shard,
                    int64_t offset)
{
    const struct cluster *cluster = context;

    (void)collection;
    (void)shard;
    (void)offset;
    return !atomic_load(&cluster->moves);
}

static int protocol(void *context)
{
    const struct cluster *cluster = context;

    return cluster->protocol != 0 ? cluster->protocol : QUERY_PROTOCOL;
}

/* Clusters. */

struct node *cluster_owner(struct cluster *cluster, size_t shard)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].owns[shard])
            return &cluster->nodes[i];
    ck_abort_msg("a shard without an owner");
    return NULL;
}

static void expect_all(struct world *world)
{
    static const struct store_expected_shard all[SHARDS] = {
        {"0", "topic[0]"}, {"1", "topic[1]"}, {"2", "topic[2]"}, {"3", "topic[3]"}};

    store_registry_expect(world->registry, "world", all, SHARDS);
}

void cluster_open(struct cluster *cluster, size_t node_count, enum vector_metric metric,
                  uint64_t seed)
{
    const struct world_options options = {.shard_count = SHARDS,
                                          .dim = DIM,
                                          .metric = metric,
                                          .window_ms = hour_ms,
                                          .ttl_ms = 100 * hour_ms,
                                          .seed = seed};

    *cluster = (struct cluster){.node_count = node_count, .random = seed};
    cluster->peers = (struct query_peers){.context = cluster,
                                          .serves = serves,
                                          .reaches = reaches,
                                          .protocol = protocol,
                                          .start = start,
                                          .finish = finish};
    world_open(&cluster->whole, &options);
    for (size_t i = 0; i < node_count; i++) {
        struct node *node = &cluster->nodes[i];
        world_open(&node->world, &options);
        for (size_t shard = 0; shard < SHARDS; shard++) {
            node->owns[shard] = shard % node_count == i;
            if (!node->owns[shard])
                store_registry_close(node->world.registry, node->world.shards[shard], false);
        }
        expect_all(&node->world);
    }
    cluster->config =
        (struct config){.collections = &cluster->whole.collection, .collection_count = 1};
}

void cluster_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        world_close(&cluster->nodes[i].world);
    world_close(&cluster->whole);
}

void cluster_set_clock(struct cluster *cluster, int64_t now_ms)
{
    atomic_store(&cluster->whole.clock.now_ms, now_ms);
    for (size_t i = 0; i < cluster->node_count; i++)
        atomic_store(&cluster->nodes[i].world.clock.now_ms,
                     now_ms + cluster->nodes[i].clock_ahead_ms);
}

void cluster_fill(struct cluster *cluster)
{
    float vector[DIM];

    for (size_t i = 0; i < RECORDS; i++) {
        uint64_t id = cluster_random(cluster) % IDS;
        size_t shard = id % 50 == 0 ? cluster_random(cluster) % SHARDS : id % SHARDS;
        struct world *worlds[] = {&cluster->whole, &cluster_owner(cluster, shard)->world};
        int64_t time_ms = start_ms + (int64_t)(i * 8 * (size_t)hour_ms / RECORDS);
        uint64_t number = cluster_random(cluster);
        world_random_vector(&cluster->whole, vector);
        if (i % 3 == 0)
            for (size_t k = 0; k < DIM; k++)
                vector[k] = k == i % DIM ? 1.0F : 0.0F;
        for (size_t w = 0; w < 2; w++) {
            worlds[w]->random = number; /* the payload's */
            if (i % 20 == 19)
                world_delete(worlds[w], shard, id, time_ms);
            else if (i % 20 == 7)
                world_upsert_bare(worlds[w], shard, id, time_ms, 0);
            else
                world_upsert(worlds[w], shard, id, time_ms, 0, vector);
            if (i % 400 == 399)
                world_flush(worlds[w], shard);
        }
    }
    cluster_set_clock(cluster, start_ms + 9 * hour_ms);
}

void cluster_upsert_near(struct cluster *cluster, size_t shard, uint64_t id, float near)
{
    struct world *worlds[] = {&cluster->whole, &cluster_owner(cluster, shard)->world};
    uint64_t number = cluster_random(cluster);

    for (size_t w = 0; w < 2; w++) {
        worlds[w]->random = number; /* the vector's, and the payload's */
        world_upsert_near(worlds[w], shard, id, start_ms + 8 * hour_ms, near);
    }
}

struct query_view *cluster_view(struct cluster *cluster, bool whole)
{
    struct node *node = &cluster->nodes[cluster->asking];
    struct query_view_options options = {.collection = &cluster->whole.collection,
                                         .registry = node->world.registry,
                                         .io = &node->world.clock.io,
                                         .whole = whole,
                                         .peers = &cluster->peers};
    struct query_view *view;
    struct error error = {0};

    ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
    return view;
}

void cluster_open_late(struct cluster *cluster)
{
    struct store_registry *registry;

    cluster_open(cluster, 5, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(cluster);
    registry = cluster->nodes[0].world.registry;
    store_registry_watch_others(registry, 1000, INT64_MAX);
    store_registry_note_others(registry, "world", "0", KNOWN_OFFSET, INT64_MAX);
    cluster->nodes[4].owns[0] = true;
}
