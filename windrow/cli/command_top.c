/* windrow top: what goes on now, on one screen that is drawn again and again.
 *
 * A frame is made as plain text first, one line a row, and then cut to the terminal: what comes from
 * the service cannot move the cursor. A line that begins with LOUD is bold. Without a terminal there
 * is one frame, whole and plain. */
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

#define LOUD "\001"

enum { REQUEST_TIMEOUT_S = 10, SPARKS = 48, DELAY_MAX_S = 3600 };

struct top {
    struct client *client;
    uint64_t delay_s;
    struct arena arena; /* of one frame */
    struct buffer replies[2];
    struct doc status, history;
};

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

/* Only ends the sleep. */
static void resized(int signal_number)
{
    (void)signal_number;
}

/* The last hour. */

static uint32_t column_of(const struct top *top, const char *name)
{
    const struct doc *columns = reply_get(&top->history, "columns");
    uint32_t i = 0;

    while (columns->type == DOC_ARRAY && i < columns->count &&
           !doc_string_equals(&columns->items[i], name))
        i++;
    return i;
}

/* NAN: nothing happened in that step, or there is no such sample. `back`: 0 is the newest. */
static double sample(const struct top *top, const char *name, uint32_t back)
{
    const struct doc *samples = reply_get(&top->history, "samples"), *row;
    uint32_t column = column_of(top, name);
    double value;

    if (samples->type != DOC_ARRAY || back >= samples->count)
        return (double)NAN;
    row = &samples->items[samples->count - 1 - back];
    if (row->type != DOC_ARRAY || column >= row->count ||
        !doc_as_double(&row->items[column], &value))
        return (double)NAN;
    return value;
}

/* The newest value there is. */
static double latest(const struct top *top, const char *name)
{
    const struct doc *samples = reply_get(&top->history, "samples");

    for (uint32_t i = 0; samples->type == DOC_ARRAY && i < samples->count; i++)
        if (!isnan(sample(top, name, i)))
            return sample(top, name, i);
    return (double)NAN;
}

/* Four minutes, each step as a block whose height is its share of the highest. */
static void append_sparks(const struct top *top, const char *name, struct buffer *out)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double most = 0;

    for (uint32_t i = 0; i < SPARKS; i++)
        most = fmax(most, sample(top, name, i)); /* fmax passes NAN over */
    for (uint32_t i = SPARKS; i-- > 0;) {
        double value = sample(top, name, i);
        buffer_append_text(out,
                           isnan(value) || most <= 0 ? " " : blocks[(int)(value / most * 8 + 0.5)]);
    }
}

static const char *seconds_text(double seconds, char text[TEXT_TIME_BYTES])
{
    if (isnan(seconds))
        (void)snprintf(text, TEXT_TIME_BYTES, "-");
    else if (seconds < 1)
        (void)snprintf(text, TEXT_TIME_BYTES, "%.3g ms", seconds * 1000);
    else
        (void)snprintf(text, TEXT_TIME_BYTES, "%.3g s", seconds);
    return text;
}

static void append_rate(const struct top *top, const char *name, const char *label, const char *p50,
                        const char *p99, struct buffer *out)
{
    char low[TEXT_TIME_BYTES], high[TEXT_TIME_BYTES];
    double rate = sample(top, name, 0);

    buffer_append_format(out, "%-12s %9.1f/s  p50 %-9s p99 %-9s ", label, isnan(rate) ? 0 : rate,
                         seconds_text(latest(top, p50), low), seconds_text(latest(top, p99), high));
    append_sparks(top, name, out);
    buffer_append_byte(out, '\n');
}

static const char *bytes_text(double bytes, char text[TEXT_TIME_BYTES])
{
    return isnan(bytes) || bytes < 0 ? "-" : text_format_size((uint64_t)bytes, text);
}

static void append_resources(const struct top *top, struct buffer *out)
{
    char texts[4][TEXT_TIME_BYTES];

    buffer_append_format(out, "memory       %s process, %s memtables   disk %s, %s free\n",
                         bytes_text(latest(top, "resident_bytes"), texts[0]),
                         bytes_text(latest(top, "memtable_bytes"), texts[1]),
                         bytes_text(latest(top, "disk_bytes"), texts[2]),
                         bytes_text(latest(top, "disk_free_bytes"), texts[3]));
    buffer_append_format(out, "background   %.0f builds, %.0f merges under way\n",
                         fmax(0, latest(top, "builds")), fmax(0, latest(top, "merges")));
}

/* Collections. */

