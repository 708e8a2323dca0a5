/* `windrow bench ingest`: how close windrow comes to what librdkafka itself can read.
 *
 * On one topic of a real broker, in one run and in turns: a raw librdkafka consumer that only
 * touches the bytes, then windrow's consumer down to durable records in the real store, in new
 * shards each time. Both are taken from the first record to the last; the medians of all rounds
 * count, and of both the processor time a record, which tells more on a machine that does other
 * things too. Measured beside them: the least that a consumer can do for records to be durable, and
 * what the device takes with the log's own kind of write, which no durable rate can pass.
 *
 * After that freshness: records are produced at fractions of the rate at which producer, broker and
 * windrow run together, and each one's age is taken when the store's durable offset passes it. */
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "bench/ingest_device.h"
#include "bench/ingest_kafka.h"
#include "bench/measure.h"
#include "ingest/ingest.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"

/* More than either side uses. */
#define WARM_BYTES ((size_t)3 << 30)

enum {
    SHARDS_MAX = 64,
    TOPIC_BYTES = 64,
    PATH_BYTES = 4096,
    ROUNDS_MAX = 15,
};

struct bench {
    const char *brokers;
    const char *directory;
    const char *format; /* "raw", "msgpack", "json" */
    uint64_t record_count;
    uint32_t dim;
    int partition_count;
    int round_count;
    double seconds; /* of each freshness run */
    enum store_durability durability;
    bool json;

    char topic[TOPIC_BYTES];
    const char *topics[1];
    struct config_collection collection;
    struct config config;
    struct buffer value; /* one encoded record; its first floats change */

    struct store *store;
    struct store_registry *registry;
    atomic_bool stop_flushing;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "windrow-bench-ingest: %s: %s\n", what, why);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return left < right ? -1 : left > right;
}

/* Records. */

static void acknowledged(void *context, const struct ingest_produced *result)
{
    if (result->code != 0)
        die("produce", result->text);
    if (context)
        *(double *)context = bench_now();
}

/* `at_s`: when it was acknowledged, or NULL. */
static void send_record(struct bench *bench, struct ingest_producer *producer, uint64_t id,
                        double *at_s)
{
    struct error error = {0};
    char key[24];
    int length = snprintf(key, sizeof(key), "%llu", (unsigned long long)id);
    struct ingest_outgoing message;
    int code;

    message = (struct ingest_outgoing){.topic = bench->topic,
                                       .partition = INGEST_PARTITION_BY_KEY,
                                       .key = key,
                                       .key_bytes = (size_t)length,
                                       .id_kind = STORE_ID_NUMBER,
                                       .value = bench->value.data,
                                       .value_bytes = bench->value.size,
                                       .timestamp_ms = -1};
    do
        code = ingest_producer_send(producer, &message, acknowledged, at_s, &error);
    while (code == ERROR_BUSY);
    if (code != 0)
        die("produce", error.text);
}

static struct ingest_producer *producer_new(struct bench *bench)
{
    struct ingest_producer *producer;
    struct error error = {0};

    if (ingest_producer_new(&bench->config, NULL, &producer, &error) != 0 ||
        ingest_producer_create_topic(producer, bench->topic, bench->partition_count, 1, NULL,
                                     &error) != 0)
        die("producer", error.text);
    return producer;
}

static void fill_topic(struct bench *bench)
{
    struct ingest_producer *producer = producer_new(bench);
    struct error error = {0};
    double start_s = bench_now();

    for (uint64_t id = 0; id < bench->record_count; id++) {
        /* Encoding every JSON record anew would be most of the time. */
        if (id % 64 == 0)
            bench_record_encode(bench->format, bench->dim, id, &bench->value);
        send_record(bench, producer, id, NULL);
        if (id % 64 == 0)
            (void)ingest_producer_poll(producer, 0);
    }
    if (ingest_producer_delete(producer, 60000, &error) != 0)
        die("produce", error.text);
    fprintf(stderr, "%llu %s records of %zu bytes produced in %.1f s\n",
            (unsigned long long)bench->record_count, bench->format, bench->value.size,
            bench_now() - start_s);
}

/* Windrow. */

/* What the program's maintenance does meanwhile. */
static void *flush_loop(void *context)
{
    struct bench *bench = context;

    while (!atomic_load(&bench->stop_flushing)) {
        struct store_registry_position position = {0};
        struct store_lease lease;
        while (store_registry_acquire_next(bench->registry, &position, &lease)) {
            struct error error = {0};
            if (store_shard_flush_due(lease.shard, &error) != 0)
                die("flush", error.text);
            store_registry_release(bench->registry, &lease);
        }
        usleep(1000);
    }
    return NULL;
}

