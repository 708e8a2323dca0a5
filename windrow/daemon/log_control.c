#include "windrow/daemon/log_control.h"

#include <string.h>

#include "base/logger.h"

static const struct http_key keys[] = {
    {.name = "set", .shape = &http_string, .required = true},
    {.name = NULL},
};
static const struct http_shape body_shape = {.types = HTTP_OBJECT, .keys = keys};
const struct http_schema log_control_schema = {.body = &body_shape};

void log_control_apply(const struct config *config)
{
    logger_set_level(config->log_level);
    logger_set_format(config->log_format);
    logger_reset_rooms();
    for (size_t i = 0; i < config->log_level_count; i++)
        (void)logger_set(config->log_levels[i]); /* check_room_level has looked at it */
}

/* {"default": LEVEL, "rooms": {ROOM: LEVEL}} with the rooms that have one of their own. */
void log_control_get(struct http_request *request)
{
    const char *separator = "";

    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"default\":\"%s\",\"rooms\":{",
                         logger_level_name(logger_level_of(NULL, NULL)));
    for (size_t i = 0; logger_rooms[i]; i++) {
        bool own;
        enum logger_level level = logger_level_of(logger_rooms[i], &own);
        if (!own)
            continue;
        buffer_append_format(&request->reply, "%s\"%s\":\"%s\"", separator, logger_rooms[i],
                             logger_level_name(level));
        separator = ",";
    }
    buffer_append_text(&request->reply, "}}");
    http_reply_end(request, NULL);
}

static void append_rooms(struct buffer *out)
{
    for (size_t i = 0; logger_rooms[i]; i++)
        buffer_append_format(out, "%s%s", i ? ", " : "", logger_rooms[i]);
}

void log_control_set(struct http_request *request)
{
    struct buffer rooms = {0};
    struct error error = {0};
    struct doc body;
    const struct doc *set;
    char *setting;

    if (http_request_body(request, &body, &error) != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    set = doc_get(&body, "set");
    setting = arena_copy(&request->arena, set->string, set->count);
    if (strlen(setting) == set->count && logger_set(setting)) {
        logger_write_event(LOGGER_INFO, "windrow", "log_level_set", "log level set: %s", setting);
        log_control_get(request);
        return;
    }
    append_rooms(&rooms);
    http_reply_error(request, 400,
                     "$.set: expected ROOM=LEVEL, ROOM=default or LEVEL, found %.60s (levels: "
                     "error, warn, info, debug; rooms: %s)",
                     setting, buffer_text(&rooms));
    buffer_destroy(&rooms);
}
