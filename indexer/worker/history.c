#include "indexer/worker/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/worker/source.h"
#include "store/attach.h"
#include "store/files/segment.h"
#include "store/snapshot.h"
#include "twcs/twcs.h"

enum {
    PIECE_ROWS = 65536,      /* coded at a time: their vectors are in memory */
    ROWS_PER_LIST = 64,      /* of the sample that a codebook is trained on */
    SAMPLE_ROWS_MIN = 65536, /* as far as there are so many */
    LISTS_DRIFT = 2 /* times more or fewer lists than a codebook for the rows of now would have */
};

/* A span of lists in one of the collection's shards. */
struct known {
    const struct store_span *span;
    const struct index_segment *segment;
    const struct index_ivf *lists;
    bool own; /* of the shard that is built for */
};

struct history {
    struct worker_task *task;
    const struct worker_span *span;
    struct build *build;
    struct arena arena;
    struct store_lease *leases;
    struct store_snapshot **snapshots; /* by lease: they hold the segments */
    size_t lease_count;
    struct store_snapshot *snapshot; /* of the own shard */
    struct known *known;
    size_t known_count;
    uint64_t rows;                 /* of the sealed runs of all shards */
    struct worker_rows all;        /* rows of the span */
    const struct known *heir;      /* of whose codebook and effort; NULL: trained here */
    struct index_segment *trained; /* over the sample, which has what was measured */
    struct index_ivf **pieces;     /* coded here */
    uint32_t piece_count;
    struct index_ivf_part *parts; /* by part of the span */
};

static bool is_base(const struct known *known)
{
    return known->span->tier == TWCS_BASE_TIER;
}

static void look_at_shard(struct history *history, struct store_snapshot *snapshot, bool own)
{
    size_t count, span_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);

    for (size_t i = 0; i < count; i++)
        history->rows += sources[i].sealed ? sources[i].row_count : 0;
    for (size_t i = 0; i < span_count; i++) {
        const struct index_segment *segment = spans[i].segment->object;
        const struct index_ivf *lists = index_segment_lists(segment);
        if (lists)
            history->known[history->known_count++] = (struct known){&spans[i], segment, lists, own};
    }
}

/* Snapshots of all shards of the collection that are open here. */
static int open_all(struct history *history, struct error *error)
{
    const struct worker_pool_options *options = &history->task->pool->options;
    const struct store_shard *shard = history->task->lease.shard;
    int64_t now_ms = io_wall_ms(options->io);
    size_t most = 0;

    history->lease_count = store_registry_acquire(
        options->registry, history->task->collection->name, &history->arena, &history->leases);
    history->snapshots = memory_checked(
        arena_calloc(&history->arena, history->lease_count + 1, sizeof(struct store_snapshot *)));
    for (size_t i = 0; i < history->lease_count; i++) {
        size_t count;
        history->snapshots[i] = store_snapshot_acquire(history->leases[i].shard, now_ms);
        (void)store_snapshot_spans(history->snapshots[i], &count);
        most += count;
    }
    history->known =
        memory_checked(arena_calloc(&history->arena, most + 1, sizeof(*history->known)));
    for (size_t i = 0; i < history->lease_count; i++) {
        bool own = history->leases[i].shard == shard;
        look_at_shard(history, history->snapshots[i], own);
        history->snapshot = own ? history->snapshots[i] : history->snapshot;
    }
    if (!history->snapshot)
        return error_set(error, ERROR_CANCELLED, "the shard is being closed");
    return worker_span_rows(history->span, history->snapshot, &history->arena, &history->all,
                            error);
}

static void close_all(struct history *history)
{
    for (size_t i = 0; i < history->lease_count; i++) {
        store_snapshot_release(history->snapshots[i]);
        store_registry_release(history->task->pool->options.registry, &history->leases[i]);
    }
    arena_destroy(&history->arena);
}

/* Lists for the rows of all shards, which a search reads together. */
static uint32_t wanted_lists(const struct history *history)
{
    uint32_t configured = history->task->collection->ivf_pq_lists;

    return configured ? configured : (uint32_t)fmax(sqrt((double)history->rows), 1);
}

static bool has_drifted(const struct history *history, uint64_t codebook)
{
    for (size_t i = 0; i < history->known_count; i++) {
        const struct known *known = &history->known[i];
        if (!is_base(known) && index_segment_codebook(known->segment) == codebook &&
            index_lists_have_drifted(known->lists))
            return true;
    }
    return false;
}

static bool fits(const struct history *history, const struct known *known)
{
    uint64_t lists = index_lists_count(known->lists), wanted = wanted_lists(history);

    return lists <= wanted * LISTS_DRIFT && wanted <= lists * LISTS_DRIFT &&
           !has_drifted(history, index_segment_codebook(known->segment));
}

/* Of the bases that fit that with the smallest codebook number: shards come together on it. A tail belongs to its
 * base. */
