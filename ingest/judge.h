/* Judging: the records of a message go into the lane's group, are dropped, or become dead letters.
 *
 * Consumer thread only. Private to ingest/. */
#ifndef INGEST_JUDGE_H
#define INGEST_JUDGE_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "ingest/pipeline.h"

/** Takes what was decoded of a message that is read at `wall_ms`. False when a part needs a dead-letter
 * topic and there is none; then some parts may have been taken. */
bool judge_parts(struct lane *lane, const rd_kafka_message_t *message,
                 const struct decode_result *decoded, int64_t timestamp_ms, int64_t wall_ms);
/** A message that an operator gave up: only the lane's clock sees it. */
void judge_skipped(struct lane *lane, int64_t timestamp_ms, int64_t wall_ms);

#endif
