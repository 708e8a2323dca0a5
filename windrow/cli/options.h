/* The command line of a command as one table: parsing, validation and --help all come from it. */
#ifndef WINDROW_CLI_OPTIONS_H
#define WINDROW_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum option_type {
    OPTION_FLAG,  /* bool */
    OPTION_TEXT,  /* const char *, points into argv */
    OPTION_COUNT, /* uint64_t, from 1 to `maximum` */
    OPTION_RATE   /* double, above 0 */
};

struct option_row {
    const char *name; /* "collection"; NULL: only the letter */
    char letter;      /* 'C', or 0 */
    enum option_type type;
    const char *argument; /* "NAME" in --help; NULL for a flag */
    const char *help;
    void *target;     /* set when the option is given; holds the default before */
    uint64_t maximum; /* of a count */
};

struct command_line {
    const char *usage;    /* what follows the command's name; several lines for several forms */
    const char *about;    /* paragraphs, wrapped when printed */
    const char *examples; /* one a line, without "windrow" in front; NULL: none */
    const struct option_row *rows;
    size_t row_count;
    const char *operands; /* what the arguments after the options are, for errors: "one folder" */
    int operands_min, operands_max; /* how many of them; max -1: any number */
};

/* Rows that several commands have. */
#define OPTION_ROW_CONFIG(path)                                                                    \
    {                                                                                              \
        "config", 'c', OPTION_TEXT, "FILE",                                                        \
            "default: ./windrow.yaml, then /etc/windrow/windrow.yaml", &(path), 0                  \
    }
#define OPTION_ROW_JSON(json)                                                                      \
    {                                                                                              \
        "json", 'j', OPTION_FLAG, NULL, "print the reply as JSON", &(json), 0                      \
    }

#define OPTION_ROW_COLLECTION(name, help)                                                          \
    {                                                                                              \
        "collection", 'C', OPTION_TEXT, "NAME", help, &(name), 0                                   \
    }
#define OPTION_ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* --help itself, for those that list the rows. */
extern const struct option_row options_help_row;

/** Parses `argv` (argv[0] is the command's name) into the rows' targets. Operands then stand from
 * argv[optind] on. Prints --help (or its page, --man), or what is wrong. Returns -1 to go on, else
 * the exit status. */
int options_parse(const struct command_line *line, int argc, char **argv);

/** The value of --NAME as a time: RFC 3339, milliseconds since the epoch, or a duration before
 * `now_ms`. */
int options_parse_time(const char *name, const char *text, int64_t now_ms, int64_t *time_ms,
                       struct error *error);

#endif
