/* windrow backup: through the running service, or from its data folder when none runs. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/append.h"
#include "store/registry.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum { WAIT_S = 24 * 60 * 60 };

static void print_shards(const struct doc *reply, const void *context)
{
    const struct doc *shards = reply_get(reply, "result");

    (void)context;
    for (uint32_t i = 0; shards->type == DOC_ARRAY && i < shards->count; i++) {
        const struct doc *shard = &shards->items[i];
        char whole[TEXT_TIME_BYTES], part[TEXT_TIME_BYTES];
        printf("%.*s, shard %.*s: up to offset %lld, %s, %s of them copied\n",
               REPLY_TEXT(shard, "collection"), REPLY_TEXT(shard, "shard"),
               (long long)reply_number(shard, "next_offset", -1),
               text_format_size((uint64_t)reply_number(shard, "bytes", 0), whole),
               text_format_size((uint64_t)reply_number(shard, "copied_bytes", 0), part));
    }
}

/* No service runs: the command opens the store itself. Its clock stays where the shards' clocks
 * stopped, so that nothing expires while they are copied. */
struct frozen_clock {
    struct io io;
    struct io_operations operations;
    int64_t wall_ms;
};

static int64_t frozen_wall_ms(struct io *io)
{
    return ((struct frozen_clock *)io)->wall_ms;
}

static int raise_clock(void *context, struct store_shard *shard, struct error *error)
{
    struct frozen_clock *clock = context;
    int64_t safe_ms = store_shard_clock(shard).safe_wall_ms;

    (void)error;
    if (safe_ms > clock->wall_ms)
        clock->wall_ms = safe_ms;
    return 0;
}

static int back_up_folder(const struct config *config, const char *folder, const char *token,
                          struct buffer *out, struct error *error)
{
    struct frozen_clock clock = {.io = {&clock.operations}, .operations = *io_posix()->operations};
    const struct store_options options = {.data_dir = config->data_dir,
                                          .memory_max_bytes = config->memory_max_bytes,
                                          .memtable_max_bytes = config->memtable_max_bytes,
                                          .io = &clock.io};
    struct store_registry *registry;
    struct store *store;
    int code;

    clock.operations.wall_ms = frozen_wall_ms;
    code = store_open(&options, &store, error);
    if (code == ERROR_BUSY)
        return error_wrap(error, "the service runs but does not answer at http.listen");
    if (code != 0)
        return code;
    registry = store_registry_new(&(struct store_registry_options){
        .store = store, .opened = raise_clock, .opened_context = &clock});
    code = store_registry_open_existing(registry, config, error);
    if (code == 0)
        code = store_registry_backup(registry, &clock.io, folder, token, NULL, out, error);
    store_registry_close_all(registry, false); /* all of it is flushed */
    store_registry_delete(registry);
    store_close(store);
    return code;
}

static int back_up_offline(const struct config *config, const char *folder, const char *token,
                           bool json)
{
    struct buffer out = {0};
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    int code;

    arena_create(&arena, 0);
    buffer_append_text(&out, "{\"result\":");
    code = back_up_folder(config, folder, token, &out, &error);
    buffer_append_text(&out, ",\"status\":\"ok\"}");
    if (code == 0 && json)
        printf("%s\n", buffer_text(&out));
    else if (code == 0 &&
             doc_parse_json(&arena, buffer_text(&out), out.size, NULL, &doc, ERROR_IGNORED) == 0)
        print_shards(&doc, NULL);
    arena_destroy(&arena);
    buffer_destroy(&out);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

static bool service_answers(const struct config *config)
{
    struct client *client = NULL;
    struct buffer reply = {0};
    long status = 0;

    if (client_open(config, &client, ERROR_IGNORED) == 0)
        (void)client_request(client, "/livez", NULL, &reply, &status, ERROR_IGNORED);
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
        return command_fail("%s: cannot resolve this path", given);
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
    const struct option_row rows[] = {OPTION_ROW_CONFIG(config_path), OPTION_ROWS_SERVICE,
                                      OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[-c FILE] [--json] DEST",
        .about = "Writes a consistent copy of every shard to the folder DEST, which must be new or "
                 "empty. The "
                 "running service (http.listen of the config) copies while it serves; if none "
                 "runs, the command "
                 "copies data_dir itself. Sealed files become hard links if DEST is on the same "
                 "file system. "
                 "DEST must be writable for the service.\n\n"
                 "`windrow verify DEST` checks a backup, `windrow restore DEST` restores it, and "
                 "tools such as "
                 "restic may copy it elsewhere.",
        .examples = "windrow backup /var/lib/windrow/backups/monday",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "one folder",
        .operands_min = 1,
        .operands_max = 1,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = back_up(config, argv[optind], json);
    config_free(config);
    return status;
}
