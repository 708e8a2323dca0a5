/* What the service does about a clock that stands (safe_clock.h): says so in the log, in metrics
 * and to /status, and remembers it over restarts, because the first thing that people do about a
 * clock is to start the process again: a leap that was not believed is not one outage later. */
#ifndef WINDROW_CLOCK_WATCH_H
#define WINDROW_CLOCK_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;

struct clock_watch {
    int64_t told_ns; /* when the log last said that the clock stands; 0: it does not */
    bool marked;     /* CLOCK_STANDS lies in the data folder */
};

/** All shards on disk are open: time begins. */
void clock_watch_begin(struct service *service, bool trusted);
/** Main thread, about twice a second. */
void clock_watch_tick(struct service *service);
/** An operator's word. Main thread. */
void clock_watch_trust(struct service *service);
/** Whether it stands; then a text for people: both times and what to do. Any thread. */
bool clock_watch_advice(struct service *service, char *text, size_t text_bytes);

#endif
