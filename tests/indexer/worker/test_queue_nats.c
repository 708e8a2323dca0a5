/* The contract of the queue, on a real NATS server. */
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "indexer/worker/queue.h"
#include "tests/indexer/worker/nats_queue.h"
#include "tests/support/nats_server.h"
#include "tests/support/test_main.h"

/* Where nobody is to be silent for too long, none is, however busy the machine: ACK_WAIT_SAFE_MS is ten times what the
 * test lets pass between two signs of life. It is below ten seconds because the test waits for four of them. */
enum {
    WAIT_MS = 20000,
    SOON_MS = 300,
    ACK_WAIT_MS = 600,
    ACK_WAIT_SAFE_MS = 2000,
    ACK_WAIT_LONG_MS = 60000
};

static struct worker_job job_of(int64_t window)
{
    return (struct worker_job){.collection = "news",
                               .shard = "my.topic-3",
                               .window_start_ms = window,
                               .window_length_ms = 1,
                               .generation = 1};
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until there is one; the server may be away for a while. */
static struct worker_delivery *fetch(struct worker_queue *queue, int64_t timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    struct worker_delivery *delivery = NULL;

    while (now_ms() < end) {
        struct error error = {0};
        int code = queue->operations->fetch(queue, 200, NULL, &delivery, &error);
        if (code == 0)
            return delivery;
        ck_assert_msg(code == ERROR_TIMEOUT || code == ERROR_PEER, "%s", error.text);
    }
    return NULL;
}

static struct worker_delivery *fetch_window(struct worker_queue *queue, int64_t window)
{
    struct worker_delivery *delivery = fetch(queue, WAIT_MS);

    ck_assert_msg(delivery != NULL, "window %lld was not delivered", (long long)window);
    ck_assert_int_eq(delivery->job.window_start_ms, window);
    return delivery;
}

/* From whichever of the two has it: on a busy machine a request is still with the server when its
 * fetch has given up, and what comes then waits for the next fetch of that queue. */
static struct worker_delivery *fetch_from_either(struct worker_queue *one,
                                                 struct worker_queue *other, int64_t window)
{
    struct worker_delivery *delivery = NULL;

    for (int round = 0; !delivery && round < WAIT_MS / SOON_MS; round++)
        delivery = fetch(round % 2 ? other : one, SOON_MS);
    ck_assert_msg(delivery != NULL, "window %lld was not delivered", (long long)window);
    ck_assert_int_eq(delivery->job.window_start_ms, window);
    return delivery;
}

static void publish_kind(struct worker_queue *queue, int64_t window, enum segment_kind kind)
{
    struct worker_job job = job_of(window);
    struct error error = {0};
    int64_t end = now_ms() + WAIT_MS;

    job.kind = kind;
    while (queue->operations->publish(queue, &job, &error) != 0)
        ck_assert_msg(now_ms() < end, "%s", error.text);
}

static void publish(struct worker_queue *queue, int64_t window)
{
    publish_kind(queue, window, SEGMENT_HNSW);
}

static void ack(struct worker_delivery *delivery)
{
    struct error error = {0};

    ck_assert_msg(delivery->queue->operations->ack(delivery, &error) == 0, "%s", error.text);
}

/* Nothing more comes. Depth follows a moment later where nobody waited for the server's answer. */
static void check_empty(struct worker_queue *queue)
{
    int64_t end = now_ms() + WAIT_MS;

    do
        ck_assert_ptr_null(fetch(queue, SOON_MS));
    while (queue->operations->depth(queue) != 0 && now_ms() < end);
    ck_assert_int_eq(queue->operations->depth(queue), 0);
}

/* What the test looks at without the queue. */
struct observer {
    natsConnection *connection;
    jsCtx *context;
};

static struct observer observe(const struct nats_server *server)
{
    struct observer observer = {0};

