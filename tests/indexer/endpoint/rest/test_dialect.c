/* What each call of the dialect answers, good requests and bad ones. */
#include "store/lease.h"
#include "tests/support/test_main.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/rest_fixture.h"

/* A query near row 20 with feedback. */
#define FEEDBACK(items, b)                                                                         \
    "{\"query\":{\"relevance_feedback\":{\"target\":[1,20,0.5,0],\"feedback\":" items              \
    ",\"strategy\":{\"naive\":{\"a\":3,\"b\":" b ",\"c\":0.5}}}},\"limit\":2}"

START_TEST(bad_requests_get_the_error_envelope)
{
    static const struct expectation cases[] = {
        {"GET", "/nowhere", NULL, 404, "\"status\":{\"error\":"},
        {"DELETE", "/metrics", NULL, 405, "allowed: GET"},
        {"GET", "/collections/nope", NULL, 404, "Not found: Collection `nope` doesn't exist!"},
        {"GET", "/collections/a%2Fb", NULL, 404, "Collection `a/b`"},
        {"POST", "/collections/nope/points/query", "{}", 404, "`nope`"},
        {"POST", C "/points/query", "{\"query\":", 400, "Format error in JSON body"},
        {"POST", C "/points/query", "[1]", 400, "$: expected an object"},
        {"POST", C "/points/query", "{\"query\":[1,2,3]}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 3"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,\"x\"]}", 400, "$.query[3]"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,1e99]}", 400, "$.query[3]"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limit\":0}", 422,
         "value 0 invalid, must be 1 or larger"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limit\":999999999}", 422, "limit"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limit\":-1}", 400,
         "$.limit: expected an integer, 1 or larger"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limt\":1}", 400,
         "unknown field `limt`"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"using\":\"b\"}", 400,
         "Not existing vector name error: b"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"filter\":{\"mus\":[]}}", 400,
         "unknown field `mus`"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"windrow\":{\"from\":\"soon\"}}", 400,
         "$.windrow.from"},
        {"POST", C "/points/scroll", "{\"offset\":-3}", 400, "not a valid point ID"},
        {"POST", C "/points/scroll", "{\"order_by\":\"n\",\"offset\":3}", 400, "order_by"},
        {"POST", C "/points", "{\"ids\":3}", 400, "$.ids"},
        {"PUT", C, "{\"vectors\":{}}", 409, "Collection `news` already exists!"},
        {"PUT", C "/points?wait=true", "{\"points\":[{\"id\":1}]}", 400, "$.points[0]"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}]}", 501, "Kafka"},
        {"GET", "/windows?collection=nope", NULL, 404, "`nope`"},
        {"DELETE", C, NULL, 501, "windrow.yaml"},
        {"PATCH", C, "{}", 501, "windrow.yaml"},
        {"PATCH", "/collections/nope", "{}", 404, "`nope`"},
        {"PUT", C "/index", "{\"field_schema\":\"integer\"}", 400, "`field_name`"},
        {"PUT", C "/index", "{\"field_name\":\"n\",\"field_schema\":7}", 400, "$.field_schema"},
        {"PUT", C "/index", "{\"field_name\":\"\",\"field_schema\":\"keyword\"}", 400,
         "$.field_name: expected a payload path"},
        {"PUT", C "/index", "{\"field_name\":\"a..b\",\"field_schema\":\"keyword\"}", 400,
         "$.field_name: expected a payload path"},
        {"PUT", C "/index", "{\"field_name\":\"a..b\"}", 400, "$.field_name"},
        {"POST", C "/facet", "{}", 400, "$: missing field `key`"},
        {"POST", C "/facet", "{\"key\":\"n\",\"limit\":0}", 422, "limit"},
        {"POST", C "/facet", "{\"key\":\"@window\"}", 501, "virtual"},
        {"POST", C "/points/query/groups", "{\"query\":[1,2,3,4]}", 400, "`group_by`"},
        {"POST", C "/points/query/groups",
         "{\"query\":[1,2,3,4],\"group_by\":\"n\",\"group_size\":0}", 422, "group_size"},
        {"POST", C "/points/query/groups",
         "{\"query\":[1,2,3,4],\"group_by\":\"n\",\"group_size\":10000,\"limit\":10000}", 422,
         "group_size"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":[1,2,3,4],\"mmr\":{\"diversity\":2}}}",
         422, "diversity"},
        {"POST", C "/points/query",
         "{\"query\":{\"nearest\":[1,2,3,4],\"mmr\":{\"candidates_limit\":99999}}}", 422,
         "candidates_limit"},
        {"POST", C "/points/query", "{\"offset\":100000,\"limit\":100000}", 400,
         "limit plus offset must be at most 100000"},
        {"POST", "/collections/nope/points/payload", "{}", 404, "`nope`"},
        {"POST", C "/points/batch", "{\"operations\":7}", 400, "$.operations"},
        {"POST", C "/points/batch", "{\"operations\":[{}]}", 400, "$.operations[0]"},
        {"POST", C "/points/batch", "{\"operations\":[{\"set_payload\":{}}]}", 400, "payload"},
        {"POST", C "/points/batch", "{\"operations\":[{\"delete_vectors\":{}}]}", 400,
         "$.operations[0].delete_vectors: missing field `vector`"},
        {"POST", C "/points/batch",
         "{\"operations\":[{\"delete_vectors\":{\"points\":[1],\"vector\":[\"\"]}}]}", 501,
         "does not produce to Kafka"},
        {"POST", C "/points/vectors/delete", "{\"points\":[1],\"vector\":[\"text\"]}", 400,
         "Not existing vector name error: text"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":{\"image\":[1,2,3,4]}}]}", 400,
         "Not existing vector name error: image"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":{\"image\":\"http://a/b.png\"}}]}",
         501, "vectors are computed by the client"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":{\"text\":\"storm\"}}]}", 501,
         "words are for queries"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":{\"zzz\":1}}]}", 400,
         "$.points[0].vector.zzz: expected an array or an object"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":{}}]}", 501,
         "does not produce to Kafka"},
        {"POST", C "/points/scroll", "{\"with_vector\":[\"\",\"text\"]}", 400,
         "Not existing vector name error: text"},
        {"POST", C "/points/query", "{\"query\":{\"indices\":[1],\"values\":[1]}}", 501,
         "no search ranks by them yet"},
        {"PUT", C "/points", "{\"points\":[3]}", 400, "$.points[0]"},
        {"PUT", C "/points", "{\"batch\":3}", 400, "$.batch"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(bad_forms_of_queries_are_told_their_place)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"}}", 400, "$.prefetch"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"most\"},\"prefetch\":{}}", 400,
         "$.query.fusion"},
        {"POST", C "/points/query",
         "{\"query\":{\"rrf\":{\"weights\":[1,2]}},\"prefetch\":{\"query\":[1,2,3,4]}}", 400,
         "$.query.rrf.weights: expected as many as there are searches in `prefetch`: 1, got 2"},
        {"POST", C "/points/query", "{\"query\":{\"sample\":\"all\"}}", 400, "$.query.sample"},
        {"POST", C "/points/query", "{\"query\":{\"context\":[]}}", 400,
         "A target or at least one pair"},
        {"POST", C "/points/query", "{\"query\":{\"context\":[{\"positive\":1}]}}", 400,
         "`negative`"},
        {"POST", C "/points/query", "{\"query\":{\"discover\":{\"target\":[1,2]}}}", 400,
         "expected dim: 4, got 2"},
        {"POST", C "/points/discover", "{\"limit\":3}", 400, "A target or at least one pair"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":[1]}", 400,
         "$.prefetch[0]"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":{\"limt\":1}}",
         400, "unknown field `limt`"},
        {"POST", C "/points/query", "{\"prefetch\":{}}", 400, "A query is needed"},
        {"POST", C "/points/query",
         "{\"query\":3,\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":"
         "3,"
         "\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":3,"
         "\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":3,\"prefetch\":{\"query\":3}}}}}}}}}}",
         400, "nested deeper than 8 levels"},
        {"POST", C "/points/query", "{\"query\":{\"relevance_feedback\":{}}}", 400, "`target`"},
        {"POST", C "/points/query", FEEDBACK("[{\"example\":1}]", "1"), 400, "`score`"},
        {"POST", C "/points/query", FEEDBACK("[]", "-1"), 422,
         "[query.relevance_feedback.strategy.naive.b: value -1 invalid, must be 0 or larger]"},
        {"POST", C "/points/query",
         FEEDBACK("[{\"example\":1,\"score\":1e308},{\"example\":2,\"score\":-1e308}]", "2"), 400,
         "the weights of the examples are not finite"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":[1]}}", 400, "$.query.recommend"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"negative\":[1]}}}", 400,
         "At least one positive"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[[1,2]]}}}", 400,
         "expected dim: 4, got 2"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[999999]}}}", 404,
         "No point with the id"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[1],\"strategy\":\"best\"}}}", 400,
         "$.query.recommend.strategy"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[],\"strategy\":\"sum_scores\"}}}", 422,
         "At least one example"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[[8e18,0,0,0]],\"negative\":[[-8e18,0,0,0]]}}}",
         400, "the mean of the examples: the vector's length 2.4e+19 is above 8.9e+18"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[1,[3e38,0,0,0]],\"negative\":[1]}}}", 400,
         "$.query.recommend.positive: the vector's length 3e+38 is above 8.9e+18"},
        {"POST", C "/points/query", "{\"query\":[8e18,8e18,0,0]}", 400,
         "$.query: the vector's length 1.13e+19 is above 8.9e+18: scores by l2 would exceed "
         "float32"},
        {"POST", C "/points/query", "{\"query\":[8e18,0,0,0]}", 200, "\"score\":8e+18"},
        {"PUT", C "/points",
         "{\"points\":[{\"id\":1,\"vector\":[1,1,1,1]},{\"id\":2,\"vector\":[0,1e19,0,0]}]}", 400,
         "$.points[1].vector: the vector's length 1e+19 is above 8.9e+18"},
        {"PUT", C "/points", "{\"batch\":{\"ids\":[1],\"vectors\":[[0,1e19,0,0]]}}", 400,
         "$.batch.vectors[0]: the vector's length 1e+19"},
        {"PUT", C "/points/vectors", "{\"points\":[{\"id\":1,\"vector\":[9e18,9e18,9e18,9e18]}]}",
         400, "$.points[0].vector: the vector's length"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(updates_that_cannot_be_are_refused)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/payload?wait=true", "{\"payload\":{\"a\":1},\"points\":[1]}", 501,
         "does not produce to Kafka"},
        {"POST", C "/points/payload", "{\"payload\":{\"a\":1},\"points\":[99999]}", 404,
         "No point with id 99999 found"},
        {"POST", C "/points/payload", "{\"payload\":{\"a\":1}}", 400, "`points` or `filter`"},
        {"POST", C "/points/payload", "{\"payload\":{},\"points\":[1],\"key\":\"a..b\"}", 400,
         "$.key"},
        {"POST", C "/points/payload/delete", "{\"keys\":[\"a[\"],\"points\":[1]}", 400, "$.keys"},
        {"PUT", C "/points/vectors", "{\"points\":[{\"id\":1,\"vector\":[1]}]}", 400, "got 1"},
        {"PUT", C "/points/vectors",
         "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]},{\"id\":2,\"vector\":{}}]}", 422,
         "[points[1].vector: must specify vectors to update for point]"},
        {"POST", C "/points/vectors/delete", "{\"points\":[1],\"vector\":[\"\"]}", 501,
         "does not produce to Kafka"},
        {"PUT", C "/points", "{\"points\":[],\"update_mode\":\"insert\"}", 400, "$.update_mode"},
        {"PUT", C "/points", "{\"points\":[],\"update_filter\":{\"mus\":[]}}", 400, "mus"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(reads_answer_in_the_dialect)
{
    static const struct expectation cases[] = {
        {"GET", "/", NULL, 200, "\"version\":\"1.19.0\""},
        {"GET", "/collections", NULL, 200, "{\"collections\":[{\"name\":\"news\"}]}"},
        {"GET", C "/exists", NULL, 200, "{\"exists\":true}"},
        {"GET", "/collections/nope/exists", NULL, 200, "{\"exists\":false}"},
        {"GET", C, NULL, 200, "\"points_count\":50"},
        {"GET", C, NULL, 200, "\"distance\":\"Euclid\""},
        {"POST", C "/points/query", "{\"query\":[1,7,0.5,0],\"limit\":1}", 200,
         "{\"points\":[{\"id\":7,\"version\":7,\"score\":0"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":7},\"limit\":2}", 200, "\"id\":6"},
        {"POST", C "/points/query", "{\"limit\":2,\"with_payload\":true}", 200,
         "{\"id\":0,\"version\":0,\"score\":1"},
        {"POST", C "/points/query/batch", "{\"searches\":[{\"query\":[1,3,0.5,0],\"limit\":1}]}",
         200, "[{\"points\":[{\"id\":3"},
        {"POST", C "/points/search", "{\"vector\":[1,9,0.5,0],\"limit\":1}", 200, "[{\"id\":9"},
        {"POST", C "/points/scroll", "{\"limit\":2}", 200, "\"next_page_offset\":2"},
        {"POST", C "/points/scroll", "{\"limit\":9,\"offset\":48}", 200,
         "\"next_page_offset\":null"},
        {"POST", C "/points/scroll", "{\"limit\":1,\"with_vector\":true}", 200,
         "\"payload\":{\"n\":1},\"vector\":[1"},
        {"POST", C "/points/count", "", 200, "{\"count\":50}"},
        {"POST", C "/points/count",
         "{\"filter\":{\"must\":{\"key\":\"@offset\",\"range\":{\"lt\":10}}}}", 200,
         "{\"count\":10}"},
        {"POST", C "/points", "{\"ids\":[3,777]}", 200, "[{\"id\":3,\"payload\":{\"n\":1}}]"},
        {"POST", C "/points", "{\"ids\":[3],\"windrow\":{\"place\":true}}", 200,
         ",\"shard\":\"0\",\"offset\":3,\"window_start_ms\":0}}]"},
        {"POST", C "/points/query",
         "{\"query\":[1,7,0.5,0],\"limit\":1,\"windrow\":{\"place\":true}}", 200,
         "\"shard\":\"0\",\"offset\":7,\"window_start_ms\":0}}]"},
        {"POST", C "/points/query", "{\"query\":[1,7,0.5,0]}", 200,
         "\"windrow\":{\"offsets\":{\"0\":50}"},
        {"GET", "/windows?collection=news", NULL, 200, "\"state\":\"open\",\"rows\":50"},
        {"GET", "/metrics", NULL, 200,
         "windrow_http_requests_total{route=\"/windows\",code=\"200\"} 1"},
        {"GET", "/openapi.json", NULL, 200, "\"/collections/{collection}/points/query\":{\"post\""},
        {"GET", "/healthz", NULL, 200, "healthz check passed"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(clients_start_up_without_a_failure)
{
    /* What LangChain and LlamaIndex do before their first search. */
    static const struct expectation cases[] = {
        {"DELETE", "/collections/nope", NULL, 200, "{\"result\":false,"},
        {"PUT", C "/index?wait=true", "{\"field_name\":\"n\",\"field_schema\":\"keyword\"}", 200,
         "\"status\":\"completed\""},
        {"PUT", C "/index", "{\"field_name\":\"n\",\"field_schema\":{\"type\":\"integer\"}}", 200,
         "\"status\":\"acknowledged\""},
        {"DELETE", C "/index/n?wait=true", NULL, 200, "\"status\":\"completed\""},
        {"GET", "/aliases", NULL, 200, "{\"aliases\":[]}"},
        {"GET", C "/aliases", NULL, 200, "{\"aliases\":[]}"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(facets_and_groups_count_values)
{
    /* Every point has n = 1; point i lies at (1, i, 0.5, 0). */
    static const struct expectation cases[] = {
        {"POST", C "/facet", "{\"key\":\"n\"}", 200, "{\"hits\":[{\"value\":1,\"count\":50}]}"},
        {"POST", C "/facet", "{\"key\":\"n\",\"filter\":{\"must\":[{\"has_id\":[1,2]}]}}", 200,
         "{\"hits\":[{\"value\":1,\"count\":2}]}"},
        {"POST", C "/facet", "{\"key\":\"nothing\"}", 200, "{\"hits\":[]}"},
        {"POST", C "/points/query/groups",
         "{\"query\":[1,7,0.5,0],\"group_by\":\"n\",\"group_size\":2,\"limit\":3}", 200,
         "{\"groups\":[{\"id\":1,\"hits\":[{\"id\":7,\"version\":7,\"score\":0.0},{\"id\":6,"},
        {"POST", C "/points/query/groups", "{\"group_by\":\"n\",\"group_size\":1}", 200,
         "{\"groups\":[{\"id\":1,\"hits\":[{\"id\":0,"},
        {"POST", C "/points/query/groups", "{\"query\":[1,7,0.5,0],\"group_by\":\"nothing\"}", 200,
         "{\"groups\":[]}"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(mmr_prefers_rows_that_differ)
{
    /* Rows lie on a line, so relevance alone takes the neighbours 7, 6, 8 and diversity alone the
     * far ends after 7. */
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":{\"nearest\":[1,7,0.5,0],\"mmr\":{\"diversity\":0,\"candidates_limit\":50}},"
         "\"limit\":2}",
         200, "[{\"id\":7,\"version\":7,\"score\":0.0},{\"id\":6,"},
        {"POST", C "/points/query",
         "{\"query\":{\"nearest\":[1,7,0.5,0],\"mmr\":{\"diversity\":1,\"candidates_limit\":50}},"
         "\"limit\":3}",
         200,
         "[{\"id\":7,\"version\":7,\"score\":0.0},{\"id\":49,\"version\":49,\"score\":42.0},"
         "{\"id\":28,"},
        {"POST", C "/points/query",
         "{\"query\":{\"nearest\":[1,7,0.5,0],\"mmr\":{\"diversity\":1,\"candidates_limit\":50}},"
         "\"limit\":1,\"offset\":1}",
         200, "[{\"id\":49,"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":[1,7,0.5,0],\"mmr\":{}},\"limit\":1}",
         200, "[{\"id\":7,"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(recommendations_are_near_the_mean_and_leave_examples_out)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[10,12]}},\"limit\":3}", 200,
         "[{\"id\":11,\"version\":11,\"score\":0.0},{\"id\":9,\"version\":9,\"score\":2.0},"
         "{\"id\":13,"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[10,[1,12,0.5,0]],\"negative\":[5],"
         "\"strategy\":\"average_vector\"}},\"limit\":1}",
         200, "[{\"id\":17,\"version\":17,\"score\":0.0}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[10,12],\"negative\":[]}},"
         "\"filter\":{\"must\":{\"has_id\":[8,10,14]}}}",
         200, "[{\"id\":8,\"version\":8,\"score\":3.0},{\"id\":14,\"version\":14,\"score\":3.0}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[[1,7,0.5,0]]}},\"limit\":1}", 200,
         "[{\"id\":7,\"version\":7,\"score\":0.0}]"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(fusion_sums_what_each_search_says_of_a_point)
{
    /* To 7: 7, 6, 8. To 8: 8, 7, 9. Places count 1/2, 1/3, 1/4. */
#define LINE(n, rest) "{\"query\":[1," #n ",0.5,0],\"limit\":3" rest "}"
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":[" LINE(7, "") "," LINE(8, "") "]}", 200,
         "[{\"id\":7,"},
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"offset\":1,\"limit\":1,"
         "\"prefetch\":[" LINE(7, "") "," LINE(8, "") "]}",
         200, "[{\"id\":8,\"version\":8,\"score\":0.75}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"limit\":2,\"prefetch\":" LINE(7, "") "}", 200,
         "[{\"id\":7,\"version\":7,\"score\":0.5},{\"id\":6,"},
        /* Its own filter and the request's: 6, 9 and 7, 9, 6. */
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"filter\":{\"must\":{\"has_id\":[6,7,9]}},"
         "\"prefetch\":[" LINE(7, ",\"filter\":{\"must_not\":{\"has_id\":[7]}}") "," LINE(
             8, "") "],\"limit\":1}",
         200, "[{\"id\":6,\"version\":6,\"score\":0.75}]"},
        /* 7 has a half, which is not below a threshold of a half. */
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"score_threshold\":0.5,\"prefetch\":" LINE(7, "") "}",
         200, "\"points\":[{\"id\":7,\"version\":7,\"score\":0.5}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"score_threshold\":0.51,\"prefetch\":" LINE(7, "") "}",
         200, "\"points\":[]"},
    };
#undef LINE
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(older_calls_are_queries_with_bare_points)
{
    /* Point i lies at (1, i, 0.5, 0). */
    static const struct expectation cases[] = {
        {"POST", C "/points/search",
         "{\"vector\":{\"name\":\"\",\"vector\":[1,9,0.5,0]},\"limit\":1}", 200,
         "\"result\":[{\"id\":9,\"version\":9,\"score\":0.0}]"},
        {"POST", C "/points/search/batch",
         "{\"searches\":[{\"vector\":[1,9,0.5,0],\"limit\":1},{\"vector\":{\"\":[1,4,0.5,0]},"
         "\"limit\":1,\"offset\":1,\"filter\":{\"must_not\":{\"has_id\":[3]}}}]}",
         200, "\"result\":[[{\"id\":9,\"version\":9,\"score\":0.0}],[{\"id\":5,"},
        {"POST", C "/points/search/batch", "{\"searches\":[]}", 200, "\"result\":[]"},
        {"POST", C "/points/search/groups",
         "{\"vector\":[1,7,0.5,0],\"group_by\":\"n\",\"group_size\":1,\"limit\":3}", 200,
         "\"result\":{\"groups\":[{\"id\":1,\"hits\":[{\"id\":7,"},
        {"POST", C "/points/recommend", "{\"positive\":[10,12],\"limit\":1}", 200,
         "\"result\":[{\"id\":11,\"version\":11,\"score\":0.0}]"},
        {"POST", C "/points/recommend/batch",
         "{\"searches\":[{\"positive\":[10,12],\"negative\":[5],\"limit\":1,"
         "\"using\":\"\"}]}",
         200, "\"result\":[[{\"id\":17,\"version\":17,"},
        {"POST", C "/points/recommend/groups",
         "{\"positive\":[10,12],\"group_by\":\"n\",\"group_size\":2}", 200,
         "{\"groups\":[{\"id\":1,\"hits\":[{\"id\":11,"},
        {"POST", C "/points/search", "{\"vector\":[1,2]}", 400, "expected dim: 4, got 2"},
        {"POST", C "/points/search", "{\"vector\":{\"name\":\"b\",\"vector\":[1,2,3,4]}}", 400,
         "Not existing vector name error: b"},
        {"POST", C "/points/search", "{\"limit\":3}", 400, "`vector`"},
        {"POST", C "/points/search/batch", "{\"searches\":[{\"vector\":[1,2,3,4],\"windrow\":{}}]}",
         501, "beside `searches`"},
        {"POST", C "/points/discover",
         "{\"target\":20,\"context\":{\"positive\":30,\"negative\":10},\"limit\":1}", 200,
         "\"result\":[{\"id\":21,\"version\":21,\"score\":1.25}]"},
        {"POST", C "/points/discover/batch",
         "{\"searches\":[{\"context\":[{\"positive\":1,\"negative\":[1,48,0.5,0]}],\"limit\":1}]}",
         200, "\"result\":[[{\"id\":0,\"version\":0,\"score\":0.0}]]"},
        {"POST", C "/points/recommend", "{\"positive\":[999]}", 404, "No point with the id"},
        {"POST", C "/points/recommend", "{}", 422, "At least one positive"},
        {"POST", C "/points/recommend", "{\"positive\":[1],\"lookup_from\":{}}", 501,
         "`lookup_from`"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

/* Point i lies at (1, i, 0.5, 0), under L2. */
START_TEST(rows_are_scored_by_several_examples)
{
    static const struct expectation cases[] = {
        /* A step from a positive example, and nearer to it than to the negative one. */
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[20,40],\"negative\":[19],\"strategy\":"
         "\"best_score\"}},\"limit\":2}",
         200,
         "[{\"id\":21,\"version\":21,\"score\":0.25},{\"id\":39,\"version\":39,\"score\":0.25}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[[1,20,0.5,0],[1,22,0.5,0]],\"strategy\":"
         "\"sum_scores\"}},\"limit\":1}",
         200, "[{\"id\":21,\"version\":21,\"score\":-2.0}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"negative\":[0],\"strategy\":\"sum_scores\"}},\"limit\":1}",
         200, "[{\"id\":49,\"version\":49,\"score\":2401.0}]"},
        /* -3 (id - 20)^2, and 2^2 x 0.5 times what the better example is nearer than the other one. */
        {"POST", C "/points/query",
         FEEDBACK(
             "[{\"example\":[1,24,0.5,0],\"score\":1},{\"example\":[1,26,0.5,0],\"score\":-1}]",
             "2"),
         200,
         "[{\"id\":19,\"version\":19,\"score\":45.0},{\"id\":18,\"version\":18,\"score\":44.0}]"},
        /* 20 lies in the middle of the pair, and is an example. */
        {"POST", C "/points/query",
         "{\"query\":{\"discover\":{\"target\":[1,20,0.5,0],\"context\":[{\"positive\":10,"
         "\"negative\":30}]}},\"limit\":2}",
         200,
         "[{\"id\":19,\"version\":19,\"score\":1.25},{\"id\":18,\"version\":18,\"score\":1.1}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"context\":{\"positive\":[1,40,0.5,0],\"negative\":[1,48,0.5,0]}},"
         "\"score_threshold\":-0.5,\"offset\":44,\"limit\":3}",
         200, "\"points\":[{\"id\":44,"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[20],\"strategy\":\"best_score\"}},\"limit\":1,"
         "\"filter\":{\"must\":{\"has_id\":[3,20]}},\"windrow\":{\"explain\":true}}",
         200, "[{\"id\":3,\"version\":3,"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(a_query_over_a_prefetch_orders_what_that_found)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"prefetch\":{\"query\":[1,7,0.5,0],\"limit\":3},\"query\":[1,40,0.5,0]}", 200,
         "\"points\":[{\"id\":8,\"version\":8,\"score\":32.0},{\"id\":7,\"version\":7,\"score\":33."
         "0},"
         "{\"id\":6,\"version\":6,\"score\":34.0}]"},
        {"POST", C "/points/query",
         "{\"prefetch\":[{\"query\":7,\"limit\":2},{\"query\":8,\"limit\":1}],\"query\":"
         "{\"order_by\":{\"key\":\"@offset\",\"direction\":\"desc\"}}}",
         200, "\"points\":[{\"id\":8,\"version\":8,\"score\":1.0,\"order_value\":8},{\"id\":7,"},
        {"POST", C "/points/query",
         "{\"prefetch\":{\"prefetch\":{\"query\":[1,0,0.5,0],\"limit\":5},\"query\":[1,9,0.5,0],"
         "\"limit\":2},\"query\":{\"recommend\":{\"positive\":[4]}}}",
         200, "\"points\":[{\"id\":3,\"version\":3,\"score\":1.0}]"},
        {"POST", C "/points/query",
         "{\"prefetch\":{\"query\":[1,7,0.5,0],\"limit\":4},\"query\":{\"nearest\":[1,7,0.5,0],"
         "\"mmr\":{\"diversity\":1,\"candidates_limit\":4}},\"limit\":2}",
         200, "\"points\":[{\"id\":7,\"version\":7,\"score\":0.0},{\"id\":5,"},
        {"POST", C "/points/query",
         "{\"prefetch\":{\"query\":[1,7,0.5,0],\"limit\":4},\"query\":[1,7,0.5,0],"
         "\"score_threshold\":1,\"with_vector\":true}",
         200, "\"points\":[{\"id\":7,\"version\":7,\"score\":0.0,\"vector\":[1.0,7.0,0.5,0.0]}]"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(ordered_rows_say_their_value)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/scroll", "{\"order_by\":\"n\",\"limit\":1,\"with_payload\":false}", 200,
         "\"points\":[{\"id\":0,\"order_value\":1}]"},
        {"POST", C "/points/scroll", "{\"order_by\":\"@offset\",\"limit\":1}", 200,
         "\"points\":[{\"id\":0,\"order_value\":0,\"payload\":{\"n\":1}}]"},
        {"POST", C "/points/query", "{\"query\":{\"order_by\":\"n\"},\"limit\":1}", 200,
         "\"points\":[{\"id\":0,\"version\":0,\"score\":1.0,\"order_value\":1}]"},
        {"POST", C "/points/query",
         "{\"query\":{\"sample\":\"random\"},\"limit\":1,"
         "\"filter\":{\"must\":{\"has_id\":[9]}}}",
         200, "\"points\":[{\"id\":9,\"version\":9,\"score\":1.0}]"},
        {"POST", C "/points/query", "{\"query\":{\"sample\":\"random\"},\"offset\":50}", 200,
         "\"points\":[]"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(snapshots_are_refused_with_what_there_is_instead)
{
    static const struct {
        const char *method, *path;
    } routes[] = {
        {"GET", C "/snapshots"},
        {"POST", C "/snapshots"},
        {"GET", C "/snapshots/a"},
        {"DELETE", C "/snapshots/a?wait=true"},
        {"PUT", C "/snapshots/recover?wait=true"},
        {"POST", C "/snapshots/upload?priority=snapshot"},
        {"GET", C "/shards/0/snapshots"},
        {"POST", C "/shards/0/snapshots"},
        {"GET", C "/shards/0/snapshots/a"},
        {"DELETE", C "/shards/0/snapshots/a"},
        {"PUT", C "/shards/0/snapshots/recover"},
        {"POST", C "/shards/0/snapshots/upload"},
        {"GET", "/snapshots"},
        {"POST", "/snapshots"},
        {"GET", "/snapshots/a"},
        {"DELETE", "/snapshots/a"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct expectation one = {routes[i].method, routes[i].path, NULL, 501, "windrow backup"};
        check_all(&fixture, &one, 1);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(openapi_and_windows_are_valid_json)
{
    static const char *const paths[] = {"/openapi.json", "/windows", C, "/"};
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct answer answer = ask(&fixture, "GET", paths[i], NULL);
        struct error error = {0};
        struct arena arena;
        struct doc doc;
        arena_create(&arena, 0);
        ck_assert_msg(doc_parse_json(&arena, (const char *)answer.body.data, answer.body.size, NULL,
                                     &doc, &error) == 0,
                      "%s: %s", paths[i], error.text);
        arena_destroy(&arena);
        answer_free(&answer);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(waiting_for_an_offset_returns_when_it_is_searchable)
{
    static const char late[] = "{\"query\":[1,2,3,4],\"windrow\":{\"min_offsets\":{\"0\":49}}}";
    static const char never[] = "{\"query\":[1,2,3,4],\"windrow\":{\"min_offsets\":{\"0\":50},"
                                "\"timeout_ms\":50}}";
    static const struct expectation nowhere[] = {
        {"POST", C "/points/query",
         "{\"query\":[1,2,3,4],\"windrow\":{\"min_offsets\":{\"0\":49,\"clicks-0\":1}}}", 400,
         "min_offsets: news has no partition `clicks-0`"}};
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, nowhere);
    answer = ask(&fixture, "POST", C "/points/query", late);
    ck_assert_int_eq(answer.status, 200);
    answer_free(&answer);
    answer = ask(&fixture, "POST", C "/points/query", never);
    ck_assert_int_eq(answer.status, 408);
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(answers_without_all_partitions_say_which_are_missing)
{
    static const struct store_expected_shard shards[] = {{"0", "news[0]"}, {"1", "news[1]"}};
    static const char *const reads[][2] = {
        {"/points/query", "{\"query\":[1,2,3,4]"},
        {"/points/query/groups", "{\"query\":[1,2,3,4],\"group_by\":\"n\""},
        {"/points/search", "{\"vector\":[1,2,3,4],\"limit\":3"},
        {"/points/scroll", "{\"limit\":3"},
        {"/points/count", "{\"exact\":true"},
        {"/points", "{\"ids\":[1]"},
        {"/facet", "{\"key\":\"n\""}};
    struct fixture fixture;

    fixture_open(&fixture);
    for (int told = 0; told < 2; told++) {
        for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
            char path[64], body[160], complete[200];
            (void)snprintf(path, sizeof(path), C "%s", reads[i][0]);
            (void)snprintf(body, sizeof(body), "%s}", reads[i][1]);
            (void)snprintf(complete, sizeof(complete), "%s,\"windrow\":{\"require\":\"complete\"}}",
                           reads[i][1]);
            const struct expectation cases[] = {
                {"POST", path, body, 200,
                 told ? "\"partial\":true,\"missing\":[\"news[1]\"]"
                      : "\"partial\":false,\"missing\":[]"},
                {"POST", path, complete, told ? 503 : 200,
                 told ? "Not complete: this process does not serve news[1] of news" : "false"}};
            CHECK_ALL(&fixture, cases);
        }
        store_registry_expect(fixture.registry, "news", shards, 2);
    }
    const struct expectation refused[] = {
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"windrow\":{\"require\":\"most\"}}", 400,
         "$.windrow.require"},
        {"POST", C "/points/delete?wait=true",
         "{\"filter\":{\"must\":[{\"key\":\"n\",\"match\":{\"value\":1}}]}}", 503, "news[1]"}};
    CHECK_ALL(&fixture, refused);
    fixture.config.cluster_partial = CONFIG_PARTIAL_REFUSE;
    const struct expectation strict[] = {{"POST", C "/points/count", "{}", 503, "Not complete"}};
    CHECK_ALL(&fixture, strict);
    fixture_close(&fixture);
}
END_TEST

/* A client that keeps two systems in step deletes what is 404. */
START_TEST(an_id_is_missing_only_where_every_partition_was_asked)
{
    static const struct expectation whole[] = {
        {"GET", C "/points/999", NULL, 404, "Point with id 999 does not exists"},
        {"POST", C "/points/query", "{\"query\":999}", 404, "No point with the id"},
    };
    static const struct expectation partial[] = {
        {"GET", C "/points/7", NULL, 200, "\"partial\":true"},
        {"GET", C "/points/999", NULL, 503, "does not serve news[1] of news"},
        {"POST", C "/points", "{\"ids\":[999]}", 200, "\"partial\":true"},
        {"POST", C "/points/query", "{\"query\":999}", 503, "news[1]"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[7,999]}}}", 503,
         "Whether the id exists is not known"},
        {"POST", C "/points/query",
         "{\"query\":{\"discover\":{\"target\":999,\"context\":{\"positive\":1,\"negative\":2}}}}",
         503, "news[1]"},
        {"POST", C "/points/recommend", "{\"positive\":[7],\"negative\":[999],\"limit\":2}", 503,
         "news[1]"},
        {"POST", C "/points/query", "{\"query\":7,\"limit\":1}", 200, "\"partial\":true"},
    };
    static const struct store_expected_shard both[] = {{"0", "news[0]"}, {"1", "news[1]"}};
    static struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, whole);
    store_registry_expect(fixture.registry, "news", both, 2);
    CHECK_ALL(&fixture, partial);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(bad_requests_get_the_error_envelope),
           TEST(an_id_is_missing_only_where_every_partition_was_asked),
           TEST(bad_forms_of_queries_are_told_their_place),
           TEST(updates_that_cannot_be_are_refused), TEST(reads_answer_in_the_dialect),
           TEST(clients_start_up_without_a_failure), TEST(facets_and_groups_count_values),
           TEST(mmr_prefers_rows_that_differ),
           TEST(recommendations_are_near_the_mean_and_leave_examples_out),
           TEST(fusion_sums_what_each_search_says_of_a_point),
           TEST(older_calls_are_queries_with_bare_points),
           TEST(rows_are_scored_by_several_examples),
           TEST(a_query_over_a_prefetch_orders_what_that_found), TEST(ordered_rows_say_their_value),
           TEST(snapshots_are_refused_with_what_there_is_instead),
           TEST(openapi_and_windows_are_valid_json),
           TEST(waiting_for_an_offset_returns_when_it_is_searchable),
           TEST(answers_without_all_partitions_say_which_are_missing))
