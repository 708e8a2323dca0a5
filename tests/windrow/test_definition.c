/* Definitions of collections that the nodes of a cluster share: their texts, and what wins. */
#include "windrow/daemon/definition.h"

#include <string.h>

#include "tests/support/test_main.h"

#define NOW INT64_C(1700000000000)

static struct doc parsed(struct arena *arena, const char *text)
{
    struct error error = {0};
    struct doc doc;

    ck_assert_msg(doc_parse_json(arena, text, strlen(text), NULL, &doc, &error) == 0, "%s",
                  error.text);
    return doc;
}

START_TEST(a_definition_survives_the_bucket_and_the_file)
{
    struct buffer entry = {0}, file = {0};
    struct error error = {0};
    struct definition made, read;
    struct arena arena;
    struct doc settings;

    arena_create(&arena, 0);
    settings = parsed(&arena, "{\"topics\":[\"a\"],\"dim\":4,\"ttl\":\"1h\\n# cluster: {}\"}");
    made = definition_create(&(struct definition){0}, &settings, NOW);
    definition_write(&made, "prod", &entry);
    definition_write_file("a", &made, "prod", &file);
    ck_assert_int_eq(
        definition_parse(buffer_text(&entry), entry.size, "prod", &arena, &read, &error), 0);
    ck_assert(read.created == made.created && read.revision == made.revision);
    ck_assert(doc_equal(read.settings, &settings));
    ck_assert_int_eq(
        definition_read_file(buffer_text(&file), file.size, "prod", &arena, &read, &error), 0);
    ck_assert(doc_equal(read.settings, &settings));
    ck_assert_ptr_nonnull(
        strstr(buffer_text(&file), "\n  \"a\":\n    \"topics\": [\"a\"]\n    \"dim\": 4\n"));
    /* A file of another cluster, and one of a process that was alone, are the operator's. */
    ck_assert_int_eq(
        definition_read_file(buffer_text(&file), file.size, "test", &arena, &read, &error),
        ERROR_INVALID);
    buffer_destroy(&file);
    definition_write_file("a", &made, NULL, &file);
    ck_assert_int_eq(
        definition_read_file(buffer_text(&file), file.size, "prod", &arena, &read, &error),
        ERROR_INVALID);
    buffer_destroy(&entry);
    buffer_destroy(&file);
    arena_destroy(&arena);
}
END_TEST

/* As `client_settings` holds metadata: JSON in a string. A name of a vector may have them, too. */
START_TEST(what_yaml_ends_lines_at_survives_the_bucket_and_the_file)
{
    static const char *const cluster = "prod";
    struct buffer entry = {0}, file = {0};
    struct error error = {0};
    struct definition made, read;
    struct arena arena;
    struct doc settings;

    arena_create(&arena, 0);
    settings = parsed(&arena, "{\"topics\":[\"a\"],\"dim\":4,\"vector_name\":\"v\\u2029\","
                              "\"client_settings\":\"{\\\"metadata\\\":{\\\"k\\u0085\\\":"
                              "\\\"a \\u2028 b\\u007f\\ufeff\\\"}}\"}");
    made = definition_create(&(struct definition){0}, &settings, NOW);
    definition_write(&made, cluster, &entry);
    definition_write_file("a", &made, cluster, &file);
    ck_assert_msg(
        definition_parse(buffer_text(&entry), entry.size, cluster, &arena, &read, &error) == 0,
        "%s", error.text);
    ck_assert(doc_equal(read.settings, &settings));
    ck_assert_msg(
        definition_read_file(buffer_text(&file), file.size, cluster, &arena, &read, &error) == 0,
        "%s", error.text);
    ck_assert(doc_equal(read.settings, &settings));
    buffer_destroy(&entry);
    buffer_destroy(&file);
    arena_destroy(&arena);
}
END_TEST

START_TEST(what_is_no_definition_is_refused)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"cluster\":\"prod\",\"created\":1}",
        "{\"cluster\":\"prod\",\"created\":0,\"revision\":1}",
        "{\"cluster\":\"prod\",\"created\":5,\"revision\":4}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":18446744073709551615}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"settings\":[]}",
        "{\"cluster\":\"test\",\"created\":1,\"revision\":2}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"deleted\":5}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"deleted\":{\"topic\":\"a\"}}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"deleted\":{\"topic\":\"a\","
        "\"begin_offsets\":[\"-1\"]}}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"deleted\":{\"topic\":\"a\","
        "\"begin_offsets\":[5]}}",
        "{\"created\":1,\"revision\":2}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2}\n",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"settings\":{\"a\":\"\xc2\x85\"}}",
        "{\"cluster\":\"prod\",\"created\":1,\"revision\":2,\"settings\":{\"a\":\"\xe2\x80\xa8\"}}",
    };
    struct definition read;
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct error error = {0};
        ck_assert_msg(definition_parse(texts[i], strlen(texts[i]), "prod", &arena, &read, &error) ==
                          ERROR_INVALID,
                      "%s", texts[i]);
        ck_assert_int_ne((int)error.text[0], 0);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(a_revision_is_above_the_one_it_follows_whatever_the_clock_shows)
{
    struct definition first, second, gone, again;
    struct arena arena;
    struct doc settings, ttl, changed;

    arena_create(&arena, 0);
    settings = parsed(&arena, "{\"dim\":4,\"ttl\":\"1h\"}");
    ttl = parsed(&arena, "{\"ttl\":\"2h\"}");
    changed = definition_with(&settings, &ttl, &arena);
    first = definition_create(&(struct definition){0}, &settings, NOW);
    second = definition_follow(&first, &changed, NOW - 5000);
    gone = definition_follow(&second, NULL, NOW + 7);
    again = definition_create(&gone, &settings, 0);
    ck_assert_uint_eq(second.revision, first.revision + 1);
    ck_assert_uint_eq(gone.revision, (uint64_t)NOW + 7);
    ck_assert(second.created == first.created && gone.created == first.created && !gone.settings);
    ck_assert(again.revision == gone.revision + 1 && again.created == again.revision);
    ck_assert_uint_eq(changed.count, 2);
    ck_assert(doc_string_equals(doc_get(second.settings, "ttl"), "2h"));
    arena_destroy(&arena);
}
END_TEST

