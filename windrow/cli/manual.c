#include "windrow/cli/manual.h"

#include <string.h>

#include "base/version.h"
#include "windrow/cli/cli.h"

/* roff takes a backslash anywhere, and a dot or quote at the start of a line, for its own. Any word
 * may come to the start of a line (wrap_lines). A bare `-` is a hyphen, which nobody can paste into
 * a shell. */
static void append_escaped(struct buffer *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool starts_word = out->size == 0 || strchr("\n ", out->data[out->size - 1]);
        if (starts_word && (text[i] == '.' || text[i] == '\''))
            buffer_append_text(out, "\\&");
        if (text[i] == '\\')
            buffer_append_text(out, "\\e");
        else if (text[i] == '-')
            buffer_append_text(out, "\\-");
        else
            buffer_append_byte(out, (uint8_t)text[i]);
    }
}

static void append_font(struct buffer *out, const char *font, const char *text, size_t length)
{
    buffer_append_format(out, "\\f%s", font);
    append_escaped(out, text, length);
    buffer_append_text(out, "\\fP");
}

/* Sources keep to 80 columns: the blank after column 60 ends a line. No word of ours is longer than
 * the rest. `start` may be inside a line. */
static void wrap_lines(struct buffer *out, size_t start)
{
    size_t line = start;

    while (line > 0 && out->data[line - 1] != '\n')
        line--;
    for (size_t i = start; i < out->size; i++) {
        if (out->data[i] == ' ' && i - line > 60)
            out->data[i] = '\n';
        if (out->data[i] == '\n')
            line = i + 1;
    }
}

/* A paragraph, or several: empty lines separate them, `such words` are bold. */
static void write_text(struct buffer *out, const char *text)
{
    size_t start = out->size;

    while (*text) {
        size_t length = strcspn(text, "`\n");
        append_escaped(out, text, length);
        text += length;
        if (*text == '`') {
            length = strcspn(text + 1, "`");
            append_font(out, "B", text + 1, length);
            text += 1 + length + (text[1 + length] == '`');
        } else if (*text == '\n') {
            buffer_append_text(out, text[1] == '\n' ? "\n.PP\n" : "\n.br\n");
            text += strspn(text, "\n");
        }
    }
    buffer_append_byte(out, '\n');
    wrap_lines(out, start);
}

static void append_row(struct buffer *out, const struct option_row *row)
{
    buffer_append_text(out, ".TP\n");
    if (row->letter)
        append_font(out, "B", (char[]){'-', row->letter}, 2);
    if (row->name) {
        buffer_append_text(out, row->letter ? ", " : "");
        buffer_append_text(out, "\\fB\\-\\-");
        append_escaped(out, row->name, strlen(row->name));
        buffer_append_text(out, "\\fP");
    }
    if (row->argument) {
        buffer_append_byte(out, ' ');
        append_font(out, "I", row->argument, strlen(row->argument));
    }
    buffer_append_byte(out, '\n');
    write_text(out, row->help);
}

/* Each line of `text` on a line of its own, in a bold `prefix` of the command. */
static void append_lines(struct buffer *out, const char *text, const char *command)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (command) {
            buffer_append_text(out, "\\fBwindrow ");
            append_escaped(out, command, strlen(command));
            buffer_append_text(out, "\\fP ");
        }
        append_escaped(out, text, length);
        buffer_append_byte(out, '\n');
        text += length + (text[length] == '\n');
    }
}

void manual_write_command(struct buffer *out, const struct command_line *line, const char *command)
{
    buffer_append_text(out, ".SH SYNOPSIS\n.nf\n");
    append_lines(out, line->usage, command);
    buffer_append_text(out, ".fi\n.SH DESCRIPTION\n");
    write_text(out, line->about);
    buffer_append_text(out, ".SH OPTIONS\n");
    for (size_t i = 0; i < line->row_count; i++)
        append_row(out, &line->rows[i]);
    append_row(out, &options_help_row);
    if (line->examples) {
        buffer_append_text(out, ".SH EXAMPLES\n.nf\n");
        append_lines(out, line->examples, NULL);
        buffer_append_text(out, ".fi\n");
    }
    buffer_append_text(out, ".SH EXIT STATUS\n");
    write_text(out, CLI_EXIT_STATUS);
    buffer_append_text(out, ".SH SEE ALSO\n.BR windrow (1)\n");
}

void manual_write_head(struct buffer *out, const char *command, const char *summary)
{
    buffer_append_text(out, ".TH \"WINDROW");
    if (command)
        buffer_append_byte(out, '-');
    for (const char *c = command ? command : ""; *c; c++)
        buffer_append_byte(out, (uint8_t)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    buffer_append_text(out, "\" 1 " WINDROW_RELEASE_DATE " \"windrow " WINDROW_VERSION
                            "\" \"User Commands\"\n.SH NAME\nwindrow");
    if (command)
        append_escaped(out, "-", 1);
    append_escaped(out, command ? command : "", command ? strlen(command) : 0);
    buffer_append_text(out, " \\- ");
    write_text(out, summary);
}

void manual_write_program(struct buffer *out, const struct manual_entry *entries, size_t count)
{
    manual_write_head(out, NULL, CLI_SUMMARY);
    buffer_append_text(out, ".SH SYNOPSIS\n.nf\n\\fBwindrow\\fP \\fICOMMAND\\fP [options]\n"
                            "\\fBwindrow\\fP \\-\\-version\n.fi\n.SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, ".TP\n.BR windrow\\-");
        append_escaped(out, entries[i].command, strlen(entries[i].command));
        buffer_append_text(out, " (1)\n");
        write_text(out, entries[i].summary);
    }
    buffer_append_text(out, ".SH FILES\n");
    write_text(out, CLI_FILES);
    buffer_append_text(out, ".SH EXIT STATUS\n");
    write_text(out, CLI_EXIT_STATUS);
    buffer_append_text(out, ".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)\n");
}
