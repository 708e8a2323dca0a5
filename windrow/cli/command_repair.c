/* windrow repair: ids in several partitions; the newest version stays. */
#include <inttypes.h>
#include <stdio.h>

#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum { PAGE_IDS = 5000, PAGE_WAIT_S = 300 };

struct totals {
    int64_t scanned, found, removed;
};

/* One page; `offset` is where it begins, and where the next one does, as JSON; empty: nowhere. */
static int repair_page(struct client *client, const char *path, bool dry_run, struct buffer *offset,
                       struct totals *totals, struct error *error)
{
    struct buffer body = {0}, reply = {0};
    const struct doc *result, *next;
    struct arena arena;
    struct doc doc;
    int code;

    arena_create(&arena, 0);
    buffer_append_format(&body, "{\"limit\":%d,\"dry_run\":%s,\"windrow\":{\"timeout_ms\":%d}",
                         PAGE_IDS, dry_run ? "true" : "false", PAGE_WAIT_S * 1000);
    if (offset->size > 0)
        buffer_append_format(&body, ",\"offset\":%s", buffer_text(offset));
    buffer_append_byte(&body, '}');
    code = client_request_doc(client, path, &body, &arena, &reply, &doc, error);
    offset->size = 0;
    if (code == 0) {
        result = reply_get(&doc, "result");
        totals->scanned += reply_number(result, "scanned", 0);
        totals->found += reply_number(result, "found", 0);
        totals->removed += reply_number(result, "removed", 0);
        next = reply_get(result, "next_page_offset");
        if (next->type != DOC_NULL)
            doc_write_json(offset, next);
    }
    buffer_destroy(&body);
    buffer_destroy(&reply);
    arena_destroy(&arena);
    return code;
}

static int repair_all(struct client *client, const char *path, bool dry_run, struct totals *totals,
                      struct error *error)
{
    struct buffer offset = {0};
    int code;

    do
        code = repair_page(client, path, dry_run, &offset, totals, error);
    while (code == 0 && offset.size > 0);
    buffer_destroy(&offset);
    return code;
}

static void print_totals(const struct totals *totals, bool json)
{
    printf(json ? "{\"scanned\":%" PRId64 ",\"found\":%" PRId64 ",\"removed\":%" PRId64 "}\n"
                : "%" PRId64 " ids, %" PRId64 " of them in several partitions; %" PRId64
                  " old versions removed\n",
           totals->scanned, totals->found, totals->removed);
}

static int repair(const struct config *config, const char *collection, bool dry_run, bool json)
{
    struct buffer path = {0};
    struct error error = {0};
    struct totals totals = {0};
    struct client *client;
    int code = client_open(config, &client, &error);

    if (code == 0) {
        client_set_timeout(client, PAGE_WAIT_S);
        buffer_append_format(&path, "/collections/%s/points/repair", collection);
        code = repair_all(client, buffer_text(&path), dry_run, &totals, &error);
        client_close(client);
    }
    if (totals.scanned > 0 || code == 0)
        print_totals(&totals, json);
    buffer_destroy(&path);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int command_repair(int argc, char **argv)
{
    const char *config_path = NULL, *collection = NULL;
    struct config *config = NULL;
    bool dry_run = false, json = false;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(config_path),
        OPTION_ROWS_SERVICE,
        OPTION_ROW_COLLECTION(collection, "may be left out if the config has only one"),
        {"dry-run", 'n', OPTION_FLAG, NULL, "only count, remove nothing", &dry_run, 0},
        OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "-C COLLECTION [--dry-run]",
        .about = "Asks the running service (http.listen of the config) for ids that are in several "
                 "partitions, and sends a tombstone for each version but the newest (by event "
                 "time). Ids get there when partitions are added to a topic, or when producers "
                 "use different partitioners. Stop a producer that still writes to the old "
                 "partitions first, or ids are in two of them again. What is written meanwhile "
                 "stays. All partitions must be served; the service goes on meanwhile.",
        .examples = "windrow repair -C news --dry-run\nwindrow repair -C news",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = ask_choose_collection(config, "repair", &collection);
    if (status == COMMAND_OK)
        status = repair(config, collection, dry_run, json);
    config_free(config);
    return status;
}
