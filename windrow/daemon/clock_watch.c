#include "windrow/daemon/clock_watch.h"

#include <stdio.h>

#include "base/logger.h"
#include "base/marker.h"
#include "base/text.h"
#include "windrow/daemon/service.h"

#define MARKER "CLOCK_STANDS"

enum { REPEAT_S = 600 };

bool clock_watch_advice(struct service *service, char *text, size_t text_bytes)
{
    char safe[TEXT_TIME_BYTES];
    char wall[TEXT_TIME_BYTES];
    int64_t safe_ms, wall_ms;

    if (!safe_clock_stands(service->clock, &safe_ms, &wall_ms))
        return false;
    snprintf(text, text_bytes,
             "CLOCK STANDS at %s: the wall clock shows %s, which is too far ahead to be believed. "
             "If it is right, say so: SIGHUP, or `windrow run --trust-clock`; else set it right. "
             "Until then only what is old at the first time expires, and newer records wait",
             text_format_time(safe_ms, safe), text_format_time(wall_ms, wall));
    return true;
}

/* Tried again with the next tick. */
static void mark(struct service *service, bool stands)
{
    struct clock_watch *watch = &service->clock_watch;
    struct error error = {0};

    if (watch->marked == stands)
        return;
    if (marker_set(service->io, service->config->data_dir, MARKER, stands, &error) == 0)
        watch->marked = stands;
    else if (watch->told_ns == 0)
        log_error("windrow", "%s", error.text);
}

static void publish(struct service *service, bool stands)
{
    int64_t safe_ms, wall_ms;

    (void)safe_clock_stands(service->clock, &safe_ms, &wall_ms);
    metric_set(metrics_gauge(service->metrics, "windrow_clock_stands",
                             "1 while the wall clock is too far ahead to be believed", NULL, 0),
               stands);
    metric_set(metrics_gauge(service->metrics, "windrow_clock_safe_seconds",
                             "The time by which records expire and are judged, since the epoch",
                             NULL, 0),
               (double)safe_ms / 1e3);
    metric_set(metrics_gauge(service->metrics, "windrow_clock_wall_seconds",
                             "What the wall clock shows, since the epoch", NULL, 0),
               (double)wall_ms / 1e3);
}

void clock_watch_tick(struct service *service)
{
    struct clock_watch *watch = &service->clock_watch;
    int64_t now_ns = io_monotonic_ns(service->io);
    char text[512];
    bool stands = clock_watch_advice(service, text, sizeof(text));

    publish(service, stands);
    mark(service, stands);
    if (!stands && watch->told_ns != 0)
        log_info("windrow", "the clock follows the wall clock again");
    if (!stands)
        watch->told_ns = 0;
    if (!stands ||
        (watch->told_ns != 0 && now_ns - watch->told_ns < REPEAT_S * INT64_C(1000000000)))
        return;
    watch->told_ns = now_ns;
    log_warning("windrow", "%s", text);
}

void clock_watch_begin(struct service *service, bool trusted)
{
    struct clock_watch *watch = &service->clock_watch;
    int64_t downtime_max_ms = service->config->clock_max_downtime_ms;

    watch->marked = marker_is_set(service->io, service->config->data_dir, MARKER);
    if (watch->marked)
        downtime_max_ms = TWCS_CLOCK_STEP_MAX_MS;
    safe_clock_begin(service->clock, downtime_max_ms, trusted);
    clock_watch_tick(service);
}

void clock_watch_trust(struct service *service)
{
    if (safe_clock_trust(service->clock))
        log_warning("windrow", "the wall clock is trusted again, after its leap");
    clock_watch_tick(service);
}
