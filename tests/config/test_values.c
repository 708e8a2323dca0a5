/* What a good file becomes: values, defaults, secrets, warnings. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/config/config_support.h"

static const char full[] =
    "node: n1\n"
    "data_dir: /data\n"
    "roles: [indexer]\n"
    "kafka:\n"
    "  brokers: a:9092, b:9093\n"
    "  group: g\n"
    "  dead_letters: ~\n"
    "  properties: {fetch.min.bytes: 1000, client.rack: 'r 1'}\n"
    "nats: {url: 'nats://u:p@h:4222', stream: S, replicas: 3, ack_wait: 2m}\n"
    "http: {listen: '[::1]:0', grpc_listen: '127.0.0.1:6334'}\n"
    "store: {memtable_max_bytes: 1MiB, memory_max_bytes: 1GB}\n"
    "collections:\n"
    "  c:\n"
    "    topics: [t1, t.2]\n"
    "    format: msgpack\n"
    "    dim: 3\n"
    "    metric: l2\n"
    "    event_time: {field: meta.at, unit: rfc3339}\n"
    "    window: 30m\n"
    "    ttl: 12h\n"
    "    max_bytes: 10GiB\n"
    "    max_future: 1s\n"
    "    idle_timeout: 250ms\n"
    "    late: {allowed: 2s, policy: dead_letter}\n"
    "    durability: kafka\n"
    "    index: {kind: hnsw, hnsw: {m: 8, ef_construct: 64, ef: 32}, flat_below: 0, recall: 0.98, "
    "spans: off, recall_floor: 0.5}\n";

START_TEST(every_value_reaches_its_field)
{
    struct buffer report = {0};
    struct config *config = parse_text(full, &report);
    const struct config_collection *c;

    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_str_eq(buffer_text(&report), "");
    ck_assert_str_eq(config->path, "w.yaml");
    ck_assert_str_eq(config->node, "n1");
    ck_assert_uint_eq(config->roles, CONFIG_ROLE_INDEXER);
    ck_assert_str_eq(config->kafka_brokers, "a:9092, b:9093");
    ck_assert_ptr_null(config->kafka_dead_letters);
    ck_assert_uint_eq(config->kafka_property_count, 2);
    ck_assert_str_eq(config->kafka_properties[1].name, "client.rack");
    ck_assert_str_eq(config->kafka_properties[1].value, "r 1");
    ck_assert_str_eq(config->nats_url, "nats://u:p@h:4222");
    ck_assert_uint_eq(config->nats_replicas, 3);
    ck_assert_int_eq(config->nats_ack_wait_ms, 120000);
    ck_assert_str_eq(config->http_host, "::1");
    ck_assert_uint_eq(config->http_port, 0);
    ck_assert_str_eq(config->http_grpc_host, "127.0.0.1");
    ck_assert_uint_eq(config->http_grpc_port, 6334);
    ck_assert_uint_eq(config->memtable_max_bytes, 1 << 20);
    ck_assert_uint_eq(config->memory_max_bytes, 1000000000);
    c = config_collection_find(config, "c");
    ck_assert_uint_eq(c->topic_count, 2);
    ck_assert_str_eq(c->topics[1], "t.2");
    ck_assert_int_eq(c->format, CONFIG_FORMAT_MSGPACK);
    ck_assert_int_eq(c->metric, VECTOR_METRIC_L2);
    ck_assert_str_eq(c->event_time_field, "meta.at");
    ck_assert_int_eq(c->event_time_unit, CONFIG_TIME_RFC3339);
    ck_assert_int_eq(c->window_ms, 1800000);
    ck_assert_int_eq(c->ttl_ms, 43200000);
    ck_assert_uint_eq(c->max_bytes, UINT64_C(10) << 30);
    ck_assert_int_eq(c->idle_timeout_ms, 250);
    ck_assert_int_eq(c->late_allowed_ms, 2000);
    ck_assert_int_eq(c->late_policy, CONFIG_LATE_DEAD_LETTER);
    ck_assert_int_eq(c->durability, CONFIG_DURABILITY_KAFKA);
    ck_assert_int_eq(c->index_kind, CONFIG_INDEX_HNSW);
    ck_assert_uint_eq(c->hnsw_ef, 32);
    ck_assert_uint_eq(c->flat_below_rows, 0);
    ck_assert_double_eq(c->recall, 0.98);
    ck_assert_int_eq(c->spans, CONFIG_SPANS_OFF);
    ck_assert_double_eq(c->recall_floor, 0.5);
    ck_assert_ptr_null(config_collection_find(config, "d"));
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

START_TEST(everything_but_brokers_and_a_collection_has_a_default)
{
    struct buffer report = {0};
    struct config *config = parse_text("kafka: {brokers: h}\ncollections: {news: {}}\n", &report);
    const struct config_collection *c;

    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_uint_gt(strlen(config->node), 0);
    ck_assert_str_eq(config->data_dir, "/var/lib/windrow");
    ck_assert_uint_eq(config->roles, CONFIG_ROLE_INGEST | CONFIG_ROLE_INDEXER);
    ck_assert_str_eq(config->kafka_group, "windrow");
    ck_assert_str_eq(config->kafka_dead_letters, "windrow.dead-letters");
    ck_assert_ptr_null(config->nats_url);
    ck_assert_str_eq(config->nats_stream, "WINDROW");
    ck_assert_int_eq(config->nats_ack_wait_ms, 30000);
    ck_assert_str_eq(config->http_host, "127.0.0.1");
    ck_assert_uint_eq(config->http_port, 6333);
    ck_assert_ptr_null(config->http_grpc_host);
    ck_assert_uint_eq(config->memory_max_bytes, UINT64_C(2) << 30);
    ck_assert_uint_eq(config->max_background_jobs, 2);
    ck_assert_uint_eq(config->processors, 0); /* auto */
    c = &config->collections[0];
    ck_assert_str_eq(c->topics[0], "news");
    ck_assert_uint_eq(c->dim, 384);
    ck_assert_ptr_null(c->event_time_field);
    ck_assert_int_eq(c->window_ms, 3600000);
    ck_assert_int_eq(c->ttl_ms, INT64_C(7) * 86400000);
    ck_assert_uint_eq(c->max_bytes, 0);
    ck_assert_int_eq(c->max_future_ms, 300000);
    ck_assert_int_eq(c->late_allowed_ms, 600000);
    ck_assert_uint_eq(c->hnsw_m, 16);
    ck_assert_uint_eq(c->ivf_pq_lists, 0);
    ck_assert_uint_eq(c->flat_below_rows, 2000);
    ck_assert_uint_eq(c->hnsw_ef, 0); /* auto */
    ck_assert_double_eq(c->recall, 0.95);
    ck_assert_int_eq(c->spans, CONFIG_SPANS_AUTO);
    ck_assert_double_eq(c->recall_floor, 0.95);
    ck_assert_str_eq(buffer_text(&report),
                     "w.yaml:2:15: warning: collections.news.dim: not set, using 384 (set it to "
                     "the dimensions of your vectors)\n");
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

