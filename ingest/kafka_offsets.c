#include "ingest/kafka_offsets.h"

#include "base/io.h"

/* `time_ms` may be RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END: the protocol has the same
 * numbers for them. Fills begin or end of each, and its code. */
static bool query(rd_kafka_t *client, struct kafka_offsets *list, size_t count, int64_t time_ms,
                  int timeout_ms)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_resp_err_t code;
    bool all = true;

    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(asked, list[i].topic, list[i].partition)->offset =
            time_ms;
    code = rd_kafka_offsets_for_times(client, asked, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *place =
            rd_kafka_topic_partition_list_find(asked, list[i].topic, list[i].partition);
        list[i].code = code ? code : place->err;
        if (list[i].code == RD_KAFKA_RESP_ERR_NO_ERROR && place->offset < 0)
            list[i].code = RD_KAFKA_RESP_ERR__TIMED_OUT; /* no answer of this partition */
        all &= list[i].code == RD_KAFKA_RESP_ERR_NO_ERROR;
        *(time_ms == RD_KAFKA_OFFSET_END ? &list[i].end : &list[i].begin) = place->offset;
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return all;
}

bool kafka_query_all_offsets(rd_kafka_t *client, struct kafka_offsets *list, size_t count,
                             int timeout_ms)
{
    int64_t start_ns = io_monotonic_ns(io_posix());
    int64_t left_ms;

    if (count == 0)
        return true;
    if (!query(client, list, count, RD_KAFKA_OFFSET_BEGINNING, timeout_ms))
        return false;
    left_ms = timeout_ms - (io_monotonic_ns(io_posix()) - start_ns) / 1000000;
    return query(client, list, count, RD_KAFKA_OFFSET_END, left_ms > 1 ? (int)left_ms : 1);
}

rd_kafka_resp_err_t kafka_query_offsets(rd_kafka_t *client, const char *topic, int32_t partition,
                                        int64_t *begin, int64_t *end, int timeout_ms)
{
    struct kafka_offsets one = {.topic = topic, .partition = partition};

    (void)kafka_query_all_offsets(client, &one, 1, timeout_ms);
    if (one.code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *begin = one.begin;
        *end = one.end;
    }
    return one.code;
}

int64_t kafka_high_watermark(rd_kafka_t *client, const char *topic, int32_t partition)
{
    int64_t low, high;

    if (rd_kafka_get_watermark_offsets(client, topic, partition, &low, &high) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    if (high < 0) /* RD_KAFKA_OFFSET_INVALID: nothing was fetched yet */
        return -1;
    return high;
}
