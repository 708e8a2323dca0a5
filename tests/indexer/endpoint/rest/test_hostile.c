/* Bodies of reads as nobody should send them, on a socket of the real server over a real store: those of corpus/request,
 * and many more that chance makes of them. The first byte of a file chooses the route. Nothing may
 * crash or be answered as our own fault, every reply is JSON that says how it went, and the points stay. */
#include "tests/support/test_main.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "tests/support/rest_fixture.h"

enum { CHANGES = 60, BODY_MAX = 4096, FILES_MAX = 100 };

struct body {
    size_t size;
    char bytes[BODY_MAX];
};

static size_t read_corpus(struct body *bodies)
{
    DIR *folder = opendir(CORPUS);
    struct dirent *entry;
    size_t count = 0;

    ck_assert_ptr_nonnull(folder);
    while ((entry = readdir(folder)) != NULL) {
        char path[500];
        FILE *file;
        if (entry->d_name[0] == '.')
            continue;
        ck_assert_uint_lt(count, FILES_MAX);
        snprintf(path, sizeof(path), "%s/%s", CORPUS, entry->d_name);
        file = fopen(path, "rb");
        ck_assert_ptr_nonnull(file);
        bodies[count].size = fread(bodies[count].bytes, 1, BODY_MAX, file);
        fclose(file);
        count++;
    }
    closedir(folder);
    ck_assert_uint_gt(count, 10);
    return count;
}

/* A byte, a piece that goes, or a piece of another body in the middle of this one. */
static void change(struct body *body, const struct body *other, uint64_t *chance)
{
    size_t at = 1 + test_random(chance) % (body->size - 1);
    size_t length = test_random(chance) % 24, from = test_random(chance) % other->size;

    switch (test_random(chance) % 3) {
    case 0:
        body->bytes[at] = (char)test_random(chance);
        break;
    case 1:
        length = length < body->size - at ? length : body->size - at;
        memmove(body->bytes + at, body->bytes + at + length, body->size - at - length);
        body->size -= length;
        break;
    default:
        length = length < other->size - from ? length : other->size - from;
        length = length < BODY_MAX - body->size ? length : BODY_MAX - body->size;
        memmove(body->bytes + at + length, body->bytes + at, body->size - at);
        memcpy(body->bytes + at, other->bytes + from, length);
        body->size += length;
    }
}

static void ask_and_check(const struct fixture *fixture, const struct body *body)
{
    static const long statuses[] = {200, 400, 404, 408, 413, 422, 501};
    static const char *const routes[] = {
        C "/points/query",   C "/points/query/batch", C "/points/query/groups",
        C "/points/scroll",  C "/points/count",       C "/points",
        C "/facet",          C "/points/search",      C "/points/recommend",
        C "/points/discover"};
    const char *route = routes[(unsigned char)body->bytes[0] % (sizeof(routes) / sizeof(*routes))];
    struct answer answer = ask_bytes(fixture, "POST", route, body->bytes + 1, body->size - 1, NULL);
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    size_t at = 0;

    while (at < sizeof(statuses) / sizeof(statuses[0]) && statuses[at] != answer.status)
        at++;
    ck_assert_msg(at < sizeof(statuses) / sizeof(statuses[0]), "%s %.*s: %ld %s", route,
                  (int)body->size - 1, body->bytes + 1, answer.status, buffer_text(&answer.body));
    arena_create(&arena, 0);
    ck_assert_msg(doc_parse_json(&arena, buffer_text(&answer.body), answer.body.size, NULL, &doc,
                                 &error) == 0 &&
                      doc_get(&doc, "status"),
                  "%s %.*s: %s", route, (int)body->size - 1, body->bytes + 1,
                  buffer_text(&answer.body));
    arena_destroy(&arena);
    answer_free(&answer);
}

START_TEST(hostile_bodies_get_an_answer_and_change_nothing)
{
    static struct body bodies[FILES_MAX];
    uint64_t chance = test_seed();
    const size_t count = read_corpus(bodies);
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    for (size_t i = 0; i < count; i++) {
        struct body changed = bodies[i];
        ask_and_check(&fixture, &changed);
        for (int k = 0; k < CHANGES; k++) {
            if (k % 6 == 0)
                changed = bodies[i];
            if (changed.size > 1)
                change(&changed, &bodies[test_random(&chance) % count], &chance);
            ask_and_check(&fixture, &changed);
        }
    }
    answer = ask(&fixture, "POST", C "/points/count", "{}");
    ck_assert_msg(strstr(buffer_text(&answer.body), "{\"count\":50}"), "%s",
                  buffer_text(&answer.body));
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(hostile_bodies_get_an_answer_and_change_nothing))