START_TEST(doubtful_values_are_warnings)
{
    static const struct {
        const char *lines;
        const char *warning; /* NULL: none */
    } table[] = {
        {"    ttl: 100h\n", NULL},
        {"    ttl: 4h\n", NULL},
        {"    ttl: ~\n", NULL},
        {"    ttl: 2d\n    late: {allowed: 1m}\n",
         "w.yaml:6:21: warning: collections.news.late.allowed: 1m is shorter than max_future of 5m "
         "(one record from the future would close the window being written)\n"},
        {"    ttl: 2d\n    max_future: 1h\n",
         "w.yaml:6:17: warning: collections.news.late.allowed: 10m is shorter than max_future of "
         "1h (one record from the future would close the window being written)\n"},
        {"    ttl: 2d\n    max_future: 10m\n", NULL},
        {"    ttl: 2d\n    compaction: {leveled: {size_ratio: 4}}\n",
         "w.yaml:6:40: warning: collections.news.compaction.leveled.size_ratio: has no effect with "
         "compaction.style time_window (only for leveled and hybrid)\n"},
        {"    ttl: 2d\n    compaction: {style: hybrid, leveled: {size_ratio: 4}}\n", NULL},
        {"    ttl: 2d\n    max_bytes: 1GiB\n    compaction: {style: fifo, size_tiered: "
         "{min_threshold: 5}}\n",
         "w.yaml:7:60: warning: collections.news.compaction.size_tiered.min_threshold: has no "
         "effect with compaction.style fifo (only for all styles but fifo)\n"},
        {"    ttl: 101h\n", "w.yaml:3:3: warning: collections.news.window: 1h with a ttl of 4d5h "
                            "makes 101 windows per shard (20 to 50 are good practice)\n"},
        {"    ttl: 3h\n", "w.yaml:3:3: warning: collections.news.window: 1h with a ttl of 3h makes "
                          "3 windows per shard (20 to 50 are good practice)\n"},
        {"    ttl: 2d\nhttp: {listen: '0.0.0.0:1', insecure: true}\n",
         "w.yaml:6:16: warning: http.listen: every machine that reaches 0.0.0.0 may read and write "
         "(set http.api_key_file)\n"},
        {"    ttl: 2d\n    payload_index: [a.b]\n", NULL},
        {"    ttl: 2d\n    embedder: {url: 'https://e.example/v1/embeddings'}\n", NULL},
    };
    struct buffer report = {0};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char yaml[1024];
        struct config *config;
        snprintf(yaml, sizeof(yaml), "%s%s", MINIMAL, table[i].lines);
        config = parse_text(yaml, &report);
        ck_assert_msg(config != NULL, "%s", buffer_text(&report));
        ck_assert_str_eq(buffer_text(&report), table[i].warning ? table[i].warning : "");
        config_free(config);
    }
    buffer_destroy(&report);
}
END_TEST

