/* Bodies that are compressed: what is decoded, what is refused, and who gets which reply. */
#include "tests/support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "net/http/coding.h"
#include "tests/support/rest_fixture.h"

START_TEST(accept_encoding_is_weighed)
{
    static const struct {
        const char *header;
        enum http_coding expected;
    } cases[] = {
        {NULL, HTTP_CODING_NONE},
        {"", HTTP_CODING_NONE},
        {"gzip", HTTP_CODING_GZIP},
        {"gzip, deflate, zstd", HTTP_CODING_ZSTD},
        {"GZIP;q=1.0, zstd;q=0.5", HTTP_CODING_GZIP},
        {"zstd;q=0, gzip;q=0.001", HTTP_CODING_GZIP},
        {"gzip;q=0", HTTP_CODING_NONE},
        {"*", HTTP_CODING_ZSTD},
        {"zstd;q=0,*;q=0.5", HTTP_CODING_GZIP},
        {"identity, gzip;q=0.5", HTTP_CODING_NONE},
        {"identity;q=0, gzip", HTTP_CODING_GZIP},
        {"br, deflate", HTTP_CODING_NONE},
        {" ,, gzip\t; q=0.4,", HTTP_CODING_GZIP},
        {"gzip;q=nan, zstd;q=-1", HTTP_CODING_NONE},
        {"gzip;level=9", HTTP_CODING_NONE},
        {"gzipped, zstdx", HTTP_CODING_NONE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(http_coding_choose(cases[i].header) == cases[i].expected, "case %zu", i);
}
END_TEST

static const enum http_coding codings[] = {HTTP_CODING_GZIP, HTTP_CODING_ZSTD};
enum { CODINGS = 2 };

static struct buffer coded(enum http_coding coding, const char *text, size_t size)
{
    struct buffer body = {0};
    struct stop stop;

    stop_create(&stop, io_posix());
    buffer_append(&body, text, size);
    ck_assert(http_encode(coding, &body, &stop));
    ck_assert_uint_lt(body.size, size);
    return body;
}

static bool gather(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return ((struct buffer *)context)->size < (size_t)8 << 20;
}

/* In pieces of `step` bytes. */
static int decoded(enum http_coding coding, const uint8_t *bytes, size_t size, size_t step,
                   struct buffer *out, struct error *error)
{
    struct http_decoder *decoder = http_decoder_new(coding);
    int code = 0;

    out->size = 0;
    for (size_t at = 0; code == 0 && at < size; at += step)
        code = http_decoder_feed(decoder, bytes + at, size - at < step ? size - at : step, gather,
                                 out, error);
    if (code == 0)
        code = http_decoder_end(decoder, error);
    ck_assert_uint_le(http_decoder_bytes(decoder), (size_t)9 << 20);
    http_decoder_delete(decoder);
    return code;
}

/* 300 KB that compress, but not too well. */
static char *sample_text(size_t *size)
{
    struct buffer text = {0};
    unsigned random = 7;

    while (text.size < 300000) {
        random = random * 1103515245 + 12345;
        buffer_append_format(&text, "{\"id\":%u,\"name\":\"point\"},", random >> 8);
    }
    *size = text.size;
    return (char *)text.data;
}

START_TEST(what_was_encoded_is_decoded_in_any_pieces)
{
    static const size_t steps[] = {1, 7, 4096, 1 << 20};
    struct error error = {0};
    struct buffer out = {0};
    size_t size;
    char *text = sample_text(&size);

    for (size_t c = 0; c < CODINGS; c++) {
        struct buffer body = coded(codings[c], text, size);
        size_t one = body.size;
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            ck_assert_msg(decoded(codings[c], body.data, one, steps[s], &out, &error) == 0, "%s",
                          error.text);
            ck_assert_uint_eq(out.size, size);
            ck_assert_mem_eq(out.data, text, size);
        }
        /* Streams may stand behind one another, as `cat a.gz b.gz` makes them. */
        (void)buffer_reserve(&body, one);
        buffer_append(&body, body.data, one);
        ck_assert_int_eq(decoded(codings[c], body.data, body.size, 100, &out, &error), 0);
        ck_assert_uint_eq(out.size, 2 * size);
        buffer_destroy(&body);
        ck_assert_int_eq(decoded(codings[c], (const uint8_t *)"", 0, 1, &out, &error), 0);
    }
    buffer_destroy(&out);
    free(text);
}
END_TEST

START_TEST(torn_or_changed_streams_are_refused)
{
    struct error error = {0};
    struct buffer out = {0};
    char text[2000];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 17 + i / 100);
    for (size_t c = 0; c < CODINGS; c++) {
        struct buffer body = coded(codings[c], text, sizeof(text));
        for (size_t size = 1; size < body.size; size++) {
            ck_assert_int_eq(decoded(codings[c], body.data, size, 64, &out, &error), ERROR_CORRUPT);
            ck_assert_ptr_nonnull(strstr(error.text, "the body is not valid "));
        }
        /* gzip has a checksum; that of zstd is left to the client. None may crash. */
        for (size_t i = 0; i < body.size; i++) {
            body.data[i] ^= 0x55;
            if (decoded(codings[c], body.data, body.size, 64, &out, &error) == 0 &&
                codings[c] == HTTP_CODING_GZIP)
                ck_assert_mem_eq(out.data, text, sizeof(text)); /* the header's time or system */
            body.data[i] ^= 0x55;
        }
        buffer_append_text(&body, "more");
        ck_assert_int_eq(decoded(codings[c], body.data, body.size, 64, &out, &error),
                         ERROR_CORRUPT);
        buffer_destroy(&body);
    }
    buffer_destroy(&out);
}
END_TEST

