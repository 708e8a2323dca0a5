#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "indexer/index/index.h"
#include "store/store.h"
#include "windrow/cli/command.h"

static const char help[] =
    "Usage: windrow inspect [--json] PATH...\n\n"
    "Decodes a windrow file (CURRENT, MANIFEST, .log, .chunk, .run, .vectors, .mask, .segment):\n"
    "header, columns, counts, smallest and largest values, checksums.\n\n"
    "Example:\n  windrow inspect /var/lib/windrow/news/0/000007.run\n";

static bool is_segment(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && strcmp(dot, ".segment") == 0;
}

static int inspect_one(const char *path, bool json)
{
    struct buffer out = {0};
    struct error error = {0};
    int code = is_segment(path) ? index_segment_inspect(io_posix(), path, json, &out, &error)
                                : store_inspect(io_posix(), path, json, &out, &error);

    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int command_inspect(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false;
    int status = COMMAND_OK;
    int option;

    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return COMMAND_OK;
        }
        if (option != 'j')
            return command_usage_error("inspect", "see above");
        json = true;
    }
    if (optind == argc)
        return command_usage_error("inspect", "no file named");
    for (int i = optind; i < argc; i++) {
        int one = inspect_one(argv[i], json);
        if (one != COMMAND_OK)
            status = one;
    }
    return status;
}
