/* cache: texts by what they say, with their vectors once those are known. A text that somebody waits for
 * stands here, too, so that it is asked for once. The caller's lock guards all of it. */
#ifndef INDEXER_ENDPOINT_EMBEDDER_CACHE_H
#define INDEXER_ENDPOINT_EMBEDDER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum cached_state { CACHED_QUEUED, CACHED_SENT, CACHED_READY, CACHED_FAILED };

/* What a text is found by. */
struct cached_key {
    uint32_t collection; /* its place in the config */
    uint32_t model_bytes, text_bytes;
    const char *model, *text;
};

struct cached {
    struct cached *next;           /* of the same bucket */
    struct cached *before, *after; /* in a list, see cached_state */
    uint64_t hash;
    enum cached_state state; /* queued: in the endpoint's list; ready: in the cache's */
    uint32_t users;          /* requests that wait for it or read it */
    bool found;              /* by its key; else it goes with its last user */
    struct cached_key key;   /* its texts lie behind the struct */
    float *vector;           /* of a ready one */
    struct error *error;     /* of a failed one */
    size_t bytes;
};

struct cached_list {
    struct cached *first, *last;
};

void cached_append(struct cached_list *list, struct cached *one);
void cached_remove(struct cached_list *list, struct cached *one);

enum { CACHE_BUCKETS = 4096 };

struct cache {
    struct cached *buckets[CACHE_BUCKETS];
    struct cached_list ready; /* longest unused first */
    size_t bytes, max_bytes;  /* of the ready ones */
};

void cache_destroy(struct cache *cache);

/** NULL when there is none. */
struct cached *cache_find(struct cache *cache, const struct cached_key *key);
/** Makes one that is queued, in no list yet, without users. The texts are copied. */
struct cached *cache_add(struct cache *cache, const struct cached_key *key);
/** A ready one was used. */
void cache_touch(struct cache *cache, struct cached *one);
/** The vector of `dim` numbers (malloc) is the cache's from now on. Drops the longest unused ones when
 * there are too many bytes. */
void cache_set_ready(struct cache *cache, struct cached *one, float *vector, uint32_t dim);
/** Nobody finds it any more; those who wait for it read why. */
void cache_set_failed(struct cache *cache, struct cached *one, const struct error *error);
/** One user less; frees what nobody finds and nobody uses. */
void cache_release(struct cached *one);
/** Nobody finds one any more that is in no list; it goes with its last user. */
void cache_forget(struct cache *cache, struct cached *one);

#endif
