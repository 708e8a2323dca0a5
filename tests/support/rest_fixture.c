#include "tests/support/rest_fixture.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "indexer/endpoint/pages/pages.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/support/test_main.h"

/* A request looks at the wall clock when it takes its view. */
static int64_t count_thread(struct io *io)
{
    static _Thread_local bool seen;

    if (!seen)
        atomic_fetch_add(&((struct counting_io *)io)->threads_seen, 1);
    seen = true;
    return io_wall_ms(io_posix());
}

void fixture_append_point(struct fixture *fixture, uint64_t id, int64_t offset,
                          const uint8_t *payload, uint32_t payload_bytes)
{
    float vector[DIM] = {1.0F, (float)id, 0.5F, 0.0F};
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
                                   .payload_bytes = payload_bytes};
    group = (struct store_group){.records = &record,
                                 .record_count = 1,
                                 .next_offset = offset + 1,
                                 .clock = {.watermark_ms = 2000}};
    ck_assert_msg(store_shard_append(fixture->shard, &group, &error) == 0, "%s", error.text);
}

void fixture_start_server(struct fixture *fixture)
{
    struct error error = {0};

    fixture->server = http_server_new(&(struct http_options){
        .config = &fixture->config, .metrics = fixture->metrics, .io = &fixture->io.io});
    pages_add_routes(fixture->server);
    rest_add_routes(fixture->rest, fixture->server);
    ck_assert_msg(http_server_start(fixture->server, &error) == 0, "%s", error.text);
}

void fixture_open(struct fixture *fixture)
{
    static const uint8_t payload[] = {0x81, 0xa1, 'n', 0x01}; /* {"n": 1} */
    static const char *topics[] = {"news"};
    struct store_options store_options = {
        .data_dir = test_directory(), .memory_max_bytes = 64 << 20, .memtable_max_bytes = 1 << 20};
    struct error error = {0};

    *fixture = (struct fixture){0};
    fixture->io.operations = *io_posix()->operations;
    fixture->io.operations.wall_ms = count_thread;
    fixture->io.io.operations = &fixture->io.operations;

    fixture->collection = (struct config_collection){.name = "news",
                                                     .topics = topics,
                                                     .topic_count = 1,
                                                     .dim = DIM,
                                                     .metric = VECTOR_METRIC_L2,
                                                     .window_ms = 3600000,
                                                     .hnsw_ef = 64,
                                                     .flat_below_rows = 1000};
    fixture->config = (struct config){.node = "test",
                                      .http_host = "127.0.0.1",
                                      .collections = &fixture->collection,
                                      .collection_count = 1};
    fixture->metrics = metrics_new();
    ck_assert_msg(store_open(&store_options, &fixture->store, &error) == 0, "%s", error.text);
    fixture->registry =
        store_registry_new(&(struct store_registry_options){.store = fixture->store});
    ck_assert_msg(store_registry_claim(fixture->registry, &fixture->collection, "0",
                                       &fixture->shard, &error) == 0,
                  "%s", error.text);
    for (uint64_t id = 0; id < POINTS; id++)
        fixture_append_point(fixture, id, (int64_t)id, payload, sizeof(payload));
    fixture->rest = rest_new(&(struct rest_options){.config = &fixture->config,
                                                    .registry = fixture->registry,
                                                    .metrics = fixture->metrics,
                                                    .io = &fixture->io.io});
    fixture_start_server(fixture);
}

void fixture_close(struct fixture *fixture)
{
    http_server_delete(fixture->server);
    rest_delete(fixture->rest);
    store_registry_close_all(fixture->registry, true);
    store_registry_delete(fixture->registry);
    store_close(fixture->store);
    metrics_delete(fixture->metrics);
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;

    buffer_append(&answer->body, data, size * count);
    return size * count;
}

/* `line` ends with CR and LF. */
static void keep_header(const char *line, size_t length, const char *name, char *out,
                        size_t out_bytes)
{
    size_t name_length = strlen(name);

    if (length >= name_length + 2 && strncasecmp(line, name, name_length) == 0)
        snprintf(out, out_bytes, "%.*s", (int)(length - 2 - name_length), line + name_length);
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct answer *answer = context;

    keep_header(line, size * count, "Allow: ", answer->allow, sizeof(answer->allow));
    keep_header(line, size * count, "Retry-After: ", answer->retry_after,
                sizeof(answer->retry_after));
    keep_header(line, size * count, "Content-Encoding: ", answer->coding, sizeof(answer->coding));
    keep_header(line, size * count, "Vary: ", answer->vary, sizeof(answer->vary));
    keep_header(line, size * count, "Content-Type: ", answer->type, sizeof(answer->type));
    return size * count;
}

struct answer ask_bytes(const struct fixture *fixture, const char *method, const char *path,
                        const char *body, size_t body_bytes, const char *header)
{
    struct answer answer = {0};
    struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
    CURL *curl = curl_easy_init();
    char url[256];

    headers = curl_slist_append(headers, "Expect:");
    if (!header || strncasecmp(header, "Content-Type:", 13) != 0)
        headers = curl_slist_append(headers, "Content-Type: application/json");
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

struct answer ask(const struct fixture *fixture, const char *method, const char *path,
                  const char *body)
{
    return ask_bytes(fixture, method, path, body, body ? strlen(body) : 0, NULL);
}

void answer_free(struct answer *answer)
{
    buffer_destroy(&answer->body);
}

void check_all(const struct fixture *fixture, const struct expectation *cases, size_t count)
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

int connect_to(const struct fixture *fixture)
{
    struct timeval timeout = {.tv_sec = 20};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(fixture->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    return connection;
}

void send_bytes(int connection, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(connection, bytes, size, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        bytes += sent;
        size -= (size_t)sent;
    }
}

const char *converse_bytes(const struct fixture *fixture, const char *request, size_t length)
{
    static char reply[8192];
    int connection = connect_to(fixture);
    size_t size = 0;
    ssize_t got;

    send_bytes(connection, request, length);
    while (size + 1 < sizeof(reply) &&
           (got = recv(connection, reply + size, sizeof(reply) - 1 - size, 0)) > 0)
        size += (size_t)got;
    close(connection);
    reply[size] = '\0';
    return reply;
}

const char *converse(const struct fixture *fixture, const char *request)
{
    return converse_bytes(fixture, request, strlen(request));
}