START_TEST(lists_and_their_age_are_read)
{
    static const char yaml[] =
        MINIMAL "    index: {kind: ivf_pq, ivf_pq_after: 3d, ivf_pq: {lists: 400, nprobe: 12}}\n";
    struct buffer report = {0};
    struct config *config = parse_text(yaml, &report);

    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_int_eq(config->collections[0].index_kind, CONFIG_INDEX_IVF_PQ);
    ck_assert_int_eq(config->collections[0].ivf_pq_after_ms, INT64_C(3) * 86400000);
    ck_assert_uint_eq(config->collections[0].ivf_pq_lists, 400);
    ck_assert_uint_eq(config->collections[0].ivf_pq_nprobe, 12);
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

START_TEST(defaults_of_missing_features_may_be_written_out)
{
    static const char yaml[] =
        MINIMAL "    ttl: 2d\n"
                "    codec: raw\n"
                "    vectors: {storage: float32}\n"
                "    compaction:\n"
                "      max_space_amplification: 1.50\n"
                "      leveled: {target_file_size: 65536KiB, size_ratio: 10}\n"
                "http: {tls: {cert_file: ~, key_file: ~}}\n";
    struct buffer report = {0};
    struct config *config = parse_text(yaml, &report);

    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_str_eq(buffer_text(&report), "");
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

static const char *write_file(const char *name, const char *content)
{
    static char path[300];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", test_directory(), name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0); /* key files are private */
    fputs(content, file);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

START_TEST(secrets_come_from_files_and_the_environment)
{
    struct buffer report = {0};
    struct config *config;
    static const char *const variables[] = {"WINDROW_KAFKA_SASL_PASSWORD",
                                            "WINDROW_KAFKA_SASL_USERNAME", "WINDROW_KAFKA_GROUP_ID",
                                            "WINDROW_HTTP_API_KEY"};
    char yaml[1024];

    snprintf(
        yaml, sizeof(yaml),
        "kafka:\n  brokers: h:1\n  properties: {ssl.key.password: 'file:%s', sasl.password: x}\n"
        "http: {api_key_file: %s}\ncollections: {a: {dim: 1, ttl: 2d}}\n",
        write_file("secret", "swordfish\n"), write_file("secret", "swordfish\n"));
    setenv("WINDROW_KAFKA_SASL_PASSWORD", "from-environment", 1);
    setenv("WINDROW_KAFKA_SASL_USERNAME", "me", 1);
    config = parse_text(yaml, &report);
    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_str_eq(config->http_api_key, "swordfish");
    ck_assert_uint_eq(config->kafka_property_count, 3);
    ck_assert_str_eq(config->kafka_properties[0].value, "swordfish");
    ck_assert_str_eq(config->kafka_properties[1].value, "from-environment");
    ck_assert_str_eq(config->kafka_properties[2].name, "sasl.username");
    config_free(config);

    setenv("WINDROW_HTTP_API_KEY", "other", 1);
    config = parse_text(yaml, &report);
    ck_assert_ptr_nonnull(config);
    ck_assert_str_eq(config->http_api_key, "other");
    config_free(config);
    setenv("WINDROW_KAFKA_GROUP_ID", "g", 1);
    ck_assert_ptr_null(parse_text(yaml, &report));
    ck_assert_ptr_nonnull(
        strstr(buffer_text(&report), "cannot set group.id (kafka.group sets it)"));
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    buffer_destroy(&report);
}
END_TEST

START_TEST(read_only_key_needs_a_key_for_writes)
{
    struct buffer report = {0};
    struct config *config;
    char yaml[1024];

    snprintf(yaml, sizeof(yaml), "%s    ttl: 2d\nhttp: {read_only_key_file: %s}\n", MINIMAL,
             write_file("reader", "reader\n"));
    ck_assert_ptr_null(parse_text(yaml, &report));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "nothing protects writes"));
    setenv("WINDROW_HTTP_API_KEY", "writer", 1);
    config = parse_text(yaml, &report);
    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    ck_assert_str_eq(config->http_read_only_key, "reader");
    config_free(config);
    unsetenv("WINDROW_HTTP_API_KEY");
    buffer_destroy(&report);
}
END_TEST

START_TEST(a_secret_that_cannot_be_read_is_an_error)
{
    struct buffer report = {0};
    char yaml[1024];

    ck_assert_ptr_null(
        parse_text(MINIMAL "    ttl: 2d\nhttp: {api_key_file: /no/such}\n", &report));
    ck_assert_str_eq(
        buffer_text(&report),
        "w.yaml:6:22: http.api_key_file: cannot open /no/such: No such file or directory\n");
    snprintf(yaml, sizeof(yaml), "%s    ttl: 2d\nhttp: {api_key_file: %s}\n", MINIMAL,
             write_file("two", "two words\n"));
    ck_assert_ptr_null(parse_text(yaml, &report));
    ck_assert_str_eq(buffer_text(&report),
                     "w.yaml:6:22: http.api_key_file: the API key contains blanks or unprintable "
                     "characters (use a key of printable ASCII a line, or KEY # NAME)\n");
    buffer_destroy(&report);
}
END_TEST

/* "KEY=NAME," a key. */
static const char *list_keys(const char *keys)
{
    static char out[256];
    struct config_key key;

    out[0] = '\0';
    while (config_key_next(&keys, &key))
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s=%.*s,", (int)key.length,
                 key.text, (int)key.name_length, key.name ? key.name : "");
    return out;
}

