/* Log lines on stderr, one per event, in one of three formats:
 *
 *     2026-11-21T03:04:05.678Z INFO store: sealed window ...
 *     time=2026-11-21T03:04:05.678Z level=info room=store message="sealed window ..."
 *     {"time":"2026-11-21T03:04:05.678Z","level":"info","room":"store","message":"sealed window ..."}
 *
 * Under systemd (JOURNAL_STREAM set) lines start with the syslog priority (<6>) and carry no time.
 * Colour only on a terminal without NO_COLOR. Thread-safe: one write(2) per line. */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

enum logger_level { LOGGER_ERROR, LOGGER_WARNING, LOGGER_INFO, LOGGER_DEBUG };
enum logger_format { LOGGER_TEXT, LOGGER_LOGFMT, LOGGER_JSON };

/** Lines above `level` are dropped. Default: LOGGER_INFO. Any thread. */
void logger_set_level(enum logger_level level);
/** Default: LOGGER_TEXT. Any thread. */
void logger_set_format(enum logger_format format);

/** `room` is the folder that speaks ("store"). Control characters in the text are escaped; in
 * structured formats bytes that are no UTF-8 become question marks. */
void logger_write(enum logger_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(room, ...)   logger_write(LOGGER_ERROR, room, __VA_ARGS__)
#define log_warning(room, ...) logger_write(LOGGER_WARNING, room, __VA_ARGS__)
#define log_info(room, ...)    logger_write(LOGGER_INFO, room, __VA_ARGS__)
#define log_debug(room, ...)   logger_write(LOGGER_DEBUG, room, __VA_ARGS__)

#endif
