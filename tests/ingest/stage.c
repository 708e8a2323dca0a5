#include "tests/ingest/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client;
    (void)opaque;
    ck_assert_msg(message->err == 0, "%s", rd_kafka_err2str(message->err));
}

static rd_kafka_t *client_new(void)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client;

    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set(conf, "linger.ms", "0", text, sizeof(text));
    /* The mock cluster has no brokers of ours in its way yet. */
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
    client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    ck_assert_msg(client != NULL, "%s", text);
    return client;
}

/* The mock coordinator waits for a whole session before it ends a rebalance. */
static const struct config_pair properties[] = {{"session.timeout.ms", "3000"}};

void stage_create(struct stage *stage, int partition_count)
{
    *stage = (struct stage){.client = client_new(), .topics = {"points"}};
    stage->cluster = rd_kafka_mock_cluster_new(stage->client, 1);
    ck_assert_ptr_nonnull(stage->cluster);
    rd_kafka_mock_topic_create(stage->cluster, "points", partition_count, 1);
    rd_kafka_mock_topic_create(stage->cluster, "dead", 1, 1);
    rd_kafka_brokers_add(stage->client, rd_kafka_mock_cluster_bootstraps(stage->cluster));
    stage->collection = (struct config_collection){
        .name = "points",
        .topics = stage->topics,
        .topic_count = 1,
        .dim = STAGE_DIM,
        .metric = VECTOR_METRIC_L2,
        .window_ms = 3600000,
        .max_future_ms = 300000,
        .idle_timeout_ms = 60000,
        .late_allowed_ms = 600000,
        .size_tiered_min_threshold = 4,
        .size_tiered_max_threshold = 32,
    };
    stage->config = (struct config){
        .kafka_brokers = rd_kafka_mock_cluster_bootstraps(stage->cluster),
        .kafka_group = "windrow",
        .kafka_dead_letters = "dead",
        .kafka_properties = properties,
        .kafka_property_count = 1,
        .collections = &stage->collection,
        .collection_count = 1,
    };
}

void stage_destroy(struct stage *stage)
{
    rd_kafka_mock_cluster_destroy(stage->cluster);
    rd_kafka_destroy(stage->client);
}

void stage_send(struct stage *stage, const char *topic, int partition, const char *key,
                const char *value, const char *const *headers)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(4);
    rd_kafka_resp_err_t code;

    for (; headers && headers[0]; headers += 2)
        rd_kafka_header_add(list, headers[0], -1, headers[1], -1);
    code = rd_kafka_producev(
        stage->client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END);
    ck_assert_msg(code == 0, "%s", rd_kafka_err2str(code));
    ck_assert_int_eq(rd_kafka_flush(stage->client, STAGE_WAIT_MS), 0);
}

void stage_send_points(struct stage *stage, int partition_count, int from, int to)
{
    for (int id = from; id < to; id++) {
        char key[16];
        char value[128];
        rd_kafka_resp_err_t code;
        snprintf(key, sizeof(key), "%d", id);
        snprintf(value, sizeof(value), "{\"id\":%d,\"vector\":[%d,1,2,3],\"payload\":{\"n\":%d}}",
                 id, id, id);
        code = rd_kafka_producev(
            stage->client, RD_KAFKA_V_TOPIC("points"), RD_KAFKA_V_PARTITION(id % partition_count),
            RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, strlen(value)),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        ck_assert_msg(code == 0, "%s", rd_kafka_err2str(code));
    }
    ck_assert_int_eq(rd_kafka_flush(stage->client, STAGE_WAIT_MS), 0);
}

/* Node. */

/* "3" -> 3; shards of further topics lie above. */
static int slot_of(const char *shard_name)
{
    const char *dash = strrchr(shard_name, '-');

    return dash ? 32 + atoi(dash + 1) : atoi(shard_name);
}

static int shard_opened(void *context, struct store_shard *shard, struct error *error)
{
    struct node *node = context;
    int number = slot_of(store_shard_name(shard));

    (void)error;
    ck_assert(atomic_fetch_add(&node->stage->owners[number], 1) == 0 || node->stage->keeps);
    ck_assert_ptr_null(node->shards[number]);
    node->openings++;
    node->shards[number] = shard;
    return 0;
}

static void shard_closed(void *context, const char *name)
{
    struct node *node = context;

    node->shards[slot_of(name)] = NULL;
    ck_assert(atomic_fetch_sub(&node->stage->owners[slot_of(name)], 1) == 1 || node->stage->keeps);
}

static void partition_left(void *context, const struct config_collection *collection,
                           const char *shard, bool lost)
{
    struct node *node = context;

    (void)collection;
    (void)shard;
    atomic_fetch_add(lost ? &node->losses : &node->flushes, 1);
    if (lost) /* no writer any more, but open for searches until somebody closes it */
        store_registry_close_unclaimed(node->registry);
}

void node_open_store(struct node *node)
{
    struct store_options options = {.data_dir = node->data_dir,
                                    .memory_max_bytes = 256 << 20,
                                    .memtable_max_bytes = 32 << 20,
                                    .io = node->io,
                                    .metrics = node->metrics};
    struct error error = {0};

    ck_assert_msg(store_open(&options, &node->store, &error) == 0, "%s", error.text);
    node->registry = store_registry_new(&(struct store_registry_options){.store = node->store,
                                                                         .opened = shard_opened,
                                                                         .closed = shard_closed,
                                                                         .opened_context = node,
                                                                         .expects_shards = true});
}

