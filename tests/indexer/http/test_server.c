/* The HTTP server on a real socket over a real store of one shard. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "indexer/http/http.h"
#include "indexer/indexer.h"
#include "store/store.h"

enum { DIM = 4, POINTS = 50 };

/* The operating system's, and which threads have run a request. */
struct counting_io {
    struct io io; /* first */
    struct io_operations operations;
    atomic_uint threads_seen;
};

struct fixture {
    struct config config;
    struct config_collection collection;
    struct counting_io io;
    struct store *store;
    struct store_registry *registry;
    struct store_shard *shard;
    struct indexer_host host;
    struct metrics *metrics;
    struct http_server *server;
    bool ready;
};

struct answer {
    long status;
    struct buffer body;
    char allow[64];
    char retry_after[16];
};

/* A request looks at the wall clock when it takes its view. */
static int64_t count_thread(struct io *io)
{
    static _Thread_local bool seen;

    if (!seen)
        atomic_fetch_add(&((struct counting_io *)io)->threads_seen, 1);
    seen = true;
    return io_wall_ms(io_posix());
}

static bool host_ready(void *context, char *why, size_t why_bytes)
{
    struct fixture *fixture = context;

    snprintf(why, why_bytes, "the broker does not answer");
    return fixture->ready;
}

static void append_point(struct fixture *fixture, uint64_t id, int64_t offset)
{
    float vector[DIM] = {1.0F, (float)id, 0.5F, 0.0F};
    static const uint8_t payload[] = {0x81, 0xa1, 'n', 0x01}; /* {"n": 1} */
    struct store_key key;
    struct store_record record;
    struct store_group group;
    struct error error = {0};

    store_key_from_u64(id, &key);
    record = (struct store_record){.key = key.bytes,
                                   .key_bytes = key.size_bytes,
                                   .offset = offset,
                                   .event_time_ms = 1000 + (int64_t)id,
                                   .vector = vector,
                                   .payload = payload,
                                   .payload_bytes = sizeof(payload)};
    group = (struct store_group){.records = &record,
                                 .record_count = 1,
                                 .next_offset = offset + 1,
                                 .clock = {.watermark_ms = 2000}};
    ck_assert_msg(store_shard_append(fixture->shard, &group, &error) == 0, "%s", error.text);
}

static void start_server(struct fixture *fixture)
{
    const struct http_options options = {.config = &fixture->config,
                                         .registry = fixture->registry,
                                         .host = &fixture->host,
                                         .metrics = fixture->metrics,
                                         .io = &fixture->io.io};
    struct error error = {0};

    ck_assert_msg(http_server_start(&options, &fixture->server, &error) == 0, "%s", error.text);
}

static void fixture_open(struct fixture *fixture)
{
    struct store_options store_options = {
        .data_dir = test_directory(), .memory_max_bytes = 64 << 20, .memtable_max_bytes = 1 << 20};
    struct error error = {0};

    *fixture = (struct fixture){.ready = true};
    fixture->io.operations = *io_posix()->operations;
    fixture->io.operations.wall_ms = count_thread;
    fixture->io.io.operations = &fixture->io.operations;
    fixture->collection = (struct config_collection){.name = "news",
                                                     .dim = DIM,
                                                     .metric = CONFIG_METRIC_L2,
                                                     .window_ms = 3600000,
                                                     .hnsw_ef = 64,
                                                     .flat_below_rows = 1000};
    fixture->config = (struct config){
        .http_host = "127.0.0.1", .collections = &fixture->collection, .collection_count = 1};
    fixture->host = (struct indexer_host){.context = fixture, .ready = host_ready};
    fixture->metrics = metrics_new();
    ck_assert_msg(store_open(&store_options, &fixture->store, &error) == 0, "%s", error.text);
    fixture->registry =
        store_registry_new(&(struct store_registry_options){.store = fixture->store});
    ck_assert_msg(store_registry_claim(fixture->registry, &fixture->collection, "0",
                                       &fixture->shard, &error) == 0,
                  "%s", error.text);
    for (uint64_t id = 0; id < POINTS; id++)
        append_point(fixture, id, (int64_t)id);
    start_server(fixture);
}

static void fixture_close(struct fixture *fixture)
{
    http_server_stop(fixture->server);
    store_registry_close_all(fixture->registry, true);
    store_registry_delete(fixture->registry);
    store_close(fixture->store);
    metrics_delete(fixture->metrics);
}

