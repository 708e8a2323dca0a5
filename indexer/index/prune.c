/* From lists to links. A candidate becomes a link unless a link that was taken before is nearer to
 * it than the row itself is, by an eighth of the squared distance (the relative-neighbourhood rule
 * with alpha 1.06): such a candidate is reached through that link. Without the eighth a search on
 * changelog-384 and sift200k-128 computes 12 and 20 % more distances for the same recall; with a
 * fifth or more the links fill up with near ones and recall falls again. Then every link offers its
 * reverse, and rows with too many links prune again by the same rule. */
#include <assert.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/level_build.h"

enum {
    PRUNE_GRAIN = 256,
    PREFETCH_AHEAD = 4, /* candidates; against one ahead 3 to 5 % of a build at 128 dimensions */
    DEGREE_MAX = 512,
    REVERSE_MAX = 512 /* nearest incoming links that a row looks at; hubs have thousands */
};

struct prune {
    const struct index_codes *codes;
    const struct index_level_options *options;
    struct index_candidate_lists *lists; /* candidates, then the links kept of them */
    uint32_t *links;
    uint64_t *reverse;           /* incoming links of row r: [offsets[r], offsets[r + 1]) */
    atomic_uint_least64_t *fill; /* next free place in `reverse` */
    uint64_t *offsets;
    atomic_uint done;
};

static void prefetch_row(const struct index_codes *codes, uint32_t row)
{
    const uint8_t *bytes = index_codes_row(codes, row);

    for (uint32_t i = 0; i < codes->stride; i += INDEX_CODE_ALIGN)
        __builtin_prefetch(bytes + i);
}

/* A key that is larger by an eighth of the distance it stands for; sums stay below 2^31. */
static int32_t widened(const struct index_codes *codes, int32_t key)
{
    union {
        int32_t key;
        float value;
    } both = {.key = key};

    if (codes->kind == INDEX_CODE_INT7)
        return key + key / 8;
    both.value *= 1.125f; /* distances are not negative: their keys are their bits */
    return both.key;
}

static bool is_occluded(const struct index_codes *codes, uint64_t candidate, const uint64_t *kept,
                        uint32_t kept_count)
{
    const uint8_t *from = index_codes_row(codes, index_neighbour_row(candidate));

    for (uint32_t i = 0; i < kept_count; i += 4) {
        const uint8_t *rows[4];
        int32_t keys[4];
        for (uint32_t j = 0; j < 4; j++)
            rows[j] =
                index_codes_row(codes, index_neighbour_row(kept[i + j < kept_count ? i + j : i]));
        index_codes_keys_4(codes, from, rows, keys);
        for (uint32_t j = 0; j < 4; j++)
            if (widened(codes, keys[j]) < index_neighbour_key(candidate))
                return true;
    }
    return false;
}

