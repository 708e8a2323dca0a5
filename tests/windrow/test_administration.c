/* The routes of operators, on a real service whose broker is away. */
#include "tests/support/test_main.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "windrow/daemon/daemon.h"
#include "windrow/daemon/service.h"

struct answer {
    long status;
    long long retry_after;
    struct buffer body;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    buffer_append(context, data, size * count);
    return size * count;
}

static struct answer ask(const struct service *service, const char *path, const char *body)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct answer answer = {0};
    curl_off_t retry_after = 0;
    CURL *curl = curl_easy_init();
    char url[256];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", service_port(service), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
    answer.retry_after = retry_after;
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return answer;
}

static struct service *start(unsigned roles)
{
    struct daemon_options options = {.roles = roles};
    struct service *service;
    struct buffer report = {0};
    struct error error = {0};
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/windrow.yaml", test_directory());
    file = fopen(path, "w");
    fprintf(file,
            "data_dir: %s/data\nkafka: {brokers: 127.0.0.1:1}\nhttp: {listen: 127.0.0.1:0}\n"
            "collections: {news: {topics: [news], dim: 4}}\n",
            test_directory());
    fclose(file);
    ck_assert_msg(config_load(path, &options.config, &report) == 0, "%s", buffer_text(&report));
    ck_assert_msg(service_start(&options, &service, &error) == 0, "%s", error.text);
    buffer_destroy(&report);
    return service;
}

START_TEST(not_ready_is_503_with_the_reason)
{
    struct service *service = start(CONFIG_ROLE_INGEST);
    struct answer answer = ask(service, "/readyz", NULL);

    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(buffer_text(&answer.body), "no Kafka broker has answered yet"));
    ck_assert_int_eq(answer.retry_after, 1);
    buffer_destroy(&answer.body);
    service_stop(service);
}
END_TEST

START_TEST(builder_for_other_machines_is_ready_without_a_broker)
{
    struct service *service = start(CONFIG_ROLE_INDEXER);
    struct answer answer = ask(service, "/readyz", NULL);

    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(buffer_text(&answer.body), "all shards are ready");
    buffer_destroy(&answer.body);
    answer = ask(service, "/collections/news/pause", "{}");
    ck_assert_int_eq(answer.status, 501);
    ck_assert_ptr_nonnull(strstr(buffer_text(&answer.body), "does not read from Kafka"));
    buffer_destroy(&answer.body);
    service_stop(service);
}
END_TEST

START_TEST(operators_are_answered_without_a_broker)
{
    static const struct {
        const char *path, *body;
        long status;
        const char *contains;
    } cases[] = {
        {"/livez", NULL, 200, "healthz check passed"},
        {"/cluster", NULL, 200, "\"result\":{\"status\":\"disabled\"}"},
        {"/history", NULL, 200, "\"columns\":[\"time_ms\",\"records_per_s\""},
        {"/history?since_ms=soon", NULL, 400, "since_ms"},
        {"/config", NULL, 200,
         "\"collections.news.ttl\": {\"value\": \"7d\", \"origin\": \"default\","},
        {"/dead-letters", NULL, 200, "\"reasons\":[]"},
        {"/status", NULL, 200, "\"why\":\"no Kafka broker has answered yet"},
        {"/openapi.json", NULL, 200, "\"/collections/{collection}/points/query\""},
        {"/collections/news/compact", "{}", 200, "{\"result\":[]"},
        {"/collections/news/compact", "{\"shard\":\"7\"}", 404, "shard 7 of news is not open"},
        {"/collections/nope/compact", "{}", 404, "Collection `nope` doesn't exist!"},
        {"/collections/news/rebuild", "{}", 400, "window"},
        {"/collections/news/pause", "{\"now\":1}", 400, "unknown field `now`"},
        {"/collections/news/resume", "{\"shard\":\"0\",\"how\":\"hope\"}", 400, "$.how"},
        {"/collections/news/resume", "{\"how\":\"skip\"}", 400, "$.shard"},
        {"/backup", "{\"folder\":\"here\",\"token\":\"a\"}", 400, "absolute path"},
        {"/backup", "{\"folder\":\"/nowhere\",\"token\":\"a\"}", 400,
         "/nowhere is not a backup begun with this token: the log"},
        {"/backup", "{\"folder\":\"/etc/passwd\",\"token\":\"a\"}", 400,
         "/etc/passwd is not a backup begun with this token: the log"},
        {"/clock/trust", "{}", 200, "\"was_frozen\":false"},
        {"/internal/segment", "{}", 400, "takes no body"},
    };
    struct service *service = start(CONFIG_ROLE_INGEST);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = ask(service, cases[i].path, cases[i].body);
        ck_assert_msg(answer.status == cases[i].status &&
                          strstr(buffer_text(&answer.body), cases[i].contains),
                      "%s -> %ld %s", cases[i].path, answer.status, buffer_text(&answer.body));
        buffer_destroy(&answer.body);
    }
    service_stop(service);
}
END_TEST

TEST_TABLE(TEST(builder_for_other_machines_is_ready_without_a_broker),
           TEST(not_ready_is_503_with_the_reason), TEST(operators_are_answered_without_a_broker))
