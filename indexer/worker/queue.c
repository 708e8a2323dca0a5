#include "indexer/worker/queue.h"

void worker_queue_count_dead(struct metrics *metrics, const char *collection)
{
    struct metric_label labels[] = {{"collection", collection}};

    metric_add(metrics_counter(metrics, "windrow_index_dead_letters_total",
                               "Index jobs given up after their last attempt", labels, 1),
               1);
}

int worker_queue_nats(const struct config *config, struct metrics *metrics,
                      struct worker_queue **queue, struct error *error)
{
    struct queue_nats_options options = {
        .url = config->nats_url,
        .stream = config->nats_stream,
        .name = config->node,
        .replicas = config->nats_replicas,
        .ack_wait_ms = config->nats_ack_wait_ms,
        .metrics = metrics,
    };

    return queue_nats_open(&options, queue, error);
}