static const struct known *choose_heir(const struct history *history)
{
    const struct known *best = NULL;

    for (size_t i = 0; i < history->known_count; i++) {
        const struct known *known = &history->known[i];
        bool tail = history->span->tier == TWCS_TAIL_TIER;
        if (!is_base(known) || (tail ? !known->own : !fits(history, known)))
            continue;
        if (!best || index_segment_codebook(known->segment) < index_segment_codebook(best->segment))
            best = known;
    }
    return best;
}

/* Rows of the span, evenly spread. */
static int read_sample(const struct history *history, float *vectors, uint32_t count,
                       struct error *error)
{
    uint32_t dim = history->task->collection->dim;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = (uint32_t)((uint64_t)i * history->all.row_count / count);
        if (worker_rows_copy(&history->all, row, 1, dim, history->build->cancel,
                             vectors + (size_t)i * dim, error) != 0)
            return error->code;
    }
    return 0;
}

/* A segment over the sample, for what is measured of it; its file goes at once, its mapping stays. */
static int open_trained(struct history *history, const float *vectors, uint32_t count,
                        const struct index_ivf *ivf, struct error *error)
{
    struct build *build = history->build;
    const struct index_effort_sample sample = {
        .vectors = vectors, .count = count, .dim = build->collection->dim, .cancel = build->cancel};
    struct error ignored;
    int code = worker_build_write_lists(build, ivf, count, &history->trained, error);

    if (code == 0)
        code = index_segment_measure_effort(history->trained, build->path, &sample, error);
    if (build->path[0])
        (void)io_unlink(build->io, build->path, &ignored);
    build->path[0] = '\0';
    return code;
}

static int train(struct history *history, struct error *error)
{
    struct build *build = history->build;
    struct index_build_options options = build->options;
    uint32_t dim = build->collection->dim;
    uint64_t count;
    float *vectors;
    struct index_ivf *ivf = NULL;
    int code;

    options.lists = wanted_lists(history);
    options.codebook = NULL;
    count = (uint64_t)options.lists * ROWS_PER_LIST;
    count = count < SAMPLE_ROWS_MIN ? SAMPLE_ROWS_MIN : count;
    count = count < history->all.row_count ? count : history->all.row_count;
    vectors = malloc((size_t)count * dim * sizeof(float));
    if (!vectors)
        return error_set(error, ERROR_MEMORY, "no memory for %llu vectors",
                         (unsigned long long)count);
    code = read_sample(history, vectors, (uint32_t)count, error);
    if (code == 0)
        code = index_ivf_build(vectors, (uint32_t)count, &options, &ivf, error);
    if (code == 0)
        code = open_trained(history, vectors, (uint32_t)count, ivf, error);
    if (code == 0)
        build->codebook = index_segment_copy_codebook(history->trained);
    index_ivf_delete(ivf);
    free(vectors);
    return code;
}

/* Codes of the part that some span of the own shard has already; false: none. */
static bool find_codes(const struct history *history, uint64_t codebook,
                       const struct store_span_part *part, struct index_ivf_part *found)
{
    for (size_t i = 0; i < history->known_count; i++) {
        const struct known *known = &history->known[i];
        if (!known->own || index_segment_codebook(known->segment) != codebook)
            continue;
        for (uint32_t j = 0; j < known->span->part_count; j++) {
            const struct store_span_part *other = &known->span->parts[j];
            if (other->file_number != part->file_number || other->row_count != part->row_count)
                continue;
            *found = (struct index_ivf_part){known->lists, other->first_row, other->row_count};
            return true;
        }
    }
    return false;
}

/* Codes parts [first, end), rows from `row` on. */
static int code_piece(struct history *history, uint32_t first, uint32_t end, uint32_t row,
                      uint32_t count, struct error *error)
{
    struct build *build = history->build;
    uint32_t dim = build->collection->dim, at = 0;
    float *vectors = malloc((size_t)count * dim * sizeof(float));
    struct index_build_options options = build->options;
    struct index_ivf *piece = NULL;
    int code;

    if (!vectors)
        return error_set(error, ERROR_MEMORY, "no memory for %u vectors", count);
    options.codebook = build->codebook;
    code = worker_rows_copy(&history->all, row, count, dim, build->cancel, vectors, error);
    if (code == 0)
        code = index_ivf_code(vectors, count, &options, &piece, error);
    free(vectors);
    if (code != 0)
        return code;
    history->pieces[history->piece_count++] = piece;
    for (uint32_t i = first; i < end; i++) {
        uint32_t rows = history->span->parts[i].row_count;
        history->parts[i] = (struct index_ivf_part){piece, at, rows};
        at += rows;
    }
    return 0;
}

/* Codes of all parts: those that there are, and pieces of those that there are not. A piece is of parts that follow
 * one another; a part larger than a piece is one. */
