/* Why leaves and not insertion: insertion computes the distances of one row to a few hundred
 * others, one after another, each from another cache line, and needs the graph it is building to
 * find them. A leaf computes a million at once from registers and nearby cache, and leaves do not
 * depend on each other. Measured with hnswlib 0.8 (insertion, m 16, ef_construct 200) in the same
 * run, one thread, processor time, to graphs of about the same recall at the same ef:
 * bench/notes/index.md: 13 to 17 times faster. Selecting the nearest of a leaf cost
 * several times what the products cost, until it lost its branches (index_kernels.smallest). */
#include "indexer/index/level_build.h"

#include <assert.h>
#include <sched.h>

#include "indexer/index/build_tools.h"

enum { CAPACITY_MAX = 256, LIST_ROWS_MIN = 32, LIST_ROWS_MAX = 160 };

void index_candidate_lists_create(struct index_candidate_lists *lists, uint32_t count,
                                  uint32_t capacity)
{
    assert(capacity > 0 && capacity <= CAPACITY_MAX);
    lists->count = count;
    lists->capacity = capacity;
    lists->entries = index_allocate((size_t)count * capacity, sizeof(uint64_t));
    lists->sizes = index_allocate_zeroed(count, sizeof(uint32_t));
    lists->locks = index_allocate_zeroed(count, sizeof(atomic_uchar));
}

void index_candidate_lists_destroy(struct index_candidate_lists *lists)
{
    free(lists->entries);
    free(lists->sizes);
    free(lists->locks);
}

static void lock(atomic_uchar *byte)
{
    while (atomic_exchange_explicit(byte, 1, memory_order_acquire))
        sched_yield();
}

/* Two sorted lists, each with UINT64_MAX behind its last entry, into one; an entry in both is taken
 * once. From which list the next one comes is a coin's toss, so there is no branch on it. */
static uint32_t merge(const uint64_t *a, const uint64_t *b, uint64_t *out, uint32_t capacity)
{
    uint32_t size = 0, i = 0, j = 0;

    for (; size < capacity; size++) {
        uint64_t x = a[i], y = b[j], least = x < y ? x : y;
        i += x <= y;
        j += y <= x;
        if (least == UINT64_MAX)
            break;
        out[size] = least;
    }
    return size;
}

void index_candidate_lists_prefetch(const struct index_candidate_lists *lists, uint32_t row)
{
    const uint64_t *entries = lists->entries + (size_t)row * lists->capacity;

    __builtin_prefetch(&lists->locks[row], 1);
    __builtin_prefetch(&lists->sizes[row], 1);
    for (uint32_t i = 0; i < lists->capacity; i += 8)
        __builtin_prefetch(entries + i, 1);
}

void index_candidate_lists_merge(struct index_candidate_lists *lists, uint32_t row,
                                 uint64_t *sorted, uint32_t count)
{
    uint64_t former[CAPACITY_MAX + 1];
    uint64_t *entries = lists->entries + (size_t)row * lists->capacity;
    uint32_t size;

    sorted[count] = UINT64_MAX;
    lock(&lists->locks[row]);
    size = lists->sizes[row];
    memcpy(former, entries, size * sizeof(uint64_t));
    former[size] = UINT64_MAX;
    lists->sizes[row] = merge(former, sorted, entries, lists->capacity);
    atomic_store_explicit(&lists->locks[row], 0, memory_order_release);
}

static uint32_t list_capacity(const struct index_level_options *options)
{
    uint32_t wanted = options->ef_construct / 3;

    return wanted < LIST_ROWS_MIN ? LIST_ROWS_MIN : wanted > LIST_ROWS_MAX ? LIST_ROWS_MAX : wanted;
}

uint64_t index_level_build_bytes(uint32_t count, uint32_t stride,
                                 const struct index_level_options *options)
{
    uint64_t lists = count * ((uint64_t)list_capacity(options) * sizeof(uint64_t) +
                              sizeof(uint32_t) + sizeof(atomic_uchar));
    uint64_t per_thread;
    uint64_t leaves = index_ball_carving_bytes(count, stride, options->ef_construct, &per_thread);
    uint64_t links = index_prune_bytes(count, options->degree);

    leaves += per_thread * options->team.threads;
    return lists + (leaves > links ? leaves : links);
}

bool index_level_build(const struct index_codes *codes, const struct index_level_options *options,
                       uint32_t *links)
{
    struct index_candidate_lists lists;
    bool done;

    index_candidate_lists_create(&lists, codes->count, list_capacity(options));
    done = index_ball_carving_run(codes, options, &lists) &&
           index_prune_links(codes, options, &lists, links);
    index_candidate_lists_destroy(&lists);
    if (done)
        index_repair_links(codes, options->degree, links);
    return done;
}
