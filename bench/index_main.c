/* windrow-bench-index: `windrow bench index` as a program of its own, without the rest. */
#include "bench/index_bench.h"

int main(int argc, char **argv)
{
    return bench_index_run(argc, argv);
}
