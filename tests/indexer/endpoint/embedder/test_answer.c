/* What goes to an endpoint and what is taken of its answer. tests/clients/test_words.py has bad answers over HTTP. */
#include <stdlib.h>
#include <string.h>

#include "indexer/endpoint/embedder/answer.h"
#include "tests/support/test_main.h"

enum { DIM = 2, TEXTS = 2 };

START_TEST(request_escapes_texts_and_leaves_out_a_model_without_a_name)
{
    struct cached one = {
        .key = {.model = "a\"b", .model_bytes = 3, .text = "x\n", .text_bytes = 2}};
    struct cached other = {.key = {.text = "\xc3\xa9", .text_bytes = 2}};
    struct cached *texts[] = {&one, &other};
    struct buffer body = {0};

    answer_write_request(texts, 2, &body);
    ck_assert_str_eq(buffer_text(&body),
                     "{\"model\":\"a\\\"b\",\"input\":[\"x\\n\",\"\xc3\xa9\"]}");
    body.size = 0;
    answer_write_request(texts + 1, 1, &body);
    ck_assert_str_eq(buffer_text(&body), "{\"input\":[\"\xc3\xa9\"]}");
    buffer_destroy(&body);
}
END_TEST

START_TEST(vectors_come_by_index_or_by_place)
{
    static const char *const good[] = {
        "{\"data\":[{\"embedding\":[1,2]},{\"embedding\":[3,4.5]}],\"x\":1}",
        "{\"data\":[{\"index\":1,\"embedding\":[3,4.5]},{\"index\":0,\"embedding\":[1,2]}]}",
        "{\"data\":[{\"index\":0.0,\"embedding\":[1,2]},{\"embedding\":[3,45e-1]}]}"};
    float *vectors[TEXTS];
    struct error error;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(answer_read(good[i], strlen(good[i]), DIM, TEXTS, vectors, &error), 0);
        ck_assert(vectors[0][0] == 1 && vectors[0][1] == 2);
        ck_assert(vectors[1][0] == 3 && vectors[1][1] == 4.5F);
        for (size_t k = 0; k < TEXTS; k++)
            free(vectors[k]);
    }
}
END_TEST

/* Also every beginning of a good answer: none is taken, and nothing is left behind. */
START_TEST(one_bad_vector_makes_the_whole_answer_bad)
{
    static const char good[] =
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1,\"embedding\":[3,4]}]}";
    static const char *const bad[] = {
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":0,\"embedding\":[3,4]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":-1,\"embedding\":[3,4]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1,\"embedding\":[3]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1,\"embedding\":[3,\"4\"]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1,\"embedding\":[3,1e300]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},7]}",
        "{\"data\":{\"embedding\":[1,2]}}",
        "7"};
    float *vectors[TEXTS];
    struct error error;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(answer_read(bad[i], strlen(bad[i]), DIM, TEXTS, vectors, &error),
                         ERROR_UPSTREAM);
        ck_assert(!vectors[0] && !vectors[1]);
    }
    for (size_t length = 0; length + 1 < sizeof(good); length++)
        ck_assert_int_eq(answer_read(good, length, DIM, TEXTS, vectors, &error), ERROR_UPSTREAM);
}
END_TEST

START_TEST(reason_is_the_message_or_the_beginning_of_the_text)
{
    static const char *const cases[][2] = {{"{\"error\":{\"message\":\"no\",\"code\":7}}", "no"},
                                           {"{\"error\":\"none\"}", "none"},
                                           {"{\"detail\":\"nowhere\"}", "nowhere"},
                                           {"{\"error\":7}", "{\"error\":7}"},
                                           {"bad gateway", "bad gateway"},
                                           {"cut \xff here", "cut "},
                                           {"", ""}};
    struct buffer reason = {0};
    char large[1000];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reason.size = 0;
        answer_read_reason(cases[i][0], strlen(cases[i][0]), &reason);
        ck_assert_str_eq(buffer_text(&reason), cases[i][1]);
    }
    reason.size = 0;
    memset(large, 'x', sizeof(large));
    answer_read_reason(large, sizeof(large), &reason);
    ck_assert_uint_eq(reason.size, 200);
    buffer_destroy(&reason);
}
END_TEST

TEST_TABLE(TEST(request_escapes_texts_and_leaves_out_a_model_without_a_name),
           TEST(vectors_come_by_index_or_by_place), TEST(one_bad_vector_makes_the_whole_answer_bad),
           TEST(reason_is_the_message_or_the_beginning_of_the_text))
