/* Callers send from their own threads and sleep until the last delivery report of their batch; one
 * thread serves the reports of all of them. */
#include "windrow/daemon/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "ingest/decode/decode.h"
#include "ingest/ingest.h"

/* librdkafka calls delivery reports inside a poll, at once when one comes: POLL_MS only bounds how
 * late the thread sees that it is to end. */
enum { POLL_MS = 100, CLOSE_MS = 1000 };
/* Between two looks whether who waits is still wanted. */
#define SETTLE_LOOK_NS INT64_C(100000000)

struct writer {
    const struct config *config;
    struct metrics *metrics;
    pthread_mutex_t lock; /* guards creation */
    struct ingest_producer *producer;
    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    pthread_mutex_t batch_lock; /* guards `interrupted` and all batches */
    pthread_cond_t changed;     /* some batch has all its reports, or `interrupted` was set */
    bool interrupted;
    struct batch *batches; /* that have reports to come, the newest first */
    uint64_t batch_number; /* of the newest */
};

/* One call's writes. The caller may leave before the last delivery report; whoever is last frees.
 * Under the writer's batch_lock. */
struct batch {
    struct writer *writer;
    struct batch *next;
    uint64_t number;
    const struct config_collection *collection;
    struct rest_write *writes; /* the caller's; NULL when it has left */
    size_t users;              /* reports that are to come, and the caller */
    int code;                  /* of the first that failed */
    char text[256];
    struct ticket *tickets;
};

struct ticket {
    struct batch *batch;
    size_t index;
};

static void *poll_loop(void *context)
{
    struct writer *writer = context;

    while (!atomic_load(&writer->stopping))
        (void)ingest_producer_poll(writer->producer, POLL_MS);
    return NULL;
}

struct writer *writer_new(const struct config *config, struct metrics *metrics)
{
    struct writer *writer = memory_new(1, sizeof(*writer));

    writer->config = config;
    writer->metrics = metrics;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_mutex_init(&writer->batch_lock, NULL);
    thread_condition_create(&writer->changed);
    return writer;
}

void writer_interrupt(struct writer *writer)
{
    pthread_mutex_lock(&writer->batch_lock);
    writer->interrupted = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->batch_lock);
}

void writer_delete(struct writer *writer)
{
    struct error error = {0};

    if (!writer)
        return;
    if (writer->producer) {
        atomic_store(&writer->stopping, true);
        pthread_join(writer->thread, NULL);
        if (ingest_producer_delete(writer->producer, CLOSE_MS, &error) != 0)
            log_warning("windrow", "closing the producer: %s", error.text);
    }
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->batch_lock);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

static int ensure_producer(struct writer *writer, struct error *error)
{
    int code = 0;

    pthread_mutex_lock(&writer->lock);
    if (!writer->producer)
        code = ingest_producer_new(writer->config, writer->metrics, &writer->producer, error);
    if (code == 0 && !writer->has_thread) {
        if (thread_start(&writer->thread, "produce", poll_loop, writer) != 0)
            abort();
        writer->has_thread = true;
    }
    pthread_mutex_unlock(&writer->lock);
    return code;
}

/* What would become a dead letter after the acknowledgement is refused while somebody listens. */
static int check_all(const struct config_collection *collection, const struct rest_write *writes,
                     size_t count, struct error *error)
{
    int64_t now_ms = io_wall_ms(io_posix());
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < count && code == 0; i++) {
        struct decode_message message = {
            .topic = collection->topics[0],
            .timestamp_ms = writes[i].timestamp_ms > 0 ? writes[i].timestamp_ms : now_ms,
            .key = (const uint8_t *)writes[i].key,
            .key_bytes = writes[i].key_bytes,
            .id_kind = store_id_kind_name(writes[i].id_kind),
            .value = writes[i].value,
            .value_bytes = writes[i].value_bytes};
        struct decode_result decoded;
        const char *complaint;
        arena_reset(&arena);
        complaint = decode_complaint(collection, &message, now_ms, &arena, &decoded);
        if (complaint)
            code = error_set(error, ERROR_INVALID, "Wrong input: point %.*s: %s",
                             (int)writes[i].key_bytes, writes[i].key, complaint);
    }
    arena_destroy(&arena);
    return code;
}

static struct batch *batch_new(struct writer *writer, const struct config_collection *collection,
                               struct rest_write *writes, size_t count)
{
    struct batch *batch = calloc(1, sizeof(*batch));

    if (!batch || !(batch->tickets = calloc(count, sizeof(*batch->tickets))))
        abort();
    batch->writer = writer;
    batch->writes = writes;
    batch->users = 1;
    for (size_t i = 0; i < count; i++)
        batch->tickets[i] = (struct ticket){.batch = batch, .index = i};
    batch->collection = collection;
    pthread_mutex_lock(&writer->batch_lock);
    batch->number = ++writer->batch_number;
    batch->next = writer->batches;
    writer->batches = batch;
    pthread_mutex_unlock(&writer->batch_lock);
    return batch;
}

