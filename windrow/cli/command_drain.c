/* windrow drain: the running service hands its shards over to other nodes before it is stopped. */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "windrow/cli/client.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum { TIMEOUT_S = 60, REPLY_S = 30 };

static void print_result(const struct doc *result)
{
    const struct doc *left = reply_get(result, "left");

    printf("%" PRId64 " shards handed over\n", reply_number(result, "handed_over", 0));
    for (uint32_t i = 0; left->type == DOC_ARRAY && i < left->count; i++)
        printf("still here, at offset %" PRId64 ": %.*s/%.*s\n",
               reply_number(&left->items[i], "next_offset", -1),
               REPLY_TEXT(&left->items[i], "collection"), REPLY_TEXT(&left->items[i], "shard"));
}

static int drain(const struct config *config, int64_t timeout_ms, bool json)
{
    struct buffer body = {0}, answer = {0};
    struct client *client = NULL;
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    bool whole = false;
    int code = client_open(config, &client, &error);

    arena_create(&arena, 0);
    buffer_append_format(&body, "{\"timeout_ms\":%" PRId64 "}", timeout_ms);
    if (code == 0) {
        client_set_timeout(client, (long)(timeout_ms / 1000) + REPLY_S);
        code = client_request_doc(client, "/drain", &body, &arena, &answer, &doc, &error);
    }
    if (code == 0) {
        const struct doc *result = reply_get(&doc, "result");
        whole =
            reply_get(result, "left")->type == DOC_ARRAY && reply_get(result, "left")->count == 0;
        if (json)
            printf("%s\n", buffer_text(&answer));
        else
            print_result(result);
    }
    client_close(client);
    arena_destroy(&arena);
    buffer_destroy(&body);
    buffer_destroy(&answer);
    if (code == 0 && !whole)
        code = error_set(&error, ERROR_TIMEOUT,
                         "no other node has caught up with some shards; this one answers for them "
                         "until it is stopped");
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int command_drain(int argc, char **argv)
{
    const char *config_path = NULL, *timeout = NULL;
    struct config *config = NULL;
    int64_t timeout_ms = TIMEOUT_S * 1000;
    struct error error = {0};
    bool json = false;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(config_path),
        {"timeout", 't', OPTION_TEXT, "DURATION", "how long to wait for the others; default 60s",
         &timeout, 0},
        OPTION_ROW_JSON(json),
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--timeout DURATION] [--json]",
        .about =
            "The running service (http.listen of the config) leaves its consumer group, so that "
            "other nodes of its replica set get the partitions, and answers for them until each "
            "one is served elsewhere up to the same offset. Then it can be stopped without a "
            "moment in which a shard is missing. It is not ready (/readyz) from then on; a "
            "restart makes it a member again. Needs cluster.name.",
        .examples = "windrow drain && systemctl stop windrow",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (timeout && text_parse_duration_ms(timeout, &timeout_ms, &error) != 0)
        return command_usage_error(argv[0], "--timeout: %s", error.text);
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = drain(config, timeout_ms, json);
    config_free(config);
    return status;
}
