/* Filters: Qdrant's semantics as its own engine answers (filter_cases.json), what that oracle
 * cannot say, and what is refused with which words. */
#include "indexer/query/filter/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/support/test_main.h"

static struct doc parse(struct arena *arena, const char *json)
{
    struct error error = {0};
    struct doc doc;

    ck_assert_msg(doc_parse_json(arena, json, strlen(json), NULL, &doc, &error) == 0, "%s: %s",
                  json, error.text);
    return doc;
}

static const struct query_filter *compile(struct arena *arena, const struct doc *doc)
{
    const struct query_filter *filter;
    struct error error = {0};

    ck_assert_msg(query_filter_compile(doc, "", arena, &filter, &error) == 0, "%s", error.text);
    return filter;
}

static bool matches(const struct query_filter *filter, const struct doc *payload)
{
    struct filter_subject subject = {.payload = payload};
    struct arena scratch;
    bool result;

    arena_create(&scratch, 0);
    subject.scratch = &scratch;
    result = filter_group_match(filter, &subject);
    ck_assert_int_eq(subject.code, 0);
    arena_destroy(&scratch);
    return result;
}

/* The oracle. */

static char *read_cases(size_t *size_bytes)
{
    FILE *file = fopen(WINDROW_FILTER_CASES, "rb");
    char *text = malloc(1 << 20);

    ck_assert_ptr_nonnull(file);
    *size_bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static bool mentions(const struct doc *doc, const char *key)
{
    if (doc->type == DOC_MAP && doc_get(doc, key))
        return true;
    if (doc->type == DOC_MAP || doc->type == DOC_ARRAY)
        for (uint32_t i = 0; i < doc->count * (doc->type == DOC_MAP ? 2 : 1); i++)
            if (mentions(&doc->items[i], key))
                return true;
    return false;
}

START_TEST(filters_match_what_qdrants_engine_matches)
{
    struct arena arena;
    struct error error = {0};
    struct doc root;
    const struct doc *payloads, *cases;
    size_t size_bytes;
    char *text = read_cases(&size_bytes);
    uint32_t compared = 0;

    arena_create(&arena, 0);
    ck_assert_msg(doc_parse_json(&arena, text, size_bytes, NULL, &root, &error) == 0, "%s",
                  error.text);
    payloads = doc_get(&root, "payloads");
    cases = doc_get(&root, "cases");
    ck_assert_uint_gt(cases->count, 250);
    for (uint32_t i = 0; i < cases->count; i++) {
        const struct doc *document = doc_get(&cases->items[i], "filter");
        const struct doc *rows = doc_get(&cases->items[i], "rows");
        const struct query_filter *filter = compile(&arena, document);
        if (mentions(document, "has_id") ||
            mentions(document, "has_vector")) /* needs records: tests/indexer/query_records.c */
            continue;
        for (uint32_t row = 0; row < payloads->count; row++) {
            bool wanted = false;
            for (uint32_t j = 0; j < rows->count; j++)
                wanted = wanted || rows->items[j].integer == row;
            ck_assert_msg(matches(filter, &payloads->items[row]) == wanted,
                          "case %u: payload %u should %smatch", i, row, wanted ? "" : "not ");
            compared++;
        }
    }
    ck_assert_uint_gt(compared, 10000);
    arena_destroy(&arena);
    free(text);
}
END_TEST

/* What the oracle's binding cannot say. */

/* From 0 to 10 degrees, with a hole from 4 to 6. */
#define POLYGON                                                                                    \
    "{\"must\":[{\"key\":\"a\",\"geo_polygon\":{\"exterior\":{\"points\":[{\"lon\":0,\"lat\":0},"  \
    "{\"lon\":10,\"lat\":0},{\"lon\":10,\"lat\":10},{\"lon\":0,\"lat\":10},{\"lon\":0,\"lat\":0}]" \
    "},"                                                                                           \
    "\"interiors\":[{\"points\":[{\"lon\":4,\"lat\":4},{\"lon\":6,\"lat\":4},{\"lon\":6,\"lat\":"  \
    "6},"                                                                                          \
    "{\"lon\":4,\"lat\":6},{\"lon\":4,\"lat\":4}]}]}}]}"

START_TEST(matches_beyond_the_oracle)
{
    static const struct {
        const char *filter, *payload;
        bool wanted;
    } cases[] = {
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":true}}]}", "{\"a\":true}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":true}}]}", "{\"a\":[false,true]}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":true}}]}", "{\"a\":1}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":false}}]}", "{\"a\":false}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":false}}]}", "{}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":false}}]}", "{\"a\":null}", false},
        /* null is as good as absent, everywhere in a filter */
        {"{\"must\":null,\"should\":null}", "{}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":1,\"lt\":null}}]}", "{\"a\":2}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":1},\"range\":null}]}", "{\"a\":1}", true},
        /* integers compare exactly beyond 2^53, where Qdrant compares doubles */
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":9007199254740992}}]}",
         "{\"a\":9007199254740993}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":9223372036854775807}}]}",
         "{\"a\":18446744073709551615}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"lt\":18446744073709551615}}]}",
         "{\"a\":9223372036854775807}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":9007199254740992.0}}]}",
         "{\"a\":9007199254740993}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"lte\":9007199254740992.0}}]}",
         "{\"a\":9007199254740993}", false},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"lt\":9007199254740993}}]}",
         "{\"a\":9007199254740992.0}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"lt\":9223372036854775808.0}}]}",
         "{\"a\":9223372036854775807}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gte\":1.8446744073709552e19}}]}",
         "{\"a\":18446744073709551615}", false},
        /* an element of an array is no point */
        {"{\"must\":[{\"nested\":{\"key\":\"a\",\"filter\":{\"must_not\":[{\"has_id\":[1]}]}}}]}",
         "{\"a\":[{}]}", true},
        {"{\"must\":[{\"nested\":{\"key\":\"a\",\"filter\":{\"must\":[{\"has_vector\":\"\"}]}}}]}",
         "{\"a\":[{}]}", false},
        /* microseconds of a time count */
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":\"2024-01-01T00:00:00.123456Z\"}}]}",
         "{\"a\":\"2024-01-01T00:00:00.123457Z\"}", true},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":\"2024-01-01T00:00:00.123456Z\"}}]}",
         "{\"a\":\"2024-01-01T00:00:00.123456Z\"}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"text\":\"ÜNÏCODE\"}}]}", "{\"a\":\"ein ünïcode\"}",
         true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"prefix\":\"Re\"}}]}", "{\"a\":\"Red\"}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"prefix\":\"re\"}}]}", "{\"a\":\"Red\"}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"substring\":\"ed\"}}]}", "{\"a\":[1,\"Red\"]}",
         true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"substring\":\"\"}}]}", "{\"a\":1}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"prefix\":\"\"}}]}", "{\"a\":\"\"}", true},
        /* places: Berlin is some 504 km from Munich; borders are outside */
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":11.58,\"lat\":48.14},"
         "\"radius\":510000}}]}",
         "{\"a\":{\"lon\":13.4,\"lat\":52.52}}", true},
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":11.58,\"lat\":48.14},"
         "\"radius\":500000}}]}",
         "{\"a\":{\"lon\":13.4,\"lat\":52.52}}", false},
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":0,\"lat\":0},\"radius\":0}}"
         "]}",
         "{\"a\":{\"lon\":0,\"lat\":0}}", false},
        {"{\"must\":[{\"key\":\"a\",\"geo_bounding_box\":{\"top_left\":{\"lon\":170,\"lat\":10},"
         "\"bottom_right\":{\"lon\":-170,\"lat\":-10}}}]}",
         "{\"a\":[{\"lon\":0,\"lat\":0},{\"lon\":-175,\"lat\":0}]}", true},
        {"{\"must\":[{\"key\":\"a\",\"geo_bounding_box\":{\"top_left\":{\"lon\":170,\"lat\":10},"
         "\"bottom_right\":{\"lon\":-170,\"lat\":-10}}}]}",
         "{\"a\":{\"lon\":0,\"lat\":0}}", false},
        {"{\"must\":[{\"key\":\"a\",\"geo_bounding_box\":{\"top_left\":{\"lon\":0,\"lat\":10},"
         "\"bottom_right\":{\"lon\":10,\"lat\":0}}}]}",
         "{\"a\":{\"lon\":10,\"lat\":5}}", false},
        {POLYGON, "{\"a\":{\"lon\":1,\"lat\":1}}", true},
        {POLYGON, "{\"a\":{\"lon\":5,\"lat\":5}}", false},
        {POLYGON, "{\"a\":{\"lon\":4,\"lat\":5}}", false},
        {POLYGON, "{\"a\":{\"lon\":0,\"lat\":5}}", false},
        {POLYGON, "{\"a\":{\"lon\":11,\"lat\":5}}", false},
        {POLYGON, "{\"a\":{\"lon\":\"1\",\"lat\":1}}", false},
        {POLYGON, "{\"a\":{\"lon\":1}}", false},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"phrase\":\"b a\"}}]}", "{\"a\":\"a b a\"}", true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"phrase\":\"a a b\"}}]}", "{\"a\":\"a a a b\"}",
         true},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"text\":\"foo.bar\"}}]}", "{\"a\":\"bar;foo\"}",
         true},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct doc document = parse(&arena, cases[i].filter);
        struct doc payload = parse(&arena, cases[i].payload);
        ck_assert_msg(matches(compile(&arena, &document), &payload) == cases[i].wanted, "%s on %s",
                      cases[i].filter, cases[i].payload);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(no_filter_accepts_everything)
{
    struct arena arena;
    const struct query_filter *filter;
    struct doc null_doc = {.type = DOC_NULL};
    struct doc empty = {.type = DOC_MAP};

    arena_create(&arena, 0);
    ck_assert_int_eq(query_filter_compile(NULL, "", &arena, &filter, ERROR_IGNORED), 0);
    ck_assert(filter->accepts_all);
    ck_assert(compile(&arena, &null_doc)->accepts_all);
    ck_assert(compile(&arena, &empty)->accepts_all);
    ck_assert(matches(filter, &empty));
    arena_destroy(&arena);
}
END_TEST

