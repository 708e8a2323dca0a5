#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/text.h"
#include "base/trace.h"
#include "tests/support/test_main.h"

/* stderr goes to a file from here on; what was logged so far is read back. */
static char log_path[256];

static void capture(void)
{
    int file;

    snprintf(log_path, sizeof(log_path), "%s/log", test_directory());
    file = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
    close(file);
}

static char *captured(void)
{
    static char text[1 << 20];
    FILE *file = fopen(log_path, "r");
    size_t length = fread(text, 1, sizeof(text) - 1, file);

    text[length] = '\0';
    fclose(file);
    return text;
}

START_TEST(a_line_has_time_level_room_and_text)
{
    int64_t time_ms;

    unsetenv("JOURNAL_STREAM");
    capture();
    log_warning("store", "sealed window %d rows=%d", 7, 12);
    ck_assert_int_eq(text_parse_time_ms(captured(), 24, &time_ms, ERROR_IGNORED), 0);
    ck_assert_str_eq(captured() + 24, " WARN store: sealed window 7 rows=12\n");
}
END_TEST

START_TEST(under_systemd_lines_carry_a_priority_and_no_time)
{
    setenv("JOURNAL_STREAM", "8:1", 1);
    capture();
    logger_set_level(LOGGER_DEBUG);
    log_error("a", "1");
    log_warning("b", "2");
    log_info("c", "3");
    log_debug("d", "4");
    ck_assert_str_eq(captured(), "<3>a: 1\n<4>b: 2\n<6>c: 3\n<7>d: 4\n");
    logger_set_level(LOGGER_INFO);
}
END_TEST

START_TEST(structured_lines_have_the_same_keys)
{
    setenv("JOURNAL_STREAM", "8:1", 1);
    capture();
    logger_set_format(LOGGER_LOGFMT);
    log_warning("store", "say \"%s\"\n", "no");
    logger_set_format(LOGGER_JSON);
    log_error("ingest", "a \\ and \xff\xc3\xa9");
    logger_set_format(LOGGER_TEXT);
    ck_assert_str_eq(captured(), "<4>level=warn room=store message=\"say \\\"no\\\"\\n\"\n"
                                 "<3>{\"level\":\"error\",\"room\":\"ingest\","
                                 "\"message\":\"a \\\\ and ?\xc3\xa9\"}\n");
}
END_TEST

START_TEST(structured_lines_have_a_time_outside_of_systemd)
{
    static const char json[] = "{\"time\":\"", logfmt[] = "time=";
    int64_t time_ms;
    char *line;

    unsetenv("JOURNAL_STREAM");
    capture();
    logger_set_format(LOGGER_JSON);
    log_info("a", "b");
    line = captured();
    ck_assert_int_eq(strncmp(line, json, strlen(json)), 0);
    ck_assert_int_eq(text_parse_time_ms(line + strlen(json), 24, &time_ms, ERROR_IGNORED), 0);
    ck_assert_str_eq(line + strlen(json) + 24,
                     "\",\"level\":\"info\",\"room\":\"a\",\"message\":\"b\"}\n");
    capture();
    logger_set_format(LOGGER_LOGFMT);
    log_info("a", "b");
    line = captured();
    ck_assert_int_eq(strncmp(line, logfmt, strlen(logfmt)), 0);
    ck_assert_str_eq(line + strlen(logfmt) + 24, " level=info room=a message=\"b\"\n");
}
END_TEST

START_TEST(levels_above_the_threshold_are_dropped)
{
    capture();
    log_debug("a", "hidden");
    logger_set_level(LOGGER_ERROR);
    log_warning("a", "hidden");
    log_error("a", "shown");
    logger_set_level(LOGGER_INFO);
    ck_assert_ptr_null(strstr(captured(), "hidden"));
    ck_assert_ptr_nonnull(strstr(captured(), "shown"));
}
END_TEST

START_TEST(control_characters_cannot_forge_lines)
{
    capture();
    log_info("a", "one\ntwo\033[31m\rthree\xc3\xa9");
    ck_assert_ptr_nonnull(strstr(captured(), "a: one\\ntwo\\x1b[31m\\x0dthree\xc3\xa9\n"));
}
END_TEST

