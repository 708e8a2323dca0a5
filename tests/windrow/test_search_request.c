/* What `windrow search` asks for its arguments. */
#include <stdio.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "windrow/cli/search_request.h"

enum { NOW_MS = 10000000 };

static const char *write(const struct search_arguments *arguments, struct buffer *body,
                         struct error *error)
{
    body->size = 0;
    error->text[0] = '\0';
    return search_request_write(arguments, NOW_MS, body, error) == 0 ? buffer_text(body) : NULL;
}

START_TEST(arguments_become_a_query)
{
    static const struct {
        struct search_arguments arguments;
        const char *body;
    } table[] = {
        {{.vector = "[1, 0.5]", .k = 10},
         "{\"query\":[1,0.5],\"limit\":10,\"with_payload\":true,\"params\":{\"exact\":false},"
         "\"windrow\":{\"explain\":true}}"},
        {{.like = "17", .k = 3, .exact = true, .ef = 100},
         "{\"query\":17,\"limit\":3,\"with_payload\":true,\"params\":{\"exact\":true,\"hnsw_ef\":"
         "100},\"windrow\":{\"explain\":true}}"},
        {{.like = "017\"", .k = 1},
         "{\"query\":\"017\\\"\",\"limit\":1,\"with_payload\":true,\"params\":{\"exact\":false},"
         "\"windrow\":{\"explain\":true}}"},
        {{.like = "a",
          .k = 1,
          .filter = "{\"must\": []}",
          .from = "1s",
          .to = "1970-01-01T00:00:05Z",
          .half_life = "6h"},
         "{\"query\":\"a\",\"limit\":1,\"with_payload\":true,\"filter\":{\"must\":[]},\"params\":"
         "{\"exact\":false},\"windrow\":{\"from\":9999000,\"to\":5000,\"half_life\":\"6h\","
         "\"explain\":true}}"},
        {{.vector = "{\"vector\":{\"text\":[1,2]}}", .vector_name = "text", .k = 1},
         "{\"query\":[1,2],\"using\":\"text\",\"limit\":1,\"with_payload\":true,\"params\":"
         "{\"exact\":false},\"windrow\":{\"explain\":true}}"},
        {{.like = "a", .k = 1, .from = "1234"},
         "{\"query\":\"a\",\"limit\":1,\"with_payload\":true,\"params\":{\"exact\":false},"
         "\"windrow\":{\"from\":1234,\"explain\":true}}"},
    };
    struct buffer body = {0};
    struct error error = {0};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *text = write(&table[i].arguments, &body, &error);
        ck_assert_msg(text != NULL, "%s", error.text);
        ck_assert_str_eq(text, table[i].body);
    }
    buffer_destroy(&body);
}
END_TEST

START_TEST(arguments_that_make_no_sense_are_named)
{
    static const struct {
        struct search_arguments arguments;
        const char *error;
    } table[] = {
        {{.vector = "[1,"}, "--vector: invalid JSON: "},
        {{.vector = "[]"}, "--vector: expected an array of numbers"},
        {{.vector = "[1,\"2\"]"}, "--vector: item 1 is not a number"},
        {{.vector = "7"}, "--vector: expected an array of numbers"},
        {{.like = "1", .filter = "[]"}, "--filter: expected an object"},
        {{.like = "1", .filter = "{"}, "--filter: invalid JSON: "},
        {{.like = "1", .from = "yesterday"}, "--from: invalid time \"yesterday\""},
        {{.like = "1", .to = ""}, "--to: invalid time \"\""},
        {{.like = "1", .half_life = "0s"}, "--half-life: invalid duration \"0s\""},
        {{.file = "/no/such/file"}, "open /no/such/file: No such file"},
    };
    struct buffer body = {0};
    struct error error = {0};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ck_assert_ptr_null(write(&table[i].arguments, &body, &error));
        ck_assert_msg(strncmp(error.text, table[i].error, strlen(table[i].error)) == 0, "%s",
                      error.text);
    }
    buffer_destroy(&body);
}
END_TEST

static const char *write_file(const char *name, const void *bytes, size_t size_bytes)
{
    static char path[300];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", test_directory(), name);
    file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size_bytes, file), size_bytes);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

START_TEST(a_file_holds_the_query)
{
    static const struct {
        uint32_t count, dim;
        float values[3];
    } fbin = {1, 3, {1, 0.25f, -2}};
    struct search_arguments arguments = {.k = 1};
    struct buffer body = {0};
    struct error error = {0};
    const char *text;

    arguments.file = write_file("q.json", "{\"id\": 1, \"vector\": [3, 4]}", 27);
    text = write(&arguments, &body, &error);
    ck_assert_msg(text && strncmp(text, "{\"query\":[3,4],", 15) == 0, "%s", error.text);
    arguments.file = write_file("q.fbin", &fbin, sizeof(fbin));
    text = write(&arguments, &body, &error);
    ck_assert_msg(text && strncmp(text, "{\"query\":[1.0,0.25,-2.0],", 25) == 0, "%s %s", text,
                  error.text);
    arguments.file = write_file("short.fbin", &fbin, sizeof(fbin) - 1);
    ck_assert_ptr_null(write(&arguments, &body, &error));
    arguments.file = write_file("empty.fbin", "", 0);
    ck_assert_ptr_null(write(&arguments, &body, &error));
    buffer_destroy(&body);
}
END_TEST

TEST_TABLE(TEST(arguments_become_a_query), TEST(arguments_that_make_no_sense_are_named),
           TEST(a_file_holds_the_query))
