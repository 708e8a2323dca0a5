#include "bench/ingest_kafka.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "bench/measure.h"

enum { ANSWER_MS = 60000 };

void bench_record_encode(const char *format, uint32_t dim, uint64_t id, struct buffer *value)
{
    float *vector = malloc(dim * sizeof(float));
    uint64_t state = id * UINT64_C(0x9e3779b97f4a7c15) + 1;

    if (!vector)
        abort();
    for (uint32_t i = 0; i < dim; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        vector[i] = (float)((double)(state >> 11) * 0x1p-53 - 0.5);
    }
    value->size = 0;
    if (strcmp(format, "raw") == 0) {
        buffer_append(value, vector, dim * sizeof(float));
    } else if (strcmp(format, "msgpack") == 0) {
        uint32_t size_bytes = dim * (uint32_t)sizeof(float);
        const uint8_t head[] = {0x81, 0xa6, 'v', 'e', 'c', 't', 'o', 'r', 0xc6};
        buffer_append(value, head, sizeof(head));
        for (int shift = 24; shift >= 0; shift -= 8)
            buffer_append_byte(value, (uint8_t)(size_bytes >> shift));
        buffer_append(value, vector, size_bytes);
    } else {
        buffer_append_text(value, "{\"vector\":[");
        for (uint32_t i = 0; i < dim; i++) {
            if (i > 0)
                buffer_append_byte(value, ',');
            doc_write_json_float(value, vector[i]);
        }
        buffer_append_text(value, "]}");
    }
    free(vector);
}

void bench_topic_remove(const char *brokers, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_DeleteTopic_t *doomed;
    rd_kafka_event_t *event;
    rd_kafka_queue_t *queue;
    rd_kafka_t *client;
    char text[256];

    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text)) != 0 ||
        !(client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text)))) {
        fprintf(stderr, "topic %s stays: %s\n", topic, text);
        rd_kafka_conf_destroy(conf);
        return;
    }
    doomed = rd_kafka_DeleteTopic_new(topic);
    queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopics(client, &doomed, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, ANSWER_MS);
    if (!event || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fprintf(stderr, "topic %s stays: %s\n", topic,
                event ? rd_kafka_event_error_string(event) : "no answer");
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(doomed);
    rd_kafka_destroy(client);
}

static _Noreturn void die(const char *why)
{
    fprintf(stderr, "windrow-bench-ingest: raw consumer: %s\n", why);
    exit(1);
}

static rd_kafka_t *consumer_new(const char *brokers, const char *topic, int partition_count)
{
    /* librdkafka 2.0 and 2.1 rest for a second each time their queue is full: here it never is. */
    const char *const settings[][2] = {
        {"bootstrap.servers", brokers},
        {"group.id", "raw"},
        {"enable.partition.eof", "true"},
        {"check.crcs", "true"},
        {"enable.auto.commit", "false"},
        {"isolation.level", "read_committed"},
        {"queued.max.messages.kbytes", "2097151"},
        {"queued.min.messages", "10000000"},
    };
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *consumer;
    char text[256];

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof(text)) != 0)
            die(text);
    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!consumer)
        die(text);
    rd_kafka_poll_set_consumer(consumer);
    for (int i = 0; i < partition_count; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return consumer;
}

static uint64_t touch(const uint8_t *bytes, size_t size_bytes)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 8 <= size_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        sum += word;
    }
    return sum;
}

struct bench_speed bench_raw_read(const char *brokers, const char *topic, int partition_count,
                                  uint64_t record_count, struct bench_least *least)
{
    rd_kafka_t *consumer = consumer_new(brokers, topic, partition_count);
    struct bench_speed speed;
    uint64_t seen = 0;
    uint64_t sum = 0;
    double start_s = 0;
    double start_cpu_s = bench_cpu();

    while (seen < record_count) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 1000);
        if (!message)
            continue;
        if (message->err == 0) {
            if (seen++ == 0)
                start_s = bench_now();
            if (least)
                bench_least_add(least, message->payload, message->len);
            else
                sum += touch(message->payload, message->len);
        } else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            die(rd_kafka_message_errstr(message));
        }
        rd_kafka_message_destroy(message);
    }
    if (least)
        sum = bench_least_finish(least);
    speed.records_per_s = (double)record_count / (bench_now() - start_s);
    speed.cpu_us = (bench_cpu() - start_cpu_s) / (double)record_count * 1e6;
    fprintf(stderr, "%s: %.0f records/s, %.2f us of processor time each (sum %llx)\n",
            least ? "least" : "raw", speed.records_per_s, speed.cpu_us, (unsigned long long)sum);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return speed;
}
