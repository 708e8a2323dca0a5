/* Which status bad values have, and routes of the dialect that are small or only say no. */
#include "tests/support/test_main.h"

#include "tests/support/rest_fixture.h"

/* Statuses as Qdrant's: 422 for values that are out of bounds, 400 for what is of another type. */
START_TEST(bad_values_have_the_status_of_qdrant)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/scroll", "{\"filter\":{\"must\":{\"key\":\"n\"}}}", 422,
         "[$.filter.must: At least one field condition must be specified]"},
        {"POST", C "/points/delete", "{\"filter\":{\"must\":[{\"key\":\"n\"}]}}", 422,
         "At least one field condition"},
        {"POST", C "/points/scroll",
         "{\"filter\":{\"must\":[{\"slice\":{\"total\":4,\"index\":4}}]}}", 422,
         "[$.filter.must[0].slice: `index` 4 of 4: it must be below `total`]"},
        {"POST", C "/points/scroll",
         "{\"filter\":{\"must\":[{\"slice\":{\"total\":0,\"index\":0}}]}}", 400,
         "$.filter.must[0].slice: expected a `total` of at least 1"},
        {"POST", C "/points/query", "{\"prefetch\":{\"query\":1}}", 400,
         "Bad request: A query is needed to merge the prefetches."},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{}}}", 422,
         "[$.query.recommend: At least one positive example is needed]"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"negative\":[1]}}}", 400,
         "At least one positive example is needed"},
        {"POST", C "/points/query", "{\"query\":1,\"params\":{\"hnsw_ef\":0}}", 422,
         "[$.params.hnsw_ef: value 0 invalid, must be 1 or larger]"},
        {"POST", C "/points/query", "{\"query\":1,\"params\":{\"hnsw_ef\":100001}}", 422,
         "[$.params.hnsw_ef: value 100001 invalid, must be 100000 or smaller]"},
        {"POST", C "/points/query", "{\"query\":1,\"offset\":-1}", 400, "$.offset: expected"},
        {"POST", C "/facet", "{\"key\":\"n\",\"limit\":-5}", 400, "$.limit: expected"},
        {"POST", C "/points/count?timeout=-1", "{}", 400, "timeout"},
        {"PUT", C "/index",
         "{\"field_name\":\"n\",\"field_schema\":{\"type\":\"integer\",\"lookup\":false,"
         "\"range\":false}}",
         422, "one must be true"},
        {"PUT", C "/index",
         "{\"field_name\":\"n\",\"field_schema\":{\"type\":\"integer\",\"lookup\":false}}", 200,
         "acknowledged"},
        {"PUT", C "/index",
         "{\"field_name\":\"n\",\"field_schema\":{\"type\":\"geo\",\"lookup\":false,"
         "\"range\":false}}",
         200, "acknowledged"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(routes_that_are_not_offered_say_why)
{
    static const struct expectation cases[] = {
        {"POST", "/collections/aliases", "{}", 501, "there are no aliases"},
        {"PUT", C "/shards", "{}", 501, "shards are the partitions of a topic"},
        {"POST", C "/shards/delete", "{}", 501, "shards are the partitions of a topic"},
        {"POST", C "/cluster", "{}", 501, "shards are the partitions of a topic"},
        {"PUT", C "/vectors/image", "{}", 501, "vectors are declared when it is made"},
        {"DELETE", C "/vectors/image", NULL, 501, "vectors are declared when it is made"},
        {"POST", "/cluster/recover", "{}", 501, "no consensus of their own"},
        {"DELETE", "/cluster/peer/7", NULL, 501, "no consensus of their own"},
        {"GET", "/cluster/telemetry", NULL, 501, "no consensus of their own"},
        {"GET", "/cluster/metadata/keys", NULL, 501, "no consensus of their own"},
        {"PUT", "/cluster/metadata/keys/a", "{}", 501, "no consensus of their own"},
        {"GET", "/quotas", NULL, 501, "there are no quotas"},
        {"GET", C "/shards/0/snapshot", NULL, 501, "windrow backup"},
        {"GET", "/issues", NULL, 200, "\"result\":{\"issues\":[]}"},
        {"DELETE", "/issues", NULL, 200, "\"result\":true"},
        {"GET", C "/shards", NULL, 200, "\"result\":{\"shard_keys\":[]}"},
        {"GET", "/collections/nope/shards", NULL, 404, "`nope`"},
        {"GET", C "/optimizations", NULL, 200,
         "\"summary\":{\"queued_optimizations\":0,\"queued_segments\":0,\"queued_points\":0,"},
        {"GET", "/collections/nope/optimizations", NULL, 404, "`nope`"},
        {"GET", C "/cluster", NULL, 200,
         ",\"shard_count\":1,\"local_shards\":[{\"shard_id\":0,\"state\":\"Active\","
         "\"points_count\":"},
        {"GET", "/collections/nope/cluster", NULL, 404, "`nope`"},
        {"GET", "/", NULL, 200, "\"commit\":\"windrow-"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(bad_values_have_the_status_of_qdrant), TEST(routes_that_are_not_offered_say_why))
