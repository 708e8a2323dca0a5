/* Scores by formulas over the dialect: what expressions are worth, and what is said of those that have no value.
 * Every point has the payload {"n": 1} and the time 1000 + id milliseconds; the metric is l2. */
#include "tests/support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/rest_fixture.h"

#define NEAR_7      "\"prefetch\":{\"query\":[1,7,0.5,0],\"limit\":5}"
#define FORMULA(of) "{\"query\":{\"formula\":" of "}," NEAR_7 ",\"limit\":1}"
#define DEFAULTS(of, defaults)                                                                     \
    "{\"query\":{\"formula\":" of ",\"defaults\":" defaults "}," NEAR_7 ",\"limit\":1}"

static void expect(const struct fixture *fixture, const char *body, long status, const char *text)
{
    struct answer answer = ask(fixture, "POST", C "/points/query", body);

    ck_assert_msg(answer.status == status && strstr(buffer_text(&answer.body), text),
                  "%s -> %ld %s, expected %ld %s", body, answer.status, buffer_text(&answer.body),
                  status, text);
    ck_assert_ptr_null(strstr(buffer_text(&answer.body), "nan"));
    answer_free(&answer);
}

/* Points 5 to 9 are candidates; equal scores come in the order of ids. */
START_TEST(expressions_are_worth_what_they_say)
{
    static const struct {
        const char *body, *point;
    } cases[] = {
        {FORMULA("7"), "\"id\":5,\"version\":5,\"score\":7.0"},
        {FORMULA("\"n\""), "\"score\":1.0"},
        {FORMULA("\"$score\""), "\"id\":5,\"version\":5,\"score\":2.0"},
        {FORMULA("{\"neg\":\"$score\"}"), "\"id\":7,\"version\":7,\"score\":-0.0"},
        {FORMULA("{\"neg\":\"$score[0]\"}"), "\"id\":7"},
        {FORMULA("\"$score[1]\""), "\"score\":0.0"},
        {DEFAULTS("\"$score[1]\"", "{\"$score[1]\":2.5}"), "\"score\":2.5"},
        {DEFAULTS("\"a.b\"", "{\"a.b\":[4]}"), "\"score\":4.0"},
        {DEFAULTS("\"n\"", "{\"n\":4}"), "\"score\":1.0"},
        {FORMULA("{\"sum\":[]}"), "\"score\":0.0"},
        {FORMULA("{\"sum\":[\"n\",{\"mult\":[2,3]}]}"), "\"score\":7.0"},
        {FORMULA("{\"mult\":[0,{\"ln\":-1}]}"), "\"score\":0.0"},
        {FORMULA("{\"max\":[1,3,2]}"), "\"score\":3.0"},
        {FORMULA("{\"min\":[1,-3,2]}"), "\"score\":-3.0"},
        {FORMULA("{\"div\":{\"left\":1,\"right\":4}}"), "\"score\":0.25"},
        {FORMULA("{\"div\":{\"left\":1,\"right\":0,\"by_zero_default\":9}}"), "\"score\":9.0"},
        {FORMULA("{\"div\":{\"left\":0,\"right\":0}}"), "\"score\":0.0"},
        {FORMULA("{\"abs\":-2}"), "\"score\":2.0"},
        {FORMULA("{\"sqrt\":9}"), "\"score\":3.0"},
        {FORMULA("{\"pow\":{\"base\":2,\"exponent\":-1}}"), "\"score\":0.5"},
        {FORMULA("{\"exp\":0}"), "\"score\":1.0"},
        {FORMULA("{\"log10\":1000}"), "\"score\":3.0"},
        {FORMULA("{\"ln\":1}"), "\"score\":0.0"},
        {FORMULA("{\"acosh\":1}"), "\"score\":0.0"},
        {FORMULA("{\"datetime\":\"1970-01-01T00:01:00Z\"}"), "\"score\":60.0"},
        {DEFAULTS("{\"datetime_key\":\"at\"}", "{\"at\":\"1970-01-02\"}"), "\"score\":86400.0"},
        {FORMULA("{\"datetime_key\":\"@time\"}"), "\"id\":9,\"version\":9,\"score\":1.009"},
        {FORMULA("\"@offset\""), "\"id\":9,\"version\":9,\"score\":9.0"},
        {DEFAULTS("{\"geo_distance\":{\"origin\":{\"lon\":0,\"lat\":0},\"to\":\"at\"}}",
                  "{\"at\":{\"lon\":0,\"lat\":1}}"),
         "\"score\":111195.0"},
        {FORMULA("{\"exp_decay\":{\"x\":3,\"target\":1,\"scale\":2}}"), "\"score\":0.5"},
        {FORMULA("{\"gauss_decay\":{\"x\":2,\"scale\":2,\"midpoint\":0.25}}"), "\"score\":0.25"},
        {FORMULA("{\"lin_decay\":{\"x\":0.5}}"), "\"score\":0.75"},
        {FORMULA("{\"lin_decay\":{\"x\":9}}"), "\"score\":0.0"},
        {FORMULA("{\"has_id\":[8]}"), "\"id\":8,\"version\":8,\"score\":1.0"},
        {FORMULA("{\"must_not\":{\"key\":\"@time\",\"range\":{\"lt\":1009}}}"),
         "\"id\":9,\"version\":9,\"score\":1.0"},
        {FORMULA("{\"key\":\"n\",\"match\":{\"value\":2}}"), "\"score\":0.0"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(&fixture, cases[i].body, 200, cases[i].point);
    fixture_close(&fixture);
}
END_TEST

START_TEST(bad_formulas_are_told_their_place)
{
    static const struct {
        const char *body, *text;
        long status;
    } cases[] = {
        {"{\"query\":{\"formula\":1}}", "$.prefetch: a formula needs 1 to 16 searches", 400},
        {"{\"query\":{\"defaults\":{}}," NEAR_7 "}", "$.query.defaults", 400},
        {"{\"query\":{\"formula\":1,\"fusion\":\"rrf\"}," NEAR_7 "}", "only one of", 400},
        {FORMULA("true"), "$.query.formula: expected", 400},
        {FORMULA("[]"), "$.query.formula: expected", 400},
        {FORMULA("{\"plus\":[]}"), "$.query.formula: unknown field `plus`", 400},
        {FORMULA("{\"sum\":[1,{\"cos\":1}]}"), "$.query.formula.sum[1]: unknown field `cos`", 400},
        {FORMULA("{\"abs\":1,\"neg\":1}"), "only one of `neg` and `abs`", 400},
        {FORMULA("{\"abs\":1,\"key\":\"n\"}"), "query.formula.key: unknown field", 400},
        {FORMULA("{\"max\":[]}"), "query.formula.max: expected at least one", 400},
        {FORMULA("{\"div\":{\"left\":1}}"), "$.query.formula.div: missing field `right`", 400},
        {FORMULA("\"$scores\""), "query.formula: `$scores` is no score", 400},
        {FORMULA("\"$score[x]\""), "is no score", 400},
        {FORMULA("\"a..b\""), "query.formula: expected a payload path", 400},
        {FORMULA("{\"datetime\":\"soon\"}"), "query.formula.datetime: expected", 400},
        {FORMULA("{\"exp_decay\":{\"x\":1,\"midpoint\":1}}"), "exp_decay.midpoint: expected", 400},
        {FORMULA("{\"lin_decay\":{\"x\":1,\"scale\":0}}"), "lin_decay.scale: expected", 400},
        {FORMULA("{\"geo_distance\":{\"origin\":{\"lon\":0,\"lat\":91},\"to\":\"n\"}}"),
         "geo_distance.origin.lat: expected degrees", 400},
        {FORMULA("{\"key\":\"n\",\"match\":{}}"), "query.formula.match: expected one of", 400},
        {DEFAULTS("1", "{\"$scores\":1}"), "query.defaults.$scores: `$scores` is no score", 400},
        {DEFAULTS("1", "{\"$score\":\"x\"}"), "query.defaults.$score: expected a number", 400},
        {DEFAULTS("1", "[]"), "$.query.defaults: expected an object", 400},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(&fixture, cases[i].body, cases[i].status, cases[i].text);
    fixture_close(&fixture);
}
END_TEST

START_TEST(what_has_no_value_names_the_point_and_the_expression)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        {FORMULA("{\"sum\":[1,{\"ln\":{\"neg\":\"n\"}}]}"),
         "point 5: $.query.formula.sum[1].ln: `ln` of -1 is not a finite number"},
        {FORMULA("{\"div\":{\"left\":\"n\",\"right\":0}}"), "`div` of 1 and 0 is not"},
        {FORMULA("{\"div\":{\"left\":{\"sqrt\":-1},\"right\":1}}"), "div.left.sqrt: `sqrt` of -1"},
        {FORMULA("{\"pow\":{\"base\":-8,\"exponent\":0.5}}"), "`pow` of -8 and 0.5"},
        {FORMULA("{\"exp\":1000}"), "`exp` of 1000"},
        {FORMULA("{\"log10\":0}"), "`log10` of 0"},
        {FORMULA("{\"acosh\":0}"), "`acosh` of 0"},
        {FORMULA("{\"mult\":[1e300,1e300]}"), "query.formula.mult: the score inf"},
        {FORMULA("1e39"), "query.formula: the score 1e+39 is not a finite number of 32 bits"},
        {FORMULA("\"m\""), "point 5: $.query.formula: `m` has no value"},
        {DEFAULTS("\"m\"", "{\"m\":[]}"), "`m` has no value"},
        {DEFAULTS("\"m\"", "{\"m\":[1,2]}"), "`m` is not a number"},
        {DEFAULTS("\"m\"", "{\"m\":\"1\"}"), "`m` is not a number"},
        {FORMULA("{\"datetime_key\":\"n\"}"), "`n` is not an RFC 3339 time"},
        {FORMULA("{\"geo_distance\":{\"origin\":{\"lon\":0,\"lat\":0},\"to\":\"n\"}}"),
         "geo_distance: `n` is not a geo point"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(&fixture, cases[i].body, 400, cases[i].text);
    fixture_close(&fixture);
}
END_TEST

/* As an index of numbers leaves it out. */
START_TEST(a_null_is_no_value)
{
    static const uint8_t none[] = {0x81, 0xa1, 'm', 0xc0}; /* {"m": null} */
    static const uint8_t among[] = {0x81, 0xa1, 'm', 0x93,
                                    0xc0, 4,    0xc0}; /* {"m": [null, 4, null]} */
#define OF(id)                                                                                     \
    "\"prefetch\":{\"query\":[1," id ",0.5,0],\"filter\":{\"must\":[{\"has_id\":[" id "]}]}}"
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"m\",\"defaults\":{\"m\":2}}," OF("60") "}", 200,
         "\"id\":60,\"version\":50,\"score\":2.0"},
        {"POST", C "/points/query", "{\"query\":{\"formula\":\"m\"}," OF("60") "}", 400,
         "point 60: $.query.formula: `m` has no value"},
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"m\",\"defaults\":{\"m\":2}}," OF("61") "}", 200,
         "\"id\":61,\"version\":51,\"score\":4.0"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture_append_point(&fixture, 60, POINTS, none, sizeof(none));
    fixture_append_point(&fixture, 61, POINTS + 1, among, sizeof(among));
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

/* The formula `depth` levels deep, or a sum of `width` numbers. */
static char *large_formula(int depth, int width)
{
    struct buffer body = {0};
    char *text;

    buffer_append_text(&body, "{" NEAR_7 ",\"limit\":1,\"query\":{\"formula\":");
    for (int i = 0; i < depth; i++)
        buffer_append_text(&body, "{\"abs\":");
    buffer_append_text(&body, "{\"sum\":[1");
    for (int i = 1; i < width; i++)
        buffer_append_text(&body, ",1");
    buffer_append_text(&body, "]}");
    for (int i = 0; i < depth; i++)
        buffer_append_byte(&body, '}');
    buffer_append_text(&body, "}}");
    text = strdup(buffer_text(&body));
    buffer_destroy(&body);
    return text;
}

START_TEST(formulas_have_a_depth_and_a_size)
{
    static const struct {
        int depth, width;
        long status;
        const char *text;
    } cases[] = {
        {31, 1, 200, "\"score\":1.0"},
        {32, 1, 400, "nested deeper than 32 levels"},
        {0, 4095, 200, "\"score\":4095.0"},
        {0, 4096, 400, "more than 4096 expressions"},
        {0, 5000, 400, "query.formula.sum: more than 4096 expressions"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *body = large_formula(cases[i].depth, cases[i].width);
        expect(&fixture, body, cases[i].status, cases[i].text);
        free(body);
    }
    fixture_close(&fixture);
}
END_TEST

#define TWO                                                                                        \
    "\"prefetch\":[{\"query\":[1,7,0.5,0],\"limit\":2},{\"query\":[1,30,0.5,0],\"limit\":2}]"

/* 6 and 7 are the first search's, 29 and 30 the second's. */
START_TEST(scores_of_several_searches_make_one_page)
{
    static const struct expectation cases[] = {
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":{\"sum\":[\"$score[0]\",\"$score[1]\"]},\"defaults\":{\"$score[1]"
         "\":10}}," TWO ",\"limit\":2}",
         200,
         "{\"points\":[{\"id\":6,\"version\":6,\"score\":11.0},{\"id\":7,\"version\":7,\"score\":"
         "10."
         "0}]}"},
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"@offset\"}," TWO ",\"limit\":2,\"offset\":1,\"with_payload\":["
         "\"n\"]}",
         200,
         "{\"points\":[{\"id\":29,\"version\":29,\"score\":29.0,\"payload\":{\"n\":1}},{\"id\":7,"},
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"@offset\"}," TWO ",\"score_threshold\":29}", 200,
         "{\"points\":[{\"id\":30,\"version\":30,\"score\":30.0},{\"id\":29,\"version\":29,"
         "\"score\":29.0}]}"},
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"$score\"},\"prefetch\":{\"query\":{\"formula\":{\"mult\":["
         "\"n\","
         "\"@offset\"]}}," TWO "},\"limit\":1}",
         200, "{\"points\":[{\"id\":30,\"version\":30,\"score\":30.0}]}"},
        {"POST", C "/points/query",
         "{\"query\":[1,0,0.5,0],\"prefetch\":{\"query\":{\"formula\":\"n\"}," TWO "},\"limit\":1}",
         200, "{\"points\":[{\"id\":6,\"version\":6,\"score\":6.0}]}"},
        {"POST", C "/points/query",
         "{\"query\":{\"formula\":\"m\"}," TWO ",\"filter\":{\"must\":{"
         "\"key\":\"n\",\"match\":{\"value\":2}}}}",
         200, "{\"points\":[]}"},
        {"POST", C "/points/query/groups",
         "{\"query\":{\"formula\":\"@offset\"}," TWO ",\"group_by\":\"n\",\"group_size\":2}", 200,
         "{\"groups\":[{\"id\":1,\"hits\":[{\"id\":31,"},
        {"POST", C "/points/query/batch",
         "{\"searches\":[{\"query\":{\"formula\":7}," TWO ",\"limit\":1}]}", 200,
         "[{\"points\":[{\"id\":6,\"version\":6,\"score\":7.0}]}]"},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    CHECK_ALL(&fixture, cases);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(expressions_are_worth_what_they_say), TEST(bad_formulas_are_told_their_place),
           TEST(what_has_no_value_names_the_point_and_the_expression), TEST(a_null_is_no_value),
           TEST(formulas_have_a_depth_and_a_size), TEST(scores_of_several_searches_make_one_page))
