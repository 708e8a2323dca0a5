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

static atomic_int threshold = LOGGER_INFO;
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

static void append_line(struct buffer *line, enum logger_level level, const char *room,
                        const char *text, size_t length)
{
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
}

static void replace_invalid(char *text, size_t length)
{
    for (size_t at = 0; (at += text_utf8_valid(text + at, length - at)) < length; at++)
        text[at] = '?';
}

static void append_fields(struct buffer *line, bool json, enum logger_level level, const char *room,
                          char *text, size_t length)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char time_text[TEXT_TIME_BYTES];
    const bool has_time = now_text(time_text);
    const struct {
        const char *key, *value;
        size_t length;
    } fields[] = {{"time", time_text, has_time ? strlen(time_text) : 0},
                  {"level", names[level], strlen(names[level])},
                  {"room", room, strlen(room)},
                  {"message", text, length}};
    const size_t first = has_time ? 0 : 1, end = sizeof(fields) / sizeof(fields[0]);

    replace_invalid(text, length);
    buffer_append_text(line, json ? "{" : "");
    for (size_t i = first; i < end; i++) {
        buffer_append_text(line, i == first ? "" : json ? "," : " ");
        buffer_append_format(line, json ? "\"%s\":" : "%s=", fields[i].key);
        if (json || i + 1 == end)
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

void logger_write(enum logger_level level, const char *room, const char *format, ...)
{
    static const char priorities[] = {'3', '4', '6', '7'};
    const int format_now = atomic_load_explicit(&shape, memory_order_relaxed);
    struct buffer text = {0};
    struct buffer line = {0};
    va_list arguments;
    int length;

    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    pthread_once(&once, look_at_stderr);
    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    va_start(arguments, format);
    (void)vsnprintf((char *)buffer_reserve(&text, (size_t)length + 1), (size_t)length + 1, format,
                    arguments);
    va_end(arguments);
    if (journal)
        buffer_append_format(&line, "<%c>", priorities[level]);
    if (format_now == LOGGER_TEXT)
        append_line(&line, level, room, (const char *)text.data, (size_t)length);
    else
        append_fields(&line, format_now == LOGGER_JSON, level, room, (char *)text.data,
                      (size_t)length);
    buffer_append_byte(&line, '\n');
    write_line(&line);
    buffer_destroy(&line);
    buffer_destroy(&text);
}
