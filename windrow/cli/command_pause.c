/* windrow pause and windrow resume: ask the running service to stop or continue reading. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "windrow/cli/client.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

struct pause_arguments {
    const char *config_path;
    const char *collection;
    const char *shard;
    bool skip;
    bool rebuild;
    bool json;
};

static int send(const struct config *config, const char *verb,
                const struct pause_arguments *arguments)
{
    struct client *client = NULL;
    struct buffer path = {0};
    struct buffer body = {0};
    struct buffer reply = {0};
    struct error error = {0};
    int code = client_open(config, &client, &error);

    buffer_append_format(&path, "/collections/%s/%s", arguments->collection, verb);
    buffer_append_text(&body, "{");
    if (arguments->shard) {
        buffer_append_text(&body, "\"shard\":");
        doc_write_json_string(&body, arguments->shard, strlen(arguments->shard));
        buffer_append_format(&body, ",\"how\":\"%s\"", arguments->skip ? "skip" : "rebuild");
    }
    buffer_append_text(&body, "}");
    if (code == 0)
        code = client_request(client, buffer_text(&path), &body, &reply, NULL, &error);
    if (code == 0 && arguments->json)
        printf("%s\n", buffer_text(&reply));
    else if (code == 0)
        printf("%s%s%s: %sd\n", arguments->collection, arguments->shard ? ", shard " : "",
               arguments->shard ? arguments->shard : "", verb);
    client_close(client);
    buffer_destroy(&path);
    buffer_destroy(&body);
    buffer_destroy(&reply);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

static int run(int argc, char **argv, const struct command_line *line,
               struct pause_arguments *arguments)
{
    struct config *config = NULL;
    int status = options_parse(line, argc, argv);

    if (status != -1)
        return status;
    if (!arguments->collection)
        return command_usage_error(argv[0], "name a collection with -C NAME");
    if (arguments->skip && arguments->rebuild)
        return command_usage_error(argv[0], "use either --skip or --rebuild");
    if (!arguments->shard != !(arguments->skip || arguments->rebuild))
        return command_usage_error(argv[0], "use --shard with --skip or --rebuild");
    status = command_load_config_quietly(arguments->config_path, &config);
    if (status == COMMAND_OK && !config_collection_find(config, arguments->collection))
        status = command_no_collection(config, argv[0], arguments->collection);
    if (status == COMMAND_OK)
        status = send(config, argv[0], arguments);
    config_free(config);
    return status;
}

int command_pause(int argc, char **argv)
{
    struct pause_arguments arguments = {0};
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(arguments.config_path),
        OPTION_ROWS_SERVICE,
        OPTION_ROW_COLLECTION(arguments.collection, "the collection"),
        OPTION_ROW_JSON(arguments.json),
    };
    const struct command_line line = {
        .usage = "[-c FILE] -C COLLECTION [--json]",
        .about = "The running service (http.listen of the config) stops reading the collection "
                 "from Kafka. It stays "
                 "a member of its group, answers searches, and stays paused over restarts until "
                 "`windrow resume`. "
                 "Kafka's retention continues meanwhile: watch the lag.",
        .examples = "windrow pause -C news",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };

    return run(argc, argv, &line, &arguments);
}

int command_resume(int argc, char **argv)
{
    struct pause_arguments arguments = {0};
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(arguments.config_path),
        OPTION_ROWS_SERVICE,
        OPTION_ROW_COLLECTION(arguments.collection, "the collection"),
        {"shard", 0, OPTION_TEXT, "SHARD", "a stopped shard, as `windrow status` names it",
         &arguments.shard, 0},
        {"skip", 0, OPTION_FLAG, NULL,
         "continue after the lost records or the bad one; stored records stay", &arguments.skip, 0},
        {"rebuild", 0, OPTION_FLAG, NULL, "delete what the shard stored and read what Kafka has",
         &arguments.rebuild, 0},
        OPTION_ROW_JSON(arguments.json),
    };
    const struct command_line line = {
        .usage = "[-c FILE] -C COLLECTION [--shard SHARD (--skip | --rebuild)] [--json]",
        .about = "Without --shard: the service reads a paused collection again. With --shard: a "
                 "shard continues that "
                 "stopped because Kafka no longer has its offset, or at a bad record without a "
                 "dead-letter topic. "
                 "`windrow status` shows why it stopped, with both offsets.",
        .examples = "windrow resume -C news\nwindrow resume -C news --shard 3 --skip",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };

    return run(argc, argv, &line, &arguments);
}
