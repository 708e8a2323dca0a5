/* The rows of a range of keys into one run.
 *
 * The plan says which rows survive and in which order, many thousand at a time. Rows are taken over
 * in loads as large as the memory for payloads allows, because every payload block that holds some
 * row of a load is decoded once for it: chunks lie in order of arrival, so that any few rows in key
 * order lie in nearly all of their blocks. Inside a load vectors are brought together in pieces of
 * a few MiB. The store's merge threads bring pieces together ahead of the thread that writes, in
 * any order; it writes them in theirs, and gathers itself what nobody has begun. No lock: a piece
 * belongs to whoever runs its future, then to the thread that waited for it. */
#include "base/memory.h"
#include "store/merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread_future.h"
#include "store/merge_plan.h"
#include "store/shard.h"

enum {
    LOAD_ROWS_MAX = 1 << 20,
    PIECE_BYTES = 4 * 1024 * 1024,
    PIECES_A_HELPER = 2,
    HELPERS_MAX = 32,
    PREFETCH_ROWS = 4,
    PREFETCH_BYTES = 512
};

/* Vectors of the entries [first, first + count) of the load. */
struct piece {
    struct thread_future future; /* first */
    const struct range_job *job;
    uint32_t first, count;
    float *copies;         /* where helpers and encoded tables put them; NULL: never needed */
    const float **vectors; /* one an entry */
    uint32_t *rows;        /* of one table at a time */
    uint32_t *places;
    int code;
    struct error error;
};

/* Entries whose payloads are in memory. */
struct load {
    struct merge_entry *entries;
    uint32_t *slots; /* where an entry's payload is among those of its table */
    uint32_t *rows;  /* table by table */
    const uint8_t **payloads;
    uint32_t *payload_bytes;
    uint32_t count, capacity;
    struct arena arena;
};

struct range_job {
    const struct merge *merge;
    const struct table *const *tables;
    struct table_writer *writer;
    struct merge_plan *plan;
    int64_t ttl_ms;
    uint32_t load_rows; /* aimed at */
    struct load load;
    uint64_t written;
    uint64_t planned; /* rows of the inputs that the plan has been through since the last load */

    /* the pieces of a load, a ring */
    struct piece *pieces;
    uint32_t piece_count, piece_rows;
    struct thread_pool *helpers; /* gather ahead; NULL: there are none */
};

/* Masked or expired rows do not go into the run; superseded ones are settled by the plan. */
static bool row_survives(void *context, uint32_t table, uint32_t row)
{
    struct range_job *job = context;
    const struct sstable *sstable = job->merge->inputs[table];

    job->planned++;
    return sstable_dead_at(sstable, row) >= job->merge->dead_below &&
           !row_expired(sstable->event_times[row], sstable_ttl_ms(sstable, row), job->ttl_ms,
                        job->merge->now_ms);
}

static void note_done(const struct range_job *job, uint64_t rows)
{
    atomic_fetch_add_explicit(&job->merge->progress->rows_done, rows, memory_order_relaxed);
}

/* Loads. */

static void load_grow(struct load *load, uint32_t count)
{
    if (count <= load->capacity)
        return;
    load->capacity = count;
    load->entries = memory_resize(load->entries, count, sizeof(*load->entries));
    load->slots = memory_resize(load->slots, count, sizeof(*load->slots));
    load->rows = memory_resize(load->rows, count, sizeof(*load->rows));
    load->payloads = memory_resize(load->payloads, count, sizeof(*load->payloads));
    load->payload_bytes = memory_resize(load->payload_bytes, count, sizeof(*load->payload_bytes));
}

static bool cancelled(const struct range_job *job)
{
    return job->merge->cancel && atomic_load(job->merge->cancel);
}