static void *log_much(void *argument)
{
    char word[301];

    memset(word, *(const char *)argument, 300);
    word[300] = '\0';
    for (int i = 0; i < 200; i++)
        log_info("t", "%s", word);
    return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
    pthread_t threads[4];
    char *line;
    int lines = 0;

    capture();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_much, &"abcd"[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (line = strtok(captured(), "\n"); line; line = strtok(NULL, "\n"), lines++) {
        const char *word = strstr(line, "t: ") + 3;
        ck_assert_uint_eq(strspn(word, (char[]){word[0], '\0'}), 300);
    }
    ck_assert_int_eq(lines, 800);
}
END_TEST

START_TEST(a_room_has_a_level_of_its_own_until_it_is_taken_away)
{
    bool own;

    setenv("JOURNAL_STREAM", "8:1", 1);
    capture();
    ck_assert(logger_set("store=debug") && logger_set("http=error"));
    log_debug("store", "1");
    log_debug("ingest", "2");
    log_warning("http", "3");
    ck_assert(logger_level_of("store", &own) == LOGGER_DEBUG && own);
    ck_assert(logger_level_of("ingest", &own) == LOGGER_INFO && !own);
    ck_assert(logger_set("warn"));
    log_info("ingest", "4");
    log_info("store", "5");
    ck_assert(logger_set("store=default"));
    log_info("store", "6");
    ck_assert(!logger_set("stor=debug") && !logger_set("store=loud") && !logger_set("store=") &&
              !logger_set("") && !logger_set("default") && !logger_set("=default"));
    logger_reset_rooms();
    log_warning("http", "7");
    ck_assert(logger_set("=info"));
    ck_assert_str_eq(captured(), "<7>store: 1\n<6>store: 5\n<4>http: 7\n");
}
END_TEST

START_TEST(events_and_traces_have_keys_of_their_own)
{
    struct trace_context trace;

    setenv("JOURNAL_STREAM", "8:1", 1);
    capture();
    ck_assert(trace_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &trace));
    (void)trace_set_current(&trace);
    logger_write_event(LOGGER_INFO, "store", "window_sealed", "sealed %d", 7);
    logger_set_format(LOGGER_LOGFMT);
    logger_write_event(LOGGER_INFO, "store", "window_sealed", "sealed %d", 7);
    (void)trace_set_current(NULL);
    logger_set_format(LOGGER_JSON);
    logger_write_event(LOGGER_INFO, "store", "window_sealed", "sealed %d", 7);
    logger_set_format(LOGGER_TEXT);
    ck_assert_str_eq(captured(),
                     "<6>store: sealed 7 [trace 0af7651916cd43dd8448eb211c80319c]\n"
                     "<6>level=info room=store event=window_sealed "
                     "trace_id=0af7651916cd43dd8448eb211c80319c message=\"sealed 7\"\n"
                     "<6>{\"level\":\"info\",\"room\":\"store\",\"event\":\"window_sealed\","
                     "\"message\":\"sealed 7\"}\n");
}
END_TEST

START_TEST(a_limit_says_how_many_lines_it_swallowed)
{
    struct logger_limit limit = {.interval_ns = INT64_MAX / 4};

    setenv("JOURNAL_STREAM", "8:1", 1);
    capture();
    ck_assert(logger_write_limited(&limit, LOGGER_WARNING, "store", NULL, "a %d", 1));
    for (int i = 0; i < 3; i++)
        ck_assert(!logger_write_limited(&limit, LOGGER_WARNING, "store", NULL, "b"));
    ck_assert(!logger_write_limited(&limit, LOGGER_DEBUG, "store", NULL, "not to be logged"));
    atomic_store(&limit.next_ns, 0); /* the while is over */
    ck_assert(logger_write_limited(&limit, LOGGER_WARNING, "store", NULL, "c"));
    ck_assert_str_eq(captured(), "<4>store: a 1\n<4>store: c (3 more since the last line)\n");
}
END_TEST

TEST_TABLE(TEST(a_room_has_a_level_of_its_own_until_it_is_taken_away),
           TEST(events_and_traces_have_keys_of_their_own),
           TEST(a_limit_says_how_many_lines_it_swallowed),
           TEST(a_line_has_time_level_room_and_text),
           TEST(under_systemd_lines_carry_a_priority_and_no_time),
           TEST(structured_lines_have_the_same_keys),
           TEST(structured_lines_have_a_time_outside_of_systemd),
           TEST(levels_above_the_threshold_are_dropped),
           TEST(control_characters_cannot_forge_lines), TEST(lines_of_threads_do_not_mix))
