/* Copies of shards between nodes: over real sockets, NATS and files. One node has the shard, one tells lies about it. */
#include <arpa/inet.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/metrics.h"
#include "cluster/cluster.h"
#include "net/http/http.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/install.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/nats_server.h"
#include "tests/support/test_main.h"

enum { DIM = 4, ROWS = 300, LIAR_ROWS = 400, WAIT_ROUNDS = 4000 };

/* Flips a bit of each chunk that is read for another node, and is ahead of time. */
struct flipping_io {
    struct io io; /* first */
    struct io_operations operations;
    atomic_bool flips;
    atomic_int file; /* the chunk that is open */
    _Atomic int64_t ahead_ns;
};

struct node {
    struct config config;
    struct config_collection collection;
    struct metrics *metrics;
    struct flipping_io io;
    struct store *store;
    struct store_registry *registry;
    struct cluster *cluster;
    struct http_server *http;
};

static int flipping_open(struct io *io, const char *path, unsigned flags)
{
    struct flipping_io *flipping = (struct flipping_io *)io;
    int file = io_posix()->operations->open(io_posix(), path, flags);

    if (strstr(path, ".outgoing") && strstr(path, ".chunk"))
        atomic_store(&flipping->file, file);
    return file;
}

static int64_t flipping_pread(struct io *io, int file, void *bytes, size_t size_bytes,
                              uint64_t offset)
{
    struct flipping_io *flipping = (struct flipping_io *)io;
    int64_t count = io_posix()->operations->pread(io_posix(), file, bytes, size_bytes, offset);

    if (count > 0 && file == atomic_load(&flipping->file) && atomic_load(&flipping->flips))
        ((uint8_t *)bytes)[count / 2] ^= 1;
    return count;
}

static int flipping_close(struct io *io, int file)
{
    struct flipping_io *flipping = (struct flipping_io *)io;
    int expected = file;

    (void)atomic_compare_exchange_strong(&flipping->file, &expected, -1);
    return io_posix()->operations->close(io_posix(), file);
}

static int64_t flipping_monotonic_ns(struct io *io)
{
    struct flipping_io *flipping = (struct flipping_io *)io;

    return io_monotonic_ns(io_posix()) + atomic_load(&flipping->ahead_ns);
}

static void append(struct store_shard *shard, int64_t rows)
{
    struct error error = {0};

    for (int64_t i = 0; i < rows; i++) {
        float vector[DIM] = {(float)i, 1, 2, 3};
        struct store_key key;
        struct store_record record = {.offset = i, .event_time_ms = i, .vector = vector};
        struct store_group group = {.records = &record, .record_count = 1, .next_offset = i + 1};
        store_key_from_u64((uint64_t)i, &key);
        record.key = key.bytes;
        record.key_bytes = key.size_bytes;
        ck_assert_msg(store_shard_append(shard, &group, &error) == 0, "%s", error.text);
    }
}

static void open_cluster(struct node *node, const struct nats_server *nats, const char *name)
{
    struct error error = {0};

    node->config.node = name;
    node->config.cluster_name = "test";
    node->config.nats_url = nats->url;
    node->config.nats_prefix = "windrow";
    node->config.cluster_snapshot_records = 100;
    ck_assert_msg(cluster_open(&(struct cluster_options){.config = &node->config,
                                                         .roles = CONFIG_ROLE_INGEST,
                                                         .registry = node->registry,
                                                         .metrics = node->metrics,
                                                         .io = &node->io.io},
                               &node->cluster, &error) == 0,
                  "%s", error.text);
}

