#include "ingest/delete_outcomes.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "store/files/key.h"

#define LOG_NS INT64_C(60000000000)

static const char *const outcome_names[STORE_DELETE_OUTCOMES] = {
    [STORE_DELETE_DONE] = "done",           [STORE_DELETE_OTHER_READING] = "other_reading",
    [STORE_DELETE_AMBIGUOUS] = "ambiguous", [STORE_DELETE_NO_SUCH_ID] = "no_such_id",
    [STORE_DELETE_UNMET] = "unmet",
};

struct metric *delete_outcomes_metric(struct metrics *metrics, const char *collection,
                                      enum store_delete_outcome outcome)
{
    const struct metric_label labels[] = {{"collection", collection},
                                          {"outcome", outcome_names[outcome]}};

    return metrics_counter(metrics, "windrow_deletes_total", "Tombstones read, by what they hit",
                           labels, 2);
}

static void append_id(const uint8_t *key, size_t key_bytes, struct buffer *out)
{
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    doc = store_key_to_doc(key, key_bytes, &arena);
    doc_write_json(out, &doc);
    arena_destroy(&arena);
}

static void warn_no_such_id(struct delete_outcomes *outcomes, const struct topic_partition *name,
                            const struct store_record *record)
{
    struct buffer id = {0};

    append_id(record->key, record->key_bytes, &id);
    if (record->other_key) {
        buffer_append_text(&id, " or ");
        append_id(record->other_key, record->other_key_bytes, &id);
    }
    outcomes->no_such_id.interval_ns = LOG_NS;
    (void)logger_write_limited(
        &outcomes->no_such_id, LOGGER_WARNING, "ingest", "delete_names_nothing",
        PARTITION_FORMAT " offset %lld: the delete of %s changed nothing: no such id is stored. It "
                         "was deleted before, has expired, or the key means another id: see "
                         "collections.%s.key",
        PARTITION_NAME(name), (long long)record->offset, buffer_text(&id), name->collection->name);
    buffer_destroy(&id);
}

static void warn_ambiguous(struct delete_outcomes *outcomes, const struct topic_partition *name,
                           const struct store_record *record)
{
    struct buffer first = {0}, second = {0};

    append_id(record->key, record->key_bytes, &first);
    append_id(record->other_key, record->other_key_bytes, &second);
    outcomes->ambiguous.interval_ns = LOG_NS;
    (void)logger_write_limited(
        &outcomes->ambiguous, LOGGER_WARNING, "ingest", "delete_is_ambiguous",
        PARTITION_FORMAT " offset %lld: the key of the delete means %s or %s, and both are stored. "
                         "It deleted %s. Set collections.%s.key, or send the header windrow-id",
        PARTITION_NAME(name), (long long)record->offset, buffer_text(&first), buffer_text(&second),
        buffer_text(&first), name->collection->name);
    buffer_destroy(&first);
    buffer_destroy(&second);
}

void delete_outcomes_note(struct delete_outcomes *outcomes, struct metrics *metrics,
                          const struct topic_partition *name, const struct store_deletes *deletes)
{
    for (enum store_delete_outcome outcome = 0; outcome < STORE_DELETE_OUTCOMES; outcome++)
        if (deletes->counts[outcome] > 0)
            metric_add(delete_outcomes_metric(metrics, name->collection->name, outcome),
                       (double)deletes->counts[outcome]);
    if (deletes->no_such_id)
        warn_no_such_id(outcomes, name, deletes->no_such_id);
    if (deletes->ambiguous)
        warn_ambiguous(outcomes, name, deletes->ambiguous);
}