void node_close_store(struct node *node)
{
    store_registry_delete(node->registry);
    store_close(node->store);
}

void node_create(struct node *node, struct stage *stage, const char *data_dir)
{
    *node = (struct node){.stage = stage,
                          .config = stage->config,
                          .data_dir = data_dir,
                          .io = io_posix(),
                          .metrics = metrics_new()};
    node->config.data_dir = data_dir;
    node_open_store(node);
}

void node_start(struct node *node)
{
    struct ingest_options options = {.config = &node->config,
                                     .registry = node->registry,
                                     .host = {.context = node,
                                              .partition_left = partition_left,
                                              .fetch_worth = node->copies.fetch_worth,
                                              .fetch = node->copies.fetch},
                                     .metrics = node->metrics,
                                     .io = node->io};
    struct error error = {0};

    ck_assert_msg(ingest_start(&options, &node->ingest, &error) == 0, "%s", error.text);
}

void node_stop(struct node *node)
{
    ingest_stop(node->ingest);
    node->ingest = NULL;
    store_registry_close_all(node->registry, false); /* what was lost */
}

void node_destroy(struct node *node)
{
    if (node->ingest)
        node_stop(node);
    node_close_store(node);
    metrics_delete(node->metrics);
}

const char *stage_directory(const char *name)
{
    static char paths[8][128];
    static int used;
    char *path = paths[used++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", test_directory(), name);
    return path;
}

/* Waiting. */

void stage_wait(bool (*done)(void *context), void *context, const char *what)
{
    /* A limit for hangs only: nothing here measures time. */
    for (int waited_ms = 0; waited_ms < STAGE_WAIT_MS; waited_ms += 20) {
        if (done(context))
            return;
        usleep(20000);
    }
    ck_abort_msg("not within %d ms: %s", STAGE_WAIT_MS, what);
}

static bool is_ready(void *context)
{
    struct node *node = context;
    char why[256];

    return ingest_ready(node->ingest, why, sizeof(why));
}

void node_wait_ready(struct node *node)
{
    stage_wait(is_ready, node, "the node is ready");
}

bool node_partition(struct node *node, int number, struct ingest_partition_status *status)
{
    struct ingest_partition_status *list;
    struct arena arena;
    bool found = false;
    size_t count;

    arena_create(&arena, 0);
    count = ingest_status(node->ingest, &arena, &list);
    for (size_t i = 0; i < count; i++) {
        if (list[i].partition != number)
            continue;
        *status = list[i];
        status->topic = NULL; /* lay in the arena */
        found = true;
    }
    arena_destroy(&arena);
    return found;
}

struct awaited {
    struct node *node;
    int number;
    int64_t offset;
    char *stopped;
};

static bool reached(void *context)
{
    struct awaited *awaited = context;
    struct ingest_partition_status status;

    return node_partition(awaited->node, awaited->number, &status) &&
           status.next_offset >= awaited->offset;
}

void node_wait_offset(struct node *node, int number, int64_t offset)
{
    struct awaited awaited = {.node = node, .number = number, .offset = offset};

    stage_wait(reached, &awaited, "the partition reaches its offset");
}

static bool is_stopped(void *context)
{
    struct awaited *awaited = context;
    struct ingest_partition_status status;

    if (!node_partition(awaited->node, awaited->number, &status) || status.stopped[0] == '\0')
        return false;
    memcpy(awaited->stopped, status.stopped, sizeof(status.stopped));
    return true;
}

void node_wait_stopped(struct node *node, int number, char text[512])
{
    struct awaited awaited = {.node = node, .number = number, .stopped = text};

    stage_wait(is_stopped, &awaited, "the partition stops");
}

double node_metric(struct node *node, const char *series)
{
    struct buffer text = {0};
    const char *found;
    double value = -1;
    size_t length = strlen(series);

    metrics_render(node->metrics, &text);
    for (found = buffer_text(&text); found && value < 0; found = strchr(found, '\n')) {
        found += *found == '\n';
        if (strncmp(found, series, length) == 0 && found[length] == ' ')
            value = strtod(found + length, NULL);
    }
    buffer_destroy(&text);
    return value;
}

size_t node_count_rows(struct node *node, int partition_count)
{
    size_t rows = 0;

    for (int number = 0; number < partition_count; number++) {
        char name[16];
        struct store_shard *shard;
        struct store_snapshot *snapshot;
        struct store_cursor *cursor;
        const struct store_source *source;
        struct error error = {0};
        uint32_t row;
        snprintf(name, sizeof(name), "%d", number);
        ck_assert_msg(store_registry_claim(node->registry, &node->stage->collection, name, &shard,
                                           &error) == 0,
                      "%s", error.text);
        snapshot = store_snapshot_acquire(shard, 0);
        cursor = store_cursor_open(snapshot, NULL, 0);
        while (store_cursor_next(cursor, &source, &row))
            rows++;
        store_cursor_close(cursor);
        store_snapshot_release(snapshot);
        store_registry_close(node->registry, shard, false);
    }
    return rows;
}
