#include "ingest/duplicate_ids.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/logger.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "store/lease.h"

#define SAMPLE_NS INT64_C(100000000)
#define LOG_NS    INT64_C(30000000000)

static void say(struct duplicate_ids *sample, const struct topic_partition *name,
                const struct store_record *record, const char *other)
{
    struct buffer id = {0};
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    doc = store_key_to_doc(record->key, record->key_bytes, &arena);
    doc_write_json(&id, &doc);
    sample->limit.interval_ns = LOG_NS;
    (void)logger_write_limited(&sample->limit, LOGGER_WARNING, "ingest", "id_in_two_shards",
                               PARTITION_FORMAT
                               " holds id %s, and so does shard %s: neither version replaces the "
                               "other; producers must agree on the partitioner",
                               PARTITION_NAME(name), buffer_text(&id), other);
    buffer_destroy(&id);
    arena_destroy(&arena);
}

struct metric *duplicate_ids_metric(struct metrics *metrics, const char *collection)
{
    const struct metric_label label = {"collection", collection};

    return metrics_counter(metrics, "windrow_ids_in_two_shards_total",
                           "Sampled ids that another shard of the collection holds too", &label, 1);
}

void duplicate_ids_sample(struct duplicate_ids *sample, const struct topic_partition *name,
                          const struct store_shard *own, const struct store_record *record)
{
    int64_t now_ns = io_monotonic_ns(sample->io);
    char other[CONFIG_SHARD_NAME_BYTES];

    if (record->is_delete || now_ns - sample->sampled_ns < SAMPLE_NS)
        return;
    sample->sampled_ns = now_ns;
    if (!store_registry_find_elsewhere(sample->registry, name->collection, own, record->key,
                                       record->key_bytes, io_wall_ms(sample->io), other,
                                       sizeof(other)))
        return;
    metric_add(duplicate_ids_metric(sample->metrics, name->collection->name), 1);
    say(sample, name, record, other);
}
