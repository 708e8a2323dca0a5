#include "tests/cluster/asker.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "store/registry.h"
#include "store/store.h"

static int64_t read_clock_ns(struct io *io)
{
    const struct asker *asker = (const struct asker *)((char *)io - offsetof(struct asker, io));

    return atomic_load(&asker->clock_ns);
}

void asker_open(struct asker *asker)
{
    struct store_options store = {
        .data_dir = test_directory(), .memory_max_bytes = 64 << 20, .memtable_max_bytes = 1 << 20};
    struct error error = {0};

    *asker = (struct asker){.collection = {.name = "news", .dim = 4, .window_ms = 1000}};
    asker->operations = *io_posix()->operations;
    asker->operations.monotonic_ns = read_clock_ns;
    asker->io.operations = &asker->operations;
    atomic_store(&asker->clock_ns, io_monotonic_ns(io_posix()));
    nats_server_start(&asker->nats);
    asker->config = (struct config){.node = "asker",
                                    .kafka_group = "group",
                                    .cluster_name = "test",
                                    .cluster_fresh_within_ms = 5000,
                                    .cluster_fresh_records = 10000,
                                    .nats_url = asker->nats.url,
                                    .nats_prefix = "windrow",
                                    .http_host = "127.0.0.1",
                                    .collections = &asker->collection,
                                    .collection_count = 1};
    asker->metrics = metrics_new();
    ck_assert_int_eq(store_open(&store, &asker->store, &error), 0);
    asker->registry = store_registry_new(&(struct store_registry_options){.store = asker->store});
    asker->options = (struct cluster_options){.config = &asker->config,
                                              .registry = asker->registry,
                                              .metrics = asker->metrics,
                                              .io = &asker->io};
    ck_assert_int_eq(natsConnection_ConnectTo(&asker->connection, asker->nats.url), NATS_OK);
}

void asker_close(struct asker *asker)
{
    natsConnection_Destroy(asker->connection);
    store_registry_delete(asker->registry);
    store_close(asker->store);
    metrics_delete(asker->metrics);
    nats_server_kill(&asker->nats);
}

void asker_pass(struct asker *asker, int64_t ns)
{
    atomic_fetch_add(&asker->clock_ns, ns);
}

int asker_metric(const struct asker *asker, const char *series)
{
    struct buffer text = {0};
    const char *found;
    int value;

    metrics_render(asker->metrics, &text);
    found = strstr(buffer_text(&text), series);
    value = found ? atoi(found + strlen(series)) : -1;
    buffer_destroy(&text);
    return value;
}

static void publish(struct asker *asker, const void *bytes, size_t size)
{
    ck_assert_int_eq(
        natsConnection_Publish(asker->connection, "windrow.cluster.test.nodes", bytes, (int)size),
        NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(asker->connection), NATS_OK);
}

/* Messages of a subject come in their order. */
void asker_settle(struct asker *asker)
{
    static const char series[] = "windrow_cluster_announcements_total{outcome=\"malformed\"} ";
    const int before = asker_metric(asker, series);

    publish(asker, "?", 1);
    UNTIL(asker_metric(asker, series) > before, (void)0);
}

void asker_publish(struct asker *asker, const struct doc *announcement)
{
    struct buffer bytes = {0};

    doc_write_msgpack(&bytes, announcement);
    publish(asker, bytes.data, bytes.size);
    buffer_destroy(&bytes);
}
