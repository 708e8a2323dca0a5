#include "indexer/worker/codebook.h"

#include "store/store.h"

struct choice {
    const struct index_segment *segment; /* mapped while its snapshot is held */
    uint64_t number;
    int64_t start_ms;
};

static bool is_better(const struct choice *choice, int64_t start_ms, uint64_t number, int64_t own)
{
    bool before = start_ms <= own;

    if (!choice->segment)
        return true;
    if (before != (choice->start_ms <= own))
        return before;
    if (start_ms != choice->start_ms)
        return before == (start_ms > choice->start_ms);
    return number < choice->number;
}

static void choose(struct choice *choice, const struct store_snapshot *snapshot, int64_t own)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++) {
        const struct index_segment *segment =
            sources[i].segment ? sources[i].segment->object : NULL;
        uint64_t number = segment ? index_segment_codebook(segment) : 0;
        if (number != 0 && is_better(choice, sources[i].window_start_ms, number, own))
            *choice = (struct choice){segment, number, sources[i].window_start_ms};
    }
}

struct index_ivf_codebook *worker_codebook_find(const struct worker_pool *pool,
                                                const char *collection, int64_t start_ms)
{
    struct store_registry *registry = pool->options.registry;
    int64_t now_ms = io_wall_ms(pool->options.io);
    struct index_ivf_codebook *codebook = NULL;
    struct store_lease *leases;
    struct store_snapshot **snapshots;
    struct choice choice = {0};
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_acquire(registry, collection, &arena, &leases);
    snapshots = arena_calloc(&arena, count + 1, sizeof(struct store_snapshot *));
    for (size_t i = 0; i < count; i++) {
        snapshots[i] = store_snapshot_acquire(leases[i].shard, now_ms);
        choose(&choice, snapshots[i], start_ms);
    }
    if (choice.segment)
        codebook = index_segment_copy_codebook(choice.segment);
    for (size_t i = 0; i < count; i++) {
        store_snapshot_release(snapshots[i]);
        store_registry_release(registry, &leases[i]);
    }
    arena_destroy(&arena);
    return codebook;
}