static uint64_t durable(struct bench *bench)
{
    uint64_t total = 0;
    struct store_registry_position position = {0};
    struct store_lease lease;

    while (store_registry_acquire_next(bench->registry, &position, &lease)) {
        int64_t next = store_shard_next_offset(lease.shard);
        total += next > 0 ? (uint64_t)next : 0;
        store_registry_release(bench->registry, &lease);
    }
    return total;
}

struct windrow {
    struct ingest *ingest;
    pthread_t flusher;
};

/* One store for all rounds, as one process of windrow has for months: its buffers for memtables are
 * new memory in the first round only. Log files are new in each: their shards are. */
static void store_start(struct bench *bench)
{
    const struct store_options options = {.data_dir = bench->directory,
                                          .memory_max_bytes = (uint64_t)2 << 30,
                                          .memtable_max_bytes = 128 << 20};
    struct error error = {0};

    bench_folder_remove(bench->directory);
    if (store_open(&options, &bench->store, &error) != 0)
        die("store", error.text);
    bench->registry = store_registry_new(&(struct store_registry_options){.store = bench->store});
}

static void windrow_start(struct bench *bench, struct windrow *windrow)
{
    struct ingest_options options = {.config = &bench->config, .registry = bench->registry};
    struct error error = {0};

    atomic_store(&bench->stop_flushing, false);
    if (ingest_start(&options, &windrow->ingest, &error) != 0)
        die("windrow", error.text);
    if (pthread_create(&windrow->flusher, NULL, flush_loop, bench) != 0)
        die("windrow", "no thread");
}

static void windrow_stop(struct bench *bench, struct windrow *windrow)
{
    ingest_stop(windrow->ingest);
    atomic_store(&bench->stop_flushing, true);
    pthread_join(windrow->flusher, NULL);
}

/* From the first durable record to the last. */
static struct bench_speed measure_windrow(struct bench *bench)
{
    struct windrow windrow;
    struct bench_speed speed;
    char shards[PATH_BYTES];
    uint64_t first = 0;
    double start_s;
    double start_cpu_s = bench_cpu();

    windrow_start(bench, &windrow);
    while ((first = durable(bench)) == 0)
        usleep(200);
    start_s = bench_now();
    while (durable(bench) < bench->record_count)
        usleep(2000);
    speed.records_per_s = (double)(bench->record_count - first) / (bench_now() - start_s);
    speed.cpu_us = (bench_cpu() - start_cpu_s) / (double)bench->record_count * 1e6;
    windrow_stop(bench, &windrow);
    snprintf(shards, sizeof(shards), "%s/%s", bench->directory, bench->collection.name);
    bench_folder_remove(shards);
    fprintf(stderr, "windrow: %.0f records/s, %.2f us of processor time each\n",
            speed.records_per_s, speed.cpu_us);
    return speed;
}

/* Freshness. */

struct freshness {
    double rate;
    uint64_t record_count;
    double p50_ms, p99_ms, p999_ms;
    double acknowledged_p50_ms, acknowledged_p99_ms; /* what of it is the producer's and Kafka's */
    double after_p50_ms, after_p99_ms;               /* from the acknowledgement on */
    double noise_ms; /* a hundredth of the time lay in sleeps of 0.1 ms that took this or longer */
};

struct stamps {
    struct bench *bench;
    double *sent_s;
    double *acknowledged_s;
    double *seen_s;
    uint64_t base; /* durable offset before the first */
    uint64_t count;
    double *sleeps_s; /* how long each of the watcher's sleeps took */
    size_t sleep_count;
    atomic_bool done;
};

enum { SLEEPS_MAX = 1 << 18 };

/* When the durable offset passes each record. One partition, one producer: offsets count up. */
static void *watch(void *context)
{
    struct stamps *stamps = context;
    uint64_t seen = 0;
    double slept_s = bench_now();

    while (seen < stamps->count && !atomic_load(&stamps->done)) {
        uint64_t now = durable(stamps->bench) - stamps->base;
        double at_s = bench_now();
        for (; seen < now && seen < stamps->count; seen++)
            stamps->seen_s[seen] = at_s;
        if (stamps->sleep_count < SLEEPS_MAX)
            stamps->sleeps_s[stamps->sleep_count++] = at_s - slept_s;
        slept_s = at_s;
        usleep(100);
    }
    return NULL;
}

