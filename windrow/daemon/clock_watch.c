#include "windrow/daemon/clock_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "base/marker.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/config.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/safe_clock.h"

#define MARKER "CLOCK_STANDS"

enum { REPEAT_S = 600 };

struct clock_watch {
    pthread_mutex_t lock; /* of the fields below; held while the marker is written */
    int64_t told_ns;      /* when the log last said that the clock is frozen; 0: it is not */
    bool marked;          /* the file CLOCK_STANDS lies in the data folder */
};

struct clock_watch *clock_watch_new(void)
{
    struct clock_watch *watch = memory_new(1, sizeof(*watch));

    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

void clock_watch_delete(struct clock_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

bool clock_watch_advice(struct service *service, char *text, size_t text_bytes)
{
    char safe[TEXT_TIME_BYTES];
    char wall[TEXT_TIME_BYTES];
    int64_t safe_ms, wall_ms;

    if (!safe_clock_frozen(service->clock, &safe_ms, &wall_ms))
        return false;
    text_format_time(safe_ms, safe);
    text_format_time(wall_ms, wall);
    snprintf(
        text, text_bytes,
        "clock frozen at %s: the system clock shows %s, more than 24 h ahead. Records newer than "
        "%s wait. If %s is right, run `windrow trust-clock`; otherwise correct the system clock",
        safe, wall, safe, wall);
    return true;
}

/* A marker that could not be written is tried again with the next tick. */
static void mark(struct service *service, bool frozen)
{
    struct clock_watch *watch = service->clock_watch;
    struct error error = {0};

    if (watch->marked == frozen)
        return;
    if (marker_set(service->io, service->config->data_dir, MARKER, frozen, &error) == 0)
        watch->marked = frozen;
    else if (watch->told_ns == 0)
        log_error("windrow", "%s", error.text);
}

static void publish(struct service *service)
{
    int64_t safe_ms, wall_ms;
    bool frozen = safe_clock_frozen(service->clock, &safe_ms, &wall_ms);

    metric_set(
        metrics_gauge(service->metrics, "windrow_clock_stands",
                      "1 while the clock is frozen because the system clock is too far ahead", NULL,
                      0),
        frozen);
    metric_set(metrics_gauge(service->metrics, "windrow_clock_safe_seconds",
                             "The time by which records expire and are judged, since the epoch",
                             NULL, 0),
               (double)safe_ms / 1e3);
    metric_set(metrics_gauge(service->metrics, "windrow_clock_wall_seconds",
                             "What the system clock shows, since the epoch", NULL, 0),
               (double)wall_ms / 1e3);
}

/* Under the lock. */
static void look(struct service *service)
{
    struct clock_watch *watch = service->clock_watch;
    int64_t now_ns = io_monotonic_ns(service->io);
    char text[512];
    bool frozen = clock_watch_advice(service, text, sizeof(text));

    publish(service);
    mark(service, frozen);
    if (!frozen) {
        if (watch->told_ns != 0)
            log_info("windrow", "the clock follows the system clock again");
        watch->told_ns = 0;
    } else if (watch->told_ns == 0 || now_ns - watch->told_ns >= REPEAT_S * INT64_C(1000000000)) {
        watch->told_ns = now_ns;
        log_warning("windrow", "%s", text);
    }
}

void clock_watch_tick(struct service *service)
{
    pthread_mutex_lock(&service->clock_watch->lock);
    look(service);
    pthread_mutex_unlock(&service->clock_watch->lock);
}

void clock_watch_begin(struct service *service, bool trusted)
{
    struct clock_watch *watch = service->clock_watch;
    int64_t downtime_max_ms = service->config->clock_max_downtime_ms;

    pthread_mutex_lock(&watch->lock);
    watch->marked = marker_is_set(service->io, service->config->data_dir, MARKER);
    if (watch->marked)
        downtime_max_ms = TWCS_CLOCK_STEP_MAX_MS;
    safe_clock_begin(service->clock, downtime_max_ms, trusted);
    look(service);
    pthread_mutex_unlock(&watch->lock);
}

bool clock_watch_trust(struct service *service, int64_t *before_ms, int64_t *now_ms)
{
    char before[TEXT_TIME_BYTES];
    char now[TEXT_TIME_BYTES];
    bool was_frozen;

    pthread_mutex_lock(&service->clock_watch->lock);
    was_frozen = safe_clock_trust(service->clock, before_ms, now_ms);
    text_format_time(*before_ms, before);
    text_format_time(*now_ms, now);
    if (was_frozen)
        log_warning("windrow", "an operator trusts the system clock: the clock goes from %s to %s",
                    before, now);
    else
        log_info("windrow",
                 "an operator trusts the system clock, but the clock was not frozen: it was %s and "
                 "is %s",
                 before, now);
    look(service);
    pthread_mutex_unlock(&service->clock_watch->lock);
    if (atomic_load(&service->scheduler))
        compaction_scheduler_wake(service->scheduler);
    return was_frozen;
}
