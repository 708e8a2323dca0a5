#include "indexer/worker/history.h"

#include <assert.h>
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
    PIECE_ROWS_MAX = 65536, /* coded at a time: their vectors are in memory */
    PIECE_ROWS_MIN = 1024,
    PIECE_SHARE = 32,        /* of the memory of builds that the vectors of a piece take at most */
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

/* What a build needs memory for. */
struct needs {
    uint32_t lists;
    uint32_t sample_rows; /* 0: no codebook is trained */
    uint32_t piece_rows;
    uint32_t pieces;     /* at most */
    uint32_t fresh_rows; /* of all pieces */
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
    struct needs needs;
    struct index_ivf **pieces; /* coded here */
    uint32_t piece_count;
    struct index_ivf_part *parts; /* that the span's rows are put together from, in their order */
    uint32_t part_count;
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
    history->lease_count = history->known_count = 0;
    history->snapshot = NULL;
    history->rows = 0;
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
    uint32_t count = history->needs.sample_rows;
    float *vectors = malloc((size_t)count * dim * sizeof(float));
    struct index_ivf *ivf = NULL;
    int code;

    if (!vectors)
        return error_set(error, ERROR_MEMORY, "no memory for %u vectors", count);
    options.lists = history->needs.lists;
    options.codebook = NULL;
    code = read_sample(history, vectors, count, error);
    if (code == 0)
        code = index_ivf_build(vectors, count, &options, &ivf, error);
    if (code == 0)
        code = open_trained(history, vectors, count, ivf, error);
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

static uint32_t sample_rows(const struct history *history)
{
    uint64_t count = (uint64_t)wanted_lists(history) * ROWS_PER_LIST;

    count = count < SAMPLE_ROWS_MIN ? SAMPLE_ROWS_MIN : count;
    return (uint32_t)(count < history->all.row_count ? count : history->all.row_count);
}

static uint32_t piece_rows(const struct build *build)
{
    uint64_t rows =
        *build->memory->limit_bytes / PIECE_SHARE / (build->collection->dim * sizeof(float));

    rows = rows < PIECE_ROWS_MAX ? rows : PIECE_ROWS_MAX;
    return rows > PIECE_ROWS_MIN ? (uint32_t)rows : PIECE_ROWS_MIN;
}

/* With all shards open and the heir chosen. */
static struct needs needs_of(const struct history *history)
{
    const struct known *heir = history->heir;
    struct needs needs = {.lists = heir ? (uint32_t)index_lists_count(heir->lists)
                                        : wanted_lists(history),
                          .sample_rows = heir ? 0 : sample_rows(history),
                          .piece_rows = piece_rows(history->build)};
    bool goes_on = false;

    for (uint32_t i = 0; i < history->span->part_count; i++) {
        const struct store_span_part *part = &history->span->parts[i];
        struct index_ivf_part found;
        if (heir && find_codes(history, index_segment_codebook(heir->segment), part, &found)) {
            goes_on = false;
            continue;
        }
        needs.fresh_rows += part->row_count;
        needs.pieces += !goes_on;
        goes_on = true;
    }
    needs.pieces += needs.fresh_rows / needs.piece_rows;
    return needs;
}

/* A sample is trained on; pieces are coded, the vectors of one after the other; then there are their codes and those of
 * the whole span. */
static uint64_t history_bytes(const void *context, const struct index_build_options *options)
{
    const struct history *history = context;
    const struct needs *needs = &history->needs;
    struct index_build_options own = *options;
    uint64_t vector_bytes = options->dim * sizeof(float);
    uint64_t codes, training = 0, coding, merging;

    own.lists = needs->lists;
    codes = needs->pieces * index_ivf_code_bytes(needs->piece_rows, &own);
    if (needs->sample_rows > 0)
        training =
            needs->sample_rows * vector_bytes + index_ivf_build_bytes(needs->sample_rows, &own);
    coding =
        codes + needs->piece_rows * vector_bytes + index_ivf_build_bytes(needs->piece_rows, &own);
    merging = codes + index_ivf_code_bytes((uint32_t)history->span->rows, &own);
    return training > coding ? (training > merging ? training : merging)
                             : (coding > merging ? coding : merging);
}

/* Codes rows of the span that follow one another. */
static int code_piece(struct history *history, uint32_t first, uint32_t count, struct error *error)
{
    struct build *build = history->build;
    uint32_t dim = build->collection->dim;
    float *vectors = malloc((size_t)count * dim * sizeof(float));
    struct index_build_options options = build->options;
    struct index_ivf *piece = NULL;
    int code;

    if (!vectors)
        return error_set(error, ERROR_MEMORY, "no memory for %u vectors", count);
    options.codebook = build->codebook;
    code = worker_rows_copy(&history->all, first, count, dim, build->cancel, vectors, error);
    if (code == 0)
        code = index_ivf_code(vectors, count, &options, &piece, error);
    free(vectors);
    if (code != 0)
        return code;
    assert(history->piece_count < history->needs.pieces);
    history->pieces[history->piece_count++] = piece;
    history->parts[history->part_count++] = (struct index_ivf_part){piece, 0, count};
    return 0;
}

/* Rows [first, end) in pieces. */
static int code_rows(struct history *history, uint32_t first, uint32_t end, struct error *error)
{
    int code = 0;

    while (code == 0 && first < end) {
        uint32_t count = end - first;
        count = count < history->needs.piece_rows ? count : history->needs.piece_rows;
        code = code_piece(history, first, count, error);
        first += count;
    }
    return code;
}

/* Codes of all rows: those that there are, and pieces of parts without, which follow one another. */
static int find_parts(struct history *history, uint64_t codebook, struct error *error)
{
    const struct worker_span *span = history->span;
    uint32_t pieces = history->needs.pieces, coded = 0, row = 0;
    int code = 0;

    history->parts = memory_checked(
        arena_calloc(&history->arena, span->part_count + pieces, sizeof(*history->parts)));
    history->pieces =
        memory_checked(arena_calloc(&history->arena, pieces + 1, sizeof(struct index_ivf *)));
    for (uint32_t i = 0; i < span->part_count && code == 0; i++) {
        uint32_t rows = span->parts[i].row_count;
        struct index_ivf_part found;
        if (find_codes(history, codebook, &span->parts[i], &found)) {
            code = code_rows(history, coded, row, error);
            history->parts[history->part_count++] = found;
            coded = row + rows;
        }
        row += rows;
    }
    return code == 0 ? code_rows(history, coded, row, error) : code;
}

static int write_merged(struct history *history, struct error *error)
{
    struct build *build = history->build;
    const struct index_segment *measured =
        history->heir ? history->heir->segment : history->trained;
    struct index_ivf *ivf = NULL;
    int code = index_ivf_merge(history->parts, history->part_count, &ivf, error);

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

/* What there is: codes, a codebook, rows. */
static int look(struct history *history, struct error *error)
{
    int code;

    arena_create(&history->arena, 0);
    code = open_all(history, error);
    if (code != 0)
        return code;
    history->heir = choose_heir(history);
    history->needs = needs_of(history);
    return 0;
}

static int build_all(struct history *history, bool *low_recall, struct error *error)
{
    int code = look(history, error);

    if (code != 0)
        return code;
    /* Meanwhile codes may have gone. */
    if (history_bytes(history, &history->build->options) > history->build->memory_bytes)
        return error_set(error, ERROR_MEMORY, "there is more to code than memory was taken for");
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
    code = look(history, error);
    close_all(history); /* no file is held while memory is waited for */
    if (code == 0)
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
    build.bytes = history_bytes;
    build.bytes_context = &history;
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