    ck_assert_int_eq(natsConnection_ConnectTo(&observer.connection, server->url), NATS_OK);
    ck_assert_int_eq(natsConnection_JetStream(&observer.context, observer.connection, NULL),
                     NATS_OK);
    return observer;
}

static void observer_close(struct observer *observer)
{
    jsCtx_Destroy(observer->context);
    natsConnection_Destroy(observer->connection);
}

/* The newest dead letter; its stream must hold `count`. */
static natsMsg *dead_letter(struct observer *observer, uint64_t count)
{
    jsStreamInfo *info = NULL;
    natsMsg *message = NULL;

    ck_assert_int_eq(js_GetStreamInfo(&info, observer->context, "TEST_DEAD", NULL, NULL), NATS_OK);
    ck_assert_uint_eq(info->State.Msgs, count);
    ck_assert_int_eq(
        js_GetMsg(&message, observer->context, "TEST_DEAD", info->State.LastSeq, NULL, NULL),
        NATS_OK);
    jsStreamInfo_Destroy(info);
    return message;
}

START_TEST(published_job_is_delivered_acknowledged_and_gone)
{
    struct nats_server server;
    struct worker_queue *queue;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 1);
    publish(queue, 1); /* the same message id: the server drops it */
    publish(queue, 2);
    ck_assert_int_eq(queue->operations->depth(queue), 2);
    ack(fetch_window(queue, 1));
    ack(fetch_window(queue, 2));
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

START_TEST(job_acknowledged_in_vain_can_be_queued_again_at_once)
{
    struct nats_server server;
    struct worker_queue *queue;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 1);
    ack(fetch_window(queue, 1));
    publish(queue, 1); /* within the dedupe window, but nothing is queued */
    ack(fetch_window(queue, 1));
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

START_TEST(change_of_kind_is_queued_at_once_behind_other_jobs)
{
    struct nats_server server;
    struct worker_queue *queue;
    struct worker_delivery *delivery;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 1);
    ack(fetch_window(queue, 1));
    publish(queue, 2); /* the queue is not empty, the former message id not forgotten */
    publish_kind(queue, 1, SEGMENT_IVF_PQ);
    publish_kind(queue, 1, SEGMENT_IVF_PQ);
    ck_assert_int_eq(queue->operations->depth(queue), 2);
    ack(fetch_window(queue, 2));
    delivery = fetch_window(queue, 1);
    ck_assert_int_eq(delivery->job.kind, SEGMENT_IVF_PQ);
    ack(delivery);
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

static int64_t ack_wait_on_server(struct observer *observer)
{
    jsConsumerInfo *info = NULL;
    int64_t found_ms;

    ck_assert_int_eq(js_GetConsumerInfo(&info, observer->context, "TEST", "workers", NULL, NULL),
                     NATS_OK);
    found_ms = info->Config->AckWait / 1000000;
    jsConsumerInfo_Destroy(info);
    return found_ms;
}

START_TEST(consumer_of_another_ack_wait_is_changed_and_keeps_its_jobs)
{
    struct nats_server server;
    struct observer observer;
    struct worker_queue *patient, *hasty;
    struct worker_delivery *silent, *delivery;

    nats_server_start(&server);
    patient = nats_queue_open(server.url, 600000, NULL);
    publish(patient, 1);
    silent = fetch_window(patient, 1);
    observer = observe(&server);
    ck_assert_int_eq(ack_wait_on_server(&observer), 600000);

    hasty = nats_queue_open(server.url, ACK_WAIT_SAFE_MS, NULL);
    delivery = fetch_window(hasty, 1); /* ten minutes later by the former value */
    ck_assert_uint_eq(delivery->attempt, 2);
    ck_assert_int_eq(ack_wait_on_server(&observer), ACK_WAIT_SAFE_MS);
    ack(delivery);
    publish(patient, 2); /* goes on, and does not change it back */
    ack(fetch_from_either(patient, hasty, 2));
    ck_assert_int_eq(ack_wait_on_server(&observer), ACK_WAIT_SAFE_MS);
    check_empty(hasty);
    (void)silent->queue->operations->ack(silent, ERROR_IGNORED); /* late, and harmless */
    observer_close(&observer);
    hasty->operations->close(hasty);
    patient->operations->close(patient);
}
END_TEST

START_TEST(silent_worker_loses_the_job_and_a_busy_one_keeps_it)
{
    struct nats_server server;
    struct worker_queue *queue;
    struct worker_delivery *silent;
    struct worker_delivery *busy;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_SAFE_MS, NULL);
    publish(queue, 1);
    silent = fetch_window(queue, 1);
    busy = fetch_window(queue, 1); /* after the acknowledgement time */
    ck_assert_uint_eq(silent->attempt, 1);
    ck_assert_uint_eq(busy->attempt, 2);
    for (int i = 0; i < 3 * ACK_WAIT_SAFE_MS / 200; i++) {
        ck_assert_int_eq(queue->operations->in_progress(busy, ERROR_IGNORED), 0);
        ck_assert_ptr_null(fetch(queue, 100));
    }
    ack(busy);
    ack(silent); /* late, and harmless */
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

START_TEST(poison_job_ends_on_the_dead_letter_subject)
{
    struct nats_server server;
    struct observer observer;
    struct metrics *metrics = metrics_new();
    struct metric_label label = {"collection", "news"};
    struct worker_queue *queue;
    const char *reason = NULL;
    struct worker_job job;
    natsMsg *dead;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, metrics);
    publish(queue, 7);
    for (uint32_t attempt = 1; attempt <= WORKER_ATTEMPTS_MAX; attempt++) {
        struct worker_delivery *delivery = fetch_window(queue, 7);
        ck_assert_uint_eq(delivery->attempt, attempt);
        ck_assert_int_eq(queue->operations->retry(delivery, 1, "bad\nblock", ERROR_IGNORED), 0);
    }
    check_empty(queue);
    observer = observe(&server);
    dead = dead_letter(&observer, 1);
    ck_assert_str_eq(natsMsg_GetSubject(dead), "windrow.dead.news.my_topic-3");
    ck_assert_int_eq(natsMsgHeader_Get(dead, "Windrow-Reason", &reason), NATS_OK);
    ck_assert_str_eq(reason, "5 attempts: bad block");
    ck_assert_int_eq(worker_job_decode(natsMsg_GetData(dead), (size_t)natsMsg_GetDataLength(dead),
                                       &job, ERROR_IGNORED),
                     0);
    ck_assert_int_eq(job.window_start_ms, 7);
    ck_assert_double_eq(
        metric_value(metrics_counter(metrics, "windrow_index_dead_letters_total", "", &label, 1)),
        1);
    natsMsg_Destroy(dead);
    observer_close(&observer);
    queue->operations->close(queue);
    metrics_delete(metrics);
}
END_TEST

