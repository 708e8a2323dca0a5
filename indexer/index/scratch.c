#include "indexer/index/scratch.h"

#include <assert.h>
#include <pthread.h>

#include "base/io.h"
#include "base/memory.h"
#include "indexer/index/build_tools.h"
#include "indexer/index/index.h"

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void scratch_delete(void *object)
{
    struct index_scratch *scratch = object;

    free(scratch->visited.words);
    free(scratch->visited.touched);
    free(scratch->nearest.entries);
    free(scratch->accepted.entries);
    free(scratch->spare.entries);
    free(scratch->query);
    free(scratch->group.slots);
    free(scratch->group.owners);
    free(scratch->group.entries);
    free(scratch->group.lists);
    free(scratch->group.places);
    free(scratch->group.fresh);
    free(scratch->tables);
    free(scratch->pages);
    free(scratch->row);
    for (uint32_t i = 0; i < scratch->more_count; i++)
        scratch_delete(scratch->more[i]);
    free(scratch->more);
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

struct index_scratch *index_scratch_of(uint32_t index)
{
    struct index_scratch *scratch = index_scratch_get();

    if (index == 0)
        return scratch;
    if (index > scratch->more_count) {
        scratch->more = realloc(scratch->more, index * sizeof(*scratch->more));
        if (!scratch->more)
            abort();
        while (scratch->more_count < index)
            scratch->more[scratch->more_count++] = index_allocate_zeroed(1, sizeof(*scratch));
    }
    return scratch->more[index - 1];
}

void index_scratch_visited(struct index_scratch *scratch, uint32_t node_count)
{
    struct index_visited *visited = &scratch->visited;
    uint32_t words = node_count / 64 + 1;

    if (words <= visited->word_limit)
        return;
    free(visited->words);
    free(visited->touched);
    visited->words = index_allocate_zeroed(words, sizeof(uint64_t));
    visited->touched = index_allocate((size_t)words + 1, sizeof(uint32_t));
    visited->touched_count = 0;
    visited->word_limit = words;
}

void index_visited_clear(struct index_visited *visited)
{
    for (uint32_t i = 0; i < visited->touched_count; i++)
        visited->words[visited->touched[i]] = 0;
    visited->touched_count = 0;
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

uint8_t *index_scratch_pages(struct index_scratch *scratch, size_t bytes)
{
    if (bytes > scratch->pages_room) {
        free(scratch->pages);
        scratch->pages = memory_checked(aligned_alloc(IO_PAGE_BYTES, bytes));
        scratch->pages_room = bytes;
    }
    return scratch->pages;
}

void index_search_list_limit(struct index_search_list *list, uint32_t limit)
{
    if (limit > list->room) {
        free(list->entries);
        list->entries = index_allocate(limit, sizeof(uint64_t));
        list->room = limit;
    }
    list->limit = limit;
    list->count = 0;
}

static void *grow(void *memory, uint32_t *room, uint32_t wanted, size_t item_bytes)
{
    if (wanted <= *room)
        return memory;
    free(memory);
    *room = wanted;
    return index_allocate(wanted, item_bytes);
}

const float *index_row_values(struct vector_row row, uint32_t dim)
{
    struct index_scratch *scratch;

    if (vector_codec_is_float32(row.codec))
        return row.bytes;
    scratch = index_scratch_get();
    scratch->row = grow(scratch->row, &scratch->row_room, dim, sizeof(*scratch->row));
    vector_row_decode(row, dim, scratch->row);
    return scratch->row;
}

void index_group_reserve(struct index_group *group, uint32_t slots, uint32_t entries,
                         uint32_t blocks)
{
    group->slots = grow(group->slots, &group->slot_room, slots, sizeof(*group->slots));
    group->owners = grow(group->owners, &group->owner_room, blocks, sizeof(*group->owners));
    group->entries =
        grow(group->entries, &group->entry_room, slots * entries, sizeof(*group->entries));
}

void index_group_reserve_lists(struct index_group *group, uint32_t lists, uint64_t places)
{
    assert(places <= UINT32_MAX); /* no more than there are nodes, or a few */
    group->lists = grow(group->lists, &group->list_room, lists, sizeof(*group->lists));
    group->places =
        grow(group->places, &group->place_room, (uint32_t)places, sizeof(*group->places));
    group->list_count = group->place_count = 0;
}

struct index_search_list *index_group_list(struct index_group *group, uint32_t limit)
{
    struct index_search_list *list = &group->lists[group->list_count++];

    assert(group->list_count <= group->list_room);
    assert(group->place_room - group->place_count >= limit);
    *list = (struct index_search_list){
        .entries = group->places + group->place_count, .limit = limit, .room = limit};
    group->place_count += limit;
    return list;
}

void index_group_reserve_fresh(struct index_group *group, uint32_t slots, uint32_t each)
{
    group->fresh = grow(group->fresh, &group->fresh_room, slots * each, sizeof(*group->fresh));
    group->fresh_each = each;
}
