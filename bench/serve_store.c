#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "bench/serve_store.h"
#include "store/append.h"
#include "store/attach.h"
#include "store/compaction.h"
#include "store/files/key.h"
#include "store/files/residues.h"
#include "store/snapshot.h"
#include "twcs/twcs.h"

void serve_check(int code, const struct error *error)
{
    if (code == 0)
        return;
    fprintf(stderr, "windrow-bench-serve: %s\n", error->text);
    exit(1);
}

uint64_t serve_hit_id(const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = store_row_key(row->source, row->row, &key_bytes);
    uint64_t id = 0;

    for (size_t i = 1; i < key_bytes; i++)
        id = id << 8 | key[i];
    return id;
}

static uint32_t mix(uint32_t value)
{
    value = (value ^ (value >> 16)) * 0x7FEB352DU;
    value = (value ^ (value >> 15)) * 0x846CA68BU;
    return value ^ (value >> 16);
}

/* About what a changelog entry carries besides its text's first words. */
static void write_payload(const struct bench *bench, struct buffer *buffer, uint32_t row)
{
    struct arena arena;
    struct doc map;
    struct doc *items;
    char text[200];

    arena_create(&arena, 0);
    snprintf(text, sizeof(text),
             "entry %u of package-%u: fixes a fault in module %u when option %u is set, thanks to "
             "reporter %u",
             row, row % 5000, mix(row) % 100000, mix(row) % 77, row % 900);
    items = doc_items(&arena, 10);
    items[0] = doc_string(&arena, "n");
    items[1] = doc_integer(mix(row + 99) % RANKS);
    items[2] = doc_string(&arena, "package");
    items[3] = doc_string(&arena, "package");
    items[4] = doc_string(&arena, "text");
    items[5] = doc_string(&arena, text);
    items[6] = doc_string(&arena, "near");
    items[7] = doc_integer(bench->ranks[row]);
    items[8] = doc_string(&arena, "time");
    items[9] = doc_integer((int64_t)((uint64_t)row * RANKS / bench->base.count));
    map = (struct doc){.type = DOC_MAP, .count = 5, .items = items};
    buffer->size = 0;
    doc_write_msgpack(buffer, &map);
    arena_destroy(&arena);
}

struct along {
    float product;
    uint32_t row;
};
static int compare_along(const void *a, const void *b)
{
    const struct along *left = a, *right = b;
    return (left->product > right->product) - (left->product < right->product);
}

void serve_rank_rows(struct bench *bench)
{
    uint32_t count = bench->base.count, dim = bench->base.dim;
    const float *first = bench->base.values, *last = first + (size_t)(count - 1) * dim;
    struct along *order = calloc(count, sizeof(*order));

    bench->ranks = calloc(count, sizeof(*bench->ranks));
    for (uint32_t row = 0; row < count; row++) {
        const float *vector = first + (size_t)row * dim;
        order[row].row = row;
        for (uint32_t i = 0; i < dim; i++)
            order[row].product += vector[i] * (last[i] - first[i]);
    }
    qsort(order, count, sizeof(*order), compare_along);
    for (uint32_t i = 0; i < count; i++)
        bench->ranks[order[i].row] = (uint32_t)((uint64_t)i * RANKS / count);
    free(order);
}

static int64_t row_time(const struct bench *bench, uint32_t row)
{
    uint64_t window = bench->shuffle ? mix(row) % bench->windows
                                     : (uint64_t)row * bench->windows / bench->base.count;

    return (int64_t)window * WINDOW_MS + row % WINDOW_MS;
}

/* Where Kafka's Java client puts the id, or in turns, which tells no shard from another (store/files/residues.h). */
static uint32_t shard_of(const struct bench *bench, const struct store_key *key, uint32_t row)
{
    struct key_hashes hashes;

    key_hashes_of(key->bytes, key->size_bytes, &hashes);
    return (bench->in_turns ? row : hashes.by[KEY_HASH_MURMUR2]) % bench->shard_count;
}