static void append_head(const struct top *top, struct buffer *out)
{
    const struct doc *status = &top->status;
    char uptime[TEXT_TIME_BYTES], now[TEXT_TIME_BYTES];

    text_format_time((int64_t)time(NULL) * 1000, now);
    buffer_append_format(
        out, LOUD "windrow top  %.19s  %.*s  version %.*s, up %s, ", now,
        REPLY_TEXT(status, "node"), REPLY_TEXT(status, "version"),
        text_format_duration(1000 * reply_number(status, "uptime_seconds", 0), uptime));
    if (reply_is_true(status, "ready"))
        buffer_append_text(out, "ready\n");
    else
        buffer_append_format(out, "NOT READY: %.*s\n", REPLY_TEXT(status, "why"));
    if (reply_get(reply_get(status, "clock"), "advice")->type == DOC_STRING)
        buffer_append_format(out, LOUD "%.*s\n", REPLY_TEXT(reply_get(status, "clock"), "advice"));
}

struct shard_sums {
    int64_t rows, windows, indexed, open;
};

static struct shard_sums sums_of(const struct doc *shard)
{
    const struct doc *windows = reply_get(shard, "windows");
    struct shard_sums sums = {0};

    for (uint32_t i = 0; windows->type == DOC_ARRAY && i < windows->count; i++) {
        const struct doc *state = reply_get(&windows->items[i], "state");
        sums.windows++;
        sums.rows += reply_number(&windows->items[i], "rows", 0);
        sums.indexed += doc_string_equals(state, "indexed");
        sums.open += doc_string_equals(state, "open");
    }
    return sums;
}

static void append_state(const struct doc *shard, struct buffer *out)
{
    static const char *const troubles[] = {"damage", "stopped", "waiting"};

    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
        if (reply_get(shard, troubles[i])->type == DOC_STRING) {
            buffer_append_format(out, "%.*s\n", REPLY_TEXT(shard, troubles[i]));
            return;
        }
    buffer_append_text(out, reply_is_true(shard, "paused")                  ? "paused\n"
                            : reply_get(shard, "topic")->type == DOC_STRING ? "running\n"
                                                                            : "not assigned\n");
}

static void append_shard(const struct doc *shard, int64_t now_ms, struct buffer *out)
{
    struct shard_sums sums = sums_of(shard);
    int64_t lag = reply_number(shard, "lag_records", -1);
    int64_t watermark_ms = reply_number(shard, "watermark_ms", INT64_MIN);
    char bytes[TEXT_TIME_BYTES], behind[TEXT_TIME_BYTES] = "-", lag_text[TEXT_TIME_BYTES] = "-";

    if (watermark_ms != INT64_MIN)
        text_format_duration((now_ms - watermark_ms) / 1000 * 1000, behind);
    if (lag >= 0)
        (void)snprintf(lag_text, sizeof(lag_text), "%lld", (long long)lag);
    buffer_append_format(out, "  %-8.*s %-16.*s %11lld %9s %12s %11lld %10s %4lld/%-4lld ",
                         REPLY_TEXT(shard, "shard"), REPLY_TEXT(shard, "node"),
                         (long long)reply_number(shard, "next_offset", 0), lag_text, behind,
                         (long long)sums.rows,
                         bytes_text((double)reply_number(shard, "total_bytes", 0), bytes),
                         (long long)sums.indexed, (long long)sums.windows);
    append_state(shard, out);
}

static void append_collection(const struct doc *collection, int64_t now_ms, struct buffer *out)
{
    const struct doc *shards = reply_get(collection, "shards");
    const struct doc *missing = reply_get(collection, "missing");

    buffer_append_format(out, "\n" LOUD "%.*s%s\n  %-8s %-16s %11s %9s %12s %11s %10s %9s %s\n",
                         REPLY_TEXT(collection, "name"),
                         reply_is_true(collection, "paused") ? "  (paused)" : "", "shard", "node",
                         "offset", "lag", "watermark", "rows", "disk", "indexed", "state");
    for (uint32_t i = 0; shards->type == DOC_ARRAY && i < shards->count; i++)
        append_shard(&shards->items[i], now_ms, out);
    for (uint32_t i = 0; missing->type == DOC_ARRAY && i < missing->count; i++)
        buffer_append_format(out, LOUD "  nobody serves %.*s\n", (int)missing->items[i].count,
                             missing->items[i].string);
}

static int make_frame(struct top *top, struct buffer *out, struct error *error)
{
    const struct doc *collections;
    int64_t now_ms;

    arena_reset(&top->arena);
    if (client_request_doc(top->client, "/status", NULL, &top->arena, &top->replies[0],
                           &top->status, error) != 0 ||
        client_request_doc(top->client, "/history", NULL, &top->arena, &top->replies[1],
                           &top->history, error) != 0)
        return error->code;
    now_ms = reply_number(reply_get(&top->status, "clock"), "wall_ms", 0);
    append_head(top, out);
    append_rate(top, "records_per_s", "records in", "freshness_p50_s", "freshness_p99_s", out);
    append_rate(top, "searches_per_s", "searches", "search_p50_s", "search_p99_s", out);
    append_resources(top, out);
    collections = reply_get(&top->status, "collections");
    for (uint32_t i = 0; collections->type == DOC_ARRAY && i < collections->count; i++)
        append_collection(&collections->items[i], now_ms, out);
    return 0;
}

