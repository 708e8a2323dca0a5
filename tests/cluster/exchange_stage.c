#include "tests/cluster/exchange_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fake nodes. */

static void handle(struct http_request *request)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    static const char *const words[] = {
        [GARBAGE] = "nonsense", [MOVED] = "moved", [PARTLY] = "partly"};
    static const unsigned refusals[BEHAVIOURS] = {
        [UNAVAILABLE] = 503, [OVERLOADED] = 429, [TOO_LATE] = 504};
    struct fake *fake = request->context;
    const unsigned before = atomic_fetch_add(&fake->asked, 1);
    const enum behaviour behaviour = atomic_load(&fake->behaviour);
    const char *word = behaviour < sizeof(words) / sizeof(words[0]) ? words[behaviour] : NULL;
    struct error error = {0};

    atomic_store(&fake->timeout_ms, atoi(http_request_argument(request, "timeout_ms")));
    if (refusals[behaviour] != 0) {
        http_reply_error(request, refusals[behaviour], "not now");
        return;
    }
    if (behaviour == SLOW || (behaviour == SLOW_ONCE && before == 0)) {
        asker_pass(fake->asker, LATE_MS * (SECOND_NS / 1000));
        while (!atomic_load(&fake->released) && stop_check(&request->stop, &error) == 0)
            nanosleep(&pause, NULL);
        atomic_store(&fake->ended, error.code);
    }
    http_reply_plain(request, 200, HTTP_TYPE_BINARY);
    buffer_append_text(&request->reply, word ? word : "sound");
}

static const struct http_key parameters[] = {{.name = "timeout_ms", .shape = &http_integer},
                                             {.name = NULL}};
static const struct http_schema schema = {.parameters = parameters, .body = &http_bytes};
static const struct http_route routes[] = {
    {"POST", "/internal/query", handle, HTTP_INTERNAL, &schema}};

void fake_start(struct fake *fake)
{
    struct error error = {0};

    atomic_store(&fake->released, false);
    fake->metrics = metrics_new();
    fake->server =
        http_server_new(&(struct http_options){.config = &fake->config, .metrics = fake->metrics});
    http_server_add_routes(fake->server, routes, 1, fake);
    ck_assert_msg(http_server_start(fake->server, &error) == 0, "%s", error.text);
}

static void fake_open(struct fake *fake)
{
    fake->config = (struct config){.http_host = "127.0.0.1"};
    fake_start(fake);
}

void fake_close(struct fake *fake)
{
    atomic_store(&fake->released, true);
    http_server_delete(fake->server);
    metrics_delete(fake->metrics);
}

/* Announcements, as a node of that name would send them. */

static void put(struct doc *map, struct arena *arena, const char *key, struct doc value)
{
    struct doc *items = (struct doc *)map->items + (size_t)2 * map->count++;

    items[0] = doc_string(arena, key);
    items[1] = value;
}

static struct doc list(const struct doc *items, uint32_t count)
{
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}

static struct doc shards_of(const struct stage *stage, struct arena *arena, int64_t next_offset,
                            uint32_t first, uint32_t count)
{
    struct doc *items = doc_items(arena, count);

    for (uint32_t i = 0; i < count; i++) {
        struct doc *fields = doc_items(arena, 4);
        char name[8];
        snprintf(name, sizeof(name), "%u", first + i);
        fields[0] = doc_string(arena, name);
        fields[1] = doc_integer(next_offset);
        fields[2] = doc_integer(0);
        fields[3] = doc_integer(stage->generation);
        items[i] = list(fields, 4);
    }
    return list(items, count);
}

