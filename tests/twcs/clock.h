/* The clock of a shard whose last record has come right now, at its own event time. */
#ifndef TESTS_TWCS_CLOCK_H
#define TESTS_TWCS_CLOCK_H

#include "twcs/twcs.h"

static inline struct twcs_clock clock_at(int64_t now_ms)
{
    return (struct twcs_clock){
        .watermark_ms = now_ms, .last_record_wall_ms = now_ms, .safe_wall_ms = now_ms};
}

#endif
