/* What a build reads from a shard. The snapshot that the caller holds keeps file, mapping and
 * segments in place while the build runs, whatever compactions do meanwhile.
 *
 * A run is named by its generation, a chunk by its file number: a reseal gives the window another
 * generation, and a build over the former one is then of no use (ERROR_NOT_FOUND). */
#include "indexer/worker/source.h"

#include <stdlib.h>
#include <string.h>

#include "store/lease.h"
#include "store/snapshot.h"
#include "twcs/twcs.h"

static bool is_run(const struct store_source *source, const struct worker_run *run)
{
    if (source->kind == STORE_SOURCE_MEMTABLE || source->window_start_ms != run->start_ms ||
        source->window_length_ms != run->length_ms)
        return false;
    return run->generation > 0 ? source->sealed && source->generation == run->generation
                               : !source->sealed && source->file_number == run->file_number;
}

int worker_source_find(const struct worker_run *run, struct store_snapshot *snapshot,
                       const struct store_source **source, struct error *error)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++) {
        if (is_run(&sources[i], run)) {
            *source = &sources[i];
            return 0;
        }
    }
    return error_set(error, ERROR_NOT_FOUND, "%s",
                     run->generation > 0 ? "the generation is no longer current"
                                         : "the chunk is no longer part of the window");
}

/* Looks at every block, which also takes their checksums. A raw run's vectors lie in one piece and
 * are used in place; others are gathered. */
int worker_source_vectors(const struct store_source *source, uint32_t dim,
                          const atomic_bool *cancel, const float **vectors, float **copy,
                          struct error *error)
{
    const float *first = NULL;
    bool in_one_piece = true;

    for (uint32_t row = 0; row < source->row_count;) {
        struct vector_row block;
        uint32_t count;
        if (cancel && atomic_load(cancel))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        if (store_row_stored(source, row, &block, &count, error) != 0)
            return error->code;
        if (row == 0)
            first = block.bytes;
        if (in_one_piece &&
            (!vector_codec_is_float32(block.codec) || block.bytes != first + (size_t)row * dim)) {
            in_one_piece = false;
            *copy = malloc((size_t)source->row_count * dim * sizeof(float));
            if (!*copy)
                return error_set(error, ERROR_MEMORY, "no memory for %u vectors",
                                 source->row_count);
            row = 0;
            continue;
        }
        if (!in_one_piece)
            vector_rows_decode(block, count, dim, *copy + (size_t)row * dim);
        row += count;
    }
    *vectors = in_one_piece ? first : *copy;
    return 0;
}

int worker_rows_stored(void *context, uint32_t row, struct vector_row *stored, uint32_t *count,
                       struct error *error)
{
    const struct worker_rows *rows = context;
    const struct store_source *const *file = rows->files;

    while (row >= (*file)->row_count)
        row -= (*file++)->row_count;
    return store_row_stored(*file, row, stored, count, error);
}

int worker_rows_copy(const struct worker_rows *rows, uint32_t first, uint32_t count, uint32_t dim,
                     const atomic_bool *cancel, void *out, struct error *error)
{
    float *at = out;

    while (count > 0) {
        struct vector_row block;
        uint32_t here;
        if (cancel && atomic_load(cancel))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        if (worker_rows_stored((void *)(uintptr_t)rows, first, &block, &here, error) != 0)
            return error->code;
        here = here < count ? here : count;
        vector_rows_decode(block, here, dim, at);
        at += (size_t)here * dim;
        first += here;
        count -= here;
    }
    return 0;
}

/* Which codebook a new segment shares. Segments of one codebook are searched as one group, so the
 * nearest window's is taken: before the own window if there is one, else behind it. */
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

static void choose_window(struct choice *choice, const struct store_snapshot *snapshot, int64_t own)
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

static void choose_base(struct choice *choice, const struct store_snapshot *snapshot)
{
    size_t count;
    const struct store_span *spans = store_snapshot_spans(snapshot, &count);

    for (size_t i = 0; i < count; i++) {
        const struct index_segment *segment = spans[i].segment->object;
        uint64_t number = index_segment_codebook(segment);
        if (spans[i].tier == TWCS_BASE_TIER && number != 0 &&
            (!choice->segment || number < choice->number))
            *choice = (struct choice){segment, number, 0};
    }
}

/* All snapshots are held until the copy is made: the chosen segment is mapped by one of them. */
static struct index_ivf_codebook *find_codebook(struct store_registry *registry,
                                                const char *collection, const int64_t *start_ms,
                                                int64_t now_ms)
{
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
        if (start_ms)
            choose_window(&choice, snapshots[i], *start_ms);
        else
            choose_base(&choice, snapshots[i]);
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

struct index_ivf_codebook *worker_source_codebook(struct store_registry *registry,
                                                  const char *collection, int64_t start_ms,
                                                  int64_t now_ms)
{
    return find_codebook(registry, collection, &start_ms, now_ms);
}

struct index_ivf_codebook *worker_source_base_codebook(struct store_registry *registry,
                                                       const char *collection, int64_t now_ms)
{
    return find_codebook(registry, collection, NULL, now_ms);
}