/* Refused. */

START_TEST(what_a_filter_may_not_say)
{
    static const struct {
        const char *filter, *text;
    } cases[] = {
        {"{\"mus\":[]}", "filter.mus: unknown field `mus`, expected one of `should`, `min_should`, "
                         "`must`, `must_not`"},
        {"{\"must\":[{},{\"key\":\"a\",\"range\":{\"gtx\":1}}]}",
         "filter.must[1].range.gtx: unknown field `gtx`, expected one of `lt`, `gt`, `lte`, `gte`"},
        {"{\"must\":[{\"field\":\"a\"}]}",
         "filter.must[0].field: unknown field `field`, expected one of `key`, `is_empty`, "
         "`is_null`, `has_id`, `has_vector`, `slice`, `nested`, `should`, `min_should`, `must`, "
         "`must_not`"},
        {"{\"must\":{\"key\":\"a\",\"mach\":1}}",
         "filter.must.mach: unknown field `mach`, expected one of `key`, `match`, `range`, "
         "`geo_bounding_box`, `geo_radius`, `geo_polygon`, `values_count`, `is_empty`, `is_null`"},
        {"{\"should\":[{\"nested\":{\"key\":\"a\",\"filter\":{\"must\":[{\"key\":1}]}}}]}",
         "filter.should[0].nested.filter.must[0].key: expected a payload path such as a.b, a[].b "
         "or \"a.b\""},
        {"{\"must\":[{\"key\":\"a\"}]}",
         "filter.must[0]: At least one field condition must be specified"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"value\":1.5}}]}",
         "filter.must[0].match.value: expected a string, a 64-bit integer or a boolean"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"any\":[1,\"x\"]}}]}",
         "filter.must[0].match.any: expected 64-bit integers only"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"any\":[\"x\",1]}}]}",
         "filter.must[0].match.any: expected strings only"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"any\":1}}]}",
         "filter.must[0].match.any: expected a list"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{}}]}",
         "filter.must[0].match: expected one of `value`, `any`, `except`, `text`, `text_any`, "
         "`phrase`, `prefix` and `substring`"},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":1,\"lt\":\"2024-01-01\"}}]}",
         "filter.must[0].range: numbers and times do not mix in one range"},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":\"soon\"}}]}",
         "filter.must[0].range.gt: 'soon' is no RFC 3339 time"},
        {"{\"must\":[{\"key\":\"a\",\"range\":{\"gt\":true}}]}",
         "filter.must[0].range.gt: expected a number or an RFC 3339 time"},
        {"{\"must\":[{\"key\":\"a\",\"values_count\":{\"gt\":-1}}]}",
         "filter.must[0].values_count.gt: expected an unsigned integer"},
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{}}]}",
         "filter.must[0].geo_radius: missing field `center`"},
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":181,\"lat\":0},\"radius\":"
         "1}}]}",
         "filter.must[0].geo_radius.center.lon: expected degrees from -180 to 180"},
        {"{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":1,\"lat\":0},\"radius\":-1}"
         "}]}",
         "filter.must[0].geo_radius.radius: expected metres, 0 or more"},
        {"{\"must\":[{\"key\":\"a\",\"geo_bounding_box\":{\"top_left\":{\"lon\":1,\"lat\":0}}}]}",
         "filter.must[0].geo_bounding_box: missing field `bottom_right`"},
        {"{\"must\":[{\"key\":\"a\",\"geo_polygon\":{\"exterior\":{\"points\":[{\"lon\":1,\"lat\":"
         "0}]}}}]}",
         "filter.must[0].geo_polygon.exterior.points: expected a list of at least 4 points"},
        {"{\"must\":[{\"key\":\"a\",\"geo_polygon\":{\"exterior\":{\"points\":[{\"lon\":1,\"lat\":"
         "0},"
         "{\"lon\":2,\"lat\":0},{\"lon\":2,\"lat\":2},{\"lon\":1,\"lat\":1}]}}}]}",
         "filter.must[0].geo_polygon.exterior.points: the last point must be the first one"},
        {"{\"must\":[{\"key\":\"@time\",\"geo_radius\":{\"center\":{\"lon\":1,\"lat\":0},"
         "\"radius\":1}}]}",
         "filter.must[0]: a virtual key is no place"},
        {"{\"must\":[{\"has_id\":[1,-2]}]}", "filter.must[0].has_id[1]: "},
        {"{\"must\":[{\"has_id\":7}]}", "filter.must[0].has_id: expected a list of ids"},
        {"{\"min_should\":{\"conditions\":[]}}", "filter.min_should: missing field `min_count`"},
        {"{\"min_should\":[]}", "filter.min_should: expected an object"},
        {"{\"min_should\":{\"conditions\":[],\"min_count\":0}}",
         "filter.min_should.min_count: must be 1 or larger"},
        {"{\"must\":[1]}", "filter.must[0]: expected a condition object"},
        {"[]", "filter: expected an object"},
        {"{\"must\":[{\"is_empty\":{\"key\":\"a..b\"}}]}",
         "filter.must[0].is_empty.key: expected a payload path"},
        {"{\"must\":[{\"is_null\":{\"key\":\"a[x]\"}}]}",
         "filter.must[0].is_null.key: expected a payload path"},
        {"{\"must\":[{\"is_null\":\"a\"}]}", "filter.must[0].is_null: expected an object"},
        {"{\"must\":[{\"has_vector\":1}]}", "filter.must[0].has_vector: expected a string"},
        {"{\"must\":[{\"key\":\"@time\",\"match\":{\"value\":\"noon\"}}]}",
         "filter.must[0].match.value: expected milliseconds or RFC 3339 times"},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct doc document = parse(&arena, cases[i].filter);
        const struct query_filter *filter;
        struct error error = {0};
        ck_assert_msg(query_filter_compile(&document, "", &arena, &filter, &error) == ERROR_INVALID,
                      "accepted: %s", cases[i].filter);
        ck_assert_msg(strncmp(error.text, cases[i].text, strlen(cases[i].text)) == 0,
                      "%s: said '%s'", cases[i].filter, error.text);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(depth_and_size_of_a_filter_are_bounded)
{
    struct arena arena;
    const struct query_filter *filter;
    struct error error = {0};
    struct doc inner = {.type = DOC_MAP};
    struct doc key, *conditions;

    arena_create(&arena, 0);
    key = doc_string(&arena, "must");
    for (int depth = 0; depth < 60; depth++) {
        struct doc *items = doc_items(&arena, 2);
        items[0] = key;
        items[1] = inner;
        inner = (struct doc){.type = DOC_MAP, .count = 1, .items = items};
    }
    ck_assert_int_eq(query_filter_compile(&inner, "", &arena, &filter, &error), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "nested deeper than 32 levels"));

    conditions = doc_items(&arena, FILTER_CONDITIONS_MAX + 1);
    for (int i = 0; i <= FILTER_CONDITIONS_MAX; i++)
        conditions[i] = (struct doc){.type = DOC_MAP};
    inner =
        (struct doc){.type = DOC_ARRAY, .count = FILTER_CONDITIONS_MAX + 1, .items = conditions};
    conditions = doc_items(&arena, 2);
    conditions[0] = key;
    conditions[1] = inner;
    inner = (struct doc){.type = DOC_MAP, .count = 1, .items = conditions};
    ck_assert_int_eq(query_filter_compile(&inner, "", &arena, &filter, &error), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 4096 conditions"));

    /* Each list is below the limit; the second passes it. */
    key = (struct doc){.type = DOC_ARRAY, .count = 2, .items = conditions = doc_items(&arena, 2)};
    for (int i = 0; i < 2; i++) {
        struct doc *items = doc_items(&arena, 2);
        struct doc *ids = doc_items(&arena, FILTER_VALUES_MAX / 2 + 1);
        for (int id = 0; id <= FILTER_VALUES_MAX / 2; id++)
            ids[id] = doc_integer(id);
        items[0] = doc_string(&arena, "has_id");
        items[1] =
            (struct doc){.type = DOC_ARRAY, .count = FILTER_VALUES_MAX / 2 + 1, .items = ids};
        conditions[i] = (struct doc){.type = DOC_MAP, .count = 1, .items = items};
    }
    conditions = doc_items(&arena, 2);
    conditions[0] = doc_string(&arena, "should");
    conditions[1] = key;
    inner = (struct doc){.type = DOC_MAP, .count = 1, .items = conditions};
    ck_assert_int_eq(query_filter_compile(&inner, "", &arena, &filter, &error), ERROR_INVALID);
    ck_assert_str_eq(error.text, "filter.should[1].has_id: more than 100000 values, ids and words "
                                 "in one filter");
    arena_destroy(&arena);
}
END_TEST

