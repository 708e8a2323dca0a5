/* The least that a consumer can do for records to be durable: their bytes are copied into groups as
 * large as windrow's in a backlog, summed, and written to new files as the log writes, by as many
 * threads as windrow appends with. Nothing is decoded, and nothing could be found again: what the
 * machine leaves for any consumer beside its broker. */
#ifndef BENCH_INGEST_LEAST_H
#define BENCH_INGEST_LEAST_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_GROUP_BYTES = 4 << 20 }; /* what windrow appends at once in a backlog */

struct bench_least;

/** The folder must outlive it. All that fails ends the process. */
struct bench_least *bench_least_new(const char *directory);
/** One record, copied. One thread. */
void bench_least_add(struct bench_least *least, const void *bytes, size_t size_bytes);
/** Everything added is durable when it returns. Nothing may be added after it. The sum of all
 * groups' checksums. */
uint64_t bench_least_finish(struct bench_least *least);
/** Removes the files. */
void bench_least_delete(struct bench_least *least);

#endif