START_TEST(job_that_kills_its_workers_ends_as_a_dead_letter)
{
    struct nats_server server;
    struct observer observer;
    struct worker_queue *queue;
    struct worker_delivery *silent[WORKER_ATTEMPTS_MAX];

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, NULL);
    publish(queue, 7);
    for (int i = 0; i < WORKER_ATTEMPTS_MAX; i++)
        silent[i] = fetch_window(queue, 7); /* and not a word */
    ck_assert_ptr_null(fetch(queue, 3 * ACK_WAIT_MS));
    check_empty(queue);
    observer = observe(&server);
    natsMsg_Destroy(dead_letter(&observer, 1));
    observer_close(&observer);
    for (int i = 0; i < WORKER_ATTEMPTS_MAX; i++)
        (void)queue->operations->ack(silent[i], ERROR_IGNORED); /* late, and harmless */
    queue->operations->close(queue);
}
END_TEST

static uint64_t deliveries_on_server(struct observer *observer)
{
    jsConsumerInfo *info = NULL;
    uint64_t count;

    ck_assert_int_eq(js_GetConsumerInfo(&info, observer->context, "TEST", "workers", NULL, NULL),
                     NATS_OK);
    count = info->Delivered.Consumer;
    jsConsumerInfo_Destroy(info);
    return count;
}

/* Two requests that were given up here take both deliveries before anybody opens one. From the server's resumption each
 * lives as long as it was waited for: the second delivery, an ACK_WAIT_MS after the first, must find it. */
START_TEST(job_that_comes_twice_before_its_end_makes_one_dead_letter)
{
    struct nats_server server;
    struct observer observer;
    struct metrics *metrics = metrics_new();
    struct metric_label label = {"collection", "news"};
    struct worker_queue *queue, *publisher;
    struct worker_job job = job_of(1);
    struct worker_delivery *delivery;
    struct error error = {0};
    int64_t end;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, metrics);
    publisher = nats_queue_open(server.url, ACK_WAIT_MS, NULL);
    publish(queue, 2);
    ack(fetch_window(queue, 2));
    publish(publisher, 2);
    ack(fetch_window(queue, 2));
    observer = observe(&server);
    nats_server_pause(&server);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(queue->operations->fetch(queue, 5 * ACK_WAIT_MS, NULL, &delivery, &error),
                         ERROR_TIMEOUT);
    nats_server_resume(&server);
    job.attempts_before = WORKER_ATTEMPTS_MAX;
    ck_assert_msg(publisher->operations->publish(publisher, &job, &error) == 0, "%s", error.text);
    end = now_ms() + WAIT_MS;
    while (deliveries_on_server(&observer) < 4)
        ck_assert_msg(now_ms() < end, "not delivered twice");
    check_empty(queue);
    natsMsg_Destroy(dead_letter(&observer, 1));
    ck_assert_double_eq(
        metric_value(metrics_counter(metrics, "windrow_index_dead_letters_total", "", &label, 1)),
        1);
    observer_close(&observer);
    publisher->operations->close(publisher);
    queue->operations->close(queue);
    metrics_delete(metrics);
}
END_TEST