void stage_announce(struct stage *stage, const char *cluster, const char *node, uint16_t port,
                    int64_t next_offset, uint32_t first, uint32_t count)
{
    struct arena arena;
    struct doc collection = {.type = DOC_MAP}, doc = {.type = DOC_MAP}, range[2];
    char address[64];

    arena_create(&arena, 0);
    snprintf(address, sizeof(address), stage->address ? stage->address : "127.0.0.1:%u", port);
    collection.items = doc_items(&arena, 8);
    put(&collection, &arena, "name", doc_string(&arena, "news"));
    put(&collection, &arena, "shards", shards_of(stage, &arena, next_offset, first, count));
    put(&collection, &arena, "expected", list(NULL, 0));
    doc.items = doc_items(&arena, 20);
    put(&doc, &arena, "v", doc_integer(stage->version ? stage->version : 1));
    put(&doc, &arena, "cluster", doc_string(&arena, cluster));
    put(&doc, &arena, "node", doc_string(&arena, node));
    put(&doc, &arena, "group", doc_string(&arena, "group"));
    put(&doc, &arena, "incarnation", doc_integer(port));
    put(&doc, &arena, "address", doc_string(&arena, address));
    for (int i = 0; i < NODES; i++)
        if (stage->protocols[i][1] != 0 && http_server_port(stage->fakes[i].server) == port) {
            range[0] = doc_integer(stage->protocols[i][0]);
            range[1] = doc_integer(stage->protocols[i][1]);
            put(&doc, &arena, "protocol", list(range, 2));
        }
    put(&doc, &arena, "collections", list(&collection, 1));
    asker_publish(&stage->asker, &doc);
    arena_destroy(&arena);
}

int stage_outcomes(struct stage *stage, const char *outcome)
{
    char series[80];

    snprintf(series, sizeof(series), "windrow_cluster_announcements_total{outcome=\"%s\"} ",
             outcome);
    return asker_metric(&stage->asker, series);
}

int stage_gauge(struct stage *stage, const char *name)
{
    char series[80];

    snprintf(series, sizeof(series), "\n%s ", name);
    return asker_metric(&stage->asker, series);
}

void stage_open(struct stage *stage)
{
    struct error error = {0};

    *stage = (struct stage){0};
    asker_open(&stage->asker);
    ck_assert_msg(cluster_open(&stage->asker.options, &stage->cluster, &error) == 0, "%s",
                  error.text);
    for (int i = 0; i < NODES; i++) {
        stage->fakes[i].asker = &stage->asker;
        fake_open(&stage->fakes[i]);
    }
}

void stage_announce_fake(struct stage *stage, int fake, struct fake_node node)
{
    stage_announce(stage, "test", node.name, http_server_port(stage->fakes[fake].server),
                   node.next_offset, node.first, node.count);
}

static void announce_each(struct stage *stage, const struct fake_node *nodes, int count)
{
    for (int i = 0; i < count; i++)
        stage_announce_fake(stage, i, nodes[i]);
}

void stage_announce_nodes(struct stage *stage, const struct fake_node *nodes, int count)
{
    const int enough = 2 * count - 1; /* the first may come before anybody listens; then all did */

    UNTIL(stage_outcomes(stage, "taken") >= enough, announce_each(stage, nodes, count));
}

void stage_announce_both(struct stage *stage)
{
    static const struct fake_node nodes[] = {{"n0", 1000000, 0, SHARDS}, {"n1", 900000, 0, SHARDS}};

    stage_announce_nodes(stage, nodes, 2);
}

void stage_close(struct stage *stage)
{
    cluster_close(stage->cluster);
    for (int i = 0; i < NODES; i++)
        fake_close(&stage->fakes[i]);
    asker_close(&stage->asker);
}

/* Calls. */

static bool says(const struct query_peer_answer *answer, const char *word)
{
    return answer->body_bytes == strlen(word) && memcmp(answer->body, word, strlen(word)) == 0;
}

static bool is_superseded(struct stage *stage, const struct query_peer_answer *answer)
{
    void (*answered)(struct stage * stage) = stage->answered;
    bool superseded = false;

    stage->answered = NULL;
    if (answered)
        answered(stage);
    for (size_t i = 0; i < answer->shard_count; i++)
        superseded |= answer->superseded(
            answer->asker, i, stage->answered_generations[strcmp(answer->node, "n0") != 0]);
    return superseded;
}

