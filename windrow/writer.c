/* Callers send from their own threads and sleep until the last delivery report of their batch; one
 * thread serves the reports of all of them. */
#include "windrow/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "ingest/ingest.h"

enum { POLL_MS = 100, CLOSE_MS = 5000 };

struct writer {
    const struct config *config;
    struct metrics *metrics;
    pthread_mutex_t lock; /* guards creation */
    struct ingest_producer *producer;
    pthread_t thread;
    atomic_bool stopping;
};

/* One call's writes. */
struct batch {
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t waiting;
    int code; /* of the first that failed */
    char text[256];
};

struct ticket {
    struct batch *batch;
    struct indexer_write *write;
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
    struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        abort();
    writer->config = config;
    writer->metrics = metrics;
    pthread_mutex_init(&writer->lock, NULL);
    return writer;
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
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

static int ensure_producer(struct writer *writer, struct error *error)
{
    int code = 0;

    pthread_mutex_lock(&writer->lock);
    if (!writer->producer)
        code = ingest_producer_new(writer->config, writer->metrics, &writer->producer, error);
    if (code == 0 && !writer->thread &&
        pthread_create(&writer->thread, NULL, poll_loop, writer) != 0)
        abort();
    pthread_mutex_unlock(&writer->lock);
    return code;
}

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

    pthread_mutex_lock(&batch->lock);
    ticket->write->partition = result->partition;
    ticket->write->offset = result->offset;
    ticket->write->code = result->code;
    if (result->code != 0)
        note_failure(batch, result->code, result->text);
    if (--batch->waiting == 0)
        pthread_cond_signal(&batch->done);
    pthread_mutex_unlock(&batch->lock);
}

static void send_all(struct writer *writer, const char *topic, struct batch *batch,
                     struct ticket *tickets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct indexer_write *write = tickets[i].write;
        struct error error = {0};
        if (ingest_producer_send(writer->producer, topic, write->key, write->key_bytes,
                                 write->value, write->value_bytes, -1, on_delivered, &tickets[i],
                                 &error) == 0)
            continue;
        pthread_mutex_lock(&batch->lock);
        write->code = error.code;
        note_failure(batch, error.code, error.text);
        batch->waiting--;
        pthread_mutex_unlock(&batch->lock);
    }
}

int writer_write(struct writer *writer, const struct config_collection *collection,
                 struct indexer_write *writes, size_t count, struct error *error)
{
    struct batch batch = {.waiting = count};
    struct ticket *tickets;

    if (count == 0)
        return 0;
    if (ensure_producer(writer, error) != 0)
        return error->code;
    tickets = calloc(count, sizeof(*tickets));
    if (!tickets)
        abort();
    for (size_t i = 0; i < count; i++)
        tickets[i] = (struct ticket){.batch = &batch, .write = &writes[i]};
    pthread_mutex_init(&batch.lock, NULL);
    pthread_cond_init(&batch.done, NULL);
    send_all(writer, collection->topics[0], &batch, tickets, count);
    pthread_mutex_lock(&batch.lock);
    while (batch.waiting > 0)
        pthread_cond_wait(&batch.done, &batch.lock);
    pthread_mutex_unlock(&batch.lock);
    pthread_cond_destroy(&batch.done);
    pthread_mutex_destroy(&batch.lock);
    free(tickets);
    if (batch.code != 0)
        return error_set(error, ERROR_PEER, "Kafka did not take the write: %s", batch.text);
    return 0;
}