/* The terminal. */

static void put_line(const char *line, const char *stop, unsigned columns, struct buffer *out)
{
    bool loud = line < stop && *line == *LOUD;
    unsigned used = 0;

    buffer_append_text(out, loud ? "\033[1m" : "");
    for (line += loud; line < stop; line++) {
        bool continues = ((unsigned char)*line & 0xC0) == 0x80;
        if (!continues && ++used > columns)
            break;
        buffer_append_byte(out, (unsigned char)*line < ' ' ? '?' : (uint8_t)*line);
    }
    buffer_append_text(out, loud ? "\033[0m\033[K" : "\033[K");
}

static void show(struct buffer *frame)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    const char *line = buffer_text(frame), *stop;
    struct buffer out = {0};

    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    buffer_append_text(&out, "\033[H");
    for (unsigned row = 1; *line && row < size.ws_row; row++) {
        stop = strchrnul(line, '\n');
        put_line(line, stop, size.ws_col, &out);
        buffer_append_text(&out, "\r\n");
        line = *stop ? stop + 1 : stop;
    }
    buffer_append_text(&out, "\033[J\033[2mq ends\033[0m");
    fwrite(out.data, 1, out.size, stdout);
    (void)fflush(stdout);
    buffer_destroy(&out);
}

static void print_plain(struct buffer *frame)
{
    for (const char *at = buffer_text(frame); *at; at++)
        if (*at != *LOUD)
            putchar(*at);
}

/* Returns whether a key that ends was pressed. */
static bool wait_for_key(uint64_t delay_s)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;

    if (poll(&input, 1, (int)(delay_s * 1000)) <= 0)
        return false;
    return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

/* A service that is away for a moment is no reason to leave. */
static void run_on_terminal(struct top *top)
{
    const struct sigaction ending = {.sa_handler = end}, resizing = {.sa_handler = resized};
    struct termios before, raw;

    (void)tcgetattr(STDIN_FILENO, &before);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    (void)sigaction(SIGINT, &ending, NULL);
    (void)sigaction(SIGTERM, &ending, NULL);
    (void)sigaction(SIGHUP, &ending, NULL);
    (void)sigaction(SIGWINCH, &resizing, NULL);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
    while (!ended) {
        struct buffer frame = {0};
        struct error error = {0};
        if (make_frame(top, &frame, &error) != 0)
            buffer_append_format(&frame, LOUD "windrow top\n%s\n", error.text);
        if (!ended)
            show(&frame);
        buffer_destroy(&frame);
        if (!ended && wait_for_key(top->delay_s))
            ended = 1;
    }
    fputs("\033[?25h\033[?1049l", stdout);
    (void)fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static int run_once(struct top *top)
{
    struct buffer frame = {0};
    struct error error = {0};
    int code = make_frame(top, &frame, &error);

    if (code == 0)
        print_plain(&frame);
    buffer_destroy(&frame);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

static int top_run(const struct config *config, uint64_t delay_s)
{
    struct top top = {.delay_s = delay_s};
    struct error error = {0};
    int status = COMMAND_OK;

    if (client_open(config, &top.client, &error) != 0)
        return command_fail("%s", error.text);
    client_set_timeout(top.client, REQUEST_TIMEOUT_S);
    arena_create(&top.arena, 0);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        run_on_terminal(&top);
    else
        status = run_once(&top);
    arena_destroy(&top.arena);
    buffer_destroy(&top.replies[0]);
    buffer_destroy(&top.replies[1]);
    client_close(top.client);
    return status;
}

int command_top(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    uint64_t delay_s = 2;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(config_path),
        {.name = "delay",
         .letter = 'd',
         .type = OPTION_COUNT,
         .argument = "SECONDS",
         .help = "between two looks (default 2)",
         .target = &delay_s,
         .maximum = DELAY_MAX_S},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--delay SECONDS]",
        .about =
            "Shows what the running service (http.listen of the config) does now: records and "
            "searches a second with the last four minutes, freshness, memory, disk, builds, and "
            "the shards of all nodes. q or Ctrl-C ends it. Where the output is no terminal, it "
            "prints once.",
        .examples = "windrow top -c /etc/windrow/windrow.yaml",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = top_run(config, delay_s);
    config_free(config);
    return status;
}
