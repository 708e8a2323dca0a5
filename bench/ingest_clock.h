/* The clocks of a measurement, in seconds. */
#ifndef BENCH_INGEST_CLOCK_H
#define BENCH_INGEST_CLOCK_H

#include <sys/resource.h>

#include "base/io.h"

static inline double bench_now_s(void)
{
    return (double)io_monotonic_ns(io_posix()) / 1e9;
}

/** Processor time of this process until now. */
static inline double bench_cpu_s(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

#endif