void serve_load(struct bench *bench, uint32_t shard_index)
{
    struct store_shard *shard = bench->shards[shard_index];
    struct store_record records[GROUP];
    struct store_key keys[GROUP];
    struct buffer payloads[GROUP] = {{0}};
    struct error error = {0};

    for (uint32_t row = 0; row < bench->base.count;) {
        struct store_group group = {.records = records};
        for (; row < bench->base.count && group.record_count < GROUP; row++) {
            const size_t i = group.record_count;
            store_key_from_u64(row, &keys[i]);
            if (shard_of(bench, &keys[i], row) != shard_index)
                continue;
            write_payload(bench, &payloads[i], row);
            records[i] =
                (struct store_record){.key = keys[i].bytes,
                                      .key_bytes = keys[i].size_bytes,
                                      .offset = row,
                                      .event_time_ms = row_time(bench, row),
                                      .vector = bench->base.values + (size_t)row * bench->base.dim,
                                      .payload = payloads[i].data,
                                      .payload_bytes = (uint32_t)payloads[i].size};
            group.record_count++;
        }
        group.next_offset = row;
        serve_check(store_shard_append(shard, &group, &error), &error);
        if (store_shard_needs_flush(shard))
            serve_check(store_shard_flush(shard, &error), &error);
    }
    serve_check(store_shard_flush(shard, &error), &error);
    for (int i = 0; i < GROUP; i++)
        buffer_destroy(&payloads[i]);
}

/* Time of all threads on processors: other programs on the machine do not count. */
double serve_cpu_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Builds the segment and writes it to `path`, PATH_MAX bytes that receive its name. */
static int write_segment(bool lists, struct store_shard *shard, const float *vectors, uint32_t rows,
                         const struct index_build_options *build, char *path,
                         struct store_segment_info *info, struct error *error)
{
    struct index_hnsw_graph *graph = NULL;
    struct index_ivf *ivf = NULL;
    int code = lists ? index_ivf_build(vectors, rows, build, &ivf, error)
                     : index_hnsw_build(vectors, rows, build, &graph, error);

    if (code != 0)
        return code;
    store_shard_reserve_segment(shard, &info->file_number, path, PATH_MAX);
    code = lists ? index_ivf_write(io_posix(), path, info->file_number, ivf, &info->bytes, error)
                 : index_segment_write(io_posix(), path, info->file_number, graph, &info->bytes,
                                       error);
    index_ivf_delete(ivf);
    index_hnsw_graph_delete(graph);
    return code;
}

static void gather(const struct bench *bench, const struct store_source *source, float *vectors)
{
    struct error error = {0};

    for (uint32_t row = 0; row < source->row_count; row++) {
        const float *vector;
        uint32_t span;
        serve_check(store_row_vectors(source, row, &vector, &span, &error), &error);
        memcpy(vectors + (size_t)row * bench->base.dim, vector, bench->base.dim * sizeof(float));
    }
}

/* Builds with `threads`, measures and opens; false when cancelled before. Frees the vectors. */
static bool build_segment(struct bench *bench, struct store_shard *shard, float *vectors,
                          uint32_t rows, bool lists, uint32_t threads,
                          const struct index_ivf_codebook *codebook, const atomic_bool *cancel,
                          struct store_segment *segment)
{
    struct index_build_options build = {.metric = bench->collection.metric,
                                        .dim = bench->base.dim,
                                        .m = 16,
                                        .ef_construct = 200,
                                        .codebook = codebook,
                                        .thread_count = threads,
                                        .seed = 7,
                                        .cancel = cancel};
    struct io *io = io_posix();
    struct error error = {0};
    struct index_segment *opened;
    int code;
    char temporary[PATH_MAX], final[PATH_MAX];

    *segment = (struct store_segment){
        .info = {.kind = lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW, .recall = -1},
        .release = index_segment_close};
    bench->build_seconds -= serve_cpu_seconds();
    code = write_segment(lists, shard, vectors, rows, &build, temporary, &segment->info, &error);
    bench->build_seconds += serve_cpu_seconds();
    if (code == ERROR_CANCELLED) {
        free(vectors);
        return false;
    }
    serve_check(code, &error);
    snprintf(final, sizeof(final), "%.*s", (int)(strlen(temporary) - 4), temporary);
    serve_check(io_rename(io, temporary, final, &error), &error);
    serve_check(index_segment_open(io, final, segment->info.file_number, build.metric, build.dim,
                                   rows, &opened, &error),
                &error);
    bench->effort_seconds -= serve_cpu_seconds();
    serve_check(
        index_segment_measure_effort(
            opened, final,
            &(struct index_effort_sample){.vectors = vectors, .count = rows, .dim = build.dim},
            &error),
        &error);
    bench->effort_seconds += serve_cpu_seconds();
    free(vectors);
    segment->object = opened;
    return true;
}

static bool is_listed(const struct bench *bench, int64_t window_start_ms)
{
    return bench->lists && window_start_ms / WINDOW_MS + (int64_t)bench->graphs < bench->windows;
}

