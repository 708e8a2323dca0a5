/* SIGHUP: reads the file again and applies what may change while running. */
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "windrow/service.h"

static void log_lines(const char *prefix, struct buffer *lines)
{
    const char *line = buffer_text(lines);

    while (*line) {
        size_t length = strcspn(line, "\n");
        log_warning("windrow", "%s%.*s", prefix, (int)length, line);
        line += length + (line[length] == '\n');
    }
}

/* Threads may still point into former versions: all live until the service ends. */
static void keep(struct service *service, struct config *config)
{
    service->reloads =
        realloc(service->reloads, (service->reload_count + 1) * sizeof(*service->reloads));
    if (!service->reloads)
        abort();
    service->reloads[service->reload_count++] = config;
}

void service_reload(struct service *service)
{
    const struct config *running =
        service->reload_count ? service->reloads[service->reload_count - 1] : service->config;
    struct buffer report = {0};
    struct buffer restart_needed = {0};
    struct config *fresh = NULL;

    if (config_load(running->path, &fresh, &report) != 0) {
        log_lines("reload refused, going on as before: ", &report);
    } else if (!config_compare(running, fresh, &restart_needed)) {
        log_info("windrow", "reloaded %s: nothing changed", running->path);
        config_free(fresh);
    } else {
        log_lines("a restart is needed for a changed ", &restart_needed);
        maintenance_reload(service->maintenance, fresh);
        keep(service, fresh);
        log_info("windrow", "reloaded %s", running->path);
    }
    buffer_destroy(&report);
    buffer_destroy(&restart_needed);
}
