/* /openapi.json is walked from outside: each key that it names is taken or refused by name, and what it
 * does not name is refused with its place. */
#include "tests/support/test_main.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/rest_fixture.h"

enum { SCHEMAS_MAX = 64 };

struct walk {
    const struct fixture *fixture;
    struct arena arena;
    struct doc description; /* /openapi.json */
    const char *method;
    const char *path;                    /* of the request */
    const struct doc *seen[SCHEMAS_MAX]; /* named schemas: of one operation, each is walked once */
    size_t seen_count;
    size_t object_count, key_count, refused_count; /* that were tried */
};

static char *text_of(struct walk *walk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static char *text_of(struct walk *walk, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    char *copy;

    va_start(arguments, format);
    ck_assert_int_ge(vasprintf(&text, format, arguments), 0);
    va_end(arguments);
    copy = arena_copy(&walk->arena, text, strlen(text));
    free(text);
    return copy;
}

static char *name_of(struct walk *walk, const struct doc *text)
{
    return arena_copy(&walk->arena, text->string, text->count);
}

/* Returns the error's text. */
static const char *expect(struct walk *walk, const char *path, const char *body, long status,
                          const char *contains)
{
    const char *text;

    struct answer answer = ask(walk->fixture, walk->method, path, body);

    ck_assert_msg(answer.status == status && strstr(buffer_text(&answer.body), contains),
                  "%s %s %s -> %ld %s, expected %ld %s", walk->method, path, body ? body : "",
                  answer.status, buffer_text(&answer.body), status, contains);
    text = text_of(walk, "%.*s", (int)strcspn(buffer_text(&answer.body), "}"),
                   buffer_text(&answer.body));
    answer_free(&answer);
    return text;
}

/* The answer, if it is an error, is about something else. */
static void expect_taken(struct walk *walk, const char *path, const char *body,
                         const char *complaint)
{
    struct answer answer = ask(walk->fixture, walk->method, path, body);
    const char *text = buffer_text(&answer.body);

    ck_assert_msg(!strstr(text, complaint) && answer.status != 500, "%s %s %s -> %ld %s",
                  walk->method, path, body ? body : "", answer.status, text);
    answer_free(&answer);
}

/* Schemas. */

static const struct doc *resolve(const struct walk *walk, const struct doc *schema)
{
    const struct doc *reference = doc_get(schema, "$ref");
    const struct doc *schemas = doc_get(doc_get(&walk->description, "components"), "schemas");
    const char prefix[] = "#/components/schemas/";
    size_t skipped = sizeof(prefix) - 1;

    if (!reference)
        return schema;
    ck_assert(memcmp(reference->string, prefix, skipped) == 0);
    schema = doc_get_n(schemas, reference->string + skipped, reference->count - skipped);
    ck_assert_ptr_nonnull(schema);
    return schema;
}

static bool is_type(const struct doc *schema, const char *type)
{
    const struct doc *given = doc_get(schema, "type");

    return given && doc_string_equals(given, type);
}

/* Counts *i down over what the schema is a choice of; found when there is none left to count. */
static const struct doc *find_alternative(const struct walk *walk, const struct doc *schema,
                                          uint32_t *i)
{
    const struct doc *choice, *found = NULL;

    schema = resolve(walk, schema);
    if (doc_get(schema, "allOf"))
        schema = resolve(walk, &doc_get(schema, "allOf")->items[0]);
    choice = doc_get(schema, "anyOf");
    if (!choice)
        return (*i)-- == 0 ? schema : NULL;
    for (uint32_t k = 0; k < choice->count && !found; k++)
        found = find_alternative(walk, &choice->items[k], i);
    return found;
}

/* Each alternative in turn, with references resolved; NULL behind the last one. */
static const struct doc *alternative(const struct walk *walk, const struct doc *schema, uint32_t i)
{
    return find_alternative(walk, schema, &i);
}

static const char *sample(struct walk *walk, const struct doc *schema);

static const char *required_keys(struct walk *walk, const struct doc *object, const char *but)
{
    const struct doc *required = doc_get(object, "required");
    const char *text = "";

    for (uint32_t i = 0; required && i < required->count; i++) {
        const char *name = name_of(walk, &required->items[i]);
        if (!but || strcmp(name, but) != 0)
            text = text_of(walk, "%s\"%s\":%s,", text, name,
                           sample(walk, doc_get(doc_get(object, "properties"), name)));
    }
    return text;
}

/* A value of the right type. */
static const char *sample(struct walk *walk, const struct doc *schema)
{
    const struct doc *values;
    const char *keys;

    schema = alternative(walk, schema, 0);
    values = doc_get(schema, "enum");
    if (values && values->items[0].type == DOC_BOOL)
        return values->items[0].boolean ? "true" : "false";
    if (values)
        return text_of(walk, "\"%s\"", name_of(walk, &values->items[0]));
    if (is_type(schema, "object")) {
        keys = required_keys(walk, schema, NULL);
        return text_of(walk, "{%.*s}", (int)(*keys ? strlen(keys) - 1 : 0), keys);
    }
    return is_type(schema, "array")     ? "[]"
           : is_type(schema, "string")  ? "\"a\""
           : is_type(schema, "boolean") ? "true"
                                        : "1";
}

/* A value of no type that the schema has, or NULL. */
static const char *wrong_sample(struct walk *walk, const struct doc *schema)
{
    static const struct {
        const char *type, *value;
    } values[] = {{"object", "{}"}, {"array", "[]"}, {"boolean", "true"}, {"string", "\"a\""}};
    const struct doc *one;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        bool fits = false;
        for (uint32_t k = 0; (one = alternative(walk, schema, k)); k++)
            fits = fits || is_type(one, values[i].type) || !doc_get(one, "type");
        if (!fits)
            return values[i].value;
    }
    return NULL;
}