/* ---- a client
 * -------------------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;

    buffer_append(&answer->body, data, size * count);
    return size * count;
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct answer *answer = context;

    if (strncasecmp(line, "Allow: ", 7) == 0)
        snprintf(answer->allow, sizeof(answer->allow), "%.*s", (int)(size * count - 9), line + 7);
    if (strncasecmp(line, "Retry-After: ", 13) == 0)
        snprintf(answer->retry_after, sizeof(answer->retry_after), "%.*s", (int)(size * count - 15),
                 line + 13);
    return size * count;
}

static struct answer ask_bytes(const struct fixture *fixture, const char *method, const char *path,
                               const char *body, size_t body_bytes, const char *header)
{
    struct answer answer = {0};
    struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
    CURL *curl = curl_easy_init();
    char url[256];

    headers = curl_slist_append(headers, "Expect:");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_server_port(fixture->server), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_bytes);
    }
    ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return answer;
}

static struct answer ask(const struct fixture *fixture, const char *method, const char *path,
                         const char *body)
{
    return ask_bytes(fixture, method, path, body, body ? strlen(body) : 0, NULL);
}

static void answer_free(struct answer *answer)
{
    buffer_destroy(&answer->body);
}

struct expectation {
    const char *method, *path, *body;
    long status;
    const char *contains;
};

static void check_all(const struct fixture *fixture, const struct expectation *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct answer answer = ask(fixture, cases[i].method, cases[i].path, cases[i].body);
        ck_assert_msg(answer.status == cases[i].status &&
                          strstr(buffer_text(&answer.body), cases[i].contains),
                      "case %zu: %s %s %s -> %ld %s", i, cases[i].method, cases[i].path,
                      cases[i].body ? cases[i].body : "", answer.status, buffer_text(&answer.body));
        answer_free(&answer);
    }
}

#define CHECK_ALL(fixture, cases) check_all(fixture, cases, sizeof(cases) / sizeof(cases[0]))
#define C                         "/collections/news"

/* ---- tests
 * ----------------------------------------------------------------------------------------- */

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
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limit\":-1}", 400, "$.limit"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"limt\":1}", 400,
         "unknown field `limt`"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"using\":\"b\"}", 400,
         "Not existing vector name error: b"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"filter\":{\"mus\":[]}}", 400,
         "unknown field `mus`"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"}}", 400, "$.prefetch"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"dbsf\"},\"prefetch\":{}}", 501,
         "`fusion`"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":[1]}", 400,
         "$.prefetch[0]"},
        {"POST", C "/points/query", "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":{\"limt\":1}}",
         400, "unknown field `limt`"},
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":{\"query\":{\"fusion\":\"rrf\"},"
         "\"prefetch\":{}}}",
         501, "inside of another"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"prefetch\":{}}", 501, "`prefetch`"},
        {"POST", C "/points/query", "{\"query\":{\"formula\":{}}}", 501, "`formula`"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":[1]}}", 400, "$.query.recommend"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"negative\":[1]}}}", 400,
         "At least one positive"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[[1,2]]}}}", 400,
         "expected dim: 4, got 2"},
        {"POST", C "/points/query", "{\"query\":{\"recommend\":{\"positive\":[999999]}}}", 404,
         "No point with the id"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[1],\"strategy\":\"best_score\"}}}", 501,
         "average_vector"},
        {"POST", C "/points/query",
         "{\"query\":{\"recommend\":{\"positive\":[[3e38,0,0,0]],\"negative\":[1]}}}", 400,
         "not finite"},
        {"POST", C "/points/query", "{\"query\":[1,2,3,4],\"windrow\":{\"from\":\"soon\"}}", 400,
         "$.windrow.from"},
        {"POST", C "/points/scroll", "{\"offset\":-3}", 400, "not a valid point ID"},
        {"POST", C "/points/scroll", "{\"order_by\":\"n\",\"offset\":3}", 400, "order_by"},
        {"POST", C "/points", "{\"ids\":3}", 400, "$.ids"},
        {"PUT", C, "{}", 409, "Collection `news` already exists!"},
        {"PUT", C "/points?wait=true", "{\"points\":[{\"id\":1}]}", 400, "$.points[0]"},
        {"PUT", C "/points", "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}]}", 501, "Kafka"},
        {"GET", "/windows?collection=nope", NULL, 404, "`nope`"},
        {"DELETE", C, NULL, 501, "windrow.yaml"},
        {"PATCH", C, "{}", 501, "windrow.yaml"},
        {"PATCH", "/collections/nope", "{}", 404, "`nope`"},
        {"PUT", C "/index", "{\"field_schema\":\"integer\"}", 400, "$.field_name"},
        {"PUT", C "/index", "{\"field_name\":\"n\",\"field_schema\":7}", 400, "$.field_schema"},
        {"POST", C "/facet", "{}", 400, "$.key"},
        {"POST", C "/facet", "{\"key\":\"n\",\"limit\":0}", 422, "limit"},
        {"POST", C "/facet", "{\"key\":\"@window\"}", 501, "virtual"},
        {"POST", C "/points/query/groups", "{\"query\":[1,2,3,4]}", 400, "$.group_by"},
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
        {"POST", C "/points/query", "{\"offset\":100000,\"limit\":100000}", 400, "together"},
        {"POST", C "/points/payload?wait=true", "{\"payload\":{\"a\":1},\"points\":[1]}", 501,
         "replaced as a whole"},
        {"PUT", C "/points/vectors", "{\"points\":[]}", 501, "replaced as a whole"},
        {"POST", "/collections/nope/points/payload", "{}", 404, "`nope`"},
        {"POST", C "/points/batch", "{\"operations\":7}", 400, "$.operations"},
        {"POST", C "/points/batch", "{\"operations\":[{}]}", 400, "$.operations[0]"},
        {"POST", C "/points/batch", "{\"operations\":[{\"set_payload\":{}}]}", 501, "set_payload"},
        {"POST", C "/points/batch", "{\"operations\":[{\"delete\":{\"filter\":{}}}]}", 501,
         "delete by filter"},
        {"PUT", C "/points", "{\"points\":[3]}", 400, "$.points[0]"},
        {"PUT", C "/points", "{\"batch\":3}", 400, "$.batch"},
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
        {"POST", C "/points/query", "{\"query\":[1,7,0.5,0]}", 200,
         "\"windrow\":{\"offsets\":{\"0\":50}"},
        {"GET", "/windows?collection=news", NULL, 200, "\"state\":\"open\",\"rows\":50"},
        {"GET", "/metrics", NULL, 200,
         "windrow_http_requests_total{route=\"/windows\",code=\"200\"} 1"},
        {"GET", "/openapi.json", NULL, 200, "\"/collections/{collection}/points/query\":{\"post\""},
        {"GET", "/healthz", NULL, 200, "healthz check passed"},
        {"GET", "/readyz", NULL, 200, "ready"},
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
        /* The threshold is strict: 7 has a half. */
        {"POST", C "/points/query",
         "{\"query\":{\"fusion\":\"rrf\"},\"score_threshold\":0.5,\"prefetch\":" LINE(7, "") "}",
         200, "\"points\":[]"},
    };
