#include "windrow/cli/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/manual.h"

enum { ROWS_MAX = 32, HELP_WIDTH = 88, HELP_INDENT = 26, MAN_CODE = 255, ROW_CODE = 256 };

const struct option_row options_help_row = {.name = "help", .letter = 'h', .help = "print this"};

/* Appends words of `text` in lines of HELP_WIDTH; the cursor stands in `column`, lines after the
 * first begin at `indent`. A line end in the text stays. */
static void append_wrapped(struct buffer *out, const char *text, size_t column, size_t indent)
{
    while (*text) {
        size_t length = strcspn(text, " \n");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            buffer_append_format(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buffer_append_byte(out, ' ');
            column++;
        }
        buffer_append(out, text, length);
        column += length;
        text += length;
        if (*text == '\n') {
            buffer_append_format(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        text += *text != '\0';
    }
    buffer_append_byte(out, '\n');
}

static void append_row(struct buffer *out, const struct option_row *row)
{
    size_t start = out->size;
    size_t column;

    if (row->letter)
        buffer_append_format(out, "  -%c%s", row->letter, row->name ? ", " : "");
    else
        buffer_append_text(out, "      ");
    if (row->name)
        buffer_append_format(out, "--%s", row->name);
    if (row->argument)
        buffer_append_format(out, " %s", row->argument);
    column = out->size - start;
    if (column + 2 > HELP_INDENT) {
        buffer_append_byte(out, '\n');
        column = 0;
    }
    buffer_append_format(out, "%*s", (int)(HELP_INDENT - column), "");
    append_wrapped(out, row->help, HELP_INDENT, HELP_INDENT);
}

/* Each line of `text` behind a prefix. */
static void append_lines(struct buffer *out, const char *text, const char *first, const char *next)
{
    for (const char *prefix = first; *text; prefix = next) {
        size_t length = strcspn(text, "\n");
        buffer_append_format(out, "%s%.*s\n", prefix, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void append_help(struct buffer *out, const struct command_line *line, const char *command)
{
    char first[64];
    char next[64];

    (void)snprintf(first, sizeof(first), "Usage: windrow %s ", command);
    (void)snprintf(next, sizeof(next), "       windrow %s ", command);
    append_lines(out, line->usage, first, next);
    buffer_append_byte(out, '\n');
    append_wrapped(out, line->about, 0, 0);
    buffer_append_byte(out, '\n');
    for (size_t i = 0; i < line->row_count; i++)
        append_row(out, &line->rows[i]);
    append_row(out, &options_help_row);
    if (line->examples) {
        buffer_append_text(out, strchr(line->examples, '\n') ? "\nExamples:\n" : "\nExample:\n");
        append_lines(out, line->examples, "  ", "  ");
    }
}

static int print_help(const struct command_line *line, const char *command, bool page)
{
    struct buffer out = {0};

    if (page)
        manual_write_command(&out, line, command);
    else
        append_help(&out, line, command);
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
    return COMMAND_OK;
}

static int take(const char *command, const struct option_row *row, const char *text)
{
    char name[64];
    uint64_t count;
    double rate;
    char *end;

    if (row->name)
        (void)snprintf(name, sizeof(name), "--%s", row->name);
    else
        (void)snprintf(name, sizeof(name), "-%c", row->letter);
    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)row->target = true;
        break;
    case OPTION_TEXT:
        *(const char **)row->target = text;
        break;
    case OPTION_COUNT:
        if (text_parse_u64(text, strlen(text), &count) != 0 || count < 1 || count > row->maximum)
            return command_usage_error(command, "%s %s: expected a number from 1 to %llu", name,
                                       text, (unsigned long long)row->maximum);
        *(uint64_t *)row->target = count;
        break;
    case OPTION_RATE:
        rate = strtod(text, &end);
        if (end == text || *end || !(rate > 0 && rate < 1e9))
            return command_usage_error(command, "%s %s: expected a number above 0", name, text);
        *(double *)row->target = rate;
        break;
    }
    return COMMAND_OK;
}

/* The table in getopt's words: ROW_CODE plus its place is each row's code, but for letters. */
static void describe(const struct command_line *line, struct option options[ROWS_MAX],
                     char letters[2 * ROWS_MAX])
{
    for (size_t i = 0; i < line->row_count; i++) {
        const struct option_row *row = &line->rows[i];
        if (row->name)
            *options++ = (struct option){row->name, row->argument ? required_argument : no_argument,
                                         NULL, ROW_CODE + (int)i};
        if (row->letter)
            *letters++ = row->letter;
        if (row->letter && row->argument)
            *letters++ = ':';
    }
    *options++ = (struct option){"help", no_argument, NULL, 'h'};
    *options++ = (struct option){"man", no_argument, NULL, MAN_CODE};
    *options = (struct option){0};
    *letters++ = 'h';
    *letters = '\0';
}

static const struct option_row *find_row(const struct command_line *line, int code)
{
    if (code >= ROW_CODE)
        return &line->rows[code - ROW_CODE];
    for (size_t i = 0; i < line->row_count; i++)
        if (line->rows[i].letter == code)
            return &line->rows[i];
    return NULL;
}

static int check_operands(const struct command_line *line, int count, char **argv)
{
    if (count >= line->operands_min && (line->operands_max < 0 || count <= line->operands_max))
        return -1;
    if (line->operands_max == 0)
        return command_usage_error(argv[0], "unexpected argument %s", argv[optind]);
    return command_usage_error(argv[0], "expected %s", line->operands);
}

int options_parse(const struct command_line *line, int argc, char **argv)
{
    struct option options[ROWS_MAX + 3];
    char letters[2 * ROWS_MAX + 2];
    int code;

    assert(line->row_count <= ROWS_MAX);
    describe(line, options, letters);
    while ((code = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        const struct option_row *row = find_row(line, code);
        int status;
        if (code == 'h' || code == MAN_CODE)
            return print_help(line, argv[0], code == MAN_CODE);
        if (!row) /* getopt has said why */
            return command_usage_error(argv[0], "invalid command line");
        status = take(argv[0], row, optarg);
        if (status != COMMAND_OK)
            return status;
    }
    return check_operands(line, argc - optind, argv);
}

int options_parse_time(const char *name, const char *text, int64_t now_ms, int64_t *time_ms,
                       struct error *error)
{
    uint64_t number;

    if (text_parse_u64(text, strlen(text), &number) == 0 && number <= INT64_MAX)
        *time_ms = (int64_t)number;
    else if (text_parse_duration_ms(text, time_ms, ERROR_IGNORED) == 0)
        *time_ms = now_ms - *time_ms;
    else if (text_parse_time_ms(text, strlen(text), time_ms, ERROR_IGNORED) != 0)
        return error_set(
            error, ERROR_INVALID,
            "--%s: invalid time \"%.60s\" (use 2026-11-21T03:04:05Z, 2026-11-21, milliseconds "
            "since the epoch, or 2h for two hours ago)",
            name, text);
    return 0;
}
