/* windrow restore: a backup becomes the data folder. */
#include <getopt.h>
#include <stdio.h>

#include "base/text.h"
#include "indexer/index/index.h"
#include "store/store.h"
#include "windrow/cli/command.h"

static const char help[] =
    "Usage: windrow restore [-c FILE] [--to DATA_DIR] SRC\n\n"
    "Puts the backup SRC into data_dir of the config, which must be missing or empty, after "
    "reading\n"
    "every byte of it. The backup stays as it is. The service then reads Kafka on from where the\n"
    "backup ends; what has expired stays so.\n\n"
    "  -c, --config FILE  default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "      --to DATA_DIR  instead of that of the config\n\n"
    "Example:\n  windrow restore /var/lib/windrow-backups/monday\n";

static int restore(const char *folder, const char *data_dir)
{
    struct buffer findings = {0};
    struct error error = {0};
    char text[TEXT_TIME_BYTES];
    size_t shard_count = 0;
    uint64_t bytes = 0;
    int code = store_verify(io_posix(), folder, index_segment_check, &findings, &error);

    fputs(buffer_text(&findings), stderr);
    buffer_destroy(&findings);
    if (code == 0)
        code = store_restore(io_posix(), folder, data_dir, &shard_count, &bytes, &error);
    if (code != 0)
        return command_fail("%s", error.text);
    fprintf(stderr, "windrow: %zu shards, %s, are in %s\n", shard_count,
            text_format_size(bytes, text), data_dir);
    return COMMAND_OK;
}

int command_restore(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"to", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *config_path = NULL, *to = NULL;
    struct config *config = NULL;
    int status = COMMAND_OK;
    int option;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 't':
            to = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return COMMAND_OK;
        default:
            return command_usage_error("restore", "see above");
        }
    }
    if (argc - optind != 1)
        return command_usage_error("restore", "which backup?");
    if (!to)
        status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = restore(argv[optind], to ? to : config->data_dir);
    config_free(config);
    return status;
}