START_TEST(a_collection_that_is_made_again_begins_where_its_topic_ended)
{
    static const struct {
        const char *settings, *ends, *begins;
    } table[] = {
        {"{\"topics\":[\"a\"]}", "{\"topic\":\"a\",\"begin_offsets\":[\"5\",\"0\"]}",
         "[\"5\",\"0\"]"},
        {"{\"topics\":[\"b\"]}", "{\"topic\":\"a\",\"begin_offsets\":[\"5\",\"0\"]}", NULL},
        {"{\"dim\":4}", "{\"topic\":\"a\",\"begin_offsets\":[\"5\"]}", NULL},
        {"{\"topics\":[\"a\"]}", "null", NULL},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct doc settings = parsed(&arena, table[i].settings);
        struct doc ends = parsed(&arena, table[i].ends), expected;
        struct definition made = definition_create(&(struct definition){0}, &settings, NOW);
        struct definition gone = definition_follow(&made, NULL, NOW), read;
        struct error error = {0};
        struct buffer entry = {0};
        struct doc begun;

        gone.ends = ends.type == DOC_NULL ? NULL : &ends;
        definition_write(&gone, "prod", &entry);
        ck_assert_msg(
            definition_parse(buffer_text(&entry), entry.size, "prod", &arena, &read, &error) == 0,
            "%s", error.text);
        ck_assert(!read.settings && !read.ends == !gone.ends);
        begun = definition_begin(&settings, read.ends, &arena);
        ck_assert(!doc_get(&begun, "begin_offsets") == !table[i].begins);
        if (table[i].begins) {
            expected = parsed(&arena, table[i].begins);
            ck_assert(doc_equal(doc_get(&begun, "begin_offsets"), &expected));
            ck_assert_uint_eq(begun.count, settings.count + 1);
            ck_assert_str_eq(definition_topic(&settings, &arena), "a");
        }
        buffer_destroy(&entry);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(the_newest_revision_wins_and_the_operators_file_always)
{
    const struct doc live = {.type = DOC_MAP};
    const struct {
        enum definition_local local;
        struct definition mine, agreed;
        enum definition_action action;
    } cases[] = {
        {DEFINITION_NONE, {0}, {0}, DEFINITION_KEEP},
        {DEFINITION_NONE, {0}, {3, 4, NULL, NULL}, DEFINITION_KEEP},
        {DEFINITION_NONE, {0}, {3, 4, &live, NULL}, DEFINITION_MAKE},
        {DEFINITION_OWN, {0}, {0}, DEFINITION_KEEP},
        {DEFINITION_OWN, {0}, {3, 4, NULL, NULL}, DEFINITION_KEEP},
        {DEFINITION_OWN, {0}, {3, 4, &live, NULL}, DEFINITION_OPPOSE},
        {DEFINITION_SHARED, {3, 3, &live, NULL}, {3, 3, &live, NULL}, DEFINITION_KEEP},
        {DEFINITION_SHARED, {3, 3, &live, NULL}, {3, 4, &live, NULL}, DEFINITION_CHANGE},
        {DEFINITION_SHARED, {3, 3, &live, NULL}, {3, 4, NULL, NULL}, DEFINITION_DROP},
        {DEFINITION_SHARED, {3, 3, &live, NULL}, {5, 5, &live, NULL}, DEFINITION_REPLACE},
        /* NATS lost its disk. */
        {DEFINITION_SHARED, {3, 3, &live, NULL}, {0}, DEFINITION_PUBLISH},
        {DEFINITION_SHARED, {3, 5, &live, NULL}, {3, 4, &live, NULL}, DEFINITION_PUBLISH},
        {DEFINITION_SHARED, {5, 5, &live, NULL}, {3, 4, NULL, NULL}, DEFINITION_PUBLISH},
        {DEFINITION_SHARED, {5, 5, &live, NULL}, {3, 4, &live, NULL}, DEFINITION_PUBLISH},
        /* A crash, or no room, in between. */
        {DEFINITION_HALF, {3, 3, &live, NULL}, {3, 3, &live, NULL}, DEFINITION_MAKE},
        {DEFINITION_HALF, {3, 3, &live, NULL}, {3, 4, NULL, NULL}, DEFINITION_DROP},
        {DEFINITION_HALF, {3, 3, &live, NULL}, {5, 5, &live, NULL}, DEFINITION_REPLACE},
        {DEFINITION_HALF, {3, 3, &live, NULL}, {0}, DEFINITION_DROP},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(definition_decide(cases[i].local, &cases[i].mine, &cases[i].agreed) ==
                          cases[i].action,
                      "case %zu", i);
}
END_TEST

TEST_TABLE(TEST(a_collection_that_is_made_again_begins_where_its_topic_ended),
           TEST(a_definition_survives_the_bucket_and_the_file),
           TEST(what_yaml_ends_lines_at_survives_the_bucket_and_the_file),
           TEST(what_is_no_definition_is_refused),
           TEST(a_revision_is_above_the_one_it_follows_whatever_the_clock_shows),
           TEST(the_newest_revision_wins_and_the_operators_file_always))