#undef LINE
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

struct waiter {
    const struct fixture *fixture;
    long status;
};

static void *ask_for_the_future(void *context)
{
    struct waiter *waiter = context;
    struct answer answer =
        ask(waiter->fixture, "POST", C "/points/count",
            "{\"windrow\":{\"min_offsets\":{\"0\":1000000},\"timeout_ms\":60000}}");

    waiter->status = answer.status;
    answer_free(&answer);
    return NULL;
}

/* Many more than there are executors for computing. */
START_TEST(requests_that_wait_hold_up_nobody_and_end_with_the_server)
{
    enum { WAITERS = 100 };
    static struct waiter waiters[WAITERS];
    pthread_t threads[WAITERS];
    struct fixture fixture;

    fixture_open(&fixture);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].fixture = &fixture;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_for_the_future, &waiters[i]), 0);
    }
    while (atomic_load(&fixture.io.threads_seen) < WAITERS)
        usleep(1000); /* each that waits has a thread */
    for (int i = 0; i < 50; i++) {
        struct answer answer = ask(&fixture, "POST", C "/points/count", "{}");
        ck_assert_int_eq(answer.status, 200);
        answer_free(&answer);
    }
    for (int i = 0; i < WAITERS; i++)
        ck_assert_int_eq(waiters[i].status, 0); /* they still wait */
    fixture_close(&fixture);
    for (int i = 0; i < WAITERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(waiters[i].status, 503);
    }
}
END_TEST

/* At the port that CONTEXT has, until it is 0. One request a connection; it may be refused, cut off
 * or answered, and either side may close first. */
static void *visit(void *context)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const _Atomic uint16_t *shared_port = context;
    uint16_t port;

    while ((port = atomic_load(shared_port)) != 0) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int connection = socket(AF_INET, SOCK_STREAM, 0);
        char answer[512];
        if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
            send(connection, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
            (void)recv(connection, answer, sizeof(answer), 0);
        close(connection);
    }
    return NULL;
}