START_TEST(keys_stand_one_a_line)
{
    static const struct {
        const char *text, *keys; /* keys NULL: refused */
    } cases[] = {
        {"one\n", "one=,"},
        {"one\r\ntwo\r\n", "one=,two=,"},
        {"# old ones\n\none # alice\n#two # bob.b\n", "one=alice,#two=bob.b,"},
        {"one # \n", NULL},
        {"one alice\n", NULL},
        {"one # alice b\n", NULL},
        {"one\ttwo\n", NULL},
        {"# nothing\n#\n", NULL},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n", NULL},
    };
    struct buffer report = {0};
    char yaml[1024];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = write_file("keys", cases[i].text);
        struct config *config;
        snprintf(yaml, sizeof(yaml),
                 "%s    ttl: 2d\nhttp: {api_key_file: %s, internal_key_file: %s}\n", MINIMAL, path,
                 path);
        config = parse_text(yaml, &report);
        ck_assert_msg((config != NULL) == (cases[i].keys != NULL), "case %zu: %s", i,
                      buffer_text(&report));
        if (!config)
            continue;
        ck_assert_str_eq(list_keys(config->http_api_key), cases[i].keys);
        ck_assert_str_eq(list_keys(config->http_internal_key), cases[i].keys);
        config_free(config);
    }
    buffer_destroy(&report);
}
END_TEST

START_TEST(key_file_that_every_user_may_read_is_refused)
{
    static const mode_t modes[] = {0604, 0602, 0646};
    struct buffer report = {0};
    const char *path = write_file("open", "key\n");
    char yaml[1024], expected[1024];

    snprintf(yaml, sizeof(yaml), "%s    ttl: 2d\nhttp: {api_key_file: %s}\n", MINIMAL, path);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        ck_assert_ptr_null(parse_text(yaml, &report));
        snprintf(expected, sizeof(expected),
                 "w.yaml:6:22: http.api_key_file: every user may read or write %s (mode %04o; such "
                 "as chmod 640 %s)\n",
                 path, (unsigned)modes[i], path);
        ck_assert_str_eq(buffer_text(&report), expected);
    }
    ck_assert_int_eq(chmod(path, 0640), 0);
    config_free(parse_text(yaml, &report));
    ck_assert_str_eq(buffer_text(&report), "");
    buffer_destroy(&report);
}
END_TEST

