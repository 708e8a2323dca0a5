#include "tests/indexer/worker/nats_queue.h"

#include "indexer/worker/queue.h"
#include "tests/support/test_main.h"

struct worker_queue *nats_queue_open(const char *url, int64_t ack_wait_ms, struct metrics *metrics)
{
    struct queue_nats_options options = {.url = url,
                                         .stream = "TEST",
                                         .prefix = "windrow",
                                         .group = "windrow",
                                         .name = "test",
                                         .replicas = 1,
                                         .ack_wait_ms = ack_wait_ms,
                                         .pass_delay_ms = 20,
                                         .metrics = metrics};
    struct worker_queue *queue;
    struct error error = {0};

    ck_assert_msg(queue_nats_open(&options, &queue, &error) == 0, "%s", error.text);
    return queue;
}
