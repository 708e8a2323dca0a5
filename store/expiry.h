/* When rows expire. */
#ifndef STORE_EXPIRY_H
#define STORE_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

/** When a row expires: event time and the shorter of the shard's TTL and its own (0: none).
 * INT64_MAX: never. */
static inline int64_t row_expiry_ms(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms)
{
    int64_t shorter = row_ttl_ms > 0 && (ttl_ms == 0 || row_ttl_ms < ttl_ms) ? row_ttl_ms : ttl_ms;
    int64_t expiry;

    if (shorter == 0 || __builtin_add_overflow(event_time_ms, shorter, &expiry))
        return INT64_MAX;
    return expiry;
}

/** Whether a row expired at `now_ms`: TTL of the shard (0: none) and its own (0: none). */
static inline bool row_expired(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms,
                               int64_t now_ms)
{
    int64_t expiry = row_expiry_ms(event_time_ms, row_ttl_ms, ttl_ms);

    return expiry <= now_ms && expiry != INT64_MAX;
}

#endif
