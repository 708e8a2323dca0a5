#include "indexer/index/scratch.h"

#include <assert.h>
#include <pthread.h>

#include "indexer/index/index.h"
#include "indexer/index/memory.h"

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void scratch_delete(void *object)
{
    struct index_scratch *scratch = object;

    free(scratch->marks.words);
    free(scratch->marks.touched);
    free(scratch->walk.entries);
    free(scratch->accepted.entries);
    free(scratch->spare.entries);
    free(scratch->query);
    free(scratch->forest.trees);
    free(scratch->forest.owners);
    free(scratch->forest.entries);
    free(scratch->forest.pools);
    free(scratch->forest.places);
    free(scratch->forest.fresh);
    free(scratch->tables);
    free(scratch);
}

static void create_key(void)
{
    if (pthread_key_create(&key, scratch_delete) != 0)
        abort();
}

/* Threads that end free their own; the main thread's dies with the process and would look like a
 * leak, so it is freed at exit. */
static void free_at_exit(void) __attribute__((destructor));
static void free_at_exit(void)
{
    struct index_scratch *scratch;

    pthread_once(&key_once, create_key);
    scratch = pthread_getspecific(key);
    if (scratch) {
        (void)pthread_setspecific(key, NULL);
        scratch_delete(scratch);
    }
}

struct index_scratch *index_scratch_get(void)
{
    struct index_scratch *scratch;

    pthread_once(&key_once, create_key);
    scratch = pthread_getspecific(key);
    if (!scratch) {
        scratch = index_allocate_zeroed(1, sizeof(*scratch));
        if (pthread_setspecific(key, scratch) != 0)
            abort();
    }
    return scratch;
}

void index_scratch_marks(struct index_scratch *scratch, uint32_t node_count)
{
    struct index_marks *marks = &scratch->marks;
    uint32_t words = node_count / 64 + 1;

    if (words <= marks->word_limit)
        return;
    free(marks->words);
    free(marks->touched);
    marks->words = index_allocate_zeroed(words, sizeof(uint64_t));
    marks->touched = index_allocate((size_t)words + 1, sizeof(uint32_t));
    marks->touched_count = 0;
    marks->word_limit = words;
}

void index_marks_clear(struct index_marks *marks)
{
    for (uint32_t i = 0; i < marks->touched_count; i++)
        marks->words[marks->touched[i]] = 0;
    marks->touched_count = 0;
}

void index_scratch_query(struct index_scratch *scratch, uint32_t bytes)
{
    if (bytes <= scratch->query_room)
        return;
    free(scratch->query);
    scratch->query = index_allocate(bytes, 1);
    scratch->query_room = bytes;
}

void index_scratch_tables(struct index_scratch *scratch, size_t bytes)
{
    if (bytes <= scratch->tables_room)
        return;
    free(scratch->tables);
    scratch->tables = index_allocate(bytes, 1);
    scratch->tables_room = bytes;
}

void index_pool_limit(struct index_pool *pool, uint32_t limit)
{
    if (limit > pool->room) {
        free(pool->entries);
        pool->entries = index_allocate(limit, sizeof(uint64_t));
        pool->room = limit;
    }
    pool->limit = limit;
    pool->count = 0;
}

static void *grow(void *memory, uint32_t *room, uint32_t wanted, size_t item_bytes)
{
    if (wanted <= *room)
        return memory;
    free(memory);
    *room = wanted;
    return index_allocate(wanted, item_bytes);
}

void index_forest_room(struct index_forest *forest, uint32_t trees, uint32_t entries,
                       uint32_t blocks)
{
    forest->trees = grow(forest->trees, &forest->tree_room, trees, sizeof(*forest->trees));
    forest->owners = grow(forest->owners, &forest->owner_room, blocks, sizeof(*forest->owners));
    forest->entries =
        grow(forest->entries, &forest->entry_room, trees * entries, sizeof(*forest->entries));
}

void index_forest_places(struct index_forest *forest, uint32_t pools, uint64_t places)
{
    assert(places <= UINT32_MAX); /* no more than there are nodes, or a few */
    forest->pools = grow(forest->pools, &forest->pool_room, pools, sizeof(*forest->pools));
    forest->places =
        grow(forest->places, &forest->place_room, (uint32_t)places, sizeof(*forest->places));
    forest->pool_count = forest->place_count = 0;
}

struct index_pool *index_forest_pool(struct index_forest *forest, uint32_t limit)
{
    struct index_pool *pool = &forest->pools[forest->pool_count++];

    assert(forest->pool_count <= forest->pool_room);
    assert(forest->place_room - forest->place_count >= limit);
    *pool = (struct index_pool){
        .entries = forest->places + forest->place_count, .limit = limit, .room = limit};
    forest->place_count += limit;
    return pool;
}

void index_forest_fresh(struct index_forest *forest, uint32_t trees, uint32_t each)
{
    forest->fresh = grow(forest->fresh, &forest->fresh_room, trees * each, sizeof(*forest->fresh));
    forest->fresh_each = each;
}
