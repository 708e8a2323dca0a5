/* What is found, what is dropped and when memory is freed (the sanitizers look at that). */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/embedder/cache.h"
#include "tests/support/test_main.h"

enum { DIM = 4 };

static struct cached_key key_of(uint32_t collection, const char *model, const char *text)
{
    return (struct cached_key){.collection = collection,
                               .model = model,
                               .model_bytes = (uint32_t)strlen(model),
                               .text = text,
                               .text_bytes = (uint32_t)strlen(text)};
}

static struct cached *add_ready(struct cache *cache, const char *text, float first)
{
    const struct cached_key key = key_of(0, "m", text);
    struct cached *one = cache_add(cache, &key);
    float *vector = memory_new(DIM, sizeof(float));

    vector[0] = first;
    cache_set_ready(cache, one, vector, DIM);
    return one;
}

static struct cached *find(struct cache *cache, const char *text)
{
    const struct cached_key key = key_of(0, "m", text);

    return cache_find(cache, &key);
}

START_TEST(a_text_is_found_by_collection_model_and_words)
{
    static const struct {
        uint32_t collection;
        const char *model, *text;
    } others[] = {{1, "m", "words"}, {0, "", "words"},  {0, "mw", "ords"},
                  {0, "", "mwords"}, {0, "m", "wordz"}, {0, "m", "word"}};
    struct cache *cache = memory_new(1, sizeof(*cache));
    struct cached_key key = key_of(0, "m", "words");
    struct cached *one;

    cache->max_bytes = SIZE_MAX;
    one = cache_add(cache, &key);
    ck_assert_ptr_eq(cache_find(cache, &key), one);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        key = key_of(others[i].collection, others[i].model, others[i].text);
        ck_assert_ptr_null(cache_find(cache, &key));
    }
    cache_destroy(cache);
    free(cache);
}
END_TEST

START_TEST(the_longest_unused_go_first_and_stay_for_their_users)
{
    struct cache *cache = memory_new(1, sizeof(*cache));
    struct cached *first, *second;

    cache->max_bytes = SIZE_MAX;
    first = add_ready(cache, "first", 1);
    second = add_ready(cache, "second", 2);
    cache->max_bytes = cache->bytes + first->bytes; /* a third one of their size fits */
    second->users++;
    cache_touch(cache, first);
    (void)add_ready(cache, "third", 3);
    ck_assert(find(cache, "first") && find(cache, "second") && find(cache, "third"));
    (void)add_ready(cache, "fourth", 4);
    ck_assert(find(cache, "first") && !find(cache, "second") && find(cache, "fourth"));
    ck_assert(cache->bytes <= cache->max_bytes);
    ck_assert_float_eq(second->vector[0], 2);
    cache_release(second);
    cache->max_bytes = 1; /* not even one fits */
    (void)add_ready(cache, "fifth", 5);
    ck_assert(!find(cache, "first") && !find(cache, "fifth"));
    ck_assert_uint_eq(cache->bytes, 0);
    cache_destroy(cache);
    free(cache);
}
END_TEST

START_TEST(a_failure_is_read_by_those_who_wait_and_not_found_again)
{
    struct cache *cache = memory_new(1, sizeof(*cache));
    const struct cached_key key = key_of(0, "m", "words");
    struct cached *one, *unused;
    struct error error;

    cache->max_bytes = SIZE_MAX;
    (void)error_set(&error, ERROR_UPSTREAM, "no");
    one = cache_add(cache, &key);
    one->users = 2;
    cache_set_failed(cache, one, &error);
    ck_assert_ptr_null(cache_find(cache, &key));
    ck_assert_int_eq(one->error->code, ERROR_UPSTREAM);
    cache_release(one);
    ck_assert_str_eq(one->error->text, "no");
    cache_release(one);
    unused = cache_add(cache, &key);
    cache_set_failed(cache, unused, &error);
    one = cache_add(cache, &key);
    cache_forget(cache, one);
    ck_assert_ptr_null(cache_find(cache, &key));
    cache_destroy(cache);
    free(cache);
}
END_TEST

TEST_TABLE(TEST(a_text_is_found_by_collection_model_and_words),
           TEST(the_longest_unused_go_first_and_stay_for_their_users),
           TEST(a_failure_is_read_by_those_who_wait_and_not_found_again))
