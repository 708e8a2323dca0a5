/* Dead letters: records that can never be stored, kept in a topic of their own with the reason.
 *
 * A letter is sent until the broker has acknowledged it; only then may the offset of its record be
 * passed. Whoever waits holds a ticket that counts the letters still under way. After a crash the
 * letters of records that were not passed are sent again: a reason appears at least once.
 *
 * One thread (the consumer's) calls everything here. Private to ingest/. */
#ifndef INGEST_DEAD_LETTER_H
#define INGEST_DEAD_LETTER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"

struct dead_letters;

/* What a partition waits for. */
struct dead_letter_ticket {
    size_t outstanding; /* letters not yet acknowledged */
    bool abandoned;     /* nobody waits: freed with its last letter */
};

struct dead_letter {
    const rd_kafka_message_t *message; /* the original: key, headers, timestamp, position */
    const void *value;                 /* the bad part; NULL for a tombstone */
    size_t value_bytes;
    const char *stage;  /* of Kafka Connect: "VALUE_CONVERTER", "TASK_PUT"... */
    const char *reason; /* label of windrow_dead_letters_total */
    const char *text;   /* for people, with JSON path or byte offset */
};

/** `wake` is called by a thread of librdkafka when dead_letters_poll has something to serve. */
int dead_letters_new(const struct config *config, struct metrics *metrics, struct io *io,
                     void (*wake)(void *context), void *context, struct dead_letters **letters,
                     struct error *error);
/** Waits up to `timeout_ms` for acknowledgements; letters that are left are given up (their records
 * were not passed). */
void dead_letters_delete(struct dead_letters *letters, int timeout_ms);

struct dead_letter_ticket *dead_letter_ticket_new(void);
/** The owner stops waiting. */
void dead_letter_ticket_delete(struct dead_letter_ticket *ticket);

/** Copies the letter and sends it until it is acknowledged. */
void dead_letters_send(struct dead_letters *letters, struct dead_letter_ticket *ticket,
                       const struct dead_letter *letter);

/** Serves acknowledgements and sends again what failed. Waits up to `timeout_ms` for something to
 * happen. */
void dead_letters_poll(struct dead_letters *letters, int timeout_ms);

#endif
