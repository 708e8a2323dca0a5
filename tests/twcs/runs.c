#include "tests/twcs/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/clock.h"

static const char *parse_range(const char *at, long *first, long *last)
{
    char *end;

    *first = strtol(at, &end, 10);
    ck_assert(*end == '-');
    *last = strtol(end + 1, &end, 10);
    return end;
}

void runs_parse_one(const char *text, uint64_t file_number, struct twcs_run *run)
{
    char *at;
    long first, last;

    *run = (struct twcs_run){.file_number = file_number, .rows = 1000, .max_expiry_ms = TWCS_NEVER};
    run->level = (uint8_t)strtoul(text, &at, 10);
    ck_assert_msg(*at == ':', "%s", text);
    run->bytes = strtoull(at + 1, &at, 10) * RUNS_MIB;
    ck_assert_msg(*at == ':', "%s", text);
    run->first_key = (const uint8_t *)at + 1;
    run->first_key_bytes = (uint16_t)strcspn(at + 1, "-");
    at += 1 + run->first_key_bytes;
    ck_assert_msg(*at == '-', "%s", text);
    run->last_key = (const uint8_t *)at + 1;
    run->last_key_bytes = (uint16_t)strcspn(at + 1, " !@~");
    at += 1 + run->last_key_bytes;
    for (const char *more = at; *more && *more != ' ';) {
        switch (*more++) {
        case '!':
            run->dead_rows = 10 * strtoull(more, &at, 10);
            more = at;
            break;
        case '@':
            more = parse_range(more, &first, &last);
            run->min_event_ms = first * (int64_t)RUNS_HOUR_MS;
            run->max_event_ms = last * (int64_t)RUNS_HOUR_MS;
            break;
        case '~':
            run->max_expiry_ms = strtol(more, &at, 10) * (int64_t)RUNS_HOUR_MS;
            more = at;
            break;
        default:
            ck_abort_msg("what is this: %s", more - 1);
        }
    }
}

size_t runs_parse(const char *text, struct twcs_run *runs)
{
    size_t count = 0;

    while (*text) {
        ck_assert_uint_lt(count, RUNS_MAX);
        runs_parse_one(text, count + 1, &runs[count]);
        count++;
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return count;
}

struct twcs_window runs_window(const struct twcs_run *runs, size_t count)
{
    return (struct twcs_window){.chunks = runs, .chunk_count = count, .max_expiry_ms = TWCS_NEVER};
}

const char *runs_decide(const struct twcs_policy *policy, const struct twcs_window *window,
                        int64_t now_ms, char text[RUNS_TEXT_BYTES])
{
    struct twcs_clock clock = clock_at(now_ms);
    struct twcs_decision decision;
    int used;

    text[0] = '\0';
    if (twcs_decide(policy, &clock, window, 1, &decision, 1) == 0)
        return text;
    ck_assert_int_eq(decision.action, TWCS_COMPACT);
    used = snprintf(text, RUNS_TEXT_BYTES, "%s", twcs_reason_name(decision.reason));
    for (uint32_t i = 0; i < decision.input_count; i++)
        used += snprintf(text + used, RUNS_TEXT_BYTES - (size_t)used, " %u", decision.inputs[i]);
    snprintf(text + used, RUNS_TEXT_BYTES - (size_t)used, " %s %u",
             decision.trivial_move ? "moves to" : "->", decision.output_level);
    return text;
}

void runs_check(const struct twcs_policy *policy, int64_t now_ms, const struct runs_case *cases,
                size_t count)
{
    static struct twcs_run runs[RUNS_MAX];

    for (size_t i = 0; i < count; i++) {
        struct twcs_window window = runs_window(runs, runs_parse(cases[i].runs, runs));
        char text[RUNS_TEXT_BYTES];
        runs_decide(policy, &window, now_ms, text);
        ck_assert_msg(strcmp(text, cases[i].decision) == 0, "%s: \"%s\" instead of \"%s\"",
                      cases[i].what, text, cases[i].decision);
    }
}
