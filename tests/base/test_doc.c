#include <string.h>

#include "base/doc.h"
#include "tests/support/test_main.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct doc read_json(struct arena *arena, const char *text)
{
    struct error error = {0};
    struct doc doc;

    ck_assert_msg(doc_parse_json(arena, text, strlen(text), NULL, &doc, &error) == 0, "%s: %s",
                  text, error.text);
    return doc;
}

START_TEST(get_finds_the_last_of_equal_keys)
{
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    doc = read_json(&arena, "{\"a\":1,\"ab\":2,\"a\":3,\"\":4}");
    ck_assert_int_eq(doc_get(&doc, "a")->integer, 3);
    ck_assert_int_eq(doc_get(&doc, "ab")->integer, 2);
    ck_assert_int_eq(doc_get(&doc, "")->integer, 4);
    ck_assert_int_eq(doc_get_n(&doc, "abc", 2)->integer, 2);
    ck_assert_ptr_null(doc_get(&doc, "b"));
    ck_assert_ptr_null(doc_get(doc_get(&doc, "a"), "x"));
    ck_assert_ptr_null(doc_get(NULL, "a"));
    arena_destroy(&arena);
}
END_TEST

static bool append_value(void *context, const struct doc *value)
{
    struct buffer *out = context;

    if (out->size)
        buffer_append_byte(out, ' ');
    doc_write_json(out, value);
    return false;
}

START_TEST(paths_reach_what_qdrant_reaches)
{
    static const char text[] = "{\"a\":1,\"b\":{\"c\":[10,20,{\"d\":\"x\"}],\"e.f\":true},"
                               "\"list\":[{\"n\":1},{\"n\":2},{\"m\":3},4],\"deep\":[[1,2],[3]]}";
    static const struct {
        const char *path;
        const char *found;
    } cases[] = {
        {"a", "1"},
        {"b.c", "[10,20,{\"d\":\"x\"}]"},
        {"b.c[]", "10 20 {\"d\":\"x\"}"},
        {"b.c[0]", "10"},
        {"b.c[2].d", "\"x\""},
        {"b.c[3]", ""},
        {"b.c[].d", "\"x\""},
        {"b.\"e.f\"", "true"},
        {"b.e.f", ""},
        {"\"a\"", "1"},
        {"list[].n", "1 2"},
        {"list.n", ""},
        {"list[]", "{\"n\":1} {\"n\":2} {\"m\":3} 4"},
        {"deep[][]", "1 2 3"},
        {"deep[1][0]", "3"},
        {"missing", ""},
        {"a.b", ""},
        {"a[]", ""},
        {"", ""},
        {".", ""},
        {"a.", ""},
        {".a", ""},
        {"a[", ""},
        {"a]", ""},
        {"b.c[x]", ""},
        {"b.c[-1]", ""},
        {"b.c[99999999999999999999]", ""},
        {"b.c[0]x", ""},
        {"\"a", ""},
        {"\"", ""},
    };
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    doc = read_json(&arena, text);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer out = {0};
        ck_assert(!doc_visit_path(&doc, cases[i].path, strlen(cases[i].path), append_value, &out));
        ck_assert_msg(strcmp(buffer_text(&out), cases[i].found) == 0, "%s: %s", cases[i].path,
                      out.data);
        buffer_destroy(&out);
    }
    arena_destroy(&arena);
}
END_TEST

static bool is_two(void *context, const struct doc *value)
{
    ++*(int *)context;
    return value->type == DOC_INT && value->integer == 2;
}

START_TEST(a_visit_stops_at_the_first_yes)
{
    struct arena arena;
    struct doc doc;
    int seen = 0;

    arena_create(&arena, 0);
    doc = read_json(&arena, "{\"a\":[1,2,3,4]}");
    ck_assert(doc_visit_path(&doc, "a[]", 3, is_two, &seen));
    ck_assert_int_eq(seen, 2);
    arena_destroy(&arena);
}
END_TEST

