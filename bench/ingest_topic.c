#include "bench/ingest_topic.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"

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
