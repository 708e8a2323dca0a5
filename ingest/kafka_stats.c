#include "ingest/kafka_stats.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/logger.h"

enum { STATISTICS_MAX_BYTES = 64 * 1024 * 1024 };

struct sums {
    double connects, errors;
    double rtt_us, throttle_ms; /* of the slowest broker */
    double queue_messages, queue_bytes;
};

static double number(const struct doc *map, const char *key)
{
    const struct doc *value = map ? doc_get(map, key) : NULL;
    double found = 0;

    return value && doc_as_double(value, &found) ? found : 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void add_broker(struct sums *sums, const struct doc *broker)
{
    sums->connects += number(broker, "connects");
    sums->errors +=
        number(broker, "txerrs") + number(broker, "rxerrs") + number(broker, "req_timeouts");
    sums->rtt_us = larger(sums->rtt_us, number(doc_get(broker, "rtt"), "avg"));
    sums->throttle_ms = larger(sums->throttle_ms, number(doc_get(broker, "throttle"), "avg"));
}

static void add_partition(struct sums *sums, const struct doc *partition)
{
    sums->queue_messages += number(partition, "fetchq_cnt");
    sums->queue_bytes += number(partition, "fetchq_size");
}

static void add_topic(struct sums *sums, const struct doc *topic)
{
    const struct doc *partitions = doc_get(topic, "partitions");

    for (uint32_t i = 0; partitions && partitions->type == DOC_MAP && i < partitions->count; i++)
        add_partition(sums, &partitions->items[2 * (size_t)i + 1]);
}

static void each(struct sums *sums, const struct doc *map,
                 void (*add)(struct sums *, const struct doc *))
{
    for (uint32_t i = 0; map && map->type == DOC_MAP && i < map->count; i++)
        if (map->items[2 * (size_t)i + 1].type == DOC_MAP)
            add(sums, &map->items[2 * (size_t)i + 1]);
}

struct target {
    struct metrics *metrics;
    const char *role;
};

static struct metric *series(const struct target *target, const char *what, const char *help,
                             bool counter)
{
    char name[96];

    snprintf(name, sizeof(name), "windrow_kafka_%s_%s", target->role, what);
    return counter ? metrics_counter(target->metrics, name, help, NULL, 0)
                   : metrics_gauge(target->metrics, name, help, NULL, 0);
}

/* The client counts since it was made; a new client starts anew. */
static void count(const struct target *target, const char *what, const char *help, double value)
{
    struct metric *metric = series(target, what, help, true);
    double before = metric_value(metric);

    metric_add(metric, value >= before ? value - before : value);
}

static void set(const struct target *target, const char *what, const char *help, double value)
{
    metric_set(series(target, what, help, false), value);
}

static void publish(const struct target *target, const struct doc *statistics)
{
    const struct doc *group = doc_get(statistics, "cgrp");
    struct sums sums = {.queue_messages = number(statistics, "msg_cnt"),
                        .queue_bytes = number(statistics, "msg_size")};

    each(&sums, doc_get(statistics, "brokers"), add_broker);
    each(&sums, doc_get(statistics, "topics"), add_topic);
    count(target, "received_bytes_total", "Bytes from brokers", number(statistics, "rx_bytes"));
    count(target, "sent_bytes_total", "Bytes to brokers", number(statistics, "tx_bytes"));
    count(target, "connects_total", "Connections made to brokers", sums.connects);
    count(target, "request_errors_total", "Requests that failed or timed out", sums.errors);
    set(target, "broker_rtt_seconds", "Mean round trip to the slowest broker", sums.rtt_us / 1e6);
    set(target, "broker_throttle_seconds",
        "Mean time by which a quota of the broker delays replies", sums.throttle_ms / 1e3);
    set(target, "queue_messages", "Messages in the client's queue", sums.queue_messages);
    set(target, "queue_bytes", "Bytes in the client's queue", sums.queue_bytes);
    if (group)
        count(target, "rebalances_total", "Rebalances of the consumer group",
              number(group, "rebalance_cnt"));
}

void kafka_stats_publish(struct metrics *metrics, const char *role, const char *json,
                         size_t json_bytes)
{
    const struct doc_limits limits = {.max_bytes = STATISTICS_MAX_BYTES};
    struct target target = {metrics, role};
    struct doc statistics;
    struct error error = {0};
    struct arena arena;

    if (!metrics)
        return;
    arena_create(&arena, 0);
    if (doc_parse_json(&arena, json, json_bytes, &limits, &statistics, &error) == 0)
        publish(&target, &statistics);
    else
        log_debug("ingest", "kafka %s: statistics: %s", role, error.text);
    arena_destroy(&arena);
}