START_TEST(fresh_keys_are_adopted_but_the_last_one_stays)
{
    struct buffer report = {0}, restart_needed = {0};
    const char *path = write_file("keys", "old # a\nnew\n");
    struct config *running, *fresh, *bare;
    struct config_key sent;
    char yaml[1024];

    snprintf(yaml, sizeof(yaml), "%s    ttl: 2d\nhttp: {api_key_file: %s}\n", MINIMAL, path);
    running = parse_text(yaml, &report);
    bare = parse_text(MINIMAL "    ttl: 2d\n", &report);
    (void)write_file("keys", "new\n");
    fresh = parse_text(yaml, &report);
    ck_assert(running && bare && fresh);
    ck_assert(config_compare(running, fresh, NULL, &restart_needed));
    ck_assert_str_eq(buffer_text(&restart_needed), "");
    ck_assert(config_key_sent(running, &sent) && strncmp(sent.text, "old", sent.length) == 0);
    ck_assert(config_adopt_keys(running, fresh));
    config_free(fresh);
    ck_assert_str_eq(list_keys(running->http_api_key), "new=,");
    ck_assert(!config_adopt_keys(running, bare));
    ck_assert_str_eq(list_keys(running->http_api_key), "new=,");
    ck_assert(!config_key_sent(bare, &sent));
    config_free(running);
    config_free(bare);
    buffer_destroy(&report);
    buffer_destroy(&restart_needed);
}
END_TEST

START_TEST(key_of_an_embedder_is_read_adopted_and_warned_of_on_plain_http)
{
    struct buffer report = {0}, restart_needed = {0};
    const char *path = write_file("embedder-key", "old\n");
    struct config *running, *fresh;
    char yaml[1024];

    snprintf(yaml, sizeof(yaml),
             "%s    ttl: 2d\n    embedder: {url: 'http://e.example/v1/embeddings', key_file: %s, "
             "timeout: 3s}\n",
             MINIMAL, path);
    running = parse_text(yaml, &report);
    ck_assert_msg(running != NULL, "%s", buffer_text(&report));
    ck_assert_str_eq(buffer_text(&report),
                     "w.yaml:6:21: warning: collections.news.embedder.url: the key goes over the "
                     "network in plain text (use https://)\n");
    ck_assert_int_eq(running->collections[0].embedder_timeout_ms, 3000);
    ck_assert_uint_eq(running->collections[0].embedder_batch, 32);
    ck_assert_ptr_null(running->collections[0].embedder_model);
    (void)write_file("embedder-key", "new\n");
    fresh = parse_text(yaml, &report);
    ck_assert(config_compare(running, fresh, NULL, &restart_needed));
    ck_assert_str_eq(buffer_text(&restart_needed), "");
    ck_assert_str_eq(running->collections[0].embedder_key, "old");
    ck_assert(config_adopt_keys(running, fresh));
    ck_assert(!config_compare(running, fresh, NULL, NULL));
    config_free(fresh);
    ck_assert_str_eq(running->collections[0].embedder_key, "new");
    config_free(running);
    buffer_destroy(&report);
    buffer_destroy(&restart_needed);
}
END_TEST

START_TEST(a_missing_file_is_told_from_a_bad_one)
{
    struct buffer report = {0};
    struct config *config = NULL;

    ck_assert_int_eq(config_load("/no/such.yaml", &config, &report), ERROR_NOT_FOUND);
    ck_assert_str_eq(
        buffer_text(&report),
        "/no/such.yaml: cannot read: No such file or directory (name a file with -c FILE)\n");
    ck_assert_ptr_null(config);
    report.size = 0;
    ck_assert_int_eq(config_load(write_file("bad.yaml", "x: y\n"), &config, &report),
                     ERROR_INVALID);
    ck_assert_int_eq(config_load(write_file("good.yaml", full), &config, &report), 0);
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

TEST_TABLE(TEST(every_value_reaches_its_field),
           TEST(everything_but_brokers_and_a_collection_has_a_default),
           TEST(doubtful_values_are_warnings), TEST(lists_and_their_age_are_read),
           TEST(defaults_of_missing_features_may_be_written_out),
           TEST(secrets_come_from_files_and_the_environment),
           TEST(a_secret_that_cannot_be_read_is_an_error),
           TEST(read_only_key_needs_a_key_for_writes), TEST(keys_stand_one_a_line),
           TEST(key_file_that_every_user_may_read_is_refused),
           TEST(fresh_keys_are_adopted_but_the_last_one_stays),
           TEST(key_of_an_embedder_is_read_adopted_and_warned_of_on_plain_http),
           TEST(a_missing_file_is_told_from_a_bad_one))