/* A node with so many rows in shard 0; with `routes` it serves those instead of its own. */
static void node_open(struct node *node, const struct nats_server *nats, const char *name,
                      int64_t rows, const struct http_route *routes, size_t route_count)
{
    char data_dir[300];
    struct store_shard *shard;
    struct error error = {0};

    *node = (struct node){.collection = {.name = "news", .dim = DIM},
                          .io.operations = *io_posix()->operations};
    atomic_store(&node->io.file, -1);
    node->io.operations.open = flipping_open;
    node->io.operations.pread = flipping_pread;
    node->io.operations.close = flipping_close;
    node->io.operations.monotonic_ns = flipping_monotonic_ns;
    node->io.io.operations = &node->io.operations;
    snprintf(data_dir, sizeof(data_dir), "%s/%s", test_directory(), name);
    node->config = (struct config){.data_dir = strdup(data_dir),
                                   .http_host = "127.0.0.1",
                                   .collections = &node->collection,
                                   .collection_count = 1};
    node->metrics = metrics_new();
    ck_assert_int_eq(store_open(&(struct store_options){.data_dir = node->config.data_dir,
                                                        .memory_max_bytes = 64 << 20,
                                                        .memtable_max_bytes = 1 << 20},
                                &node->store, &error),
                     0);
    node->registry = store_registry_new(&(struct store_registry_options){.store = node->store});
    if (rows > 0) {
        ck_assert_int_eq(
            store_registry_claim(node->registry, &node->collection, "0", &shard, &error), 0);
        append(shard, rows);
    }
    open_cluster(node, nats, name);
    node->http =
        http_server_new(&(struct http_options){.config = &node->config, .metrics = node->metrics});
    if (routes)
        http_server_add_routes(node->http, routes, route_count, node);
    else
        cluster_add_routes(node->cluster, node->http);
    ck_assert_msg(http_server_start(node->http, &error) == 0, "%s", error.text);
    ck_assert_int_eq(cluster_announce(node->cluster, http_server_port(node->http), &error), 0);
}

static void node_close(struct node *node)
{
    cluster_leave(node->cluster);
    http_server_delete(node->http);
    store_registry_close_all(node->registry, false);
    cluster_close(node->cluster);
    store_registry_delete(node->registry);
    store_close(node->store);
    metrics_delete(node->metrics);
    free((char *)node->config.data_dir);
}

/* Until the node hears of somebody with a copy. */
static void wait_worth(struct node *node)
{
    static const struct timespec pause = {.tv_nsec = 5000000};

    for (int i = 0; i < WAIT_ROUNDS && cluster_fetch_worth(node->cluster, "news", "0", -1) < 0; i++)
        nanosleep(&pause, NULL);
    ck_assert_int_ge(cluster_fetch_worth(node->cluster, "news", "0", -1), ROWS);
}

static int fetch(struct node *node, char folder[PATH_MAX])
{
    static atomic_bool cancel;
    struct error error = {0};

    return cluster_fetch_shard(
        node->cluster,
        &(struct cluster_fetch){
            .collection = &node->collection, .shard = "0", .next_offset = -1, .cancel = &cancel},
        folder, &error);
}

static int outcomes(struct node *node, const char *outcome)
{
    struct buffer text = {0};
    char series[80];
    const char *found;
    int count;

    snprintf(series, sizeof(series), "windrow_snapshots_total{outcome=\"%s\"} ", outcome);
    metrics_render(node->metrics, &text);
    found = strstr(buffer_text(&text), series);
    count = found ? atoi(found + strlen(series)) : -1;
    buffer_destroy(&text);
    return count;
}

static int64_t count_rows(struct store_shard *shard)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 1000);
    int64_t next_offset = store_snapshot_next_offset(snapshot), found = 0;

    for (int64_t i = 0; i < next_offset; i++) {
        const struct store_source *source;
        struct store_key key;
        uint32_t row;
        store_key_from_u64((uint64_t)i, &key);
        found += store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row,
                                     ERROR_IGNORED) == 0;
    }
    store_snapshot_release(snapshot);
    return found;
}