/* Bodies. `before` and `after` are the text around the value at `place`. */

static void walk_schema(struct walk *walk, const struct doc *schema, const char *before,
                        const char *after, const char *place);

static void walk_key(struct walk *walk, const struct doc *object, const char *name,
                     const struct doc *schema, const char *before, const char *after,
                     const char *place)
{
    const char *start =
        text_of(walk, "%s{%s\"%s\":", before, required_keys(walk, object, name), name);
    const char *end = text_of(walk, "}%s", after);
    const char *at = text_of(walk, "%s.%s", place, name);
    const struct doc *only = alternative(walk, schema, 0);
    /* Values of another type mean something that is refused. */
    const bool refused = doc_get(schema, "description") && !doc_get(only, "enum");
    const char *wrong;

    walk->key_count++;
    expect_taken(walk, walk->path, text_of(walk, "%snull%s", start, end),
                 text_of(walk, "%s: unknown field `%s`", place, name));
    if (is_type(only, "null") && !alternative(walk, schema, 1)) {
        walk->refused_count++;
        expect(walk, walk->path, text_of(walk, "%s1%s", start, end), 501,
               text_of(walk, "`%s` (%s)", name, at));
        return;
    }
    wrong = wrong_sample(walk, schema);
    if (wrong)
        expect_taken(walk, walk->path, text_of(walk, "%s%s%s", start, sample(walk, schema), end),
                     expect(walk, walk->path, text_of(walk, "%s%s%s", start, wrong, end),
                            refused ? 501 : 400, text_of(walk, refused ? "(%s): " : "%s: ", at)));
    if (doc_get(only, "enum") && is_type(only, "string")) /* refused by its value, or wrong */
        expect(walk, walk->path, text_of(walk, "%s\"zzz\"%s", start, end),
               doc_get(schema, "description") ? 501 : 400, at);
    walk_schema(walk, schema, start, end, at);
}

static void walk_object(struct walk *walk, const struct doc *object, const char *before,
                        const char *after, const char *place)
{
    const struct doc *properties = doc_get(object, "properties");
    const struct doc *others = doc_get(object, "additionalProperties");
    const char *required = required_keys(walk, object, NULL);

    walk->object_count++;
    expect(walk, walk->path, text_of(walk, "%s{\"twice\":1,\"twice\":2}%s", before, after), 400,
           text_of(walk, "%s: duplicate field `twice`", place));
    if (!properties)
        return;
    if (others && others->type == DOC_MAP)
        walk_key(walk, object, "zzz", others, before, after, place);
    else
        expect(walk, walk->path, text_of(walk, "%s{%s\"zzz\":1}%s", before, required, after), 400,
               text_of(walk, "%s: unknown field `zzz`", place));
    for (uint32_t i = 0; i < properties->count; i++)
        walk_key(walk, object, name_of(walk, &properties->items[2 * i]),
                 &properties->items[2 * i + 1], before, after, place);
}

/* {} alone is taken otherwise: what is more is refused with the reason. */
static bool has_keys(const struct doc *object)
{
    const struct doc *properties = doc_get(object, "properties");

    return properties && properties->count > 0;
}

static void walk_schema(struct walk *walk, const struct doc *schema, const char *before,
                        const char *after, const char *place)
{
    const struct doc *named = resolve(walk, schema);
    const struct doc *one;

    for (size_t i = 0; i < walk->seen_count; i++)
        if (walk->seen[i] == named)
            return;
    ck_assert_uint_lt(walk->seen_count, SCHEMAS_MAX);
    if (named != schema)
        walk->seen[walk->seen_count++] = named;
    for (uint32_t i = 0; (one = alternative(walk, schema, i)); i++) {
        if (is_type(one, "object") && doc_get(schema, "description") && !has_keys(one))
            expect(walk, walk->path, text_of(walk, "%s{\"zzz\":1}%s", before, after), 501, place);
        else if (is_type(one, "object"))
            walk_object(walk, one, before, after, place);
        else if (is_type(one, "array") && doc_get(one, "items"))
            walk_schema(walk, doc_get(one, "items"), text_of(walk, "%s[", before),
                        text_of(walk, "]%s", after), text_of(walk, "%s[0]", place));
    }
}

