/* Measurements are programs of their own: they link peers (RocksDB) that the service must not
 * depend on, or produce loads that it has no part in. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

/* Only letters: the name becomes part of a path. */
static int check_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz");

    return length > 0 && length <= 32 && name[length] == '\0' ? 0 : -1;
}

static int run_program(char **argv)
{
    char path[PATH_MAX];
    char program[64];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(program));
    char *slash;

    (void)snprintf(program, sizeof(program), "windrow-bench-%s", argv[0]);
    argv[0] = program;
    if (length > 0) {
        path[length] = '\0';
        slash = strrchr(path, '/');
        (void)snprintf(slash ? slash + 1 : path, sizeof(program), "%s", program);
        (void)execv(path, argv);
    }
    (void)execvp(program, argv);
    return command_fail("bench: %s: %s (build target: benches)", program, strerror(errno));
}

int command_bench(int argc, char **argv)
{
    const struct command_line line = {
        .usage = "index --base FILE --queries FILE [options]\nNAME [options]",
        .about = "Runs the program windrow-bench-NAME, beside windrow or in the PATH. index builds "
                 "an index over vectors in a file and measures its searches. The others (store, "
                 "merge, compaction, ingest, serve) come from `cmake --build --preset release "
                 "--target benches`.\n\n`windrow bench NAME --help` says more.",
        .operands = "the name of a benchmark",
        .operands_max = -1,
    };

    if (argc >= 2 && argv[1][0] == '-')
        return options_parse(&line, argc, argv);
    if (argc < 2 || check_name(argv[1]) != 0)
        return command_usage_error(
            "bench", "name a benchmark: index, store, merge, compaction, ingest, serve");
    return run_program(argv + 1);
}
