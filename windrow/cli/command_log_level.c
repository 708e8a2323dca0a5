/* windrow log-level: what the running service logs. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_levels(const struct doc *reply, const void *context)
{
    const struct doc *result = reply_get(reply, "result");
    const struct doc *rooms = reply_get(result, "rooms");

    (void)context;
    printf("%.*s\n", REPLY_TEXT(result, "default"));
    for (uint32_t i = 0; rooms && rooms->type == DOC_MAP && i < rooms->count; i++) {
        const struct doc *room = &rooms->items[2 * (size_t)i];
        const struct doc *level = &rooms->items[2 * (size_t)i + 1];
        printf("%.*s=%.*s\n", (int)room->count, room->string, (int)level->count, level->string);
    }
}

static int ask(const struct config *config, const char *setting, bool json)
{
    struct buffer body = {0};
    int status;

    if (setting) {
        buffer_append_text(&body, "{\"set\":");
        doc_write_json_string(&body, setting, strlen(setting));
        buffer_append_text(&body, "}");
    }
    status = ask_service(config, &(struct ask){.path = "/log-level",
                                               .body = setting ? &body : NULL,
                                               .json = json,
                                               .print = print_levels});
    buffer_destroy(&body);
    return status;
}

int command_log_level(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    bool json = false;
    const struct option_row rows[] = {OPTION_ROW_CONFIG(config_path), OPTION_ROWS_SERVICE,
                                      OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[ROOM=LEVEL | ROOM=default | LEVEL] [-c FILE] [--json]",
        .about =
            "Shows the levels of the running service (http.listen of the config), or changes "
            "one: of a "
            "room, as log lines name it, or of all rooms without a level of their own. Levels "
            "are error, warn, "
            "info and debug. A reload or a restart brings those of the config back (log.level, "
            "log.levels).",
        .examples = "windrow log-level store=debug\nwindrow log-level store=default",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "one setting",
        .operands_max = 1,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = ask(config, argv[optind], json);
    config_free(config);
    return status;
}