/* RFC 8878 asks for 8 MiB; a window beyond costs more memory than a body may. */
START_TEST(zstd_window_is_bounded)
{
    /* Magic, no content size, window of 2^24 and of 2^23. */
    static const uint8_t large[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 1, 0, 0};
    static const uint8_t fitting[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 1, 0, 0};
    struct error error = {0};
    struct buffer out = {0};

    ck_assert_int_eq(decoded(HTTP_CODING_ZSTD, large, sizeof(large), 9, &out, &error),
                     ERROR_CORRUPT);
    ck_assert_int_eq(decoded(HTTP_CODING_ZSTD, fitting, sizeof(fitting), 9, &out, &error), 0);
    buffer_destroy(&out);
}
END_TEST

/* Over a socket. */

static struct answer ask_coded(const struct fixture *fixture, const char *encoding,
                               const struct buffer *body)
{
    char header[64];

    snprintf(header, sizeof(header), "Content-Encoding: %s", encoding);
    return ask_bytes(fixture, "POST", C "/points/count", (const char *)body->data, body->size,
                     header);
}

static void expect(struct answer answer, long status, const char *contains)
{
    ck_assert_msg(answer.status == status && strstr(buffer_text(&answer.body), contains),
                  "%ld %s, expected %ld %s", answer.status, buffer_text(&answer.body), status,
                  contains);
    answer_free(&answer);
}

static const char *name_of(enum http_coding coding)
{
    return http_coding_name(coding);
}