/* Operations. */

static void walk_parameters(struct walk *walk, const struct doc *operation, const char *body)
{
    const struct doc *parameters = doc_get(operation, "parameters");

    expect(walk, text_of(walk, "%s?zzz=1", walk->path), body, 400, "unknown query parameter `zzz`");
    for (uint32_t i = 0; parameters && i < parameters->count; i++) {
        const struct doc *parameter = &parameters->items[i];
        const struct doc *schema = doc_get(parameter, "schema");
        const char *name = name_of(walk, doc_get(parameter, "name"));
        const struct doc *words = is_type(schema, "string") ? doc_get(schema, "enum") : NULL;
        const char *value = words                        ? name_of(walk, &words->items[0])
                            : is_type(schema, "boolean") ? "false"
                                                         : "1";
        if (doc_string_equals(doc_get(parameter, "in"), "path"))
            continue;
        expect(walk, text_of(walk, "%s?%s=%s&%s=%s", walk->path, name, value, name, value), body,
               400, "duplicate query parameter");
        expect_taken(walk, text_of(walk, "%s?%s=%s", walk->path, name, value), body,
                     "query parameter");
        if (strcmp(name, "collection") != 0)
            expect(walk, text_of(walk, "%s?%s=%%20", walk->path, name), body, 400, name);
    }
}

static void walk_operation(struct walk *walk, const struct doc *operation)
{
    const struct doc *content =
        doc_get(doc_get(doc_get(operation, "requestBody"), "content"), "application/json");
    const struct doc *schema = doc_get(content, "schema");
    const char *body = schema ? sample(walk, schema) : NULL;

    if (!doc_get(doc_get(operation, "responses"), "200"))
        return; /* it says only that it is not offered */
    walk->seen_count = 0;
    /* PUT and PATCH of a collection are answered without a look at what they ask for. */
    if (schema && doc_get(resolve(walk, schema), "properties"))
        walk_schema(walk, schema, "", "", "$");
    walk_parameters(walk, operation, body);
}

static const char *path_of(struct walk *walk, const struct doc *pattern)
{
    char *text = name_of(walk, pattern);
    char *hole = strstr(text, "{collection}");

    if (hole)
        text = text_of(walk, "%.*snews%s", (int)(hole - text), text, hole + strlen("{collection}"));
    while ((hole = strchr(text, '{')))
        text = text_of(walk, "%.*sn%s", (int)(hole - text), text, strchr(hole, '}') + 1);
    return text;
}

START_TEST(every_key_is_taken_or_refused_by_name)
{
    struct fixture fixture;
    struct walk walk = {.fixture = &fixture};
    struct error error = {0};
    const struct doc *paths;
    struct answer answer;

    fixture_open(&fixture);
    arena_create(&walk.arena, 0);
    answer = ask(&fixture, "GET", "/openapi.json", NULL);
    ck_assert_msg(doc_parse_json(&walk.arena, (const char *)answer.body.data, answer.body.size,
                                 NULL, &walk.description, &error) == 0,
                  "%s", error.text);
    paths = doc_get(&walk.description, "paths");
    for (uint32_t i = 0; i < paths->count; i++) {
        const struct doc *methods = &paths->items[2 * i + 1];
        walk.path = path_of(&walk, &paths->items[2 * i]);
        for (uint32_t k = 0; k < methods->count; k++) {
            char *method = name_of(&walk, &methods->items[2 * k]);
            for (char *c = method; *c; c++)
                *c = (char)(*c - 'a' + 'A');
            walk.method = method;
            walk_operation(&walk, &methods->items[2 * k + 1]);
        }
    }
    printf("%zu objects, %zu keys, %zu of them refused\n", walk.object_count, walk.key_count,
           walk.refused_count);
    ck_assert_uint_gt(walk.object_count, 100);
    ck_assert_uint_gt(walk.refused_count, 50);
    answer_free(&answer);
    arena_destroy(&walk.arena);
    fixture_close(&fixture);
}
END_TEST

