/* windrow restore: a backup becomes the data folder. */
#include <getopt.h>
#include <stdio.h>

#include "base/text.h"
#include "indexer/index/index.h"
#include "indexer/query/query.h"
#include "store/tools/backup_folder.h"
#include "store/tools/verify.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static int restore(const char *folder, const char *data_dir)
{
    struct buffer findings = {0};
    struct error error = {0};
    char text[TEXT_TIME_BYTES];
    size_t shard_count = 0;
    uint64_t bytes = 0;
    int code = store_verify(io_posix(), folder,
                            &(struct store_verify_checks){.segment = index_segment_check,
                                                          .columns = query_columns_check},
                            &findings, &error);

    fputs(buffer_text(&findings), stderr);
    buffer_destroy(&findings);
    if (code == 0)
        code = store_restore(io_posix(), folder, data_dir, &shard_count, &bytes, &error);
    if (code != 0)
        return command_fail("%s", error.text);
    fprintf(stderr, "windrow: restored %zu shards, %s, to %s\n", shard_count,
            text_format_size(bytes, text), data_dir);
    return COMMAND_OK;
}

int command_restore(int argc, char **argv)
{
    const char *config_path = NULL, *to = NULL;
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(config_path),
        {.name = "to",
         .type = OPTION_TEXT,
         .argument = "DATA_DIR",
         .help = "use this folder instead of data_dir of the config",
         .target = &to},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--to DATA_DIR] SRC",
        .about = "Reads every byte of the backup SRC, then copies it to data_dir of the config, "
                 "which must be missing "
                 "or empty. The backup does not change. Once started, the service reads Kafka from "
                 "where the backup "
                 "ends. Records that have expired stay expired.",
        .examples = "windrow restore /var/lib/windrow-backups/monday",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "one backup",
        .operands_min = 1,
        .operands_max = 1,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = to ? COMMAND_OK : command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = restore(argv[optind], to ? to : config->data_dir);
    config_free(config);
    return status;
}