/* What the machine alone does to a thread that wants to run now. */
static double noise_ms(const struct stamps *stamps)
{
    double total_s = 0;
    double sum_s = 0;
    size_t i = stamps->sleep_count;

    qsort(stamps->sleeps_s, stamps->sleep_count, sizeof(double), compare);
    for (size_t k = 0; k < stamps->sleep_count; k++)
        total_s += stamps->sleeps_s[k];
    while (i > 0 && sum_s < total_s / 100)
        sum_s += stamps->sleeps_s[--i];
    return i < stamps->sleep_count ? stamps->sleeps_s[i] * 1e3 : 0;
}

static void produce_at(struct stamps *stamps, struct ingest_producer *producer, double rate)
{
    double start_s = bench_now();

    for (uint64_t i = 0; i < stamps->count; i++) {
        double ahead_s;
        while ((ahead_s = start_s + (double)i / rate - bench_now()) > 0) {
            (void)ingest_producer_poll(producer, 0);
            if (ahead_s > 200e-6)
                usleep(100);
        }
        stamps->sent_s[i] = bench_now();
        send_record(stamps->bench, producer, i, &stamps->acknowledged_s[i]);
    }
}

static void sort(double *values, uint64_t count)
{
    qsort(values, count, sizeof(double), compare);
}

static double quantile_ms(const double *values_s, uint64_t count, double quantile)
{
    return values_s[(uint64_t)((double)count * quantile)] * 1e3;
}

/* Makes ages of the times, and of the acknowledgements what came after them. */
static void take_quantiles(const struct stamps *stamps, struct freshness *result)
{
    uint64_t count = stamps->count;

    for (uint64_t i = 0; i < count; i++) {
        double sent_s = stamps->sent_s[i];
        stamps->sent_s[i] = stamps->seen_s[i] - stamps->acknowledged_s[i];
        stamps->seen_s[i] -= sent_s;
        stamps->acknowledged_s[i] -= sent_s;
    }
    sort(stamps->seen_s, count);
    sort(stamps->acknowledged_s, count);
    sort(stamps->sent_s, count);
    result->record_count = count;
    result->p50_ms = quantile_ms(stamps->seen_s, count, 0.5);
    result->p99_ms = quantile_ms(stamps->seen_s, count, 0.99);
    result->p999_ms = quantile_ms(stamps->seen_s, count, 0.999);
    result->acknowledged_p50_ms = quantile_ms(stamps->acknowledged_s, count, 0.5);
    result->acknowledged_p99_ms = quantile_ms(stamps->acknowledged_s, count, 0.99);
    result->after_p50_ms = quantile_ms(stamps->sent_s, count, 0.5);
    result->after_p99_ms = quantile_ms(stamps->sent_s, count, 0.99);
    result->noise_ms = noise_ms(stamps);
}

static void measure_freshness(struct bench *bench, struct freshness *result)
{
    struct ingest_producer *producer = producer_new(bench);
    struct stamps stamps = {.bench = bench,
                            .base = durable(bench),
                            .count = (uint64_t)(result->rate * bench->seconds) + 1};
    pthread_t watcher;

    stamps.sent_s = calloc(stamps.count, sizeof(double));
    stamps.seen_s = calloc(stamps.count, sizeof(double));
    stamps.sleeps_s = calloc(SLEEPS_MAX, sizeof(double));
    stamps.acknowledged_s = calloc(stamps.count, sizeof(double));
    if (!stamps.sent_s || !stamps.seen_s || !stamps.acknowledged_s || !stamps.sleeps_s)
        abort();
    /* The idempotent producer's first message waits for its id. */
    send_record(bench, producer, 0, NULL);
    while (durable(bench) == stamps.base)
        (void)ingest_producer_poll(producer, 10);
    stamps.base = durable(bench);
    if (pthread_create(&watcher, NULL, watch, &stamps) != 0)
        die("freshness", "no thread");
    produce_at(&stamps, producer, result->rate);
    if (ingest_producer_delete(producer, 60000, ERROR_IGNORED) != 0)
        die("freshness", "not acknowledged");
    pthread_join(watcher, NULL);
    take_quantiles(&stamps, result);
    free(stamps.sent_s);
    free(stamps.seen_s);
    free(stamps.acknowledged_s);
    free(stamps.sleeps_s);
    fprintf(stderr, "freshness at %.0f/s measured\n", result->rate);
}