START_TEST(coded_bodies_are_read)
{
    struct fixture fixture;
    char text[400];

    memset(text, ' ', sizeof(text));
    memcpy(text, "{\"filter\":{\"must\":[{\"has_id\":[1,2,99]}]}}", 41);
    fixture_open(&fixture);
    for (size_t c = 0; c < CODINGS; c++) {
        struct buffer body = coded(codings[c], text, sizeof(text));
        expect(ask_coded(&fixture, name_of(codings[c]), &body), 200, "{\"count\":2}");
        body.size -= 3;
        expect(ask_coded(&fixture, name_of(codings[c]), &body), 400,
               "Wrong input: the body is not valid");
        body.size += 3;
        body.data[1] ^= 0x55; /* of no such coding at all */
        expect(ask_coded(&fixture, name_of(codings[c]), &body), 415,
               "Wrong input: the body is not valid");
        body.data[1] ^= 0x55;
        expect(ask_coded(&fixture, "br", &body), 415, "br is not one of gzip, zstd");
        expect(ask_coded(&fixture, "gzip, zstd", &body), 415, "is not one of gzip, zstd");
        expect(ask_coded(&fixture, "identity", &body), 400, "Format error in JSON body");
        buffer_destroy(&body);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(body_that_grows_beyond_the_limit_is_refused_and_leaves_no_room_taken)
{
    enum { LARGE = HTTP_BODY_MAX_BYTES + 1, TIMES = 5 };
    char *zeros = calloc(1, LARGE);
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t c = 0; c < CODINGS; c++) {
        struct buffer body = coded(codings[c], zeros, LARGE);
        ck_assert_uint_lt(body.size, 1 << 18);
        for (int i = 0; i < TIMES; i++) /* more together than all bodies may have */
            expect(ask_coded(&fixture, name_of(codings[c]), &body), 413, "larger than 33554432");
        buffer_destroy(&body);
        memset(zeros, ' ', LARGE);
        memcpy(zeros, "{}", 2);
        body = coded(codings[c], zeros, HTTP_BODY_MAX_BYTES);
        for (int i = 0; i < TIMES; i++)
            expect(ask_coded(&fixture, name_of(codings[c]), &body), 200, "{\"count\":50}");
        buffer_destroy(&body);
    }
    fixture_close(&fixture);
    free(zeros);
}
END_TEST

START_TEST(large_replies_are_coded_for_those_who_ask)
{
#define ALL "{\"limit\":50,\"with_vector\":true,\"with_payload\":true}"
    static const char batch[] = "{\"searches\":[" ALL "," ALL "," ALL "]}";
    struct buffer plain = {0}, out = {0};
    struct error error = {0};
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask(&fixture, "POST", C "/points/query/batch", batch);
    ck_assert_str_eq(answer.coding, "");
    ck_assert_str_eq(answer.vary, "Accept-Encoding");
    ck_assert_uint_gt(answer.body.size, 8192);
    buffer_append(
        &plain, answer.body.data,
        (size_t)(strstr(buffer_text(&answer.body), "time\":") - (const char *)answer.body.data));
    answer_free(&answer);
    for (size_t c = 0; c < CODINGS; c++) {
        char header[64];
        snprintf(header, sizeof(header), "Accept-Encoding: %s", name_of(codings[c]));
        answer =
            ask_bytes(&fixture, "POST", C "/points/query/batch", batch, sizeof(batch) - 1, header);
        ck_assert_str_eq(answer.coding, name_of(codings[c]));
        ck_assert_str_eq(answer.vary, "Accept-Encoding");
        ck_assert_int_eq(
            decoded(codings[c], answer.body.data, answer.body.size, 4096, &out, &error), 0);
        ck_assert_mem_eq(out.data, plain.data, plain.size);
        answer_free(&answer);
        answer = ask_bytes(&fixture, "POST", C "/points/count", "{}", 2, header);
        ck_assert_str_eq(answer.coding, "");
        ck_assert_str_eq(answer.vary, "");
        answer_free(&answer);
        answer = ask_bytes(&fixture, "GET", "/metrics", NULL, 0, header);
        ck_assert_str_eq(answer.coding, name_of(codings[c]));
        answer_free(&answer);
    }
    answer = ask(&fixture, "GET", "/metrics", NULL);
    ck_assert_str_eq(answer.coding, "");
    answer_free(&answer);
    buffer_destroy(&plain);
    buffer_destroy(&out);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(accept_encoding_is_weighed), TEST(what_was_encoded_is_decoded_in_any_pieces),
           TEST(torn_or_changed_streams_are_refused), TEST(zstd_window_is_bounded),
           TEST(coded_bodies_are_read),
           TEST(body_that_grows_beyond_the_limit_is_refused_and_leaves_no_room_taken),
           TEST(large_replies_are_coded_for_those_who_ask))
