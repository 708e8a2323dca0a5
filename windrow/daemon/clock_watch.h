/* What the service does about a frozen clock (safe_clock.h): says so in the log, in metrics and in
 * /status, and remembers it over restarts. People restart a process when its clock is wrong;
 * without the memory, the restarted process would take the leap for an ordinary outage and follow
 * it. */
#ifndef WINDROW_CLOCK_WATCH_H
#define WINDROW_CLOCK_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;

struct clock_watch;

struct clock_watch *clock_watch_new(void);
/** NULL is allowed. */
void clock_watch_delete(struct clock_watch *watch);

/** All shards on disk are open: time begins. */
void clock_watch_begin(struct service *service, bool trusted);
/** Called by the main thread about twice a second. */
void clock_watch_tick(struct service *service);
/** The operator confirms that the system clock is right. Logs and fills the time before and after;
 * returns whether the clock was frozen. Any thread. */
bool clock_watch_trust(struct service *service, int64_t *before_ms, int64_t *now_ms);
/** Whether the clock is frozen; then a text for people: both times and what to do. Any thread. */
bool clock_watch_advice(struct service *service, char *text, size_t text_bytes);

#endif
