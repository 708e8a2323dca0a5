#include "base/logger.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/doc.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/trace.h"

static atomic_int threshold = LOGGER_INFO;

const char *const logger_rooms[] = {"audit", "base",  "cluster", "compaction", "config", "embedder",
                                    "grpc",  "http",  "index",   "indexer",    "ingest", "query",
                                    "rest",  "store", "trace",   "windrow",    "worker", NULL};
enum { ROOM_COUNT = sizeof(logger_rooms) / sizeof(logger_rooms[0]) - 1 };

/* Of rooms with a level of their own: the level + 1; else 0. */
static atomic_int room_levels[ROOM_COUNT];
static atomic_int own_levels; /* how many rooms have one, so that most lines need no look */
static atomic_int shape = LOGGER_TEXT;

/* Decided once: stderr does not change its nature while the process runs. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool journal; /* systemd reads stderr: priorities in front, its own clock */
static bool colour;

static void look_at_stderr(void)
{
    const char *no_colour = getenv("NO_COLOR");

    journal = getenv("JOURNAL_STREAM") != NULL;
    colour = !journal && isatty(STDERR_FILENO) && !(no_colour && no_colour[0]);
}

void logger_set_level(enum logger_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

const char *logger_level_name(enum logger_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    return names[level];
}

bool logger_level_parse(const char *text, size_t length, enum logger_level *level)
{
    for (enum logger_level each = LOGGER_ERROR; each <= LOGGER_DEBUG; each++) {
        const char *name = logger_level_name(each);
        if (strlen(name) == length && memcmp(name, text, length) == 0) {
            *level = each;
            return true;
        }
    }
    return false;
}

static int room_index(const char *room, size_t length)
{
    for (int i = 0; i < ROOM_COUNT; i++)
        if (strlen(logger_rooms[i]) == length && memcmp(logger_rooms[i], room, length) == 0)
            return i;
    return -1;
}

static void set_room(int room, int level_and_one)
{
    int before = atomic_exchange(&room_levels[room], level_and_one);

    atomic_fetch_add(&own_levels, (level_and_one != 0) - (before != 0));
}

void logger_reset_rooms(void)
{
    for (int i = 0; i < ROOM_COUNT; i++)
        set_room(i, 0);
}

/* "ROOM=LEVEL" into a room (-1: all without one of their own) and a level + 1 (0: default). */
static bool parse_setting(const char *setting, int *room, int *level_and_one)
{
    const char *equals = strchr(setting, '=');
    const char *name = equals ? equals + 1 : setting;
    enum logger_level level;

    *room = equals && equals != setting ? room_index(setting, (size_t)(equals - setting)) : -1;
    if (*room < 0 && equals && equals != setting)
        return false;
    *level_and_one = 0;
    if (*room >= 0 && strcmp(name, "default") == 0)
        return true;
    if (!logger_level_parse(name, strlen(name), &level))
        return false;
    *level_and_one = (int)level + 1;
    return true;
}

bool logger_set(const char *setting)
{
    int room, level_and_one;

    if (!parse_setting(setting, &room, &level_and_one))
        return false;
    if (room < 0)
        logger_set_level((enum logger_level)(level_and_one - 1));
    else
        set_room(room, level_and_one);
    return true;
}

bool logger_is_setting(const char *setting)
{
    int room, level_and_one;

    return parse_setting(setting, &room, &level_and_one) && room >= 0 && level_and_one > 0;
}

enum logger_level logger_level_of(const char *room, bool *own)
{
    int index = room && atomic_load_explicit(&own_levels, memory_order_relaxed) > 0
                    ? room_index(room, strlen(room))
                    : -1;
    int level_and_one =
        index >= 0 ? atomic_load_explicit(&room_levels[index], memory_order_relaxed) : 0;

    if (own)
        *own = level_and_one > 0;
    return level_and_one > 0
               ? (enum logger_level)(level_and_one - 1)
               : (enum logger_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

void logger_set_format(enum logger_format format)
{
    atomic_store_explicit(&shape, (int)format, memory_order_relaxed);
}

/* Text from messages and peers may hold anything: control bytes must forge neither a line nor a
 * terminal sequence. */
static void append_escaped(struct buffer *line, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != 0x7f)
            buffer_append_byte(line, c);
        else if (c == '\n')
            buffer_append_text(line, "\\n");
        else
            buffer_append_format(line, "\\x%02x", c);
    }
}

/* Journal lines have the time of the journal. */
static bool now_text(char *text)
{
    struct timespec now;

    if (journal || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return false;
    text_format_time((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, text);
    return true;
}

/* "" when the thread works for no request. */
static const char *trace_text(char out[TRACE_ID_TEXT_BYTES])
{
    const struct trace_context *trace = trace_current();

    out[0] = '\0';
    return trace ? trace_id_text(trace, out) : out;
}

static void append_line(struct buffer *line, enum logger_level level, const char *room,
                        const char *text, size_t length)
{
    char trace[TRACE_ID_TEXT_BYTES];
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    static const char *const colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[2m"};
    char time_text[TEXT_TIME_BYTES];

    if (now_text(time_text))
        buffer_append_text(line, time_text);
    if (!journal)
        buffer_append_format(line, " %s%s%s ", colour ? colours[level] : "", names[level],
                             colour ? "\033[0m" : "");
    buffer_append_text(line, room);
    buffer_append_text(line, ": ");
    append_escaped(line, text, length);
    if (trace_text(trace)[0] != '\0')
        buffer_append_format(line, " [trace %s]", trace);
}

static void replace_invalid(char *text, size_t length)
{
    for (size_t at = 0; (at += text_utf8_valid(text + at, length - at)) < length; at++)
        text[at] = '?';
}

static void append_fields(struct buffer *line, bool json, enum logger_level level, const char *room,
                          const char *event, char *text, size_t length)
{
    char time_text[TEXT_TIME_BYTES], trace[TRACE_ID_TEXT_BYTES];
    const bool has_time = now_text(time_text);
    const struct {
        const char *key, *value;
        size_t length; /* 0: left out */
        bool quoted;   /* logfmt: may hold blanks */
    } fields[] = {{"time", time_text, has_time ? strlen(time_text) : 0, false},
                  {"level", logger_level_name(level), strlen(logger_level_name(level)), false},
                  {"room", room, strlen(room), false},
                  {"event", event, event ? strlen(event) : 0, false},
                  {"trace_id", trace, strlen(trace_text(trace)), false},
                  {"message", text, length, true}};
    const char *separator = "";

    replace_invalid(text, length);
    buffer_append_text(line, json ? "{" : "");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].length == 0 && !fields[i].quoted)
            continue;
        buffer_append_text(line, separator);
        separator = json ? "," : " ";
        buffer_append_format(line, json ? "\"%s\":" : "%s=", fields[i].key);
        if (json || fields[i].quoted)
            doc_write_json_string(line, fields[i].value, fields[i].length);
        else
            buffer_append(line, fields[i].value, fields[i].length);
    }
    buffer_append_text(line, json ? "}" : "");
}

static void write_line(const struct buffer *line)
{
    size_t done = 0;

    /* More than one turn only when stderr is a full pipe. A log line that cannot be written has
     * nowhere to complain. */
    while (done < line->size) {
        ssize_t put = write(STDERR_FILENO, line->data + done, line->size - done);
        if (put <= 0)
            return;
        done += (size_t)put;
    }
}

static void write_formatted(enum logger_level level, const char *room, const char *event,
                            struct buffer *text)
{
    static const char priorities[] = {'3', '4', '6', '7'};
    const int format_now = atomic_load_explicit(&shape, memory_order_relaxed);
    struct buffer line = {0};

    pthread_once(&once, look_at_stderr);
    if (journal)
        buffer_append_format(&line, "<%c>", priorities[level]);
    if (format_now == LOGGER_TEXT)
        append_line(&line, level, room, (const char *)text->data, text->size);
    else
        append_fields(&line, format_now == LOGGER_JSON, level, room, event, (char *)text->data,
                      text->size);
    buffer_append_byte(&line, '\n');
    write_line(&line);
    buffer_destroy(&line);
}

/* False when the format cannot be written. */
static bool append_arguments(struct buffer *text, const char *format, va_list arguments)
{
    va_list again;
    int length;

    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return false;
    (void)vsnprintf((char *)buffer_reserve(text, (size_t)length + 1), (size_t)length + 1, format,
                    arguments);
    text->size += (size_t)length;
    return true;
}

static void write_arguments(enum logger_level level, const char *room, const char *event,
                            const char *format, va_list arguments)
{
    struct buffer text = {0};

    if (level > logger_level_of(room, NULL))
        return;
    if (append_arguments(&text, format, arguments))
        write_formatted(level, room, event, &text);
    buffer_destroy(&text);
}

void logger_write(enum logger_level level, const char *room, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_arguments(level, room, NULL, format, arguments);
    va_end(arguments);
}

void logger_write_event(enum logger_level level, const char *room, const char *event,
                        const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_arguments(level, room, event, format, arguments);
    va_end(arguments);
}

/* Of threads that meet when the time has come, one moves it and writes. */
static bool may_write(struct logger_limit *limit)
{
    int64_t next_ns = atomic_load(&limit->next_ns);
    int64_t now_ns = thread_deadline(0);

    if (now_ns >= next_ns &&
        atomic_compare_exchange_strong(&limit->next_ns, &next_ns, now_ns + limit->interval_ns))
        return true;
    atomic_fetch_add(&limit->swallowed, 1);
    return false;
}

bool logger_write_limited(struct logger_limit *limit, enum logger_level level, const char *room,
                          const char *event, const char *format, ...)
{
    struct buffer text = {0};
    uint64_t swallowed;
    va_list arguments;
    bool good;

    if (level > logger_level_of(room, NULL) || !may_write(limit))
        return false;
    va_start(arguments, format);
    good = append_arguments(&text, format, arguments);
    va_end(arguments);
    swallowed = atomic_exchange(&limit->swallowed, 0);
    if (swallowed > 0)
        buffer_append_format(&text, " (%llu more since the last line)",
                             (unsigned long long)swallowed);
    if (good)
        write_formatted(level, room, event, &text);
    buffer_destroy(&text);
    return good;
}
