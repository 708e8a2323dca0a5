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
#include "base/text.h"

static atomic_int threshold = LOGGER_INFO;

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

static void append_prefix(struct buffer *line, enum logger_level level)
{
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    static const char *const colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[2m"};
    static const char priorities[] = {'3', '4', '6', '7'};
    char time_text[TEXT_TIME_BYTES];
    struct timespec now;

    if (journal) {
        buffer_append_format(line, "<%c>", priorities[level]);
        return;
    }
    if (clock_gettime(CLOCK_REALTIME, &now) == 0)
        buffer_append_text(
            line, text_format_time((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, time_text));
    buffer_append_format(line, " %s%s%s ", colour ? colours[level] : "", names[level],
                         colour ? "\033[0m" : "");
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
    append_prefix(&line, level);
    buffer_append_text(&line, room);
    buffer_append_text(&line, ": ");
    append_escaped(&line, (const char *)text.data, (size_t)length);
    buffer_append_byte(&line, '\n');
    write_line(&line);
    buffer_destroy(&line);
    buffer_destroy(&text);
}