/* The program. */

static void use_topic(struct bench *bench, const char *suffix)
{
    snprintf(bench->topic, sizeof(bench->topic), "bench-%s-%s-%d", bench->format, suffix, getpid());
    bench->topics[0] = bench->topic;
    bench->collection = (struct config_collection){
        .durability = bench->durability == STORE_DURABILITY_LOG ? CONFIG_DURABILITY_LOG
                                                                : CONFIG_DURABILITY_KAFKA,
        .name = bench->topic,
        .topics = bench->topics,
        .topic_count = 1,
        .format = strcmp(bench->format, "raw") == 0 ? CONFIG_FORMAT_RAW : CONFIG_FORMAT_AUTO,
        .dim = bench->dim,
        .metric = VECTOR_METRIC_COSINE,
        .window_ms = 3600000,
        .max_future_ms = 300000,
        .idle_timeout_ms = 60000,
        .late_allowed_ms = 600000};
    bench->config = (struct config){.kafka_brokers = bench->brokers,
                                    .kafka_group = bench->topic,
                                    .collections = &bench->collection,
                                    .collection_count = 1};
}

/* Records a second that producer, broker and windrow manage on this machine, all at once. */
static double measure_chain(struct bench *bench)
{
    struct ingest_producer *producer = producer_new(bench);
    uint64_t before = durable(bench);
    double start_s = bench_now();
    uint64_t sent = 0;
    double rate;

    for (; sent % 256 != 0 || bench_now() - start_s < bench->seconds; sent++) {
        send_record(bench, producer, sent, NULL);
        (void)ingest_producer_poll(producer, 0);
    }
    rate = (double)(durable(bench) - before) / (bench_now() - start_s);
    if (ingest_producer_delete(producer, 60000, ERROR_IGNORED) != 0)
        die("freshness", "not acknowledged");
    while (durable(bench) < before + sent)
        usleep(2000);
    fprintf(stderr, "producer, broker and windrow together: %.0f records/s\n", rate);
    return rate;
}

/* What a run found. */
struct result {
    struct bench_speed raw, least, ours; /* medians */
    struct device_speed device;
    struct freshness freshness[3];
    size_t freshness_count;
    size_t record_bytes;
};

static double ratio(const struct result *result)
{
    return result->ours.records_per_s / result->raw.records_per_s;
}

/* Of what can be had at all: the slower one of reading and of writing a log, whose files are new in
 * each round. */
static double bound_records_per_s(const struct bench *bench, const struct result *result)
{
    double device =
        result->device.new_bytes_per_s / ((double)bench->dim * sizeof(float)); /* at least that */

    if (bench->durability != STORE_DURABILITY_LOG || device > result->raw.records_per_s)
        return result->raw.records_per_s;
    return device;
}

static void report_text(const struct bench *bench, const struct result *result)
{
    printf("%s, %u dimensions, %llu records of %zu bytes, %d partitions, %d rounds: raw %.0f/s "
           "(%.2f us), windrow %.0f/s (%.2f us), ratio %.2f, processor time %.1f times; the least "
           "that is durable %.0f/s (%.2f us), ratio %.2f; device "
           "%.0f MB/s of new blocks, %.0f of old ones, a small sync %.2f ms (p99 %.2f); %.2f of "
           "what it lets\n",
           bench->format, bench->dim, (unsigned long long)bench->record_count, result->record_bytes,
           bench->partition_count, bench->round_count, result->raw.records_per_s,
           result->raw.cpu_us, result->ours.records_per_s, result->ours.cpu_us, ratio(result),
           result->ours.cpu_us / result->raw.cpu_us, result->least.records_per_s,
           result->least.cpu_us, result->least.records_per_s / result->raw.records_per_s,
           result->device.new_bytes_per_s / 1e6, result->device.bytes_per_s / 1e6,
           result->device.sync_p50_ms, result->device.sync_p99_ms,
           result->ours.records_per_s / bound_records_per_s(bench, result));
    for (size_t i = 0; i < result->freshness_count; i++)
        printf("fresh at %.0f/s: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms; acknowledged p50 %.2f "
               "ms, p99 %.2f ms; from there p50 %.2f ms, p99 %.2f ms; noise %.2f ms\n",
               result->freshness[i].rate, result->freshness[i].p50_ms, result->freshness[i].p99_ms,
               result->freshness[i].p999_ms, result->freshness[i].acknowledged_p50_ms,
               result->freshness[i].acknowledged_p99_ms, result->freshness[i].after_p50_ms,
               result->freshness[i].after_p99_ms, result->freshness[i].noise_ms);
}