/* Builds and swaps the segment in, unless cancelled before (NULL then). It belongs to the shard. */
const struct index_segment *serve_index_source(struct bench *bench, struct store_shard *shard,
                                               const struct store_source *source, uint32_t threads,
                                               const struct index_ivf_codebook *codebook,
                                               const atomic_bool *cancel)
{
    float *vectors = malloc((size_t)source->row_count * bench->base.dim * sizeof(float));
    struct store_segment segment;
    struct error error = {0};

    gather(bench, source, vectors);
    if (!build_segment(bench, shard, vectors, source->row_count,
                       is_listed(bench, source->window_start_ms), threads, codebook, cancel,
                       &segment))
        return NULL;
    serve_check(store_shard_attach(shard, source->file_number, &segment, &error), &error);
    return segment.object;
}

/* One span over sealed windows, which lie one after another. */
void serve_index_span(struct bench *bench, struct store_shard *shard, uint8_t tier,
                      const struct store_source *sources, uint32_t count, uint32_t threads,
                      const struct index_ivf_codebook *codebook, const atomic_bool *cancel)
{
    struct store_span_part parts[STORE_SPAN_PARTS_MAX];
    struct store_segment segment;
    struct error error = {0};
    uint32_t rows = 0;
    float *vectors;

    for (uint32_t i = 0; i < count; i++)
        rows += sources[i].row_count;
    vectors = malloc((size_t)rows * bench->base.dim * sizeof(float));
    rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = (struct store_span_part){.window_start_ms = sources[i].window_start_ms,
                                            .file_number = sources[i].file_number,
                                            .row_count = sources[i].row_count};
        gather(bench, &sources[i], vectors + (size_t)rows * bench->base.dim);
        rows += sources[i].row_count;
    }
    if (build_segment(bench, shard, vectors, rows, is_listed(bench, sources[0].window_start_ms),
                      threads, codebook, cancel, &segment))
        serve_check(store_shard_attach_span(shard, &segment, tier, WINDOW_MS, parts, count, &error),
                    &error);
}

/* What twcs would have once the newest window is quiet. */
void serve_index_spans(struct bench *bench, struct store_shard *shard,
                       const struct index_ivf_codebook *codebook)
{
    const struct twcs_policy policy = {.window_ms = WINDOW_MS};
    const struct twcs_clock clock = {.watermark_ms = (int64_t)(bench->windows + 1) * WINDOW_MS};
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
    size_t count, decision_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    struct twcs_span_window *windows = calloc(count + 1, sizeof(*windows));
    struct twcs_span_decision *decisions = calloc(count + 1, sizeof(*decisions));

    for (size_t i = 0; i < count; i++)
        windows[i] = (struct twcs_span_window){.start_ms = sources[i].window_start_ms,
                                               .length_ms = sources[i].window_length_ms,
                                               .rows = sources[i].row_count,
                                               .settled = sources[i].sealed,
                                               .max_expiry_ms = TWCS_NEVER};
    decision_count =
        twcs_decide_spans(&policy, &clock, windows, count, NULL, 0, decisions, count + 1);
    bench->build_seconds = bench->effort_seconds = 0;
    for (size_t i = 0; i < decision_count; i++)
        serve_index_span(bench, shard, decisions[i].tier, &sources[decisions[i].first_window],
                         (uint32_t)decisions[i].window_count, 2, codebook, NULL);
    printf("# %zu spans: builds %.2f s, measuring effort %.2f s of processor time\n",
           decision_count, bench->build_seconds, bench->effort_seconds);
    free(windows);
    free(decisions);
    store_snapshot_release(snapshot);
}

void serve_seal(struct store_shard *shard, uint32_t first, uint32_t end)
{
    struct error error = {0};

    for (uint32_t i = first; i < end; i++)
        serve_check(store_shard_compact(shard,
                                        &(struct store_compaction_request){
                                            .kind = STORE_COMPACTION_SEAL,
                                            .window_start_ms = (int64_t)i * WINDOW_MS,
                                            .window_length_ms = WINDOW_MS},
                                        NULL, &error),
                    &error);
}

void serve_seal_and_index(struct bench *bench, struct store_shard *shard,
                          struct index_ivf_codebook **codebook)
{
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    size_t count;

    serve_seal(shard, 0, bench->windows);
    snapshot = store_snapshot_acquire(shard, 0);
    sources = store_snapshot_sources(snapshot, &count);
    for (size_t i = 0; i < count; i++) {
        const struct index_segment *segment;
        if (!sources[i].sealed)
            continue;
        segment = serve_index_source(bench, shard, &sources[i], 2, *codebook, NULL);
        if (index_segment_codebook(segment) == 0)
            continue;
        index_codebook_delete(*codebook);
        *codebook = index_segment_copy_codebook(segment);
    }
    store_snapshot_release(snapshot);
}