START_TEST(keys_of_payloads_come_once)
{
    static const struct expectation cases[] = {
        {"PUT", C "/points",
         "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{\"a\":[{\"b\":1,"
         "\"c\":2,\"b\":1}]}}]}",
         400, "$.points[0].payload.a[0]: duplicate field `b`"},
        {"PUT", C "/points", "{\"points\":[],\"points\":[]}", 400, "$: duplicate field `points`"},
    };
    struct buffer body = {0};
    struct fixture fixture;
    struct expectation many = {"PUT", C "/points", NULL, 400,
                               "$.points[0].payload: duplicate field `k7`"};

    buffer_append_text(&body, "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{");
    for (int i = 0; i < 100; i++)
        buffer_append_format(&body, "\"k%d\":%d,", i, i);
    buffer_append_text(&body, "\"k7\":0}}]}");
    many.body = buffer_text(&body);
    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    check_all(&fixture, &many, 1);
    fixture_close(&fixture);
    buffer_destroy(&body);
}
END_TEST

START_TEST(keys_that_exclude_each_other_are_refused_together)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/delete", "{\"points\":[1],\"filter\":{}}", 400,
         "$: expected only one of `points` and `filter`"},
        {"POST", C "/points/delete", "{\"points\":[1],\"windrow\":{\"min_offsets\":{\"0\":1}}}",
         400, "$.windrow.min_offsets: expected beside `filter` only"},
        {"PUT", C "/points", "{\"points\":[],\"batch\":{\"ids\":[],\"vectors\":[]}}", 400,
         "expected only one of `points` and `batch`"},
        {"POST", C "/points/query", "{\"query\":{\"nearest\":1,\"order_by\":\"n\"}}", 400,
         "$.query: expected only one of `nearest` and `order_by`"},
        {"POST", C "/points/query", "{\"query\":{\"order_by\":\"n\",\"mmr\":{}}}", 400,
         "$.query.mmr: expected beside `nearest` only"},
        {"POST", C "/points", "{\"ids\":[1],\"with_vector\":true,\"with_vectors\":false}", 400,
         "expected only one of `with_vector` and `with_vectors`"},
        {"POST", C "/points/query", "{\"windrow\":{\"from\":0}}", 501, "filter by `@time`"},
        {"POST", C "/points/query",
         "{\"query\":{\"order_by\":\"n\"},\"windrow\":{\"explain\":true}}", 501,
         "filter by `@time`"},
        {"POST", C "/points/search", "{\"vector\":{\"name\":\"a\",\"vector\":[1,2,3,4]}}", 400,
         "Not existing vector name error: a"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(null_is_a_key_left_out)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":null,\"filter\":null,\"limit\":null,\"offset\":null,\"params\":null,"
         "\"prefetch\":null,\"using\":null,\"with_payload\":null,\"with_vector\":null,"
         "\"score_threshold\":null,\"lookup_from\":null,\"shard_key\":null,\"windrow\":null}",
         200, "\"result\":{\"points\":[{\"id\":0,"},
        {"POST", C "/points/count", "{\"filter\":{\"must\":null,\"must_not\":null},\"exact\":null}",
         200, "{\"count\":50}"},
        {"POST", C "/points/scroll",
         "{\"order_by\":{\"key\":\"n\",\"direction\":null,\"start_from\":null},\"limit\":1}", 200,
         "\"points\":[{"},
        {"POST", C "/points", "{\"ids\":null}", 400, "$: missing field `ids`"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

START_TEST(consistency_holds_or_is_refused)
{
    static const struct expectation alone[] = {
        {"POST", C "/points/count?consistency=1", "{}", 200, "50"},
        {"POST", C "/points/count?consistency=all", "{}", 200, "50"},
        {"POST", C "/points/count?consistency=2", "{}", 501, "a shard has one copy"},
        {"POST", C "/points/count?consistency=most", "{}", 400, "`majority`, `quorum` or `all`"},
        {"POST", C "/points/count?consistency=0", "{}", 400, "1 or larger"},
        {"POST", C "/points/count?timeout=0", "{}", 422,
         "[timeout: value 0 invalid, must be 1 or larger]"},
        {"PUT", C "/points?ordering=total", "{\"points\":[]}", 400,
         "`ordering`: expected `weak`, `medium`, `strong`"},
        {"PUT", C "/points?wait=yes", "{\"points\":[]}", 400, "`wait`: expected `true`, `false`"},
        {"PUT", C "/points?consistency=1", "{\"points\":[]}", 400,
         "unknown query parameter `consistency`, expected one of `wait`"},
        {"DELETE", C "/index/n", "{}", 400, "takes no body"},
    };
    static const struct expectation copies[] = {
        {"POST", C "/points/count?consistency=1", "{}", 200, "50"},
        {"POST", C "/points/count?consistency=majority", "{}", 501, "one copy of a shard answers"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, alone);
    fixture.config.cluster_replica_set = "b";
    CHECK_ALL(&fixture, copies);
    fixture.config.cluster_replica_set = NULL;
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(every_key_is_taken_or_refused_by_name), TEST(keys_of_payloads_come_once),
           TEST(keys_that_exclude_each_other_are_refused_together), TEST(null_is_a_key_left_out),
           TEST(consistency_holds_or_is_refused))