START_TEST(shard_is_copied_verified_and_opened_in_place_of_an_older_one)
{
    static struct node owner, taker;
    struct nats_server nats;
    struct store_shard *shard;
    struct error error = {0};
    char folder[PATH_MAX];

    nats_server_start(&nats);
    node_open(&owner, &nats, "owner", ROWS, NULL, 0);
    node_open(&taker, &nats, "taker", 50, NULL, 0); /* what it has is older */
    wait_worth(&taker);
    ck_assert_int_eq(cluster_fetch_worth(taker.cluster, "news", "0", ROWS - 99), -1);
    ck_assert_int_eq(cluster_fetch_worth(taker.cluster, "news", "1", -1), -1);
    ck_assert_int_eq(fetch(&taker, folder), 0);
    ck_assert_int_eq(store_registry_install(taker.registry, &taker.collection, "0", folder, &error),
                     0);
    ck_assert_int_eq(store_shard_peek(taker.store, "news", "0"), ROWS);
    ck_assert_int_eq(store_registry_claim(taker.registry, &taker.collection, "0", &shard, &error),
                     0);
    ck_assert_int_eq(store_shard_next_offset(shard), ROWS);
    ck_assert_int_eq(count_rows(shard), ROWS);
    ck_assert_int_eq(outcomes(&taker, "fetched"), 1);
    node_close(&taker);
    node_close(&owner);
    nats_server_kill(&nats);
}
END_TEST

START_TEST(flipped_bit_on_the_owners_disk_is_refused_and_nothing_stays)
{
    static struct node owner, taker;
    struct nats_server nats;
    struct error error = {0};
    char folder[PATH_MAX];

    nats_server_start(&nats);
    node_open(&owner, &nats, "owner", ROWS, NULL, 0);
    node_open(&taker, &nats, "taker", 0, NULL, 0);
    wait_worth(&taker);
    atomic_store(&owner.io.flips, true);
    ck_assert_int_eq(fetch(&taker, folder), ERROR_CORRUPT);
    ck_assert_int_eq(outcomes(&taker, "refused"), 1);
    snprintf(folder, sizeof(folder), "%s/.incoming/news.0", taker.config.data_dir);
    ck_assert_int_eq(io_list(io_posix(), folder, NULL, NULL, &error), ERROR_NOT_FOUND);
    atomic_store(&owner.io.flips, false);
    ck_assert_int_eq(fetch(&taker, folder), 0);
    node_close(&taker);
    node_close(&owner);
    nats_server_kill(&nats);
}
END_TEST

/* Asks for a copy of shard "0", and for nothing of it. */
static void begin_copy(const struct node *node)
{
    static const char request[] =
        "POST /internal/snapshot?collection=news&shard=0 HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n";
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons(http_server_port(node->http))};
    char reply[4096] = "";
    ssize_t got;
    size_t used = 0;
    int peer = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(connect(peer, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(send(peer, request, strlen(request), 0), (ssize_t)strlen(request));
    while ((got = recv(peer, reply + used, sizeof(reply) - 1 - used, 0)) > 0)
        used += (size_t)got;
    ck_assert_msg(strncmp(reply, "HTTP/1.1 200", 12) == 0, "%s", reply);
    close(peer);
}

static int count_one(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return 0;
}

static int copies_of(const struct node *node)
{
    struct error error = {0};
    char folder[PATH_MAX];
    int count = 0;

    (void)snprintf(folder, sizeof(folder), "%s/.outgoing", node->config.data_dir);
    ck_assert_int_eq(io_list(io_posix(), folder, count_one, &count, &error), 0);
    return count;
}

START_TEST(a_copy_that_nobody_fetches_goes_by_itself)
{
    const int64_t minute_ns = 60 * INT64_C(1000000000);
    static struct node owner;
    struct nats_server nats;

    nats_server_start(&nats);
    node_open(&owner, &nats, "owner", ROWS, NULL, 0);
    begin_copy(&owner);
    ck_assert_int_eq(copies_of(&owner), 1);
    atomic_store(&owner.io.ahead_ns, 9 * minute_ns);
    cluster_tick(owner.cluster);
    ck_assert_int_eq(copies_of(&owner), 1);
    atomic_store(&owner.io.ahead_ns, 11 * minute_ns);
    cluster_tick(owner.cluster);
    ck_assert_int_eq(copies_of(&owner), 0);
    node_close(&owner);
    nats_server_kill(&nats);
}
END_TEST

/* What the liar answers. */

#define LIST(collection, dim, next, files)                                                         \
    "{\"id\":\"0123456789abcdef0123456789abcdef\",\"collection\":\"" collection                    \
    "\",\"shard\":\"0\",\"dim\":" dim ",\"metric\":0,\"next_offset\":" next ",\"files\":[" files   \
    "]}"
#define ONE_FILE "{\"name\":\"000001.chunk\",\"bytes\":100}"

static const struct {
    const char *list;
    size_t bytes; /* of each range */
    const char *outcome;
} lies[] = {
    {"{}", 0, "refused"},
    {LIST("other", "4", "400", ONE_FILE), 0, "refused"},
    {LIST("news", "8", "400", ONE_FILE), 0, "refused"},
    {LIST("news", "4", "-1", ONE_FILE), 0, "refused"},
    {LIST("news", "4", "400", "{\"name\":\"../CURRENT\",\"bytes\":1}"), 0, "refused"},
    {LIST("news", "4", "400", "{\"name\":\"CURRENT\"}"), 0, "refused"},
    {LIST("news", "4", "400", "{\"name\":\"a\",\"bytes\":9000000000000000000}"), 0, "failed"},
    {LIST("news", "4", "400", ONE_FILE), 50, "failed"},  /* half a body */
    {LIST("news", "4", "400", ONE_FILE), 108, "failed"}, /* whole, with a wrong checksum */
    {LIST("news", "4", "400", ""), 0, "refused"},        /* no manifest */
};

static atomic_int lie;

static void handle_list(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, lies[atomic_load(&lie)].list);
    http_reply_end(request, NULL);
}

