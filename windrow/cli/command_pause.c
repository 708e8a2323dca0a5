/* windrow pause and windrow resume: an operator's word to the running service. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "windrow/cli/client.h"
#include "windrow/cli/command.h"

static const char pause_help[] =
    "Usage: windrow pause [-c FILE] -C COLLECTION [--json]\n\n"
    "The running service (http.listen of the config) stops reading the collection from Kafka. It\n"
    "stays a member of its group, answers searches, and stays paused over restarts until\n"
    "`windrow resume`. Kafka's retention goes on meanwhile: watch the lag.\n\n"
    "  -c, --config FILE      default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  -C, --collection NAME\n"
    "      --json             the raw reply\n\n"
    "Example:\n  windrow pause -C news\n";

static const char resume_help[] =
    "Usage: windrow resume [-c FILE] -C COLLECTION [--shard SHARD (--skip | --rebuild)] "
    "[--json]\n\n"
    "Without --shard: the service reads a paused collection again. With it: a shard that stopped\n"
    "because Kafka no longer has its offset, or at a bad record without a dead-letter topic, goes\n"
    "on. `windrow status` shows why it stopped, with both offsets.\n\n"
    "  -c, --config FILE      default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  -C, --collection NAME\n"
    "      --shard SHARD      as `windrow status` names it\n"
    "      --skip             go on behind the lost records or the bad one; what is stored stays\n"
    "      --rebuild          remove what the shard stored and read what Kafka has\n"
    "      --json             the raw reply\n\n"
    "Examples:\n  windrow resume -C news\n  windrow resume -C news --shard 3 --skip\n";

struct pause_arguments {
    const char *config_path;
    const char *collection;
    const char *shard;
    const char *how;
    bool both;
    bool json;
};

enum { OPTION_SHARD = 1000, OPTION_SKIP, OPTION_REBUILD, OPTION_JSON };

static void set_how(struct pause_arguments *arguments, const char *how)
{
    arguments->both |= arguments->how && strcmp(arguments->how, how) != 0;
    arguments->how = how;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, bool resume, struct pause_arguments *arguments)
{
    static const struct option resume_options[] = {{"config", required_argument, NULL, 'c'},
                                                   {"collection", required_argument, NULL, 'C'},
                                                   {"help", no_argument, NULL, 'h'},
                                                   {"json", no_argument, NULL, OPTION_JSON},
                                                   {"shard", required_argument, NULL, OPTION_SHARD},
                                                   {"skip", no_argument, NULL, OPTION_SKIP},
                                                   {"rebuild", no_argument, NULL, OPTION_REBUILD},
                                                   {0}};
    static const struct option pause_options[] = {{"config", required_argument, NULL, 'c'},
                                                  {"collection", required_argument, NULL, 'C'},
                                                  {"help", no_argument, NULL, 'h'},
                                                  {"json", no_argument, NULL, OPTION_JSON},
                                                  {0}};
    int option;

    while ((option = getopt_long(argc, argv, "c:C:h", resume ? resume_options : pause_options,
                                 NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config_path = optarg;
            break;
        case 'C':
            arguments->collection = optarg;
            break;
        case 'h':
            fputs(resume ? resume_help : pause_help, stdout);
            return COMMAND_OK;
        case OPTION_SHARD:
            arguments->shard = optarg;
            break;
        case OPTION_SKIP:
            set_how(arguments, "skip");
            break;
        case OPTION_REBUILD:
            set_how(arguments, "rebuild");
            break;
        case OPTION_JSON:
            arguments->json = true;
            break;
        default:
            return command_usage_error(argv[0], "see above");
        }
    }
    if (optind < argc)
        return command_usage_error(argv[0], "unexpected argument %s", argv[optind]);
    if (!arguments->collection)
        return command_usage_error(argv[0], "which collection? -C NAME");
    if (arguments->both)
        return command_usage_error(argv[0], "either --skip or --rebuild");
    if (!arguments->shard != !arguments->how)
        return command_usage_error(argv[0], "--shard goes with --skip or --rebuild");
    return -1;
}

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
        buffer_append_format(&body, ",\"how\":\"%s\"", arguments->how);
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

static int run(int argc, char **argv, bool resume)
{
    struct pause_arguments arguments = {0};
    struct config *config = NULL;
    int status = parse(argc, argv, resume, &arguments);

    if (status != -1)
        return status;
    status = command_load_config_quietly(arguments.config_path, &config);
    if (status == COMMAND_OK && !config_collection_find(config, arguments.collection))
        status = command_usage_error(argv[0], "%s has no collection %s", config->path,
                                     arguments.collection);
    if (status == COMMAND_OK)
        status = send(config, argv[0], &arguments);
    config_free(config);
    return status;
}

int command_pause(int argc, char **argv)
{
    return run(argc, argv, false);
}

int command_resume(int argc, char **argv)
{
    return run(argc, argv, true);
}
