/* Vectors at the borders: so long that scores would be infinite, and of bytes that look like a document. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

/* One decoding with the arena its results live in. */
struct decoded {
    struct config_collection collection;
    struct decode_message message;
    struct arena arena;
    struct decode_result out;
};

static void start(struct decoded *decoded, uint32_t dim, enum vector_metric metric)
{
    *decoded = (struct decoded){.collection = {.name = "news",
                                               .format = CONFIG_FORMAT_AUTO,
                                               .dim = dim,
                                               .metric = metric,
                                               .window_ms = 3600000},
                                .message = {.topic = "news",
                                            .offset = 17,
                                            .timestamp_ms = INT64_C(1700000000123),
                                            .key = (const uint8_t *)"42",
                                            .key_bytes = 2}};
    arena_create(&decoded->arena, 0);
}

static void decode(struct decoded *decoded, const void *value, size_t size_bytes)
{
    decoded->message.value = value;
    decoded->message.value_bytes = size_bytes;
    decode_message(&decoded->collection, &decoded->message, &decoded->arena, &decoded->arena,
                   &decoded->out);
}

/* Scores of two vectors that are taken in are finite in float32: products of lengths, and squares of
 * distances, which are at most the sum of both lengths. */
START_TEST(a_vector_whose_scores_would_be_infinite_is_a_reject)
{
    static const struct {
        enum vector_metric metric;
        const char *vector;
        const char *text; /* NULL: it is taken in */
    } cases[] = {
        {VECTOR_METRIC_DOT, "[3e38,-3e38,3e38,-3e38]", "$.vector: the vector's length 6e+38"},
        {VECTOR_METRIC_DOT, "[1.1e19,1.1e19,1.1e19,0]", "1.91e+19 is above 1.79e+19"},
        {VECTOR_METRIC_DOT, "[1e19,1e19,1e19,0]", NULL},
        {VECTOR_METRIC_L2, "[0,-1e19,0,0]", "$.vector: the vector's length 1e+19 is above 8.9e+18"},
        {VECTOR_METRIC_L2, "[5e18,5e18,5e18,0]", NULL},
        {VECTOR_METRIC_COSINE, "[3e38,-3e38,3e38,-3e38]", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded decoded;
        char value[128];
        start(&decoded, 4, cases[i].metric);
        snprintf(value, sizeof(value), "{\"id\":1,\"vector\":%s}", cases[i].vector);
        decode(&decoded, value, strlen(value));
        ck_assert_uint_eq(decoded.out.record_count, cases[i].text ? 0 : 1);
        ck_assert_uint_eq(decoded.out.reject_count, cases[i].text ? 1 : 0);
        if (cases[i].text) {
            ck_assert_str_eq(decoded.out.rejects[0].reason, "not_finite");
            ck_assert_msg(strstr(decoded.out.rejects[0].text, cases[i].text), "%s",
                          decoded.out.rejects[0].text);
        }
        arena_destroy(&decoded.arena);
    }
}
END_TEST

/* Every vector of these sizes is stored as it is, whatever its bytes look like; documents of the same size
 * stay documents. */
START_TEST(a_raw_vector_of_the_exact_size_is_never_refused)
{
    enum { ROUNDS = 20000, DIM_MAX = 16 };
    static const char *const texts[] = {
        "[12]",  "{}  ",     "7.25",         "true", "abcd", "\x91\x01\x02\x03", "\x81\xa1\x61\x01",
        "\n[1]", "\n\x02zz", "\x80\x80\x80?"};
    uint64_t random = test_seed();
    struct decoded decoded;

    for (uint32_t dim = 1; dim <= DIM_MAX; dim += dim < 4 ? 1 : 4)
        for (int round = 0; round < ROUNDS; round++) {
            float vector[DIM_MAX];
            bool is_finite = true;
            start(&decoded, dim, VECTOR_METRIC_L2);
            for (uint32_t i = 0; i < dim; i++) {
                uint32_t bits = (uint32_t)(test_random(&random) >> 16);
                memcpy(&vector[i], &bits, sizeof(bits));
            }
            if (dim == 1 && round < (int)(sizeof(texts) / sizeof(texts[0])))
                memcpy(vector, texts[round], sizeof(*vector));
            for (uint32_t i = 0; i < dim; i++)
                is_finite &= fabsf(vector[i]) < 1e18F;
            decode(&decoded, vector, dim * sizeof(float));
            if (is_finite) {
                ck_assert_msg(decoded.out.record_count == 1, "dim %u: %02x%02x%02x%02x: %s", dim,
                              decoded.message.value[0], decoded.message.value[1],
                              decoded.message.value[2], decoded.message.value[3],
                              decoded.out.reject_count ? decoded.out.rejects[0].text : "nothing");
                ck_assert_mem_eq(decoded.out.records[0].vector, vector, dim * sizeof(float));
            }
            arena_destroy(&decoded.arena);
        }
    start(&decoded, 1, VECTOR_METRIC_L2);
    decode(&decoded, "null", 4);
    ck_assert(decoded.out.record_count == 1 && decoded.out.records[0].is_delete);
    arena_destroy(&decoded.arena);
}
END_TEST

TEST_TABLE(TEST(a_vector_whose_scores_would_be_infinite_is_a_reject),
           TEST(a_raw_vector_of_the_exact_size_is_never_refused))
