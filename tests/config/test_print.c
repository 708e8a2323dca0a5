/* What the table writes: --print, the comparison for a reload, the documentation. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc.h"
#include "config/properties.h"
#include "tests/config/config_support.h"

static const char with_secrets[] =
    "node: 'n: 1'\n"
    "kafka:\n"
    "  brokers: h:1\n"
    "  properties: {sasl.password: hush1, ssl.key.pem: hush2, sasl.oauthbearer.config: hush3, "
    "client.rack: 'null'}\n"
    "nats: {url: 'nats://hush4:hush5@h:4222,nats://i:4222'}\n"
    "collections:\n"
    "  b: {dim: 2, ttl: ~, topics: ['~', '1e5', x.y]}\n"
    "  a: {dim: 3, ttl: 90m, window: 30s, max_bytes: 1000001KiB, index: {recall_floor: 1}}\n";

START_TEST(print_shows_each_value_with_its_origin)
{
    struct buffer report = {0};
    struct buffer out = {0};
    struct config *config = parse_text(MINIMAL "    ttl: 2d\n", &report);

    config_print(config, false, &out);
    ck_assert_ptr_nonnull(strstr(buffer_text(&out), "\nkafka:\n  brokers: 127.0.0.1:9092"));
    ck_assert_ptr_nonnull(strstr(
        buffer_text(&out), "    ttl: 2d                                             # w.yaml:5\n"));
    ck_assert_ptr_nonnull(strstr(
        buffer_text(&out), "    window: 1h                                          # default\n"));
    config_free(config);
    buffer_destroy(&out);
    buffer_destroy(&report);
}
END_TEST

START_TEST(print_hides_secrets)
{
    struct buffer report = {0};
    struct config *config = parse_text(with_secrets, &report);
    struct buffer out = {0};

    ck_assert_msg(config == NULL, "the topic ~ is not a name");
    ck_assert_ptr_null(strstr(buffer_text(&report), "hush"));
    setenv("WINDROW_KAFKA_SSL_KEYSTORE_PASSWORD", "hush6", 1);
    setenv("WINDROW_HTTP_API_KEY", "hush7", 1);
    config =
        parse_text("kafka: {brokers: h:1, properties: {sasl.password: hush1, ssl.key.pem: hush2, "
                   "sasl.oauthbearer.config: hush3, ssl.key.password: hush4}}\n"
                   "nats: {url: 'nats://hush5:hush@h:4222,nats://i:4222'}\n"
                   "collections: {a: {dim: 1, ttl: 2d}}\n",
                   &report);
    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    config_print(config, false, &out);
    config_print(config, true, &out);
    ck_assert_ptr_null(strstr(buffer_text(&out), "hush"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&out), "nats://(hidden)@h:4222,nats://i:4222"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&out), "overridden by WINDROW_HTTP_API_KEY"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&out), "ssl.keystore.password from the environment"));
    ck_assert(property_name_is_secret("a.token") && property_name_is_secret("x.SECRET.y") &&
              property_name_is_secret("sasl.jaas.config") && !property_name_is_secret("acks"));
    config_free(config);
    buffer_destroy(&out);
    buffer_destroy(&report);
}
END_TEST

START_TEST(printed_yaml_reads_back_to_the_same_config)
{
    struct buffer report = {0};
    struct buffer first = {0};
    struct buffer restart = {0};
    struct config *config = parse_text(
        "node: 'n: 1'\n"
        "kafka: {brokers: 'h:1, i', properties: {client.rack: 'null', sasl.username: '', "
        "client.id: '- x'}}\n"
        "http: {listen: '[::1]:7'}\n"
        "collections:\n"
        "  b: {dim: 2, ttl: ~, event_time: {field: '#a', unit: s}, "
        "vector_name: \"v\\u007f\\u2028\",\n"
        "    extra_vectors: {\"a b\": {dim: 4, metric: l2}, c: {dim: 2, metric: dot, multivector: "
        "max_sim}}}\n"
        "  a: {dim: 3, ttl: 90m, window: 90s, max_bytes: 1000001KiB, topics: [n, '1'], index: "
        "{recall_floor: 1, flat_below: 0}}\n",
        &report);
    struct config *again;

    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    config_print(config, false, &first);
    again = parse_text(buffer_text(&first), &report);
    ck_assert_msg(again != NULL, "%s", buffer_text(&report));
    ck_assert(!config_compare(config, again, NULL, &restart));
    ck_assert_uint_eq(restart.size, 0);
    config_free(config);
    config_free(again);
    buffer_destroy(&first);
    buffer_destroy(&restart);
    buffer_destroy(&report);
}
END_TEST

START_TEST(printed_json_is_json_with_typed_values)
{
    struct buffer report = {0};
    struct buffer out = {0};
    struct config *config = parse_text(MINIMAL "    ttl: ~\n", &report);
    struct arena arena;
    struct error error = {0};
    struct doc doc;
    const struct doc *dim;

    arena_create(&arena, 0);
    config_print(config, true, &out);
    ck_assert_msg(doc_parse_json(&arena, (const char *)out.data, out.size, NULL, &doc, &error) == 0,
                  "%s", error.text);
    ck_assert_uint_eq(doc.count, property_count);
    dim = doc_get(&doc, "collections.news.dim");
    ck_assert_int_eq(doc_get(dim, "value")->integer, 4);
    ck_assert(doc_string_equals(doc_get(dim, "origin"), "w.yaml:4"));
    ck_assert_uint_eq(doc_get(doc_get(&doc, "collections.news.ttl"), "value")->type, DOC_NULL);
    ck_assert_uint_eq(doc_get(doc_get(&doc, "roles"), "value")->count, 2);
    config_free(config);
    arena_destroy(&arena);
    buffer_destroy(&out);
    buffer_destroy(&report);
}
END_TEST

START_TEST(comparison_tells_what_needs_a_restart)
{
    static const struct {
        const char *fresh;
        bool changed;
        const char *applied, *restart;
    } table[] = {
        {MINIMAL, false, "", ""},
        {"# moved\n\n" MINIMAL "    ttl: 168h\n", false, "", ""},
        {MINIMAL "    ttl: 5d\n", true, "collections.news.ttl (7d -> 5d)\n", ""},
        {MINIMAL "    ttl: 5d\n    metric: dot\n", true, "collections.news.ttl (7d -> 5d)\n",
         "collections.news.metric (cosine -> dot)\n"},
        {MINIMAL "  more: {dim: 1}\n", true, "", "collections.more (added)\n"},
        {MINIMAL "http: {listen: '127.0.0.1:1'}\nlog: {level: debug}\n", true,
         "log.level (info -> debug)\n", "http.listen (127.0.0.1:6333 -> 127.0.0.1:1)\n"},
        {"kafka: {brokers: 127.0.0.1:9092, properties: {sasl.password: b}}\ncollections: {other: "
         "{dim: 4}}\n",
         true, "",
         "kafka.properties ({} -> {sasl.password: \"(hidden)\"})\ncollections.news (removed)\n"
         "collections.other (added)\n"},
    };
    struct buffer report = {0};
    struct buffer applied = {0}, restart = {0};
    struct config *running = parse_text(MINIMAL, &report);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct config *fresh = parse_text(table[i].fresh, &report);
        ck_assert_msg(fresh != NULL, "%s", buffer_text(&report));
        applied.size = restart.size = 0;
        ck_assert_msg(config_compare(running, fresh, &applied, &restart) == table[i].changed, "%s",
                      table[i].fresh);
        ck_assert_str_eq(buffer_text(&applied), table[i].applied);
        ck_assert_str_eq(buffer_text(&restart), table[i].restart);
        config_free(fresh);
    }
    config_free(running);
    buffer_destroy(&applied);
    buffer_destroy(&restart);
    buffer_destroy(&report);
}
END_TEST

START_TEST(settings_that_a_client_changed_are_those_that_are_compared_and_shown)
{
    static const char *const changed[] = {"{\"metadata\":{\"a\":1}}", "{\"metadata\":{\"a\":2}}",
                                          NULL};
    struct buffer report = {0}, shown = {0}, text = {0};
    struct config *running = parse_text(MINIMAL, &report);
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        struct config *fresh;
        text.size = shown.size = 0;
        buffer_append_text(&text, MINIMAL);
        if (changed[i])
            buffer_append_format(&text, "    client_settings: '%s'\n", changed[i]);
        fresh = parse_text(buffer_text(&text), &report);
        ck_assert_msg(fresh != NULL, "%s", buffer_text(&report));
        ck_assert(config_compare(running, fresh, NULL, NULL));
        config_adopt_client_settings(running, "news", fresh->collections[0].client_settings);
        ck_assert(!config_compare(running, fresh, NULL, NULL));
        config_free(fresh);
        ck_assert_pstr_eq(config_client_settings(&running->collections[0], &arena), changed[i]);
        ck_assert(config_show(running, "collections.news.client_settings", false, &shown));
        ck_assert_ptr_nonnull(strstr(buffer_text(&shown), changed[i] ? "metadata" : "~"));
    }
    config_adopt_client_settings(running, "others", "{}");
    arena_destroy(&arena);
    config_free(running);
    buffer_destroy(&report);
    buffer_destroy(&shown);
    buffer_destroy(&text);
}
END_TEST

static void *read_settings(void *context)
{
    const struct config *running = context;
    struct buffer shown = {0};
    struct arena arena;

    arena_create(&arena, 0);
    for (int i = 0; i < 200; i++) {
        const char *text = config_client_settings(&running->collections[0], &arena);
        ck_assert(!text || strcmp(text, "{\"metadata\":{}}") == 0);
        shown.size = 0;
        ck_assert(config_show(running, "collections.news.client_settings", true, &shown));
        arena_reset(&arena);
    }
    arena_destroy(&arena);
    buffer_destroy(&shown);
    return NULL;
}

START_TEST(settings_of_a_client_are_replaced_while_others_read_them)
{
    struct buffer report = {0};
    struct config *running = parse_text(MINIMAL, &report);
    pthread_t readers[2];

    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_settings, running), 0);
    for (int i = 0; i < 400; i++)
        config_adopt_client_settings(running, "news", i % 2 ? "{\"metadata\":{}}" : NULL);
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(readers[i], NULL);
    config_free(running);
    buffer_destroy(&report);
}
END_TEST

START_TEST(documentation_is_up_to_date)
{
    static const char path[] = TEST_DOCS_DIR "/configuration.md";
    struct buffer out = {0};
    struct buffer committed = {0};
    FILE *file = fopen(path, "r");
    size_t got;

    ck_assert_msg(file != NULL, "%s is missing", path);
    while ((got = fread(buffer_reserve(&committed, 4096), 1, 4096, file)) > 0)
        committed.size += got;
    fclose(file);
    config_write_documentation(&out);
    ck_assert_msg(strcmp(buffer_text(&out), buffer_text(&committed)) == 0,
                  "run: windrow check-config --documentation > docs/configuration.md");
    buffer_destroy(&out);
    buffer_destroy(&committed);
}
END_TEST

START_TEST(every_row_of_the_table_is_complete)
{
    for (size_t i = 0; i < property_count; i++) {
        const struct property *property = &properties[i];
        ck_assert_msg(property_find(property->path) == property, "%s is there twice",
                      property->path);
        ck_assert_msg(property->documentation && *property->documentation, "%s", property->path);
        ck_assert_msg(property->default_yaml != NULL, "%s", property->path);
        ck_assert_msg((property->type == PROPERTY_CHOICE) == (property->choice_count > 0), "%s",
                      property->path);
        ck_assert_msg(property->minimum <= property->maximum, "%s", property->path);
        ck_assert_msg(!property_is_section(property->path), "%s", property->path);
    }
}
END_TEST

START_TEST(one_key_is_shown_with_its_origin_and_what_a_reload_does)
{
    static const struct {
        const char *key;
        bool known;
        const char *text;
    } table[] = {
        {"collections.news.dim", true,
         "collections.news.dim: 4 # w.yaml:4; changes need a restart\n"},
        {"collections.news.ttl", true,
         "collections.news.ttl: 7d # default; a reload applies changes\n"},
        {"collections.news.late", true,
         "collections.news.late.allowed: 10m # default; changes need a restart\n"
         "collections.news.late.policy: accept # default; changes need a restart\n"},
        {"collections.news.tll", false, "collections.news.ttl"},
        {"zzz", false, ""},
        {"log.levle", false, "log.level"},
    };
    struct buffer report = {0};
    struct buffer out = {0};
    struct config *config = parse_text(MINIMAL, &report);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        out.size = 0;
        ck_assert_msg(config_show(config, table[i].key, false, &out) == table[i].known, "%s",
                      table[i].key);
        ck_assert_str_eq(buffer_text(&out), table[i].text);
    }
    out.size = 0;
    ck_assert(config_show(config, "log.level", true, &out));
    ck_assert_str_eq(
        buffer_text(&out),
        "{\"log.level\": {\"value\": \"info\", \"origin\": \"default\", \"reloadable\": true}}\n");
    config_free(config);
    buffer_destroy(&out);
    buffer_destroy(&report);
}
END_TEST

START_TEST(data_folder_that_nobody_can_write_is_refused)
{
    static const struct {
        const char *below; /* the test's folder */
        const char *complaint;
    } table[] = {
        {"/missing/data", NULL},
        {"", NULL},
        {"/file", "file is not a folder (the service keeps its data there)\n"},
        {"/file/data", "data_dir: a part of "},
        {"/locked", "locked is writable for nobody (the service keeps its data there)\n"},
        {"/locked/data", "locked is writable for nobody (the service keeps its data there)\n"},
    };
    char path[512], yaml[1024];

    snprintf(path, sizeof(path), "%s/file", test_directory());
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s/locked", test_directory());
    ck_assert_int_eq(mkdir(path, 0555), 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buffer report = {0};
        struct config *config;
        int code;
        snprintf(yaml, sizeof(yaml), MINIMAL "data_dir: %s%s\n", test_directory(), table[i].below);
        config = parse_text(yaml, &report);
        ck_assert_msg(config != NULL, "%s", buffer_text(&report));
        code = config_check_data_dir(config, &report);
        ck_assert_msg(code == (table[i].complaint ? ERROR_INVALID : 0), "%s", table[i].below);
        if (table[i].complaint) {
            ck_assert_msg(strncmp(buffer_text(&report), "w.yaml:5:", 9) == 0, "%s",
                          buffer_text(&report));
            ck_assert_msg(strstr(buffer_text(&report), table[i].complaint) != NULL, "%s",
                          buffer_text(&report));
        } else {
            ck_assert_uint_eq(report.size, 0);
        }
        config_free(config);
        buffer_destroy(&report);
    }
}
END_TEST

TEST_TABLE(TEST(one_key_is_shown_with_its_origin_and_what_a_reload_does),
           TEST(data_folder_that_nobody_can_write_is_refused),
           TEST(print_shows_each_value_with_its_origin), TEST(print_hides_secrets),
           TEST(printed_yaml_reads_back_to_the_same_config),
           TEST(printed_json_is_json_with_typed_values),
           TEST(comparison_tells_what_needs_a_restart),
           TEST(settings_that_a_client_changed_are_those_that_are_compared_and_shown),
           TEST(settings_of_a_client_are_replaced_while_others_read_them),
           TEST(documentation_is_up_to_date), TEST(every_row_of_the_table_is_complete))
