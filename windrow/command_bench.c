#include <stdio.h>
#include <string.h>

#include "bench/index_bench.h"
#include "windrow/command.h"

static const char help[] = "Usage: windrow bench index --base FILE --queries FILE [options]\n\n"
                           "Builds an index over vectors in a file and measures its searches:\n"
                           "windrow bench index --help says more.\n";

int command_bench(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "index") == 0)
        return bench_index_run(argc - 1, argv + 1);
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return COMMAND_OK;
    }
    return argc < 2 ? command_usage_error("bench", "say what to measure: index")
                    : command_usage_error("bench", "there is no bench %s", argv[1]);
}