/* What a filter demands of @time. */

START_TEST(time_demands_narrow_the_range)
{
#define TIME(bounds) "{\"key\":\"@time\",\"range\":{" bounds "}}"
    static const struct {
        const char *filter;
        int64_t from_ms, to_ms;
    } cases[] = {
        {"{}", INT64_MIN, INT64_MAX},
        {"{\"must\":[" TIME("\"gte\":100") "]}", 100, INT64_MAX},
        {"{\"must\":[" TIME("\"gt\":100,\"lt\":200") "]}", 101, 200},
        {"{\"must\":[" TIME("\"gte\":99.5,\"lte\":200.5") "]}", 100, 201},
        {"{\"must\":[" TIME("\"gt\":-1.5,\"lte\":-0.5") "]}", -1, 0},
        {"{\"must\":[" TIME("\"gt\":99.5,\"lt\":200.5") "]}", 100, 201},
        {"{\"must\":[" TIME("\"gte\":\"1970-01-01T00:00:01Z\"") "]}", 1000, INT64_MAX},
        {"{\"must\":[" TIME("\"lt\":\"1970-01-01T00:00:01.0005Z\"") "]}", INT64_MIN, 1001},
        {"{\"must\":[" TIME("\"gt\":\"1970-01-01T00:00:01.0005Z\"") "]}", 1001, INT64_MAX},
        {"{\"must\":[" TIME("\"gte\":100") "," TIME("\"lt\":50") "]}", 100, 50},
        {"{\"must\":[{\"key\":\"@time\",\"match\":{\"any\":[7,3,5]}}]}", 3, 8},
        {"{\"must\":[{\"must\":[" TIME("\"gte\":100") "]}]}", 100, INT64_MAX},
        {"{\"should\":[" TIME("\"gte\":100,\"lt\":200") "," TIME("\"gte\":500,\"lt\":600") "]}",
         100, 600},
        {"{\"should\":[" TIME("\"gte\":100") ",{\"key\":\"a\",\"match\":{\"value\":1}}]}",
         INT64_MIN, INT64_MAX},
        {"{\"must_not\":[" TIME("\"gte\":100") "]}", INT64_MIN, INT64_MAX},
        {"{\"must\":[{\"key\":\"time\",\"range\":{\"gte\":100}}]}", INT64_MIN, INT64_MAX},
        {"{\"must\":[{\"key\":\"@time\",\"range\":{\"gte\":100},\"match\":{\"value\":5}}]}",
         INT64_MIN, INT64_MAX},
        {"{\"min_should\":{\"conditions\":[" TIME("\"gte\":100") "],\"min_count\":1}}", INT64_MIN,
         INT64_MAX},
    };
#undef TIME
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct doc document = parse(&arena, cases[i].filter);
        int64_t from_ms = INT64_MIN;
        int64_t to_ms = INT64_MAX;
        query_filter_time_range(compile(&arena, &document), &from_ms, &to_ms);
        ck_assert_msg(from_ms == cases[i].from_ms && to_ms == cases[i].to_ms, "%s: [%lld, %lld)",
                      cases[i].filter, (long long)from_ms, (long long)to_ms);
        from_ms = 150;
        to_ms = 160;
        query_filter_time_range(compile(&arena, &document), &from_ms, &to_ms);
        ck_assert_int_ge(from_ms, 150);
        ck_assert_int_le(to_ms, 160);
    }
    arena_destroy(&arena);
}
END_TEST

TEST_TABLE(TEST(filters_match_what_qdrants_engine_matches), TEST(matches_beyond_the_oracle),
           TEST(no_filter_accepts_everything), TEST(what_a_filter_may_not_say),
           TEST(depth_and_size_of_a_filter_are_bounded), TEST(time_demands_narrow_the_range))
