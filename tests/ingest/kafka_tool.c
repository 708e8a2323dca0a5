/* What tests do to a real Kafka that kcat cannot:
 *
 *   kafka_tool transactions BROKERS TOPIC      stdin: lines "PARTITION\tKEY\tVALUE", and between
 * them "commit" or "abort" for the lines since the last kafka_tool delete-records BROKERS TOPIC
 * PARTITION BEFORE kafka_tool delete-topic BROKERS TOPIC */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 30000 };

static void check(int failed, const char *what, const char *why)
{
    if (!failed)
        return;
    fprintf(stderr, "kafka_tool: %s: %s\n", what, why);
    exit(1);
}

static void check_error(rd_kafka_error_t *error, const char *what)
{
    check(error != NULL, what, error ? rd_kafka_error_string(error) : "");
}

static rd_kafka_t *client_new(const char *brokers, const char *transactional_id)
{
    char text[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client;

    check(rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text)) != 0, "brokers",
          text);
    if (transactional_id)
        check(rd_kafka_conf_set(conf, "transactional.id", transactional_id, text, sizeof(text)) !=
                  0,
              "transactional.id", text);
    client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    check(client == NULL, "client", text);
    return client;
}

static void send_line(rd_kafka_t *client, const char *topic, char *line)
{
    char *key = strchr(line, '\t');
    char *value = key ? strchr(key + 1, '\t') : NULL;
    rd_kafka_resp_err_t code;

    check(value == NULL, "line", line);
    *key++ = '\0';
    *value++ = '\0';
    code =
        rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(atoi(line)),
                          RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, strlen(value)),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    check(code != 0, "produce", rd_kafka_err2str(code));
}

static void transactions(const char *brokers, const char *topic)
{
    rd_kafka_t *client = client_new(brokers, "kafka-tool");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    check_error(rd_kafka_init_transactions(client, TIMEOUT_MS), "init");
    check_error(rd_kafka_begin_transaction(client), "begin");
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        line[length - 1] = '\0';
        if (strcmp(line, "commit") == 0) {
            check_error(rd_kafka_commit_transaction(client, TIMEOUT_MS), "commit");
        } else if (strcmp(line, "abort") == 0) {
            /* On the topic first, or there is nothing that a reader would have to leave out. */
            (void)rd_kafka_flush(client, TIMEOUT_MS);
            check_error(rd_kafka_abort_transaction(client, TIMEOUT_MS), "abort");
        } else {
            send_line(client, topic, line);
            continue;
        }
        check_error(rd_kafka_begin_transaction(client), "begin");
    }
    check_error(rd_kafka_abort_transaction(client, TIMEOUT_MS), "abort");
    free(line);
    rd_kafka_destroy(client);
}

/* Waits for the reply of an admin call. */
static void finish(rd_kafka_t *client, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);

    check(event == NULL, "admin", "no reply");
    check(rd_kafka_event_error(event) != 0, "admin", rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

static void delete_records(const char *brokers, const char *topic, int partition, long long before)
{
    rd_kafka_t *client = client_new(brokers, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_DeleteRecords_t *request;

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before;
    request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client, &request, 1, NULL, queue);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    finish(client, queue);
}

static void delete_topic(const char *brokers, const char *topic)
{
    rd_kafka_t *client = client_new(brokers, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);

    rd_kafka_DeleteTopics(client, &request, 1, NULL, queue);
    rd_kafka_DeleteTopic_destroy(request);
    finish(client, queue);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "transactions") == 0)
        transactions(argv[2], argv[3]);
    else if (argc == 6 && strcmp(argv[1], "delete-records") == 0)
        delete_records(argv[2], argv[3], atoi(argv[4]), atoll(argv[5]));
    else if (argc == 4 && strcmp(argv[1], "delete-topic") == 0)
        delete_topic(argv[2], argv[3]);
    else
        check(1, "usage", "see the top of kafka_tool.c");
    return 0;
}