/* Whole batches of the plan until the load is full; false at the end. */
static bool load_entries(struct range_job *job)
{
    struct load *load = &job->load;
    const struct merge_entry *batch;
    size_t count = 0;

    load->count = 0;
    arena_reset(&load->arena);
    while (load->count < job->load_rows && !cancelled(job) &&
           (batch = merge_plan_next(job->plan, &count)) != NULL) {
        if (count == 0) /* a batch of rows that all go */
            continue;
        load_grow(load, load->count + (uint32_t)count);
        memcpy(load->entries + load->count, batch, count * sizeof(*batch));
        load->count += (uint32_t)count;
    }
    note_done(job, job->planned - load->count);
    job->planned = 0;
    return load->count > 0;
}

/* A counting sort by table: `slots` says where an entry's payload is, `rows` lists each table's rows
 * together, ascending in key order. So each table is asked once for a whole load. */
static int load_payloads(struct range_job *job, struct error *error)
{
    struct load *load = &job->load;
    size_t table_count = job->merge->input_count;
    uint32_t *starts = memory_new(table_count + 2, sizeof(*starts));
    int code = 0;

    for (uint32_t i = 0; i < load->count; i++)
        starts[load->entries[i].table + 2]++;
    for (size_t i = 2; i < table_count + 2; i++)
        starts[i] += starts[i - 1];
    for (uint32_t i = 0; i < load->count; i++) {
        load->slots[i] = starts[load->entries[i].table + 1]++;
        load->rows[load->slots[i]] = load->entries[i].row;
    }
    for (size_t i = 0; i < table_count && code == 0; i++)
        if (starts[i + 1] > starts[i])
            code = table_gather_payloads(
                job->tables[i], load->rows + starts[i], starts[i + 1] - starts[i], &load->arena,
                load->payloads + starts[i], load->payload_bytes + starts[i], error);
    free(starts);
    return code;
}

/* Pieces. */

/* `copies` of a piece has room for all its vectors, each table takes the next part of it. */
/* By copy: tables whose vectors are encoded, and helpers, who are there to wait for the bytes. */
static int gather_copies(const struct range_job *job, struct piece *piece, uint32_t table,
                         float **to, struct error *error)
{
    const struct merge_entry *entries = job->load.entries + piece->first;
    size_t dim = job->merge->shard->dim;
    uint32_t count = 0;
    int code;

    for (uint32_t i = 0; i < piece->count; i++) {
        piece->places[count] = i;
        piece->rows[count] = entries[i].row;
        count += entries[i].table == table;
    }
    if (count == 0)
        return 0;
    code = table_gather(job->tables[table], piece->rows, count, *to, error);
    for (uint32_t i = 0; i < count; i++)
        piece->vectors[piece->places[i]] = *to + i * dim;
    *to += count * dim;
    return code;
}

/* Where they lie: the writer copies each once. */
static int point_to(const struct range_job *job, struct piece *piece, struct error *error)
{
    const struct merge_entry *entries = job->load.entries + piece->first;

    for (uint32_t i = 0; i < piece->count; i++) {
        const struct table *table = job->tables[entries[i].table];
        uint32_t available;
        int code;
        if (table_describe(table)->codec != VECTOR_CODEC_RAW)
            continue;
        code = table_vectors(table, entries[i].row, &piece->vectors[i], &available, error);
        if (code != 0)
            return code;
    }
    return 0;
}

/* Helpers copy, whatever the codec: their touch of the bytes is what they are for. */
static void piece_gather(struct thread_future *future)
{
    struct piece *piece = (struct piece *)future;
    const struct range_job *job = piece->job;
    float *to = piece->copies;

    piece->code = job->helpers ? 0 : point_to(job, piece, &piece->error);
    for (uint32_t i = 0; i < job->merge->input_count && piece->code == 0; i++)
        if (job->helpers || table_describe(job->tables[i])->codec != VECTOR_CODEC_RAW)
            piece->code = gather_copies(job, piece, i, &to, &piece->error);
}

/* Its place in the ring is free. */
static void piece_start(struct range_job *job, uint32_t number)
{
    struct piece *piece = &job->pieces[number % job->piece_count];

    piece->first = number * job->piece_rows;
    piece->count = job->load.count - piece->first;
    if (piece->count > job->piece_rows)
        piece->count = job->piece_rows;
    thread_future_start(&piece->future, job->helpers, piece_gather);
}