START_TEST(stop_while_connections_come_and_go)
{
    enum { VISITORS = 4, STOPS = 300 };
    pthread_t visitors[VISITORS];
    struct fixture fixture;
    _Atomic uint16_t port;

    fixture_open(&fixture);
    atomic_init(&port, http_server_port(fixture.server));
    for (int i = 0; i < VISITORS; i++)
        ck_assert_int_eq(pthread_create(&visitors[i], NULL, visit, &port), 0);
    for (int stop = 0; stop < STOPS; stop++) {
        usleep((useconds_t)(stop % 10) * 300);
        http_server_stop(fixture.server);
        start_server(&fixture);
        atomic_store(&port, http_server_port(fixture.server));
    }
    atomic_store(&port, 0);
    for (int i = 0; i < VISITORS; i++)
        ck_assert_int_eq(pthread_join(visitors[i], NULL), 0);
    fixture_close(&fixture);
}
END_TEST

START_TEST(openapi_and_windows_are_valid_json)
{
    static const char *const paths[] = {"/openapi.json", "/windows", "/status", C, "/"};
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

START_TEST(browsers_get_the_dashboard)
{
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask_bytes(&fixture, "GET", "/", NULL, 0, "Accept: text/html,*/*");
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_nonnull(strstr(buffer_text(&answer.body), "<title>windrow</title>"));
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(not_ready_is_503_with_the_reason)
{
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    fixture.ready = false;
    answer = ask(&fixture, "GET", "/readyz", NULL);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(buffer_text(&answer.body), "the broker does not answer"));
    ck_assert_str_eq(answer.retry_after, "1");
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(wrong_method_names_the_allowed_ones)
{
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask(&fixture, "PATCH", C "/points", NULL);
    ck_assert_int_eq(answer.status, 405);
    ck_assert_str_eq(answer.allow, "POST, PUT");
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(oversize_body_is_413)
{
    enum { SIZE = 33 * 1024 * 1024 };
    struct fixture fixture;
    struct answer answer;
    char *body = malloc(SIZE);

    memset(body, ' ', SIZE);
    fixture_open(&fixture);
    answer = ask_bytes(&fixture, "POST", C "/points/query", body, SIZE, NULL);
    ck_assert_int_eq(answer.status, 413);
    answer_free(&answer);
    answer = ask(&fixture, "GET", "/livez", NULL);
    ck_assert_int_eq(answer.status, 200);
    answer_free(&answer);
    fixture_close(&fixture);
    free(body);
}
END_TEST

START_TEST(api_key_guards_all_but_the_probes)
{
    static const struct {
        const char *path, *header;
        long status;
    } cases[] = {
        {"/collections", NULL, 403},
        {"/collections", "api-key: wrong", 403},
        {"/collections", "api-key: secre", 403},
        {"/collections", "api-key: secret", 200},
        {"/collections", "Authorization: Bearer secret", 200},
        {"/livez", NULL, 200},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = ask_bytes(&fixture, "GET", cases[i].path, NULL, 0, cases[i].header);
        ck_assert_int_eq(answer.status, cases[i].status);
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
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask(&fixture, "POST", C "/points/query", late);
    ck_assert_int_eq(answer.status, 200);
    answer_free(&answer);
    answer = ask(&fixture, "POST", C "/points/query", never);
    ck_assert_int_eq(answer.status, 408);
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

static void *ask_many(void *context)
{
    const struct fixture *fixture = context;

    for (int i = 0; i < 50; i++) {
        struct answer answer = ask(fixture, "POST", C "/points/query",
                                   "{\"query\":[1,7,0.5,0],\"limit\":3,\"with_payload\":true}");
        ck_assert_int_eq(answer.status, 200);
        answer_free(&answer);
    }
    return NULL;
}

START_TEST(many_clients_at_once_are_all_answered)
{
    struct fixture fixture;
    pthread_t threads[8];

    fixture_open(&fixture);
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_many, &fixture), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(bad_requests_get_the_error_envelope), TEST(reads_answer_in_the_dialect),
           TEST(openapi_and_windows_are_valid_json), TEST(browsers_get_the_dashboard),
           TEST(not_ready_is_503_with_the_reason), TEST(wrong_method_names_the_allowed_ones),
           TEST(oversize_body_is_413), TEST(api_key_guards_all_but_the_probes),
           TEST(waiting_for_an_offset_returns_when_it_is_searchable),
           TEST(many_clients_at_once_are_all_answered), TEST(stop_while_connections_come_and_go),
           TEST(clients_start_up_without_a_failure), TEST(facets_and_groups_count_values),
           TEST(mmr_prefers_rows_that_differ), TEST(fusion_sums_what_each_search_says_of_a_point),
           TEST(recommendations_are_near_the_mean_and_leave_examples_out),
           TEST(requests_that_wait_hold_up_nobody_and_end_with_the_server))
