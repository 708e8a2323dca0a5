#include "windrow/cli/ask.h"

#include <stdio.h>

#include "windrow/cli/command.h"

int ask_service(const struct config *config, const struct ask *ask)
{
    struct client *client = NULL;
    struct buffer reply = {0};
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    int code = client_open(config, &client, &error);

    arena_create(&arena, 0);
    if (code == 0 && ask->timeout_s > 0)
        client_set_timeout(client, ask->timeout_s);
    if (code == 0)
        code = client_request_doc(client, ask->path, ask->body, &arena, &reply, &doc, &error);
    if (code == 0 && ask->json) {
        fwrite(reply.data, 1, reply.size, stdout);
        fputc('\n', stdout);
    } else if (code == 0) {
        ask->print(&doc, ask->context);
    }
    arena_destroy(&arena);
    buffer_destroy(&reply);
    client_close(client);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int ask_choose_collection(const struct config *config, const char *command, const char **collection)
{
    if (!*collection && config->collection_count == 1)
        *collection = config->collections[0].name;
    if (!*collection)
        return command_usage_error(command, "which collection? (-C NAME)");
    if (!config_collection_find(config, *collection))
        return command_usage_error(command, "%s has no collection %s", config->path, *collection);
    return COMMAND_OK;
}