static void report_json(const struct bench *bench, const struct result *result)
{
    printf("{\"format\":\"%s\",\"dim\":%u,\"records\":%llu,\"record_bytes\":%zu,"
           "\"partitions\":%d,\"rounds\":%d,\"durability\":\"%s\","
           "\"raw_records_per_second\":%.0f,\"raw_cpu_us\":%.3f,"
           "\"windrow_records_per_second\":%.0f,\"windrow_cpu_us\":%.3f,\"ratio\":%.3f,"
           "\"least_records_per_second\":%.0f,\"least_cpu_us\":%.3f,"
           "\"ratio_of_bound\":%.3f,\"device_new_bytes_per_second\":%.0f,"
           "\"device_bytes_per_second\":%.0f,\"sync_p50_ms\":%.3f,"
           "\"sync_p99_ms\":%.3f,\"freshness\":[",
           bench->format, bench->dim, (unsigned long long)bench->record_count, result->record_bytes,
           bench->partition_count, bench->round_count,
           bench->durability == STORE_DURABILITY_LOG ? "log" : "kafka", result->raw.records_per_s,
           result->raw.cpu_us, result->ours.records_per_s, result->ours.cpu_us, ratio(result),
           result->least.records_per_s, result->least.cpu_us,
           result->ours.records_per_s / bound_records_per_s(bench, result),
           result->device.new_bytes_per_s, result->device.bytes_per_s, result->device.sync_p50_ms,
           result->device.sync_p99_ms);
    for (size_t i = 0; i < result->freshness_count; i++)
        printf("%s{\"rate\":%.0f,\"records\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,"
               "\"acknowledged_p50_ms\":%.3f,\"acknowledged_p99_ms\":%.3f,\"after_p50_ms\":%.3f,"
               "\"after_p99_ms\":%.3f,"
               "\"noise_ms\":%.3f}",
               i ? "," : "", result->freshness[i].rate,
               (unsigned long long)result->freshness[i].record_count, result->freshness[i].p50_ms,
               result->freshness[i].p99_ms, result->freshness[i].p999_ms,
               result->freshness[i].acknowledged_p50_ms, result->freshness[i].acknowledged_p99_ms,
               result->freshness[i].after_p50_ms, result->freshness[i].after_p99_ms,
               result->freshness[i].noise_ms);
    printf("]}\n");
}

static struct bench_speed median(struct bench_speed *speeds, int count)
{
    double rates[ROUNDS_MAX];
    double cpus[ROUNDS_MAX];

    for (int i = 0; i < count; i++) {
        rates[i] = speeds[i].records_per_s;
        cpus[i] = speeds[i].cpu_us;
    }
    qsort(rates, (size_t)count, sizeof(double), compare);
    qsort(cpus, (size_t)count, sizeof(double), compare);
    return (struct bench_speed){rates[count / 2], cpus[count / 2]};
}

static struct bench_speed read_raw(struct bench *bench, struct bench_least *least)
{
    return bench_raw_read(bench->brokers, bench->topic, bench->partition_count, bench->record_count,
                          least);
}

static void measure_speed(struct bench *bench, struct result *result)
{
    struct bench_speed raw[ROUNDS_MAX];
    struct bench_speed least[ROUNDS_MAX];
    struct bench_least *durable_bytes;
    struct bench_speed ours[ROUNDS_MAX];
    struct device_speed device;

    use_topic(bench, "speed");
    fill_topic(bench);
    result->record_bytes = bench->value.size;
    for (int i = 0; i < bench->round_count; i++) {
        memory_warm(WARM_BYTES);
        raw[i] = read_raw(bench, NULL);
        memory_warm(WARM_BYTES);
        durable_bytes = bench_least_new(bench->directory);
        least[i] = read_raw(bench, durable_bytes);
        bench_least_delete(durable_bytes);
        memory_warm(WARM_BYTES);
        ours[i] = measure_windrow(bench);
        device = device_measure(bench->directory, BENCH_GROUP_BYTES);
        fprintf(stderr,
                "device: %.0f MB/s of new blocks, %.0f of old ones, a small sync %.2f ms (p99 "
                "%.2f)\n",
                device.new_bytes_per_s / 1e6, device.bytes_per_s / 1e6, device.sync_p50_ms,
                device.sync_p99_ms);
        if (i == 0 || device.new_bytes_per_s > result->device.new_bytes_per_s)
            result->device = device;
    }
    bench_topic_remove(bench->brokers, bench->topic);
    result->raw = median(raw, bench->round_count);
    result->least = median(least, bench->round_count);
    result->ours = median(ours, bench->round_count);
}