START_TEST(message_that_is_no_job_is_buried_at_once)
{
    struct nats_server server;
    struct observer observer;
    struct worker_queue *queue;
    natsMsg *dead;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 1);
    ack(fetch_window(queue, 1));
    observer = observe(&server);
    ck_assert_int_eq(
        js_Publish(NULL, observer.context, "windrow.seal.x.y", "garbage", 7, NULL, NULL), NATS_OK);
    check_empty(queue);
    dead = dead_letter(&observer, 1);
    ck_assert_int_eq(natsMsg_GetDataLength(dead), 7);
    natsMsg_Destroy(dead);
    observer_close(&observer);
    queue->operations->close(queue);
}
END_TEST

START_TEST(passed_job_reaches_its_owner_without_costing_an_attempt)
{
    struct nats_server server;
    struct worker_queue *stranger;
    struct worker_queue *owner;
    struct worker_delivery *delivery;

    nats_server_start(&server);
    stranger = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    owner = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(owner, 1);
    delivery = fetch_window(stranger, 1);
    ck_assert_int_eq(stranger->operations->retry(delivery, 1, "failed once", ERROR_IGNORED), 0);
    for (uint32_t i = 0; i < 8; i++) {
        delivery = fetch_window(stranger, 1);
        ck_assert_uint_eq(delivery->attempt, 2);
        ck_assert_uint_eq(delivery->job.passes, i);
        ck_assert_int_eq(stranger->operations->pass(delivery, ERROR_IGNORED), 0);
    }
    stranger->operations->close(stranger); /* hands on what it still holds */
    delivery = fetch_window(owner, 1);
    ck_assert_uint_eq(delivery->attempt, 2);
    ack(delivery);
    check_empty(owner);
    owner->operations->close(owner);
}
END_TEST

START_TEST(job_passed_at_the_end_does_not_answer_a_request_that_was_given_up)
{
    struct nats_server server;
    struct worker_queue *stranger;
    struct worker_queue *owner;
    struct worker_delivery *delivery;

    nats_server_start(&server);
    stranger = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    owner = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(owner, 1);
    delivery = fetch_window(stranger, 1);
    nats_server_pause(&server);
    /* Given up here, and valid for longer on the server, which gets it only now. */
    ck_assert_ptr_null(fetch(stranger, SOON_MS));
    nats_server_resume(&server);
    ck_assert_int_eq(stranger->operations->pass(delivery, ERROR_IGNORED), 0);
    stranger->operations->close(stranger);
    delivery = fetch_window(owner, 1);
    ck_assert_uint_eq(delivery->attempt, 1);
    ack(delivery);
    check_empty(owner);
    owner->operations->close(owner);
}
END_TEST

