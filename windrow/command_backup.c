/* windrow backup: through the running service, or from its data folder when none runs. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "twcs/twcs.h"
#include "windrow/ask.h"
#include "windrow/backup.h"
#include "windrow/command.h"
#include "windrow/safe_clock.h"

static const char help[] =
    "Usage: windrow backup [-c FILE] [--json] DEST\n\n"
    "Puts a consistent copy of every shard into the folder DEST, which is made, or is empty. The\n"
    "running service (http.listen of the config) does it while it goes on; when none runs, the\n"
    "command does it from data_dir. Sealed files are hard links where DEST is on the same file\n"
    "system. `windrow verify DEST` checks it, `windrow restore DEST` brings it back, restic and\n"
    "its like may take it away.\n\n"
    "  -c, --config FILE  default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "      --json         the raw reply\n\n"
    "DEST has to be writable for the service. Example:\n"
    "  windrow backup /var/lib/windrow/backups/monday\n";

enum { WAIT_S = 24 * 60 * 60 };

static void print_shards(const struct doc *reply, const void *context)
{
    const struct doc *shards = doc_get(reply, "result");

    (void)context;
    for (uint32_t i = 0; shards && shards->type == DOC_ARRAY && i < shards->count; i++) {
        const struct doc *shard = &shards->items[i];
        const struct doc *collection = doc_get(shard, "collection");
        const struct doc *name = doc_get(shard, "shard");
        int64_t offset = -1, bytes = 0, copied = 0;
        char whole[TEXT_TIME_BYTES], part[TEXT_TIME_BYTES];
        if (!collection || collection->type != DOC_STRING || !name || name->type != DOC_STRING)
            continue;
        (void)(doc_get(shard, "next_offset") && doc_as_i64(doc_get(shard, "next_offset"), &offset));
        (void)(doc_get(shard, "bytes") && doc_as_i64(doc_get(shard, "bytes"), &bytes));
        (void)(doc_get(shard, "copied_bytes") &&
               doc_as_i64(doc_get(shard, "copied_bytes"), &copied));
        printf("%.*s, shard %.*s: up to offset %lld, %s, %s of them copied\n",
               (int)collection->count, collection->string, (int)name->count, name->string,
               (long long)offset, text_format_size((uint64_t)bytes, whole),
               text_format_size((uint64_t)copied, part));
    }
}

/* ---- no service runs */

static int raise_clock(void *context, struct store_shard *shard, struct error *error)
{
    (void)error;
    safe_clock_raise(context, store_shard_clock(shard).safe_wall_ms);
    return 0;
}

static int back_up_folder(const struct config *config, struct io *io, struct safe_clock *clock,
                          const char *folder, const char *token, struct buffer *out,
                          struct error *error)
{
    const struct store_options options = {.data_dir = config->data_dir,
                                          .memory_max_bytes = config->memory_max_bytes,
                                          .memtable_max_bytes = config->memtable_max_bytes,
                                          .io = io};
    struct store_registry *registry;
    struct store *store;
    int code = store_open(&options, &store, error);

    if (code == ERROR_BUSY)
        return error_wrap(error, "the service runs, but does not answer at http.listen");
    if (code != 0)
        return code;
    /* The clock is not begun: it stays where the shards' stood, and nothing expires by the way. */
    registry = store_registry_new(
        &(struct store_registry_options){.store = store,
                                         .level0_files_max = TWCS_LEVEL0_FILES_MAX,
                                         .opened = raise_clock,
                                         .opened_context = clock});
    code = store_registry_open_existing(registry, config, error);
    if (code == 0)
        code = backup_run(registry, io, folder, token, NULL, out, error);
    store_registry_close_all(registry, false); /* all of it is flushed */
    store_registry_delete(registry);
    store_close(store);
    return code;
}

static int back_up_offline(const struct config *config, const char *folder, const char *token,
                           bool json)
{
    struct safe_clock *clock = safe_clock_new(NULL);
    struct buffer out = {0};
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    int code;

    arena_create(&arena, 0);
    buffer_append_text(&out, "{\"result\":");
    code = back_up_folder(config, safe_clock_io(clock), clock, folder, token, &out, &error);
    buffer_append_text(&out, ",\"status\":\"ok\"}");
    if (code == 0 && json)
        printf("%s\n", buffer_text(&out));
    else if (code == 0 &&
             doc_parse_json(&arena, buffer_text(&out), out.size, NULL, &doc, NULL) == 0)
        print_shards(&doc, NULL);
    arena_destroy(&arena);
    buffer_destroy(&out);
    safe_clock_delete(clock);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

/* ---- the command */

static bool service_answers(const struct config *config)
{
    struct client *client = NULL;
    struct buffer reply = {0};
    long status = 0;

    if (client_open(config, &client, NULL) == 0)
        (void)client_request(client, "/livez", NULL, &reply, &status, NULL);
    client_close(client);
    buffer_destroy(&reply);
    return status != 0;
}

static int back_up(const struct config *config, const char *given, bool json)
{
    char token[STORE_BACKUP_TOKEN_BYTES], folder[PATH_MAX];
    struct buffer body = {0};
    struct error error = {0};
    int status;

    if (store_backup_begin(io_posix(), given, token, &error) != 0)
        return command_fail("%s", error.text);
    if (!realpath(given, folder)) /* the service has a working folder of its own */
        return command_fail("%s: no path leads there", given);
    if (service_answers(config)) {
        buffer_append_text(&body, "{\"folder\":");
        doc_write_json_string(&body, folder, strlen(folder));
        buffer_append_format(&body, ",\"token\":\"%s\"}", token);
        status = ask_service(config, &(struct ask){.path = "/backup",
                                                   .body = &body,
                                                   .timeout_s = WAIT_S,
                                                   .json = json,
                                                   .print = print_shards});
        buffer_destroy(&body);
    } else {
        status = back_up_offline(config, folder, token, json);
    }
    if (status == COMMAND_OK)
        fprintf(stderr, "windrow: the backup is in %s\n", folder);
    return status;
}

int command_backup(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    bool json = false;
    int status = command_parse_plain(argc, argv, help, &config_path, &json);

    if (status >= 0)
        return status;
    if (argc - optind != 1)
        return command_usage_error("backup", "one folder is needed");
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = back_up(config, argv[optind], json);
    config_free(config);
    return status;
}
