#include "indexer/endpoint/embedder/cache.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/memory.h"

void cached_append(struct cached_list *list, struct cached *one)
{
    one->before = list->last;
    one->after = NULL;
    *(list->last ? &list->last->after : &list->first) = one;
    list->last = one;
}

void cached_remove(struct cached_list *list, struct cached *one)
{
    *(one->before ? &one->before->after : &list->first) = one->after;
    *(one->after ? &one->after->before : &list->last) = one->before;
    one->before = one->after = NULL;
}

static uint64_t hash_of(const struct cached_key *key)
{
    return XXH3_64bits_withSeed(
        key->text, key->text_bytes,
        XXH3_64bits_withSeed(key->model, key->model_bytes, key->collection));
}

static bool is_same(const struct cached_key *a, const struct cached_key *b)
{
    return a->collection == b->collection &&
           bytes_equal(a->model, a->model_bytes, b->model, b->model_bytes) &&
           bytes_equal(a->text, a->text_bytes, b->text, b->text_bytes);
}

struct cached *cache_find(struct cache *cache, const struct cached_key *key)
{
    uint64_t hash = hash_of(key);
    struct cached *one = cache->buckets[hash % CACHE_BUCKETS];

    while (one && (one->hash != hash || !is_same(&one->key, key)))
        one = one->next;
    return one;
}

struct cached *cache_add(struct cache *cache, const struct cached_key *key)
{
    size_t key_bytes = (size_t)key->model_bytes + key->text_bytes;
    struct cached *one = memory_new(1, sizeof(*one) + key_bytes);
    char *texts = (char *)(one + 1);
    struct cached **bucket;

    memcpy(texts, key->model, key->model_bytes);
    memcpy(texts + key->model_bytes, key->text, key->text_bytes);
    one->key = *key;
    one->key.model = texts;
    one->key.text = texts + key->model_bytes;
    one->hash = hash_of(key);
    one->found = true;
    one->bytes = sizeof(*one) + key_bytes;
    bucket = &cache->buckets[one->hash % CACHE_BUCKETS];
    one->next = *bucket;
    *bucket = one;
    return one;
}

static void free_unused(struct cached *one)
{
    if (one->found || one->users > 0)
        return;
    free(one->vector);
    free(one->error);
    free(one);
}

static void unlink_one(struct cache *cache, struct cached *one)
{
    struct cached **place = &cache->buckets[one->hash % CACHE_BUCKETS];

    while (*place != one)
        place = &(*place)->next;
    *place = one->next;
    one->found = false;
}

void cache_release(struct cached *one)
{
    one->users--;
    free_unused(one);
}

void cache_forget(struct cache *cache, struct cached *one)
{
    unlink_one(cache, one);
    free_unused(one);
}

void cache_touch(struct cache *cache, struct cached *one)
{
    cached_remove(&cache->ready, one);
    cached_append(&cache->ready, one);
}

void cache_set_ready(struct cache *cache, struct cached *one, float *vector, uint32_t dim)
{
    one->state = CACHED_READY;
    one->vector = vector;
    one->bytes += dim * sizeof(float);
    cached_append(&cache->ready, one);
    cache->bytes += one->bytes;
    while (cache->bytes > cache->max_bytes) {
        struct cached *oldest = cache->ready.first;
        cached_remove(&cache->ready, oldest);
        cache->bytes -= oldest->bytes;
        unlink_one(cache, oldest);
        free_unused(oldest);
    }
}

void cache_set_failed(struct cache *cache, struct cached *one, const struct error *error)
{
    one->state = CACHED_FAILED;
    one->error = memory_new(1, sizeof(*error));
    *one->error = *error;
    unlink_one(cache, one);
    free_unused(one);
}

void cache_destroy(struct cache *cache)
{
    for (size_t i = 0; i < CACHE_BUCKETS; i++)
        while (cache->buckets[i]) {
            struct cached *one = cache->buckets[i];
            unlink_one(cache, one);
            free_unused(one);
        }
}