static void run(struct bench *bench)
{
    const double fractions[] = {0.1, 0.5, 0.9};
    struct result result = {0};
    struct windrow windrow;
    int partition_count = bench->partition_count;
    double peak;

    store_start(bench);
    measure_speed(bench, &result);
    if (bench->seconds > 0) {
        bench->partition_count = 1;
        use_topic(bench, "fresh");
        bench_record_encode(bench->format, bench->dim, 1, &bench->value);
        (void)ingest_producer_delete(producer_new(bench), 0, ERROR_IGNORED);
        windrow_start(bench, &windrow);
        result.freshness_count = 3;
        peak = measure_chain(bench);
        for (size_t i = 0; i < result.freshness_count; i++) {
            result.freshness[i].rate = fractions[i] * peak;
            measure_freshness(bench, &result.freshness[i]);
        }
        windrow_stop(bench, &windrow);
        bench_topic_remove(bench->brokers, bench->topic);
    }
    bench->partition_count = partition_count;
    store_registry_close_all(bench->registry, false);
    store_registry_delete(bench->registry);
    store_close(bench->store);
    bench_folder_remove(bench->directory);
    if (bench->json)
        report_json(bench, &result);
    else
        report_text(bench, &result);
}

static const char help[] =
    "Usage: windrow bench ingest --brokers HOST:PORT --directory DIR [options]\n\n"
    "Fills a topic, reads it in turns with librdkafka alone, with a consumer that only writes the\n"
    "bytes and with windrow into a store below DIR, then measures freshness. The topics "
    "(bench-...)\n"
    "are removed, and DIR is left as it was.\n\n"
    "  --format raw|msgpack|json   of the records (msgpack)\n"
    "  --records N                 in the topic (1000000)\n"
    "  --dim N                     of the vectors (768)\n"
    "  --partitions N              of the topic (4)\n"
    "  --rounds N                  of which the medians count (3)\n"
    "  --durability log|kafka      of the store (log)\n"
    "  --freshness-seconds S       for each rate; 0: not measured (5)\n"
    "  --json                      one object instead of text\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"brokers", required_argument, NULL, 'b'},
                                            {"directory", required_argument, NULL, 'd'},
                                            {"format", required_argument, NULL, 'f'},
                                            {"records", required_argument, NULL, 'n'},
                                            {"dim", required_argument, NULL, 'D'},
                                            {"partitions", required_argument, NULL, 'p'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"durability", required_argument, NULL, 'u'},
                                            {"freshness-seconds", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct bench bench = {.brokers = "127.0.0.1:9092",
                          .directory = "/tmp",
                          .format = "msgpack",
                          .record_count = 1000000,
                          .round_count = 3,
                          .dim = 768,
                          .partition_count = 4,
                          .seconds = 5};
    char folder[4096];
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'b':
            bench.brokers = optarg;
            break;
        case 'd':
            bench.directory = optarg;
            break;
        case 'f':
            bench.format = optarg;
            break;
        case 'n':
            bench.record_count = strtoull(optarg, NULL, 10);
            break;
        case 'D':
            bench.dim = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            bench.partition_count = atoi(optarg);
            break;
        case 'r':
            bench.round_count = atoi(optarg);
            break;
        case 'u':
            bench.durability =
                strcmp(optarg, "kafka") == 0 ? STORE_DURABILITY_KAFKA : STORE_DURABILITY_LOG;
            break;
        case 's':
            bench.seconds = strtod(optarg, NULL);
            break;
        case 'j':
            bench.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return 64;
        }
    }
    if (bench.record_count == 0 || bench.dim == 0 || bench.dim > 65536 ||
        bench.partition_count < 1 || bench.partition_count > SHARDS_MAX || bench.round_count < 1 ||
        bench.round_count > ROUNDS_MAX) {
        fprintf(stderr, "windrow-bench-ingest: a value is out of bounds\n");
        return 64;
    }
    /* It is emptied before each round: a folder of our own. */
    snprintf(folder, sizeof(folder), "%s/windrow-bench-ingest-%d", bench.directory, getpid());
    bench.directory = folder;
    run(&bench);
    buffer_destroy(&bench.value);
    return 0;
}
