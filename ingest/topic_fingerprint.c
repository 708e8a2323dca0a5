#include "ingest/topic_fingerprint.h"

#include "base/checksum.h"
#include "store/files/record.h"

enum { NEAR_OFFSETS = 1000 };

uint64_t topic_fingerprint(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);
    uint64_t key = checksum_block(message->key ? message->key : "",
                                  message->key ? message->key_len : 0, 0, 0, message->key != NULL);
    uint64_t fingerprint = checksum_block(message->payload ? message->payload : "",
                                          message->payload ? message->len : 0,
                                          (uint64_t)timestamp_ms, key, message->payload != NULL);

    return fingerprint != 0 ? fingerprint : 1;
}

bool topic_fingerprint_worth_checking(const struct store_topic_fingerprint *topic,
                                      int64_t next_offset)
{
    return topic->hash != 0 && next_offset - topic->offset <= NEAR_OFFSETS;
}

bool topic_fingerprint_matches(const struct store_topic_fingerprint *topic,
                               const rd_kafka_message_t *message)
{
    return topic->hash == 0 || message->offset != topic->offset ||
           topic_fingerprint(message) == topic->hash;
}