START_TEST(numbers_convert_only_when_exact)
{
    static const struct {
        const char *text;
        bool is_u64;
        uint64_t u64;
        bool is_i64;
        int64_t i64;
    } cases[] = {
        {"0", true, 0, true, 0},
        {"-1", false, 0, true, -1},
        {"7.0", true, 7, true, 7},
        {"-7.0", false, 0, true, -7},
        {"7.5", false, 0, false, 0},
        {"9223372036854775808", true, UINT64_C(1) << 63, false, 0},
        {"18446744073709551615", true, UINT64_MAX, false, 0},
        {"18446744073709551616", false, 0, false, 0},
        {"-9223372036854775808", false, 0, true, INT64_MIN},
        {"-9.3e18", false, 0, false, 0},
        {"1e300", false, 0, false, 0},
        {"\"1\"", false, 0, false, 0},
        {"true", false, 0, false, 0},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct doc doc = read_json(&arena, cases[i].text);
        uint64_t u64 = 0;
        int64_t i64 = 0;
        double number;
        ck_assert_msg(doc_as_u64(&doc, &u64) == cases[i].is_u64, "%s", cases[i].text);
        ck_assert_msg(doc_as_i64(&doc, &i64) == cases[i].is_i64, "%s", cases[i].text);
        ck_assert(u64 == cases[i].u64 && i64 == cases[i].i64);
        ck_assert(doc_as_double(&doc, &number) == (doc.type != DOC_STRING && doc.type != DOC_BOOL));
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(equality_is_by_value)
{
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } cases[] = {
        {"1", "1.0", true},
        {"1", "1.5", false},
        {"9007199254740993", "9007199254740992.0", false},
        {"18446744073709551615", "18446744073709551615", true},
        {"18446744073709551615", "-1", false},
        {"0", "-0.0", true},
        {"0", "false", false},
        {"null", "null", true},
        {"null", "0", false},
        {"\"a\"", "\"\\u0061\"", true},
        {"\"a\"", "\"ab\"", false},
        {"[1,2]", "[1,2]", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,1]", false},
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"a\":1}", false},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}", true},
        {"{\"a\":2,\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":{\"x\":[1,{}]}}", "{\"a\":{\"x\":[1,{}]}}", true},
        {"{}", "[]", false},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct doc a = read_json(&arena, cases[i].a);
        struct doc b = read_json(&arena, cases[i].b);
        ck_assert_msg(doc_equal(&a, &b) == cases[i].equal, "%s %s", cases[i].a, cases[i].b);
        ck_assert_msg(doc_equal(&b, &a) == cases[i].equal, "%s %s", cases[i].b, cases[i].a);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(merged_maps_keep_what_they_had)
{
    struct arena arena;
    struct buffer out = {0};
    struct doc map, from;

    arena_create(&arena, 0);
    map = doc_map(&arena, 4);
    from = doc_map(&arena, 2);
    doc_put(&map, "node", doc_integer(1));
    doc_put(&from, "node", doc_integer(2));
    doc_put(&from, "rows", doc_integer(3));
    doc_merge(&map, &from);
    doc_write_json(&out, &map);
    ck_assert_str_eq(buffer_text(&out), "{\"node\":1,\"rows\":3}");
    buffer_destroy(&out);
    arena_destroy(&arena);
}
END_TEST

START_TEST(built_documents_are_written)
{
    struct arena arena;
    struct buffer out = {0};
    struct doc *items;
    struct doc doc = {.type = DOC_MAP, .count = 2};

    arena_create(&arena, 0);
    items = doc_items(&arena, 4);
    items[0] = doc_string(&arena, "n");
    items[1] = doc_integer(-5);
    items[2] = doc_string(&arena, "d");
    items[3] = doc_number(0.5);
    doc.items = items;
    doc_write_json(&out, &doc);
    ck_assert_str_eq(buffer_text(&out), "{\"n\":-5,\"d\":0.5}");
    buffer_destroy(&out);
    arena_destroy(&arena);
}
END_TEST

TEST_TABLE(TEST(get_finds_the_last_of_equal_keys), TEST(paths_reach_what_qdrant_reaches),
           TEST(a_visit_stops_at_the_first_yes), TEST(numbers_convert_only_when_exact),
           TEST(equality_is_by_value), TEST(built_documents_are_written),
           TEST(merged_maps_keep_what_they_had))