/* Under the lock. */
static void batch_leave(struct batch *batch)
{
    struct batch **place = &batch->writer->batches;

    if (--batch->users <= 1)
        pthread_cond_broadcast(&batch->writer->changed);
    if (batch->users > 0)
        return;
    while (*place != batch)
        place = &(*place)->next;
    *place = batch->next;
    free(batch->tickets);
    free(batch);
}

/* Under the lock. */
static void note_failure(struct batch *batch, int code, const char *text)
{
    if (batch->code != 0)
        return;
    batch->code = code;
    snprintf(batch->text, sizeof(batch->text), "%.255s", text);
}

static void on_delivered(void *context, const struct ingest_produced *result)
{
    struct ticket *ticket = context;
    struct batch *batch = ticket->batch;
    struct writer *writer = batch->writer;

    pthread_mutex_lock(&writer->batch_lock);
    if (batch->writes) {
        batch->writes[ticket->index].partition = result->partition;
        batch->writes[ticket->index].offset = result->offset;
        batch->writes[ticket->index].code = result->code;
    }
    if (result->code != 0)
        note_failure(batch, result->code, result->text);
    batch_leave(batch);
    pthread_mutex_unlock(&writer->batch_lock);
}

static void send_one(struct writer *writer, const char *topic, struct batch *batch, size_t i)
{
    const struct rest_write *write = &batch->writes[i];
    const struct ingest_outgoing message = {
        .topic = write->topic ? write->topic : topic,
        .partition = write->topic ? write->partition : INGEST_PARTITION_BY_KEY,
        .key = write->key,
        .key_bytes = write->key_bytes,
        .id_kind = write->id_kind,
        .value = write->value,
        .value_bytes = write->value_bytes,
        .timestamp_ms = write->timestamp_ms > 0 ? write->timestamp_ms : -1,
        .expects = write->expects,
        .expected_offset = write->expected_offset,
        .read_at = write->read_at};
    struct error error = {0};

    pthread_mutex_lock(&writer->batch_lock);
    batch->users++;
    pthread_mutex_unlock(&writer->batch_lock);
    if (ingest_producer_send(writer->producer, &message, on_delivered, &batch->tickets[i],
                             &error) == 0)
        return;
    pthread_mutex_lock(&writer->batch_lock);
    batch->writes[i].code = error.code;
    note_failure(batch, error.code, error.text);
    batch_leave(batch); /* the caller is still there */
    pthread_mutex_unlock(&writer->batch_lock);
}

static bool is_interrupted(struct writer *writer)
{
    bool interrupted;

    pthread_mutex_lock(&writer->batch_lock);
    interrupted = writer->interrupted;
    pthread_mutex_unlock(&writer->batch_lock);
    return interrupted;
}

static int write_all(void *context, const struct config_collection *collection,
                     struct rest_write *writes, size_t count, struct error *error)
{
    struct writer *writer = context;
    struct batch *batch;
    size_t i;
    int code;

    if (count == 0)
        return 0;
    if (check_all(collection, writes, count, error) != 0)
        return error->code;
    if (ensure_producer(writer, error) != 0)
        return error->code;
    batch = batch_new(writer, collection, writes, count);
    for (i = 0; i < count && !is_interrupted(writer); i++)
        send_one(writer, collection->topics[0], batch, i);
    pthread_mutex_lock(&writer->batch_lock);
    while (batch->users > 1 && !writer->interrupted)
        pthread_cond_wait(&writer->changed, &writer->batch_lock);
    if (batch->users > 1 || i < count)
        note_failure(batch, ERROR_CANCELLED, "the service is stopping");
    code = batch->code;
    if (code != 0)
        (void)error_set(error, code == ERROR_CANCELLED ? ERROR_CANCELLED : ERROR_PEER,
                        "Kafka did not accept the write: %s", batch->text);
    batch->writes = NULL;
    batch_leave(batch);
    pthread_mutex_unlock(&writer->batch_lock);
    return code == 0 ? 0 : error->code;
}

struct rest_writer writer_rest(struct writer *writer)
{
    return (struct rest_writer){.context = writer, .write = write_all};
}

/* Under the lock. */
static bool is_under_way(const struct writer *writer, const struct config_collection *collection,
                         uint64_t until_number)
{
    for (const struct batch *batch = writer->batches; batch; batch = batch->next)
        if (batch->collection == collection && batch->number <= until_number)
            return true;
    return false;
}

int writer_settle(struct writer *writer, const struct config_collection *collection,
                  struct stop *stop, struct error *error)
{
    uint64_t until_number;
    int code = 0;

    pthread_mutex_lock(&writer->batch_lock);
    until_number = writer->batch_number;
    while (code == 0 && is_under_way(writer, collection, until_number)) {
        (void)thread_condition_wait(&writer->changed, &writer->batch_lock,
                                    thread_deadline(SETTLE_LOOK_NS));
        code = stop_check(stop, error);
    }
    pthread_mutex_unlock(&writer->batch_lock);
    return code;
}

int writer_create_topic(struct writer *writer, const char *topic, int partitions, int replication,
                        bool *made, struct error *error)
{
    if (ensure_producer(writer, error) != 0)
        return error->code;
    return ingest_producer_create_topic(writer->producer, topic, partitions, replication, made,
                                        error);
}
