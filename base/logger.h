/* Log lines on stderr, one per event, in one of three formats:
 *
 *     2026-11-21T03:04:05.678Z INFO store: sealed window ...
 *     time=2026-11-21T03:04:05.678Z level=info room=store event=window_sealed message="sealed ..."
 *     {"time":"2026-11-21T03:04:05.678Z","level":"info","room":"store","message":"sealed window ..."}
 *
 * `event` is there where the line has a name, which does not change when its words do. Lines of a
 * thread that works for a request end with its trace: [trace ID], or the key trace_id.
 *
 * Under systemd (JOURNAL_STREAM set) lines start with the syslog priority (<6>) and carry no time.
 * Colour only on a terminal without NO_COLOR. Thread-safe: one write(2) per line. */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum logger_level { LOGGER_ERROR, LOGGER_WARNING, LOGGER_INFO, LOGGER_DEBUG };
enum logger_format { LOGGER_TEXT, LOGGER_LOGFMT, LOGGER_JSON };

/** Lines above `level` are dropped, but in rooms that have a level of their own. Default:
 * LOGGER_INFO. Any thread. */
void logger_set_level(enum logger_level level);
/** "error", "warn", "info", "debug". */
const char *logger_level_name(enum logger_level level);
bool logger_level_parse(const char *text, size_t length, enum logger_level *level);

/** The rooms that may have levels of their own; the list ends with NULL. */
extern const char *const logger_rooms[];
/** Gives a room a level of its own. "ROOM=LEVEL", or "ROOM=default" to take it away; "LEVEL" or
 * "=LEVEL" sets that of all others. False: no such room or level, and nothing changed. */
bool logger_set(const char *setting);
/** Whether `setting` is one that logger_set takes for a room ("ROOM=LEVEL"). */
bool logger_is_setting(const char *setting);
/** The level of a room (NULL: of those without one of their own); *own (may be NULL) tells whether
 * it is its own. */
enum logger_level logger_level_of(const char *room, bool *own);
/** No room has a level of its own any more. */
void logger_reset_rooms(void);

/** Default: LOGGER_TEXT. Any thread. */
void logger_set_format(enum logger_format format);

/** `room` is the folder that speaks ("store"). Control characters in the text are escaped; in
 * structured formats bytes that are no UTF-8 become question marks. */
void logger_write(enum logger_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The same for an event with a name, such as "window_sealed". */
void logger_write_event(enum logger_level level, const char *room, const char *event,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/* At most one line in a while, which says how many were swallowed since the last. All zero but the
 * interval at first. */
struct logger_limit {
    int64_t interval_ns;
    _Atomic int64_t next_ns;
    _Atomic uint64_t swallowed;
};

/** Logs, or counts what it swallows. Returns whether it logged. */
bool logger_write_limited(struct logger_limit *limit, enum logger_level level, const char *room,
                          const char *event, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define log_error(room, ...)   logger_write(LOGGER_ERROR, room, __VA_ARGS__)
#define log_warning(room, ...) logger_write(LOGGER_WARNING, room, __VA_ARGS__)
#define log_info(room, ...)    logger_write(LOGGER_INFO, room, __VA_ARGS__)
#define log_debug(room, ...)   logger_write(LOGGER_DEBUG, room, __VA_ARGS__)

#endif