/* Rows of a chunk lie anywhere in its log file. */
static void prefetch_vector(const float *vector, size_t size_bytes)
{
    size_t end = size_bytes < PREFETCH_BYTES ? size_bytes : PREFETCH_BYTES;

    for (size_t at = 0; at < end; at += 64)
        __builtin_prefetch((const char *)vector + at);
}

static int piece_write(struct range_job *job, const struct piece *piece, struct error *error)
{
    const struct load *load = &job->load;
    size_t vector_bytes = job->merge->shard->dim * sizeof(float);
    int code = 0;

    for (uint32_t i = 0; i < piece->count && code == 0; i++) {
        const struct merge_entry *entry = &load->entries[piece->first + i];
        const struct sstable *sstable = job->merge->inputs[entry->table];
        uint32_t slot = load->slots[piece->first + i];
        struct table_row row = {.event_time_ms = sstable->event_times[entry->row],
                                .offset = sstable->offsets[entry->row],
                                .ttl_ms = sstable_ttl_ms(sstable, entry->row),
                                .payload = load->payloads[slot],
                                .payload_bytes = load->payload_bytes[slot],
                                .vector = piece->vectors[i],
                                .bare = sstable_is_bare(sstable, entry->row)};
        size_t key_bytes;
        if (i + PREFETCH_ROWS < piece->count)
            prefetch_vector(piece->vectors[i + PREFETCH_ROWS], vector_bytes);
        row.key = table_key(sstable->table, entry->row, &key_bytes);
        row.key_bytes = (uint16_t)key_bytes;
        code = table_writer_add(job->writer, &row, error);
    }
    note_done(job, piece->count);
    return code;
}

static int write_load(struct range_job *job, struct error *error)
{
    uint32_t pieces = (job->load.count + job->piece_rows - 1) / job->piece_rows;
    uint32_t started = 0;
    int code = 0;

    for (uint32_t i = 0; i < pieces && code == 0; i++) {
        struct piece *piece = &job->pieces[i % job->piece_count];
        while (started < pieces && started < i + job->piece_count)
            piece_start(job, started++);
        thread_future_wait(&piece->future);
        if (cancelled(job))
            code = error_set(error, ERROR_CANCELLED, "the merge was cancelled");
        else if (piece->code != 0)
            code = error_set(error, piece->code, "%s", piece->error.text);
        else
            code = piece_write(job, piece, error);
    }
    /* After a failure the ring is still emptied: helpers work on what they took. */
    for (uint32_t i = 0; i < job->piece_count; i++)
        thread_future_cancel(&job->pieces[i].future);
    job->written += job->load.count;
    return code;
}

/* The whole range. */

/* The largest memory of a merge; false when there is none. */
static bool create_pieces(struct range_job *job, bool any_encoded)
{
    size_t vector_bytes = job->merge->shard->dim * sizeof(float);

    job->piece_rows = (uint32_t)(PIECE_BYTES / vector_bytes) + 1;
    job->pieces = calloc(job->piece_count, sizeof(*job->pieces));
    if (!job->pieces) {
        job->piece_count = 0;
        return false;
    }
    for (uint32_t i = 0; i < job->piece_count; i++) {
        struct piece *piece = &job->pieces[i];
        piece->job = job;
        piece->vectors = calloc(job->piece_rows, sizeof(*piece->vectors));
        piece->rows = calloc(job->piece_rows, sizeof(*piece->rows));
        piece->places = calloc(job->piece_rows, sizeof(*piece->places));
        if (job->helpers || any_encoded)
            piece->copies = aligned_alloc(64, (job->piece_rows * vector_bytes + 63) / 64 * 64);
        if (!piece->vectors || !piece->rows || !piece->places ||
            ((job->helpers || any_encoded) && !piece->copies))
            return false;
    }
    return true;
}

