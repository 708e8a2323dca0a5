#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/text.h"
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

TEST_TABLE(TEST(a_line_has_time_level_room_and_text),
           TEST(under_systemd_lines_carry_a_priority_and_no_time),
           TEST(structured_lines_have_the_same_keys),
           TEST(structured_lines_have_a_time_outside_of_systemd),
           TEST(levels_above_the_threshold_are_dropped),
           TEST(control_characters_cannot_forge_lines), TEST(lines_of_threads_do_not_mix))
