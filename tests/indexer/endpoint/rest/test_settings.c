/* Settings that clients sent with a collection, as `client_settings` of its config keeps them: what is shown of them,
 * and what is said of those that have no effect. */
#include "tests/support/rest_fixture.h"
#include "tests/support/test_main.h"

#define SHOWN(settings, text) settings, "\"hnsw_config\":{" text
#define INLINE                "\"hnsw_config\":{\"inline_storage\":true}"
#define SCALAR                "\"quantization_config\":{\"scalar\":{\"type\":\"int8\"}}"

/* Graphs are built with m 16 and ef_construct 64. */
START_TEST(a_collection_shows_what_its_graphs_are_built_with)
{
    static const struct {
        const char *settings, *text;
    } cases[] = {
        {SHOWN(NULL, "\"m\":16,\"ef_construct\":64,")},
        {SHOWN("{\"hnsw_config\":{\"m\":16}}", "\"m\":16,\"ef_construct\":64,")},
        /* The vector's own goes before that of all vectors; both are shown where they were sent. */
        {SHOWN("{\"hnsw_config\":{\"m\":10,\"ef_construct\":80},\"vectors\":{\"hnsw_config\":{"
               "\"m\":16,"
               "\"ef_construct\":64}}}",
               "\"m\":10,\"ef_construct\":80,")},
        /* The file was changed since: what was sent is not what holds. */
        {SHOWN("{\"hnsw_config\":{\"m\":10}}", "\"m\":16,")},
        {SHOWN("{\"hnsw_config\":{\"m\":10},\"vectors\":{\"hnsw_config\":{\"m\":20}}}",
               "\"m\":16,")},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.collection.hnsw_m = 16;
    fixture.collection.hnsw_ef_construct = 64;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct expectation shown[] = {{"GET", C, NULL, 200, cases[i].text}};
        fixture.collection.client_settings = cases[i].settings;
        CHECK_ALL(&fixture, shown);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(settings_without_effect_are_warned_of)
{
    static const struct {
        const char *settings, *text;
    } cases[] = {
        {NULL, "},\"payload_schema\""},
        {"{\"vectors\":{" INLINE "}," SCALAR "}", "},\"payload_schema\""},
        {"{\"vectors\":{" INLINE "," SCALAR "}}", "},\"payload_schema\""},
        {"{\"hnsw_config\":{\"inline_storage\":false}}", "},\"payload_schema\""},
        {"{" INLINE "}",
         "\"warnings\":[{\"message\":\"Vector `text`: `inline_storage` has no effect"},
        {"{\"vectors\":{" INLINE "}}", "\"warnings\":[{\"message\":\"Vector `text`: "},
        /* A list of vectors has none, with quantization or without. */
        {"{" INLINE "," SCALAR "}", "\"warnings\":[{\"message\":\"Vector `tokens`: "},
        {"{\"extra_vectors\":{\"tokens\":{" INLINE "," SCALAR "}}}",
         "\"warnings\":[{\"message\":\"Vector `tokens`: "},
        {"{\"vectors\":{" INLINE "},\"extra_vectors\":{\"tokens\":{" INLINE "}}}",
         "\"},{\"message\":\"Vector `tokens`: "},
    };
    static struct config_vector tokens = {.name = "tokens", .dim = 2, .multiple = true};
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.collection.vector_name = "text";
    fixture.collection.extra_vectors = &tokens;
    fixture.collection.extra_vector_count = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct expectation shown[] = {{"GET", C, NULL, 200, cases[i].text}};
        fixture.collection.client_settings = cases[i].settings;
        CHECK_ALL(&fixture, shown);
    }
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(a_collection_shows_what_its_graphs_are_built_with),
           TEST(settings_without_effect_are_warned_of))
