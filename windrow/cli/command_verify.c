#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "base/io.h"
#include "indexer/index/index.h"
#include "indexer/query/query.h"
#include "store/tools/verify.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_findings(struct buffer *findings, bool json)
{
    const char *line = buffer_text(findings);
    struct buffer out = {0};
    bool first = true;

    if (!json) {
        fputs(line, stdout);
        return;
    }
    buffer_append_text(&out, "{\"damage\":[");
    while (*line) {
        size_t length = strcspn(line, "\n");
        if (!first)
            buffer_append_byte(&out, ',');
        doc_write_json_string(&out, line, length);
        first = false;
        line += length + (line[length] == '\n');
    }
    buffer_append_text(&out, "]}\n");
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
}

static int verify(const char *data_dir, bool json)
{
    struct buffer findings = {0};
    struct error error = {0};
    int code = store_verify(io_posix(), data_dir,
                            &(struct store_verify_checks){.segment = index_segment_check,
                                                          .columns = query_columns_check},
                            &findings, &error);

    print_findings(&findings, json);
    buffer_destroy(&findings);
    if (code != 0)
        return command_fail("%s", error.text);
    fprintf(stderr, "windrow: %s is undamaged\n", data_dir);
    return COMMAND_OK;
}

int command_verify(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    bool json = false;
    const struct option_row rows[] = {OPTION_ROW_CONFIG(config_path), OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[-c FILE] [--json] [DATA_DIR]",
        .about = "Reads every byte of a data folder that no service has open (default: data_dir of "
                 "the config) and "
                 "checks every checksum and cross-reference. Prints the damage it finds and then "
                 "exits 1.",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "one folder at a time",
        .operands_max = 1,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (optind < argc)
        return verify(argv[optind], json);
    status = command_load_config(config_path, &config);
    if (status == COMMAND_OK)
        status = verify(config->data_dir, json);
    config_free(config);
    return status;
}
