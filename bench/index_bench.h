/* The engine of `windrow bench index`: builds a segment from any vector file, measures build time,
 * size and recall against queries per second, and runs every installed peer on the same files. */
#ifndef BENCH_INDEX_BENCH_H
#define BENCH_INDEX_BENCH_H

/** argv as after the words `bench index`. Returns the process's exit status: 0, 64 for usage, 1. */
int bench_index_run(int argc, char **argv);

#endif
