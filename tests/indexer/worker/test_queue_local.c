/* The contract of the queue, on the one inside the process. */
#include <pthread.h>
#include <time.h>

#include "indexer/worker/worker.h"
#include "tests/support/test_main.h"

static struct worker_job job_of(int64_t window)
{
    return (struct worker_job){.collection = "news",
                               .shard = "0",
                               .window_start_ms = window,
                               .window_length_ms = 1,
                               .generation = 1};
}

static struct worker_queue *open_queue(struct metrics *metrics)
{
    struct worker_queue *queue;
    struct error error = {0};

    ck_assert_int_eq(worker_queue_local(metrics, &queue, &error), 0);
    return queue;
}

static struct worker_delivery *fetch(struct worker_queue *queue, int timeout_ms)
{
    struct worker_delivery *delivery = NULL;
    struct error error = {0};
    int code = queue->operations->fetch(queue, timeout_ms, NULL, &delivery, &error);

    ck_assert_msg(code == 0 || code == ERROR_TIMEOUT, "%s", error.text);
    return code == 0 ? delivery : NULL;
}

static void publish(struct worker_queue *queue, int64_t window)
{
    struct worker_job job = job_of(window);

    ck_assert_int_eq(queue->operations->publish(queue, &job, ERROR_IGNORED), 0);
}

START_TEST(jobs_come_in_order_and_once)
{
    struct worker_queue *queue = open_queue(NULL);
    struct worker_delivery *deliveries[2];

    publish(queue, 1);
    publish(queue, 2);
    publish(queue, 1); /* queued already */
    ck_assert_int_eq(queue->operations->depth(queue), 2);
    for (int i = 0; i < 2; i++) {
        deliveries[i] = fetch(queue, 0);
        ck_assert_ptr_nonnull(deliveries[i]);
        ck_assert_int_eq(deliveries[i]->job.window_start_ms, i + 1);
        ck_assert_uint_eq(deliveries[i]->attempt, 1);
    }
    publish(queue, 2); /* under way */
    ck_assert_ptr_null(fetch(queue, 0));
    ck_assert_int_eq(queue->operations->depth(queue), 2);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(queue->operations->ack(deliveries[i], ERROR_IGNORED), 0);
    ck_assert_int_eq(queue->operations->depth(queue), 0);
    publish(queue, 1); /* done: may be wanted again */
    ck_assert_int_eq(queue->operations->depth(queue), 1);
    queue->operations->close(queue);
}
END_TEST

START_TEST(failed_job_comes_again_and_ends_after_the_last_attempt)
{
    struct metrics *metrics = metrics_new();
    struct metric_label label = {"collection", "news"};
    struct worker_queue *queue = open_queue(metrics);

    publish(queue, 1);
    for (uint32_t attempt = 1; attempt <= WORKER_ATTEMPTS_MAX; attempt++) {
        struct worker_delivery *delivery = fetch(queue, 60 * 1000);
        ck_assert_ptr_nonnull(delivery);
        ck_assert_uint_eq(delivery->attempt, attempt);
        ck_assert_int_eq(
            queue->operations->retry(delivery, 1, "the disk is on fire", ERROR_IGNORED), 0);
    }
    ck_assert_ptr_null(fetch(queue, 20));
    ck_assert_int_eq(queue->operations->depth(queue), 0);
    ck_assert_double_eq(
        metric_value(metrics_counter(metrics, "windrow_index_dead_letters_total", "", &label, 1)),
        1);
    queue->operations->close(queue);
    metrics_delete(metrics);
}
END_TEST

START_TEST(retried_job_waits_for_its_delay_while_others_go_on)
{
    struct worker_queue *queue = open_queue(NULL);
    struct worker_delivery *delivery;

    publish(queue, 1);
    publish(queue, 2);
    ck_assert_int_eq(queue->operations->retry(fetch(queue, 0), 3600 * 1000, "later", ERROR_IGNORED),
                     0);
    delivery = fetch(queue, 0);
    ck_assert_int_eq(delivery->job.window_start_ms, 2);
    ck_assert_int_eq(queue->operations->ack(delivery, ERROR_IGNORED), 0);
    ck_assert_ptr_null(fetch(queue, 0));
    queue->operations->close(queue);
}
END_TEST

static void *publish_soon(void *context)
{
    struct timespec pause = {0, 20 * 1000 * 1000};

    nanosleep(&pause, NULL);
    publish(context, 9);
    return NULL;
}

START_TEST(waiting_worker_wakes_for_a_publication)
{
    struct worker_queue *queue = open_queue(NULL);
    struct worker_delivery *delivery;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, publish_soon, queue), 0);
    delivery = fetch(queue, 60 * 1000);
    pthread_join(thread, NULL);
    ck_assert_ptr_nonnull(delivery);
    ck_assert_int_eq(delivery->job.window_start_ms, 9);
    ck_assert_int_eq(queue->operations->pass(delivery, ERROR_IGNORED), 0);
    ck_assert_int_eq(queue->operations->depth(queue), 0);
    queue->operations->close(queue);
}
END_TEST

TEST_TABLE(TEST(jobs_come_in_order_and_once),
           TEST(failed_job_comes_again_and_ends_after_the_last_attempt),
           TEST(retried_job_waits_for_its_delay_while_others_go_on),
           TEST(waiting_worker_wakes_for_a_publication))
