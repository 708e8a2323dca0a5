#include "windrow/cli/command.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buffer.h"

static int load_config(const char *given, bool warnings, struct config **config)
{
    struct buffer report = {0};
    int code = config_load(config_default_path(given), config, &report);

    if (report.size > 0 && (warnings || code != 0))
        fputs(buffer_text(&report), stderr);
    buffer_destroy(&report);
    return code == 0 ? COMMAND_OK : COMMAND_CONFIG;
}

int command_load_config(const char *given, struct config **config)
{
    return load_config(given, true, config);
}

int command_load_config_quietly(const char *given, struct config **config)
{
    return load_config(given, false, config);
}

int command_usage_error(const char *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "windrow %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: windrow %s --help\n", command);
    return COMMAND_USAGE;
}

int command_no_collection(const struct config *config, const char *command, const char *name)
{
    const char *nearest = config_collection_nearest(config, name);

    return command_usage_error(command, "%s has no collection %s%s%s%s", config->path, name,
                               nearest ? " (did you mean " : "", nearest ? nearest : "",
                               nearest ? "?)" : "");
}

int command_fail(const char *format, ...)
{
    va_list arguments;

    fputs("windrow: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return COMMAND_FAILED;
}

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
        return command_usage_error(command, "name a collection with -C NAME");
    if (!config_collection_find(config, *collection))
        return command_no_collection(config, command, *collection);
    return COMMAND_OK;
}