static void handle_range(struct http_request *request)
{
    size_t bytes = lies[atomic_load(&lie)].bytes;

    request->status = 200;
    request->content_type = HTTP_TYPE_BINARY;
    memset(buffer_reserve(&request->reply, bytes), 7, bytes);
    request->reply.size += bytes;
}

static const struct http_key any_parameters[] = {
    {.name = "collection", .shape = &http_string},
    {.name = "shard", .shape = &http_string},
    {.name = "id", .shape = &http_string},
    {.name = "file", .shape = &http_string},
    {.name = "offset", .shape = &http_integer},
    {.name = "length", .shape = &http_integer},
    {.name = NULL},
};
static const struct http_schema any_schema = {.parameters = any_parameters};
static const struct http_route liars_routes[] = {
    {"POST", "/internal/snapshot", handle_list, HTTP_READ, &any_schema},
    {"GET", "/internal/snapshot", handle_range, HTTP_READ, &any_schema},
};

START_TEST(liar_is_refused_by_name_and_the_next_owner_is_asked)
{
    static struct node owner, liar, taker;
    struct nats_server nats;
    char folder[PATH_MAX];
    int counts[2] = {0, 0};

    nats_server_start(&nats);
    node_open(&liar, &nats, "liar", LIAR_ROWS, liars_routes, 2);
    node_open(&taker, &nats, "taker", 0, NULL, 0);
    wait_worth(&taker);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        bool refused = strcmp(lies[i].outcome, "refused") == 0;
        atomic_store(&lie, (int)i);
        ck_assert_int_ne(fetch(&taker, folder), 0);
        counts[refused]++;
        ck_assert_msg(outcomes(&taker, "refused") == counts[1] &&
                          outcomes(&taker, "failed") == counts[0],
                      "lie %zu: %d refused, %d failed", i, outcomes(&taker, "refused"),
                      outcomes(&taker, "failed"));
    }
    node_open(&owner, &nats, "owner", ROWS, NULL, 0); /* less fresh: asked second */
    for (int i = 0; i < WAIT_ROUNDS && fetch(&taker, folder) != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    ck_assert_int_eq(outcomes(&taker, "fetched"), 1);
    node_close(&owner);
    node_close(&taker);
    node_close(&liar);
    nats_server_kill(&nats);
}
END_TEST

TEST_TABLE(TEST(shard_is_copied_verified_and_opened_in_place_of_an_older_one),
           TEST(flipped_bit_on_the_owners_disk_is_refused_and_nothing_stays),
           TEST(a_copy_that_nobody_fetches_goes_by_itself),
           TEST(liar_is_refused_by_name_and_the_next_owner_is_asked))
