#include "ingest/kafka_offsets.h"

#include "base/io.h"

/* `time_ms` may be RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END: the protocol has the same
 * numbers for them. */
static rd_kafka_resp_err_t query(rd_kafka_t *client, const char *topic, int32_t partition,
                                 int64_t time_ms, int64_t *offset, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *place = rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_resp_err_t code;

    place->offset = time_ms;
    code = rd_kafka_offsets_for_times(client, list, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = place->err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && place->offset < 0)
        code = RD_KAFKA_RESP_ERR__TIMED_OUT; /* no answer of this partition */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        *offset = place->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

rd_kafka_resp_err_t kafka_query_offsets(rd_kafka_t *client, const char *topic, int32_t partition,
                                        int64_t *begin, int64_t *end, int timeout_ms)
{
    int64_t start_ns = io_monotonic_ns(io_posix());
    rd_kafka_resp_err_t code;
    int64_t left_ms;

    code = query(client, topic, partition, RD_KAFKA_OFFSET_BEGINNING, begin, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    left_ms = timeout_ms - (io_monotonic_ns(io_posix()) - start_ns) / 1000000;
    return query(client, topic, partition, RD_KAFKA_OFFSET_END, end,
                 left_ms > 1 ? (int)left_ms : 1);
}
