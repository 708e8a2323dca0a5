/* Which of several claims on one shard counts, and what an announcement may say of them. */
#include <string.h>

#include "cluster/claims.h"
#include "tests/support/test_main.h"

START_TEST(the_newer_generation_of_one_group_takes_the_place_of_the_older_one)
{
    static const struct {
        struct claim own, other;
        bool superseded;
    } cases[] = {
        {{"a", 5, true, false}, {"a", 7, true, false}, true},
        {{"a", 7, true, false}, {"a", 5, true, false}, false},
        {{"a", 5, true, false}, {"a", 5, true, false}, false},
        {{"a", 5, true, false}, {"b", 7, true, false}, false}, /* another group counts on its own */
        {{"a", 5, true, false},
         {"a", 7, false, false},
         true}, /* whoever has it has yet to read it */
        {{"a", 5, true, true},
         {"a", 7, false, false},
         false}, /* until then the former owner answers */
        {{"a", 5, true, true}, {"a", 7, true, true}, true},
        {{"a", 0, true, false}, {"a", 7, true, false}, false}, /* an older windrow does not say */
        {{"a", 5, true, false}, {"a", 0, true, false}, false},
        {{NULL, 5, true, false}, {"a", 7, true, false}, false},
        {{"a", 5, true, false}, {NULL, 7, true, false}, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct claim claims[] = {cases[i].other, cases[i].own};
        ck_assert_msg(claims_superseded(claims, 2, 1) == cases[i].superseded, "case %zu", i);
        ck_assert(!claims_superseded(&claims[1], 1, 0));
    }
}
END_TEST

START_TEST(claims_of_an_announcement_are_checked)
{
    static const struct {
        const char *json;
        bool sound;
        int32_t generation, waiting; /* of shard 0 */
    } cases[] = {
        {"{\"shards\": [[\"0\", 5, 6]]}", true, 0, 0},
        {"{\"shards\": [[\"0\", 5, 6, 7]], \"claims\": []}", true, 7, 0},
        {"{\"shards\": [[\"0\", 5, 6, 7, \"later\"]]}", true, 7, 0},
        {"{\"shards\": [[\"0\", 5, 6, -1]]}", false, 0, 0},
        {"{\"shards\": [[\"0\", 5, 6, 2147483648]]}", false, 0, 0},
        {"{\"shards\": [[\"0\", 5, 6, \"7\"]]}", false, 0, 0},
        {"{\"shards\": [], \"claims\": [[\"0\", 8, \"behind\"]]}", true, 0, 8},
        {"{\"shards\": [], \"claims\": [[\"1\", 9, \"behind\"], [\"0\", 8, \"behind\"]]}", true, 0,
         8},
        {"{\"shards\": [], \"claims\": [[\"0\", 8, \"fenced\"]]}", true, 0, 0},
        {"{\"shards\": [], \"claims\": [[\"0\", 8, \"unconfirmed\"]]}", true, 0, 0},
        {"{\"shards\": [], \"claims\": [[\"0\", 8, \"of a later version\"]]}", true, 0, 0},
        {"{\"shards\": [], \"claims\": [[\"0\", 8]]}", false, 0, 0},
        {"{\"shards\": [], \"claims\": [[\"0\", \"8\", \"behind\"]]}", false, 0, 0},
        {"{\"shards\": [], \"claims\": [[0, 8, \"behind\"]]}", false, 0, 0},
        {"{\"shards\": [], \"claims\": [3]}", false, 0, 0},
        {"{\"shards\": [], \"claims\": 3}", false, 0, 0},
    };
    static const struct doc_limits limits = {.max_bytes = 1000, .max_depth = 8};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct doc *shards;
        struct error error = {0};
        struct arena arena;
        struct doc doc;
        arena_create(&arena, 0);
        ck_assert_int_eq(
            doc_parse_json(&arena, cases[i].json, strlen(cases[i].json), &limits, &doc, &error), 0);
        ck_assert_msg(claims_are_sound(&doc) == cases[i].sound, "%s", cases[i].json);
        shards = doc_get(&doc, "shards");
        if (cases[i].sound && shards->count > 0)
            ck_assert_int_eq(claims_generation(&shards->items[0]), cases[i].generation);
        if (cases[i].sound)
            ck_assert_int_eq(claims_waiting(&doc, "0"), cases[i].waiting);
        arena_destroy(&arena);
    }
}
END_TEST

TEST_TABLE(TEST(the_newer_generation_of_one_group_takes_the_place_of_the_older_one),
           TEST(claims_of_an_announcement_are_checked))