START_TEST(server_that_comes_late_is_found)
{
    struct nats_server server;
    struct worker_queue *queue;
    struct worker_job job = job_of(1);
    struct error error = {0};
    char why[200] = "";

    nats_server_start(&server);
    nats_server_kill(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    ck_assert_int_eq(queue->operations->publish(queue, &job, &error), ERROR_PEER);
    ck_assert(!queue->operations->connected(queue, why, sizeof(why)));
    ck_assert_str_eq(why, "NATS does not answer");
    ck_assert_int_eq(queue->operations->depth(queue), -1);
    nats_server_restart(&server);
    publish(queue, 1);
    ack(fetch_window(queue, 1));
    ck_assert(queue->operations->connected(queue, why, sizeof(why)));
    queue->operations->close(queue);
}
END_TEST

START_TEST(queue_without_a_server_can_be_closed)
{
    struct queue_nats_options options = {
        .stream = "TEST", .replicas = 1, .ack_wait_ms = ACK_WAIT_LONG_MS};
    struct worker_queue *queue;
    struct worker_job job = job_of(1);
    struct error error = {0};
    char url[64];

    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", test_port());
    options.url = url;
    ck_assert_msg(queue_nats_open(&options, &queue, &error) == 0, "%s", error.text);
    ck_assert_int_eq(queue->operations->publish(queue, &job, &error), ERROR_PEER);
    queue->operations->close(queue);
}
END_TEST

START_TEST(queued_job_survives_the_servers_death)
{
    struct nats_server server;
    struct worker_queue *queue;
    struct worker_delivery *delivery;
    struct error error = {0};

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, NULL);
    publish(queue, 1);
    publish(queue, 2);
    delivery = fetch_window(queue, 1);
    nats_server_kill(&server);
    ck_assert_int_eq(queue->operations->ack(delivery, &error), ERROR_PEER);
    nats_server_restart(&server);
    /* Both come, 1 because its acknowledgement was lost. */
    for (int64_t seen = 0; seen != 3;) {
        delivery = fetch(queue, WAIT_MS);
        ck_assert_ptr_nonnull(delivery);
        seen |= delivery->job.window_start_ms;
        ack(delivery);
    }
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

START_TEST(wiped_server_gets_its_streams_back)
{
    struct nats_server server;
    struct worker_queue *queue;

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 1);
    nats_server_kill(&server);
    nats_server_wipe(&server);
    nats_server_restart(&server);
    ck_assert_ptr_null(fetch(queue, SOON_MS)); /* lost: reconciliation publishes it again */
    publish(queue, 1);
    ack(fetch_window(queue, 1));
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

START_TEST(two_queues_share_the_jobs)
{
    struct nats_server server;
    struct worker_queue *queues[2];
    int64_t sum = 0;

    nats_server_start(&server);
    queues[0] = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    queues[1] = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    for (int64_t window = 1; window <= 20; window++)
        publish(queues[0], window);
    for (int i = 0; i < 20; i++) {
        struct worker_delivery *delivery = fetch(queues[i % 2], WAIT_MS);
        ck_assert_ptr_nonnull(delivery);
        ck_assert_uint_eq(delivery->attempt, 1);
        sum += delivery->job.window_start_ms;
        ack(delivery);
    }
    ck_assert_int_eq(sum, 210);
    check_empty(queues[0]);
    check_empty(queues[1]);
    queues[0]->operations->close(queues[0]);
    queues[1]->operations->close(queues[1]);
}
END_TEST

/* Two replica sets have the same windows, and each has its own files of them. */
START_TEST(jobs_of_two_groups_for_one_window_are_both_delivered)
{
    static const char *const groups[] = {"windrow-a", "windrow-b"};
    struct nats_server server;
    struct worker_queue *queue;
    struct error error = {0};
    bool seen[2] = {false, false};

    nats_server_start(&server);
    queue = nats_queue_open(server.url, ACK_WAIT_LONG_MS, NULL);
    publish(queue, 7); /* the server is there */
    for (int i = 0; i < 2; i++) {
        struct worker_job job = job_of(1);
        (void)snprintf(job.group, sizeof(job.group), "%s", groups[i]);
        ck_assert_int_eq(queue->operations->publish(queue, &job, &error), 0);
    }
    ack(fetch_window(queue, 7));
    for (int i = 0; i < 2; i++) {
        struct worker_delivery *delivery = fetch_window(queue, 1);
        seen[strcmp(delivery->job.group, groups[1]) == 0] = true;
        ack(delivery);
    }
    ck_assert(seen[0] && seen[1]);
    check_empty(queue);
    queue->operations->close(queue);
}
END_TEST

static struct worker_queue *queue_of(const struct nats_server *server, const char *prefix,
                                     const char *stream, const char *group)
{
    const struct queue_nats_options options = {.url = server->url,
                                               .stream = stream,
                                               .prefix = prefix,
                                               .group = group,
                                               .name = "test",
                                               .replicas = 1,
                                               .ack_wait_ms = ACK_WAIT_LONG_MS};
    struct worker_queue *queue;
    struct error error = {0};

    ck_assert_msg(queue_nats_open(&options, &queue, &error) == 0, "%s", error.text);
    return queue;
}

START_TEST(deployments_with_prefixes_of_their_own_share_a_server)
{
    struct nats_server server;
    struct worker_queue *one, *other, *mistaken;
    struct worker_job job = job_of(1);
    struct error error = {0};

    nats_server_start(&server);
    one = queue_of(&server, "blue", "BLUE", "windrow");
    other = queue_of(&server, "green", "GREEN", "windrow");
    publish(one, 1);
    publish(other, 2);
    ack(fetch_window(one, 1));
    ack(fetch_window(other, 2));
    check_empty(one);
    check_empty(other);
    /* The other prefix with the stream's name left as it was. */
    mistaken = queue_of(&server, "red", "BLUE", "windrow");
    do
        ck_assert_int_eq(mistaken->operations->publish(mistaken, &job, &error), ERROR_PEER);
    while (!strstr(error.text, "belongs to another nats.prefix"));
    mistaken->operations->close(mistaken);
    one->operations->close(one);
    other->operations->close(other);
}
END_TEST

struct claimant {
    enum worker_claim claim;
    const char *owner;
};

static enum worker_claim claim(void *context, struct worker_job *job)
{
    const struct claimant *claimant = context;

    (void)snprintf(job->owner, sizeof(job->owner), "%s", claimant->owner);
    job->rows = 42;
    return claimant->claim;
}

/* A subscription reaches the server a moment after the call. */
static int locate(struct worker_queue *queue, struct worker_job *job, int wanted)
{
    int64_t end = now_ms() + WAIT_MS;
    struct error error = {0};
    int code;

    do
        code = queue->operations->locate(queue, job, &error);
    while (code != wanted && now_ms() < end);
    return code;
}

START_TEST(owner_of_a_shard_is_found_among_the_processes_of_its_group)
{
    struct claimant without = {WORKER_NOT_MINE, "h:1"}, with = {WORKER_MINE, "h:2"};
    struct claimant stranger = {WORKER_MINE, "h:3"};
    struct nats_server server;
    struct worker_queue *queues[3], *builder;
    struct worker_job job = job_of(1);
    struct error error = {0};

    nats_server_start(&server);
    queues[0] = queue_of(&server, "windrow", "TEST", "windrow-a");
    queues[1] = queue_of(&server, "windrow", "TEST", "windrow-a");
    queues[2] = queue_of(&server, "windrow", "TEST", "windrow.a"); /* another group */
    builder = queue_of(&server, "windrow", "TEST", "windrow-b");
    (void)snprintf(job.group, sizeof(job.group), "windrow-a");
    ck_assert_int_eq(locate(builder, &job, ERROR_BUSY), ERROR_BUSY);
    ck_assert_int_eq(queues[0]->operations->answer(queues[0], claim, &without, &error), 0);
    ck_assert_int_eq(queues[2]->operations->answer(queues[2], claim, &stranger, &error), 0);
    ck_assert_int_eq(locate(builder, &job, ERROR_BUSY), ERROR_BUSY);
    ck_assert_int_eq(queues[1]->operations->answer(queues[1], claim, &with, &error), 0);
    ck_assert_int_eq(locate(builder, &job, 0), 0);
    ck_assert_str_eq(job.owner, "h:2");
    ck_assert_uint_eq(job.rows, 42); /* as its owner has it */
    ck_assert_int_eq(queues[1]->operations->answer(queues[1], NULL, NULL, &error), 0);
    ck_assert_int_eq(locate(builder, &job, ERROR_BUSY), ERROR_BUSY);
    with.claim = WORKER_UNWANTED;
    ck_assert_int_eq(queues[1]->operations->answer(queues[1], claim, &with, &error), 0);
    ck_assert_int_eq(locate(builder, &job, ERROR_NOT_FOUND), ERROR_NOT_FOUND);
    for (int i = 0; i < 3; i++)
        queues[i]->operations->close(queues[i]);
    builder->operations->close(builder);
}
END_TEST

TEST_TABLE(TEST(published_job_is_delivered_acknowledged_and_gone),
           TEST(job_acknowledged_in_vain_can_be_queued_again_at_once),
           TEST(change_of_kind_is_queued_at_once_behind_other_jobs),
           TEST(consumer_of_another_ack_wait_is_changed_and_keeps_its_jobs),
           TEST(silent_worker_loses_the_job_and_a_busy_one_keeps_it),
           TEST(poison_job_ends_on_the_dead_letter_subject),
           TEST(job_that_kills_its_workers_ends_as_a_dead_letter),
           TEST(job_that_comes_twice_before_its_end_makes_one_dead_letter),
           TEST(message_that_is_no_job_is_buried_at_once),
           TEST(passed_job_reaches_its_owner_without_costing_an_attempt),
           TEST(job_passed_at_the_end_does_not_answer_a_request_that_was_given_up),
           TEST(queue_without_a_server_can_be_closed), TEST(server_that_comes_late_is_found),
           TEST(queued_job_survives_the_servers_death), TEST(wiped_server_gets_its_streams_back),
           TEST(two_queues_share_the_jobs),
           TEST(jobs_of_two_groups_for_one_window_are_both_delivered),
           TEST(deployments_with_prefixes_of_their_own_share_a_server),
           TEST(owner_of_a_shard_is_found_among_the_processes_of_its_group))
