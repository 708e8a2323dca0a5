#include "ingest/fingerprint.h"

#include "base/checksum.h"

uint64_t ingest_fingerprint(const rd_kafka_message_t *message)
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