static int find_parts(struct history *history, uint64_t codebook, struct error *error)
{
    const struct worker_span *span = history->span;
    uint32_t first = 0, row = 0, count = 0;
    int code = 0;

    history->parts =
        memory_checked(arena_calloc(&history->arena, span->part_count, sizeof(*history->parts)));
    history->pieces =
        memory_checked(arena_calloc(&history->arena, span->part_count, sizeof(struct index_ivf *)));
    for (uint32_t i = 0; i < span->part_count && code == 0; i++) {
        uint32_t rows = span->parts[i].row_count;
        bool known = find_codes(history, codebook, &span->parts[i], &history->parts[i]);
        if (count > 0 && (known || count + rows > PIECE_ROWS)) {
            code = code_piece(history, first, i, row - count, count, error);
            count = 0;
        }
        if (!known) {
            first = count == 0 ? i : first;
            count += rows;
        }
        row += rows;
    }
    if (count > 0 && code == 0)
        code = code_piece(history, first, span->part_count, row - count, count, error);
    return code;
}

static int write_merged(struct history *history, struct error *error)
{
    struct build *build = history->build;
    const struct index_segment *measured =
        history->heir ? history->heir->segment : history->trained;
    struct index_ivf *ivf = NULL;
    int code = index_ivf_merge(history->parts, history->span->part_count, &ivf, error);

    if (code != 0)
        return code;
    index_ivf_take_probes(ivf, index_segment_lists(measured));
    code = worker_build_write_lists(build, ivf, build->row_count, &build->segment, error);
    index_ivf_delete(ivf);
    if (code == 0)
        code = index_segment_take_effort(build->segment, build->path, measured, error);
    return code;
}

/* A tail is as good as its base, which was measured. */
static int measure(struct history *history, bool *low_recall, struct error *error)
{
    struct build *build = history->build;
    struct recall_sample sample = recall_sample_of(build->collection, build->cancel);
    bool good = false;
    int code;

    if (history->span->tier == TWCS_TAIL_TIER) {
        build->recall = history->heir->span->segment->info.recall;
        return 0;
    }
    sample.vectors = worker_rows_stored;
    sample.context = &history->all;
    sample.row_count = build->row_count;
    code = recall_measure(build->segment, build->path, &sample, &build->recall, &good, error);
    *low_recall = !good;
    if (code == 0)
        worker_build_report_recall(build, good, true);
    return code;
}

static int build_all(struct history *history, bool *low_recall, struct error *error)
{
    int code = open_all(history, error);

    if (code != 0)
        return code;
    history->heir = choose_heir(history);
    if (history->heir)
        history->build->codebook = index_segment_copy_codebook(history->heir->segment);
    else if (history->span->tier == TWCS_TAIL_TIER)
        return error_set(
            error, ERROR_NOT_FOUND,
            "the base that this tail belongs to is gone: there is no codebook to code with");
    else
        code = train(history, error);
    if (code == 0)
        code = find_parts(
            history,
            index_segment_codebook(history->heir ? history->heir->segment : history->trained),
            error);
    if (code == 0)
        code = write_merged(history, error);
    if (code == 0)
        code = measure(history, low_recall, error);
    if (code == 0 && !*low_recall && atomic_load(history->build->cancel))
        code = error_set(error, ERROR_CANCELLED, "cancelled");
    if (code == 0 && !*low_recall)
        code = worker_build_attach(history->build, history->task->lease.shard, 0, error);
    return code;
}

/* The next shard finds the codebook that this one trains: bases are built one after another. Whoever has memory does
 * not wait for a turn. */
static int build_in_turn(struct history *history, bool *low_recall, struct error *error)
{
    struct build *build = history->build;
    bool base = history->span->tier == TWCS_BASE_TIER;
    int code;

    if (base && !build_memory_take_turn(build->memory, build->cancel, build->pool))
        return error_set(error, ERROR_CANCELLED, "cancelled");
    code = worker_build_begin(build, error);
    if (code == 0)
        code = build_all(history, low_recall, error);
    if (base)
        build_memory_give_turn(build->memory);
    return code;
}

int worker_history_build(struct worker_task *task, const struct worker_span *span, bool *low_recall,
                         struct error *error)
{
    struct build build = worker_task_build(task);
    struct history history = {.task = task, .span = span, .build = &build};
    int code;

    build.reserve = worker_span_reserve;
    build.reserve_context = task->lease.shard;
    build.span = span;
    build.lists = true;
    build.row_count = (uint32_t)span->rows;
    arena_create(&history.arena, 0);
    code = build_in_turn(&history, low_recall, error);
    task->recall = build.recall;
    worker_build_end(&build);
    for (uint32_t i = 0; i < history.piece_count; i++)
        index_ivf_delete(history.pieces[i]);
    if (history.trained)
        index_segment_close(history.trained);
    close_all(&history);
    return code;
}