static int create(struct range_job *job, const struct merge_range *range, unsigned helpers,
                  uint64_t budget_bytes, struct error *error)
{
    const struct merge *merge = job->merge;
    uint64_t rows = 1, payload_bytes = 0;
    bool any_encoded = false;

    for (size_t i = 0; i < merge->input_count; i++) {
        rows += table_row_count(job->tables[i]);
        payload_bytes += table_payload_bytes(job->tables[i]);
        any_encoded |= table_describe(job->tables[i])->codec != VECTOR_CODEC_RAW;
    }
    job->ttl_ms = atomic_load_explicit(&merge->shard->settings.ttl_ms, memory_order_relaxed);
    job->load_rows = LOAD_ROWS_MAX;
    if (payload_bytes / rows > 0 && budget_bytes / (payload_bytes / rows) < LOAD_ROWS_MAX)
        job->load_rows = (uint32_t)(budget_bytes / (payload_bytes / rows));
    arena_create(&job->load.arena, 0);
    job->plan = merge_plan_new(job->tables, (uint32_t)merge->input_count, row_survives, job);
    merge_plan_limit(job->plan, range->from, range->from_bytes, range->to, range->to_bytes);

    job->helpers = helpers > 0 ? merge->shard->store->mergers : NULL;
    job->piece_count = 1 + (helpers < HELPERS_MAX ? helpers : HELPERS_MAX) * PIECES_A_HELPER;
    if (!create_pieces(job, any_encoded))
        return error_set(error, ERROR_MEMORY, "no memory to merge %zu tables", merge->input_count);
    return 0;
}

static void destroy(struct range_job *job)
{
    for (uint32_t i = 0; i < job->piece_count; i++) {
        free(job->pieces[i].copies);
        free(job->pieces[i].vectors);
        free(job->pieces[i].rows);
        free(job->pieces[i].places);
    }
    free(job->pieces);
    merge_plan_delete(job->plan);
    arena_destroy(&job->load.arena);
    free(job->load.entries);
    free(job->load.slots);
    free(job->load.rows);
    free(job->load.payloads);
    free(job->load.payload_bytes);
}

static int write_rows(struct range_job *job, struct error *error)
{
    int code = 0;

    while (code == 0 && load_entries(job)) {
        code = load_payloads(job, error);
        if (code == 0)
            code = write_load(job, error);
    }
    if (code == 0 && cancelled(job))
        code = error_set(error, ERROR_CANCELLED, "the merge was cancelled");
    return code;
}

/* Reads the run's vectors back and checks them: they went past the page cache, and the log files
 * that have the only other copy are about to go. Searches, which come next, then find them in
 * memory and checked. Packed ones stay packed. */
static int check_written(const struct range_job *job, const struct sstable *sstable,
                         struct error *error)
{
    uint32_t count = 0;
    int code = 0;

    if (sstable->description.codec == VECTOR_CODEC_PACKED)
        return 0;
    for (uint32_t row = 0; row < sstable->row_count && code == 0; row += count) {
        struct vector_row rows;
        code = cancelled(job) ? error_set(error, ERROR_CANCELLED, "the merge was cancelled")
                              : table_rows(sstable->table, row, &rows, &count, error);
    }
    return code;
}

int merge_range_run(const struct merge *merge, const struct table *const *tables,
                    const struct merge_range *range, unsigned helpers, uint64_t budget_bytes,
                    struct merge_output *output, struct error *error)
{
    struct store_shard *shard = merge->shard;
    struct range_job job = {.merge = merge, .tables = tables};
    struct manifest_table *table = &output->table;
    int code =
        table_writer_open(shard->io, shard->directory, &table->description, &job.writer, error);

    if (code != 0)
        return code;
    code = create(&job, range, helpers, budget_bytes, error);
    if (code == 0)
        code = write_rows(&job, error);
    if (code != 0 || job.written == 0)
        table_writer_abort(job.writer);
    else
        code = table_writer_finish(job.writer, &table->info, error);
    if (code == 0 && job.written > 0) {
        assert(table->info.row_count == job.written);
        metric_add(shard->metrics.bytes_run,
                   (double)(table->info.index_bytes + table->info.vector_bytes));
        code = sstable_open(&shard->sstables, table, NULL, &output->sstable, error);
    }
    if (code == 0 && output->sstable)
        code = check_written(&job, output->sstable, error);
    destroy(&job);
    return code;
}