static int accept_sound(void *context, const struct query_peer_answer *answer, struct error *error)
{
    struct taken *taken = context;
    size_t count = answer->shard_count;

    if (says(answer, "moved")) {
        count = 0;
        if (taken->stage->moved)
            taken->stage->moved(taken->stage);
    } else if (says(answer, "partly")) {
        count = 1;
    } else if (strcmp(answer->node, taken->stage->asker.config.node) == 0) {
        taken->own_shards += (unsigned)count;
    } else if (!says(answer, "sound")) {
        return error_set(error, ERROR_INVALID, "not sound");
    } else if (is_superseded(taken->stage, answer)) {
        return error_set(error, ERROR_UNAVAILABLE, "superseded");
    }
    taken->answers++;
    for (size_t i = 0; i < count; i++)
        answer->served[i] = true;
    taken->shards += (unsigned)count;
    return 0;
}

/* A request for how many points there are. */
static void put_request(struct stage *stage, struct buffer *out)
{
    struct doc map = {.type = DOC_MAP}, op = {.type = DOC_MAP}, none = {.type = DOC_MAP};
    struct arena arena;

    arena_create(&arena, 0);
    map.items = doc_items(&arena, 12);
    op.items = doc_items(&arena, 2);
    put(&op, &arena, "do", doc_string(&arena, "totals"));
    put(&map, &arena, "v", doc_integer(QUERY_PROTOCOL));
    put(&map, &arena, "collection", doc_string(&arena, stage->asker.collection.name));
    put(&map, &arena, "dim", doc_integer(stage->asker.collection.dim));
    put(&map, &arena, "now_ms", doc_integer(1));
    put(&map, &arena, "min_offsets", none);
    put(&map, &arena, "op", op);
    doc_write_msgpack(out, &map);
    arena_destroy(&arena);
}

static bool may_wait(void *context)
{
    const struct taken *taken = context;

    return !atomic_load(&taken->stage->closes);
}

struct query_peer_counts stage_call_until(struct stage *stage, struct taken *taken,
                                          struct stop *stop)
{
    const int64_t now_ns = io_monotonic_ns(&stage->asker.io);
    static const char *const shards[SHARDS] = {"0", "1", "2"};
    const struct query_peers *peers = cluster_peers(stage->cluster);
    struct query_peer_call wanted = {
        .collection = &stage->asker.collection,
        .shards = shards,
        .shard_count = SHARDS,
        .deadline_ns = now_ns + (int64_t)TIMEOUT_MS * 1000000,
        .patient_until_ns = stage->patient_ms ? now_ns + (int64_t)stage->patient_ms * 1000000 : 0,
        .may_wait = may_wait,
        .stop = stop,
        .accept = accept_sound,
        .context = taken};
    struct query_peer_counts counts = {0};
    struct buffer body = {0};

    put_request(stage, &body);
    wanted.body = body.data;
    wanted.body_bytes = body.size;
    *taken = (struct taken){.stage = stage};
    peers->finish(peers->start(peers->context, &wanted), false, &counts);
    buffer_destroy(&body);
    return counts;
}

struct query_peer_counts stage_call(struct stage *stage, struct taken *taken)
{
    return stage_call_until(stage, taken, NULL);
}

static bool time_passes(void *context)
{
    struct stage *stage = context;

    asker_pass(&stage->asker, SECOND_NS / 20);
    return false;
}

struct query_peer_counts stage_call_while_time_passes(struct stage *stage, struct taken *taken)
{
    struct stop stop;

    stop_create(&stop, io_posix());
    stop.abandoned = time_passes;
    stop.context = stage;
    return stage_call_until(stage, taken, &stop);
}