/* `kept` may be the same array as `sorted`: it is written behind what has been read. */
static uint32_t select_links(const struct index_codes *codes, const uint64_t *sorted,
                             uint32_t count, uint32_t limit, uint64_t *kept)
{
    uint32_t kept_count = 0;

    for (uint32_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
        prefetch_row(codes, index_neighbour_row(sorted[i]));
    for (uint32_t i = 0; i < count && kept_count < limit; i++) {
        uint64_t candidate = sorted[i];
        if (i + PREFETCH_AHEAD < count)
            prefetch_row(codes, index_neighbour_row(sorted[i + PREFETCH_AHEAD]));
        if (!is_occluded(codes, candidate, kept, kept_count))
            kept[kept_count++] = candidate;
    }
    return kept_count;
}

static void prune_lists(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct prune *prune = context;
    struct index_candidate_lists *lists = prune->lists;

    (void)thread;
    for (uint32_t row = first; row < end; row++) {
        uint64_t *entries = lists->entries + (size_t)row * lists->capacity;
        uint32_t kept =
            select_links(prune->codes, entries, lists->sizes[row], prune->options->degree, entries);
        lists->sizes[row] = kept;
        for (uint32_t i = 0; i < kept; i++)
            atomic_fetch_add_explicit(&prune->fill[index_neighbour_row(entries[i])], 1,
                                      memory_order_relaxed);
    }
}

static void offer_reverse(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct prune *prune = context;

    (void)thread;
    for (uint32_t row = first; row < end; row++) {
        const uint64_t *entries = prune->lists->entries + (size_t)row * prune->lists->capacity;
        for (uint32_t i = 0; i < prune->lists->sizes[row]; i++) {
            uint32_t to = index_neighbour_row(entries[i]);
            uint64_t at = atomic_fetch_add_explicit(&prune->fill[to], 1, memory_order_relaxed);
            prune->reverse[at] = index_neighbour(index_neighbour_key(entries[i]), row);
        }
    }
}

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint32_t unite(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count,
                      uint64_t *out)
{
    uint32_t i = 0, j = 0, size = 0;

    while (i < a_count || j < b_count) {
        uint64_t entry = j == b_count || (i < a_count && a[i] <= b[j]) ? a[i] : b[j];
        i += i < a_count && a[i] == entry;
        j += j < b_count && b[j] == entry;
        out[size++] = entry;
    }
    return size;
}

static void finish_links(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct prune *prune = context;
    const struct index_level_options *options = prune->options;
    uint64_t all[DEGREE_MAX + REVERSE_MAX];

    (void)thread;
    for (uint32_t row = first; row < end; row++) {
        const uint64_t *entries = prune->lists->entries + (size_t)row * prune->lists->capacity;
        uint64_t *reverse = prune->reverse + prune->offsets[row];
        uint64_t incoming = prune->offsets[row + 1] - prune->offsets[row];
        uint32_t *links = prune->links + (size_t)row * options->degree;
        uint32_t count;

        qsort(reverse, incoming, sizeof(*reverse), compare_entries);
        count = unite(entries, prune->lists->sizes[row], reverse,
                      incoming < REVERSE_MAX ? (uint32_t)incoming : REVERSE_MAX, all);
        if (count > options->degree)
            count = select_links(prune->codes, all, count, options->degree, all);
        for (uint32_t i = 0; i < options->degree; i++)
            links[i] = i < count ? index_neighbour_row(all[i]) : INDEX_NO_LINK;
    }
    if (options->progress) {
        uint32_t done = atomic_fetch_add(&prune->done, end - first) + end - first;
        options->progress(options->progress_context, 0.8 + 0.2 * done / prune->codes->count);
    }
}

/* Where each row's incoming links start; fill[] held their number. */
static void place_reverse(struct prune *prune)
{
    uint64_t total = 0;

    for (uint32_t row = 0; row < prune->codes->count; row++) {
        uint64_t incoming = atomic_load_explicit(&prune->fill[row], memory_order_relaxed);
        prune->offsets[row] = total;
        atomic_store_explicit(&prune->fill[row], total, memory_order_relaxed);
        total += incoming;
    }
    prune->offsets[prune->codes->count] = total;
    prune->reverse = index_allocate(total, sizeof(uint64_t));
}

uint64_t index_prune_bytes(uint32_t count, uint32_t degree)
{
    return count * (2 * sizeof(uint64_t) + (uint64_t)degree * sizeof(uint64_t));
}

bool index_prune_links(const struct index_codes *codes, const struct index_level_options *options,
                       struct index_candidate_lists *lists, uint32_t *links)
{
    uint32_t count = codes->count;
    struct prune prune = {
        .codes = codes,
        .options = options,
        .lists = lists,
        .links = links,
        .fill = index_allocate_zeroed(count, sizeof(atomic_uint_least64_t)),
        .offsets = index_allocate((size_t)count + 1, sizeof(uint64_t)),
    };
    bool done;

    assert(options->degree <= DEGREE_MAX);
    done = thread_team_for(&options->team, count, PRUNE_GRAIN, prune_lists, &prune);
    if (done) {
        place_reverse(&prune);
        done = thread_team_for(&options->team, count, PRUNE_GRAIN, offer_reverse, &prune) &&
               thread_team_for(&options->team, count, PRUNE_GRAIN, finish_links, &prune);
    }
    free(prune.fill);
    free(prune.offsets);
    free(prune.reverse);
    return done;
}
