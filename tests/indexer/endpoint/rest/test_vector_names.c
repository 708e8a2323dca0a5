/* A collection whose dense vector has a name: reads say it, and see it. Points without it are read and never
 * ranked. */
#include "store/append.h"
#include "store/files/key.h"
#include "store/files/parts.h"
#include "store/store.h"
#include "tests/support/rest_fixture.h"
#include "tests/support/test_main.h"

#define NONE                                                                                       \
    "Not existing vector name error: none was given, and the vector of collection `news` is "      \
    "called `text`"
#define OTHER "Not existing vector name error: image"
#define NEAR  "\"query\":[1,7,0.5,0]"
#define FIRST "\"result\":{\"points\":[{\"id\":7,"

START_TEST(queries_name_the_vector_that_ranks)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query", "{" NEAR ",\"using\":\"text\"}", 200, FIRST},
        {"POST", C "/points/query", "{" NEAR "}", 400, NONE},
        {"POST", C "/points/query", "{" NEAR ",\"using\":\"\"}", 400,
         "Not existing vector name error: "},
        {"POST", C "/points/query", "{" NEAR ",\"using\":\"image\"}", 400, OTHER},
        {"POST", C "/points/query", "{" NEAR ",\"using\":\"words\"}", 501,
         "no search ranks by them yet"},
        {"POST", C "/points/query", "{\"query\":{\"\":[1,7,0.5,0]},\"using\":\"text\"}", 400,
         "$.query"},
        {"POST", C "/points/query", "{\"query\":7,\"using\":\"text\",\"limit\":1}", 200, "\"id\":"},
        {"POST", C "/points/query", "{\"query\":7,\"limit\":1}", 400, NONE},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[7]}},\"using\":\"text\"}", 200, "{\"id\":6,"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[7]}}}", 400, NONE},
        {"POST", C "/points/query", "{\"query\":{\"context\":[{\"positive\":7,\"negative\":1}]}}",
         400, NONE},
        {"POST", C "/points/query/batch",
         "{\"searches\":[{" NEAR ",\"using\":\"text\"},{" NEAR "}]}", 400, NONE},
        {"POST", C "/points/query/groups", "{" NEAR ",\"using\":\"text\",\"group_by\":\"n\"}", 200,
         "\"hits\":[{\"id\":7,"},
        {"POST", C "/points/query/groups", "{" NEAR ",\"group_by\":\"n\"}", 400, NONE},
        {"POST", C "/points/query",
         "{\"prefetch\":{" NEAR ",\"using\":\"text\"},\"query\":[1,9,0.5,0],\"using\":\"text\"}",
         200, "\"result\":{\"points\":[{\"id\":9,"},
        {"POST", C "/points/query",
         "{\"prefetch\":{" NEAR "},\"query\":[1,9,0.5,0],\"using\":\"text\"}", 400, NONE},
        {"POST", C "/points/query",
         "{\"prefetch\":[{" NEAR ",\"using\":\"text\"}],\"query\":{\"fusion\":\"rrf\"}}", 200,
         FIRST},
        {"POST", C "/points/search",
         "{\"vector\":{\"name\":\"text\",\"vector\":[1,7,0.5,0]},\"limit\":1}", 200,
         "\"result\":[{\"id\":7,"},
        {"POST", C "/points/search", "{\"vector\":[1,7,0.5,0],\"limit\":1}", 400, NONE},
        {"POST", C "/points/recommend", "{\"positive\":[7],\"using\":\"text\",\"limit\":1}", 200,
         "\"result\":[{\"id\":"},
        {"POST", C "/points/search/matrix/pairs", "{\"sample\":3,\"using\":\"text\"}", 200,
         "\"pairs\":[{"},
        {"POST", C "/points/search/matrix/pairs", "{\"sample\":3}", 400, NONE},
        /* What no vector ranks names none. */
        {"POST", C "/points/query", "{\"limit\":1}", 200, "\"id\":0,"},
        {"POST", C "/points/query", "{\"query\":{\"order_by\":\"n\"},\"limit\":1}", 200, "\"id\":"},
        {"POST", C "/points/query", "{\"query\":{\"sample\":\"random\"},\"limit\":1}", 200,
         "\"id\":"},
    };
    static const char *sparse[] = {"words"};
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.collection.vector_name = "text";
    fixture.collection.sparse_vectors = sparse;
    fixture.collection.sparse_vector_count = 1;
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(replies_have_the_vector_by_its_name)
{
    static const struct expectation cases[] = {
        {"POST", C "/points", "{\"ids\":[7],\"with_vector\":true}", 200,
         "\"vector\":{\"text\":[1.0,7.0,0.5,0.0]}}"},
        {"POST", C "/points", "{\"ids\":[7],\"with_vector\":[\"text\"]}", 200,
         "\"vector\":{\"text\":[1.0,7.0,0.5,0.0]}}"},
        {"POST", C "/points", "{\"ids\":[7],\"with_vector\":[]}", 200, "\"vector\":{}}"},
        {"POST", C "/points", "{\"ids\":[7],\"with_vector\":[\"\"]}", 400,
         "Not existing vector name error: "},
        {"POST", C "/points", "{\"ids\":[7],\"with_vector\":[\"image\"]}", 400, OTHER},
        {"GET", C "/points/7", NULL, 200, "\"vector\":{\"text\":[1.0,7.0,0.5,0.0]}}"},
        {"POST", C "/points/scroll", "{\"limit\":1,\"with_vector\":true}", 200,
         "\"vector\":{\"text\":[1.0,0.0,0.5,0.0]}}"},
        {"POST", C "/points/query", "{" NEAR ",\"using\":\"text\",\"with_vector\":true}", 200,
         "\"vector\":{\"text\":[1.0,7.0,0.5,0.0]}}"},
        {"GET", C, NULL, 200,
         "\"params\":{\"vectors\":{\"text\":{\"size\":4,\"distance\":\"Euclid\"}},"},
        {"POST", C "/points/count", "{\"filter\":{\"must\":[{\"has_vector\":\"text\"}]}}", 200,
         "\"count\":50}"},
        {"POST", C "/points/count", "{\"filter\":{\"must\":[{\"has_vector\":\"\"}]}}", 200,
         "\"count\":0}"},
        {"POST", C "/points/count", "{\"filter\":{\"must_not\":[{\"has_vector\":\"text\"}]}}", 200,
         "\"count\":0}"},
        {"POST", C "/points/query",
         "{\"prefetch\":{" NEAR ",\"using\":\"text\"},\"query\":{\"formula\":{\"sum\":["
         "{\"has_vector\":\"text\"},{\"mult\":[0,\"$score\"]}]}},\"limit\":1}",
         200, "\"score\":1"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.collection.vector_name = "text";
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

/* `parts`: extra vectors by name, or NULL. */
static void append_bare(struct fixture *fixture, uint64_t id, int64_t offset,
                        const struct doc *parts)
{
    struct store_key key;
    struct store_record record = {.offset = offset, .event_time_ms = 1000};
    struct store_group group = {.records = &record,
                                .record_count = 1,
                                .next_offset = offset + 1,
                                .clock = {.watermark_ms = 2000}};
    struct buffer body = {0};
    struct arena arena;

    arena_create(&arena, 0);
    store_key_from_u64(id, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    if (parts) {
        doc_write_msgpack(&body, &(struct doc){.type = DOC_MAP});
        parts_write(parts, &arena, &body);
        record.payload = body.data;
        record.payload_bytes = (uint32_t)body.size;
        record.has_parts = true;
    }
    ck_assert_int_eq(store_shard_append(fixture->shard, &group, ERROR_IGNORED), 0);
    buffer_destroy(&body);
    arena_destroy(&arena);
}

START_TEST(points_without_their_vector_are_read_and_never_ranked)
{
#define ONLY(ids) "\"filter\":{\"must\":[{\"has_id\":[" ids "]}]}"
    static const struct expectation cases[] = {
        {"POST", C "/points/count", "{}", 200, "\"count\":51}"},
        {"POST", C "/points/count", "{\"filter\":{\"must\":[{\"has_vector\":\"\"}]}}", 200,
         "\"count\":50}"},
        {"POST", C "/points/scroll", "{\"filter\":{\"must_not\":[{\"has_vector\":\"\"}]}}", 200,
         "\"points\":[{\"id\":100,\"payload\":{}}]"},
        {"POST", C "/points/scroll", "{" ONLY("100") ",\"with_vector\":true}", 200,
         "\"points\":[{\"id\":100,\"payload\":{},\"vector\":{}}]"},
        {"GET", C "/points/100", NULL, 200, "{\"id\":100,\"payload\":{},\"vector\":{}}"},
        {"POST", C "/points/query", "{" ONLY("100") "}", 200, "{\"points\":[{\"id\":100,"},
        {"POST", C "/points/query", "{" NEAR "," ONLY("100") "}", 200, "{\"points\":[]}"},
        {"POST", C "/points/query", "{" NEAR "," ONLY("100") ",\"params\":{\"exact\":true}}", 200,
         "{\"points\":[]}"},
        {"POST", C "/points/query", "{\"query\":100}", 404, "Vector with name `` for the point"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[7,100]}}}", 404,
         "Vector with name ``"},
        {"POST", C "/points/query", "{\"prefetch\":{" ONLY("100,7") "}," NEAR ",\"limit\":5}", 200,
         "{\"points\":[{\"id\":7,\"version\":7,\"score\":0.0}]}"},
        {"POST", C "/points/search/matrix/pairs", "{\"sample\":9," ONLY("100,7") "}", 200,
         "{\"pairs\":[]}"},
        {"POST", C "/points/search/matrix/offsets", "{\"sample\":9," ONLY("100,7,8") "}", 200,
         "\"ids\":[7,8]"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    append_bare(&fixture, 100, POINTS, NULL);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

/* Points 201 to 203: the last has a list alone. */
static void append_extras(struct fixture *fixture)
{
    static _Alignas(64) const float page[][2] = {{1, 0}, {0, 2}};
    static _Alignas(64) const float tokens[][2] = {{1, 0}, {0, 1}};

    for (uint32_t i = 0; i < 3; i++) {
        struct arena arena;
        struct doc parts;
        arena_create(&arena, 0);
        parts = doc_map(&arena, 2);
        if (i < 2)
            doc_put(&parts, "page", parts_dense(page[i], 2, 1, false, &arena));
        if (i != 1)
            doc_put(&parts, "tokens", parts_dense(tokens[0], 2, i == 0 ? 1 : 2, true, &arena));
        append_bare(fixture, 201 + i, POINTS + i, &parts);
        arena_destroy(&arena);
    }
}

START_TEST(extra_vectors_rank_the_points_that_have_them)
{
#define PAGE   ",\"using\":\"page\""
#define TOKENS ",\"using\":\"tokens\""
    static const struct expectation cases[] = {
        {"POST", C "/points/query", "{\"query\":[0,1]" PAGE "}", 200,
         "{\"points\":[{\"id\":202,\"version\":51,\"score\":2.0},{\"id\":201,\"version\":50,"
         "\"score\":0.0}]}"},
        {"POST", C "/points/query", "{\"query\":[0,1]" PAGE ",\"score_threshold\":0.5}", 200,
         "{\"points\":[{\"id\":202,\"version\":51,\"score\":2.0}]}"},
        {"POST", C "/points/query", "{\"query\":[0,1]" PAGE "," ONLY("201,203") "}", 200,
         "{\"points\":[{\"id\":201,\"version\":50,\"score\":0.0}]}"},
        {"POST", C "/points/query", "{\"query\":201" PAGE "}", 200,
         "{\"points\":[{\"id\":202,\"version\":51,\"score\":0.0}]}"},
        {"POST", C "/points/query", "{\"query\":203" PAGE "}", 404, "Vector with name `page`"},
        {"POST", C "/points/query", "{\"query\":[0,1,2]" PAGE "}", 400, "expected dim: 2, got 3"},
        {"POST", C "/points/query", "{\"query\":[[0,1]]" PAGE "}", 400, "expected dim: 2, got 1"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[202]}}" PAGE "}", 200,
         "{\"points\":[{\"id\":201,\"version\":50,\"score\":0.0}]}"},
        {"POST", C "/points/query",
         "{\"query\":{\"context\":{\"positive\":202,\"negative\":[1,0]}}" PAGE "}", 200,
         "{\"points\":[{\"id\":201,"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":[0,1],\"mmr\":{}}" PAGE "}", 200,
         "{\"points\":[{\"id\":202,"},
        {"POST", C "/points/query", "{\"prefetch\":{},\"query\":[0,1]" PAGE ",\"limit\":5}", 200,
         "{\"points\":[]}"},
        {"POST", C "/points/query",
         "{\"prefetch\":{\"query\":[[1,1]]" TOKENS "},\"query\":[0,1]" PAGE "}", 200,
         "{\"points\":[{\"id\":201,\"version\":50,\"score\":0.0}]}"},
        /* The best of 203 for either is 1, of 201 for the second 0. */
        {"POST", C "/points/query", "{\"query\":[[1,0],[0,1]]" TOKENS "}", 200,
         "{\"points\":[{\"id\":203,\"version\":52,\"score\":2.0},{\"id\":201,\"version\":50,"
         "\"score\":1.0}]}"},
        {"POST", C "/points/query", "{\"query\":[0,3]" TOKENS "}", 200,
         "{\"points\":[{\"id\":203,\"version\":52,\"score\":1.0},"},
        {"POST", C "/points/query", "{\"query\":[[1,0],[0,1]],\"score_threshold\":1.5" TOKENS "}",
         200, "{\"points\":[{\"id\":203,\"version\":52,\"score\":2.0}]}"},
        {"POST", C "/points/query", "{\"query\":203" TOKENS "}", 200,
         "{\"points\":[{\"id\":201,\"version\":50,\"score\":1.0}]}"},
        {"POST", C "/points/query", "{\"query\":[[1,0],[1]]" TOKENS "}", 400,
         "expected dim: 2, got 1"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[203]}}" TOKENS "}",
         501, "which only `nearest` ranks by"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":[0,1],\"mmr\":{}}" TOKENS "}", 501,
         "`mmr`"},
        {"POST", C "/points/search/matrix/pairs", "{\"sample\":9,\"limit\":1" PAGE "}", 200,
         "{\"pairs\":[{\"a\":201,\"b\":202,\"score\":0.0},{\"a\":202,\"b\":201,\"score\":0.0}]}"},
        {"POST", C "/points/query/batch",
         "{\"searches\":[{" NEAR ",\"limit\":1},{\"query\":[0,1]" PAGE ",\"limit\":1}]}", 200,
         "\"result\":[{\"points\":[{\"id\":7,\"version\":7,\"score\":0.0}]},{\"points\":[{\"id\":"
         "202,"},
        {"POST", C "/points", "{\"ids\":[201,203],\"with_vector\":true}", 200,
         "{\"page\":[1.0,0.0],\"tokens\":[[1.0,0.0]]}},"},
        {"POST", C "/points", "{\"ids\":[203],\"with_vector\":[\"tokens\"]}", 200,
         "\"vector\":{\"tokens\":[[1.0,0.0],[0.0,1.0]]}"},
        {"POST", C "/points/count", "{\"filter\":{\"must\":[{\"has_vector\":\"page\"}]}}", 200,
         "\"count\":2}"},
        {"GET", C, NULL, 200,
         "\"vectors\":{\"\":{\"size\":4,\"distance\":\"Euclid\"},\"page\":{\"size\":2,"
         "\"distance\":\"Dot\"},\"tokens\":{\"size\":2,\"distance\":\"Cosine\","
         "\"multivector_config\":{\"comparator\":\"max_sim\"}}}"},
    };
    static const struct config_vector extras[] = {
        {.name = "page", .dim = 2, .metric = VECTOR_METRIC_DOT},
        {.name = "tokens", .dim = 2, .metric = VECTOR_METRIC_COSINE, .multiple = true}};
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.collection.extra_vectors = extras;
    fixture.collection.extra_vector_count = 2;
    append_extras(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(extra_vectors_rank_the_points_that_have_them),
           TEST(queries_name_the_vector_that_ranks), TEST(replies_have_the_vector_by_its_name),
           TEST(points_without_their_vector_are_read_and_never_ranked))
