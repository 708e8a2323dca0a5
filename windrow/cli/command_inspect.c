#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "indexer/index/index.h"
#include "indexer/query/query.h"
#include "store/tools/inspect.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static bool is_named(const char *path, const char *extension)
{
    const char *dot = strrchr(path, '.');

    return dot && strcmp(dot, extension) == 0;
}

static int inspect_one(const char *path, bool json)
{
    struct buffer out = {0};
    struct error error = {0};
    int code =
        is_named(path, ".segment")   ? index_segment_inspect(io_posix(), path, json, &out, &error)
        : is_named(path, ".columns") ? query_columns_inspect(io_posix(), path, json, &out, &error)
                                     : store_inspect(io_posix(), path, json, &out, &error);

    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int command_inspect(int argc, char **argv)
{
    bool json = false;
    int status = COMMAND_OK;
    const struct option_row rows[] = {OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[--json] PATH...",
        .about = "Decodes windrow files (CURRENT, MANIFEST, .log, .chunk, .run, .vectors, .mask, "
                 ".segment, .columns): header, "
                 "columns, counts, smallest and largest values, checksums.",
        .examples = "windrow inspect /var/lib/windrow/data/collections.d/news/news-0/000007.run",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "at least one file",
        .operands_min = 1,
        .operands_max = -1,
    };
    int parsed = options_parse(&line, argc, argv);

    if (parsed != -1)
        return parsed;
    for (int i = optind; i < argc; i++) {
        int one = inspect_one(argv[i], json);
        if (one != COMMAND_OK)
            status = one;
    }
    return status;
}
