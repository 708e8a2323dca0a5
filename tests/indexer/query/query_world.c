#include "tests/indexer/query/query_world.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "store/append.h"
#include "store/attach.h"
#include "store/files/key.h"
#include "store/files/parts.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error ok_error = {0};                                                               \
        int ok_code = (call);                                                                      \
        ck_assert_msg(ok_code == 0, "%s: %d %s", #call, ok_code, ok_error.text);                   \
    } while (0)

static int64_t world_wall_ms(struct io *io)
{
    return atomic_load(&((struct world_io *)io)->now_ms);
}

static void open_shards(struct world *world)
{
    const struct config_collection *collection = &world->collection;
    struct store_options store = {.data_dir = world->folder,
                                  .io = &world->clock.io,
                                  .memory_max_bytes = 256 << 20,
                                  .memtable_max_bytes = 64 << 20};

    OK(store_open(&store, &world->store, &ok_error));
    world->registry = store_registry_new(&(struct store_registry_options){.store = world->store});
    for (size_t i = 0; i < world->shard_count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%zu", i);
        OK(store_registry_claim(world->registry, collection, name, &world->shards[i], &ok_error));
    }
}

static void close_shards(struct world *world, bool flush)
{
    store_registry_close_all(world->registry, flush);
    store_registry_delete(world->registry);
    store_close(world->store);
}

struct thread_pool *world_pool(void)
{
    return thread_pool_new(
        &(struct thread_pool_options){.name = "query", .class = THREAD_SEARCH, .threads_max = 2});
}

void world_open(struct world *world, const struct world_options *options)
{
    static const char *topics[] = {"world"};
    static int serial;

    *world = (struct world){.shard_count = options->shard_count, .random = options->seed};
    world->clock.operations = *io_posix()->operations;
    world->clock.operations.wall_ms = world_wall_ms;
    world->clock.io.operations = &world->clock.operations;
    world->collection = (struct config_collection){.name = "world",
                                                   .topics = topics,
                                                   .topic_count = 1,
                                                   .dim = options->dim,
                                                   .metric = options->metric,
                                                   .window_ms = options->window_ms,
                                                   .ttl_ms = options->ttl_ms,
                                                   .durability = CONFIG_DURABILITY_KAFKA,
                                                   .hnsw_m = 16,
                                                   .hnsw_ef_construct = 100,
                                                   .hnsw_ef = 32,
                                                   .extra_vectors = world->extras,
                                                   .extra_vector_count = WORLD_EXTRAS};
    for (int i = 0; i < WORLD_EXTRAS; i++)
        world->extras[i] = (struct config_vector){.name = i == 0 ? "one" : "list",
                                                  .dim = WORLD_EXTRA_DIM,
                                                  .metric = vector_metric_ranking(options->metric),
                                                  .multiple = i == 1};
    world->pool = world_pool();
    snprintf(world->folder, sizeof(world->folder), "%s/world-%d", test_directory(), serial++);
    open_shards(world);
}

void world_restart(struct world *world)
{
    close_shards(world, true);
    open_shards(world);
}

void world_close(struct world *world)
{
    thread_pool_delete(world->pool);
    close_shards(world, false);
    free(world->records);
}

/* The model. */

/* Ids are small: the model is an array. */
static struct world_record *record_for(struct world *world, uint64_t id)
{
    ck_assert_uint_lt(id, 1 << 20);
    if (id >= world->record_count) {
        size_t count = (size_t)id + 1;
        world->records = realloc(world->records, count * sizeof(*world->records));
        ck_assert_ptr_nonnull(world->records);
        memset(world->records + world->record_count, 0,
               (count - world->record_count) * sizeof(*world->records));
        world->record_count = count;
    }
    return &world->records[id];
}

const struct world_record *world_find(const struct world *world, uint64_t id)
{
    return id < world->record_count ? &world->records[id] : NULL;
}

bool world_visible(const struct world *world, const struct world_record *record)
{
    int64_t ttl_ms = world->collection.ttl_ms;

    if (record->ttl_ms > 0 && (ttl_ms == 0 || record->ttl_ms < ttl_ms))
        ttl_ms = record->ttl_ms;
    return record->alive &&
           (ttl_ms == 0 || record->time_ms + ttl_ms > atomic_load(&world->clock.now_ms));
}

float world_uniform(struct world *world)
{
    return (float)(test_random(&world->random) >> 40) / (float)(1 << 23) - 1.0F;
}

void world_random_vector(struct world *world, float *vector)
{
    for (uint32_t i = 0; i < world->collection.dim; i++)
        vector[i] = world->collection.metric == VECTOR_METRIC_HAMMING
                        ? (float)(world_uniform(world) > 0)
                        : world_uniform(world);
}

bool world_has_distances(const struct world *world)
{
    return world->collection.metric == VECTOR_METRIC_L2 ||
           world->collection.metric == VECTOR_METRIC_HAMMING;
}

/* Higher is better: the product, or minus the squared distance. */
static double raw_score(enum vector_metric metric, const float *query, const float *values,
                        uint32_t dim)
{
    double dot = 0, distance = 0, length = 0;

    for (uint32_t i = 0; i < dim; i++) {
        double difference = (double)query[i] - (double)values[i];
        dot += (double)query[i] * (double)values[i];
        distance += difference * difference;
        length += (double)query[i] * (double)query[i];
    }
    if (metric == VECTOR_METRIC_COSINE)
        return length > 0 ? dot / sqrt(length) : 0;
    return metric == VECTOR_METRIC_DOT ? dot : -distance;
}

float world_score(const struct world *world, const float *query, const struct world_record *record)
{
    enum vector_metric metric = world->collection.metric;
    double raw = raw_score(metric, query, record->vector, world->collection.dim);

    return (float)(metric == VECTOR_METRIC_L2        ? sqrt(-raw)
                   : metric == VECTOR_METRIC_HAMMING ? -raw
                                                     : raw);
}

static size_t extra_place(const struct world *world, const struct config_vector *extra)
{
    return (size_t)(extra - world->extras);
}

float world_extra_score(const struct world *world, const struct config_vector *extra,
                        const float *query, uint32_t rows, const struct world_record *record)
{
    size_t place = extra_place(world, extra);
    double sum = 0;

    for (uint32_t i = 0; i < rows; i++) {
        double best = -INFINITY;
        for (uint32_t k = 0; k < record->extra_rows[place]; k++)
            best =
                fmax(best, raw_score(extra->metric, query + i * WORLD_EXTRA_DIM,
                                     record->extras[place] + k * WORLD_EXTRA_DIM, WORLD_EXTRA_DIM));
        sum += best;
    }
    return (float)(extra->metric == VECTOR_METRIC_L2 ? sqrt(-sum) : sum);
}

bool world_has_vector(const struct world *world, const struct config_vector *extra,
                      const struct world_record *record)
{
    return extra ? record->extra_rows[extra_place(world, extra)] > 0 : !record->bare;
}

/* Writing. */

static void append(struct world *world, size_t shard, const struct world_record *record,
                   const struct buffer *payload, bool is_delete)
{
    struct store_key key;
    struct store_record stored = {.is_delete = is_delete,
                                  .offset = record->offset,
                                  .event_time_ms = record->time_ms,
                                  .ttl_ms = record->ttl_ms};
    struct store_group group = {.records = &stored,
                                .record_count = 1,
                                .next_offset = record->offset + 1,
                                .clock = {.watermark_ms = record->time_ms}};

    store_key_from_u64(record->id, &key);
    stored.key = key.bytes;
    stored.key_bytes = key.size_bytes;
    if (!is_delete) {
        stored.vector = record->bare ? NULL : record->vector;
        stored.payload = payload->data;
        stored.payload_bytes = (uint32_t)payload->size;
        stored.has_parts = record->extra_rows[0] + record->extra_rows[1] > 0;
    }
    OK(store_shard_append(world->shards[shard], &group, &ok_error));
    world->next_offset[shard]++;
}

/* One record in four lacks "one", another "list". They are of the record alone: the draws of the world stay as they are. */
static void draw_extras(const struct world *world, struct world_record *record)
{
    uint64_t random = (uint64_t)record->number * 1000003 + record->id;

    for (int i = 0; i < WORLD_EXTRAS; i++) {
        uint64_t dice = test_random(&random);
        uint32_t rows = i == 0 ? dice % 4 != 0 : (uint32_t)(dice % (WORLD_LIST_MAX + 1));
        record->extra_rows[i] = rows;
        for (uint32_t k = 0; k < rows * WORLD_EXTRA_DIM; k++)
            record->extras[i][k] = (float)(test_random(&random) >> 40) / (float)(1 << 23) - 1.0F;
        for (uint32_t k = 0; world->extras[i].metric == VECTOR_METRIC_COSINE && k < rows; k++)
            (void)index_normalise(record->extras[i] + k * WORLD_EXTRA_DIM, WORLD_EXTRA_DIM);
    }
}

static void write_extras(const struct world *world, const struct world_record *record,
                         struct arena *arena, struct buffer *out)
{
    struct doc parts = doc_map(arena, WORLD_EXTRAS);

    for (int i = 0; i < WORLD_EXTRAS; i++)
        if (record->extra_rows[i] > 0)
            doc_put(&parts, world->extras[i].name,
                    parts_dense(record->extras[i], WORLD_EXTRA_DIM, record->extra_rows[i],
                                world->extras[i].multiple, arena));
    if (parts.count > 0)
        parts_write(&parts, arena, out);
}

static void upsert(struct world *world, size_t shard, uint64_t id, int64_t time_ms, int64_t ttl_ms,
                   const float *vector, const float *near, bool bare)
{
    struct world_record *record = record_for(world, id);
    struct buffer payload = {0};
    struct arena arena;
    struct doc map, *items;
    char tag[8];

    arena_create(&arena, 0);
    *record = (struct world_record){.id = id,
                                    .alive = true,
                                    .bare = bare,
                                    .shard = shard,
                                    .time_ms = time_ms,
                                    .ttl_ms = ttl_ms,
                                    .offset = world->next_offset[shard],
                                    .number = (int64_t)(test_random(&world->random) % 10000)};
    if (vector)
        memcpy(record->vector, vector, world->collection.dim * sizeof(float));
    else
        world_random_vector(world, record->vector);
    if (world->collection.metric == VECTOR_METRIC_COSINE)
        (void)index_normalise(record->vector, world->collection.dim);
    draw_extras(world, record);
    record->near = near ? *near : record->vector[0];
    snprintf(tag, sizeof(tag), "t%d", (int)(record->number % 10));
    items = doc_items(&arena, 6);
    items[0] = doc_string(&arena, "n");
    items[1] = doc_integer(record->number);
    items[2] = doc_string(&arena, "near");
    items[3] = doc_number((double)record->near);
    items[4] = doc_string(&arena, "tag");
    items[5] = doc_string(&arena, tag);
    map = (struct doc){.type = DOC_MAP, .count = 3, .items = items};
    doc_write_msgpack(&payload, &map);
    write_extras(world, record, &arena, &payload);
    append(world, shard, record, &payload, false);
    buffer_destroy(&payload);
    arena_destroy(&arena);
}

void world_upsert(struct world *world, size_t shard, uint64_t id, int64_t time_ms, int64_t ttl_ms,
                  const float *vector)
{
    upsert(world, shard, id, time_ms, ttl_ms, vector, NULL, false);
}

void world_upsert_bare(struct world *world, size_t shard, uint64_t id, int64_t time_ms,
                       int64_t ttl_ms)
{
    upsert(world, shard, id, time_ms, ttl_ms, NULL, NULL, true);
}

void world_upsert_near(struct world *world, size_t shard, uint64_t id, int64_t time_ms, float near)
{
    upsert(world, shard, id, time_ms, 0, NULL, &near, false);
}

void world_delete(struct world *world, size_t shard, uint64_t id, int64_t time_ms)
{
    struct world_record *record = record_for(world, id);

    *record = (struct world_record){
        .id = id, .shard = shard, .time_ms = time_ms, .offset = world->next_offset[shard]};
    append(world, shard, record, NULL, true);
}

void world_change(struct world *world, size_t shard, uint64_t id, int64_t time_ms, uint64_t dice)
{
    if (dice % 10 == 0)
        world_delete(world, shard, id, time_ms);
    else if (dice % 10 == 1)
        world_upsert_bare(world, shard, id, time_ms, 0);
    else
        world_upsert(world, shard, id, time_ms, 0, NULL);
}

/* Maintenance. */

static int64_t window_start(const struct world *world, int64_t time_ms)
{
    return time_ms - time_ms % world->collection.window_ms;
}

void world_flush(struct world *world, size_t shard)
{
    OK(store_shard_flush(world->shards[shard], &ok_error));
}

static const struct store_source *sealed_source(const struct store_snapshot *snapshot,
                                                int64_t start_ms)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++)
        if (sources[i].sealed && sources[i].window_start_ms == start_ms)
            return &sources[i];
    return NULL;
}

/* The model has what the run stands for from now on. */
static void round_window(struct world *world, size_t shard, int64_t start_ms)
{
    struct store_snapshot *snapshot =
        store_snapshot_acquire(world->shards[shard], atomic_load(&world->clock.now_ms));
    const struct store_source *run = sealed_source(snapshot, start_ms);
    struct vector_row row = {.codec = run ? store_source_codec(run) : VECTOR_CODEC_RAW};
    float bytes[WORLD_DIM_MAX + 1];

    row.bytes = bytes;
    store_snapshot_release(snapshot);
    for (size_t i = 0; i < world->record_count; i++) {
        struct world_record *record = &world->records[i];
        if (!record->alive || record->shard != shard ||
            window_start(world, record->time_ms) != start_ms)
            continue;
        ck_assert(vector_row_encode(row.codec, record->vector, world->collection.dim, bytes));
        vector_row_decode(row, world->collection.dim, record->vector);
    }
}

void world_seal(struct world *world, size_t shard, int64_t time_ms)
{
    OK(compact_seal(world->shards[shard], window_start(world, time_ms), world->collection.window_ms,
                    atomic_load(&world->clock.now_ms), &ok_error));
    round_window(world, shard, window_start(world, time_ms));
}

void world_drop(struct world *world, size_t shard, int64_t time_ms)
{
    int64_t start_ms = window_start(world, time_ms);

    OK(store_shard_drop(world->shards[shard], start_ms, world->collection.window_ms, "ttl",
                        &ok_error));
    for (size_t i = 0; i < world->record_count; i++)
        if (world->records[i].shard == shard && world->records[i].time_ms >= start_ms &&
            world->records[i].time_ms < start_ms + world->collection.window_ms)
            world->records[i].alive = false;
}

static void gather(const struct store_source *source, uint32_t dim, float *out)
{
    for (uint32_t row = 0; row < source->row_count; row++) {
        struct vector_row stored;
        uint32_t count;
        OK(store_row_stored(source, row, &stored, &count, &ok_error));
        vector_row_decode(stored, dim, out + (size_t)row * dim);
    }
}

/* As a worker does before the file gets its name. */
static void measure_effort(struct world *world, const float *vectors, uint32_t rows,
                           const char *path, uint64_t file_number)
{
    const struct index_effort_sample sample = {.vectors = vectors,
                                               .count = rows,
                                               .dim = world->collection.dim,
                                               .recall = world->collection.recall};
    struct index_segment *segment;

    OK(index_segment_open(&world->clock.io, path, file_number,
                          vector_metric_ranking(world->collection.metric), sample.dim, rows,
                          &segment, &ok_error));
    OK(index_segment_measure_effort(segment, path, &sample, &ok_error));
    index_segment_close(segment);
}

/* As a worker does it: lists over the sources whose codes are copied from a span of lists where that has
 * them. NULL: there is none. */
static struct index_ivf *merge_lists(struct world *world, const struct store_snapshot *snapshot,
                                     const struct store_source *const *sources, size_t count)
{
    enum { PARTS_MAX = 200 };
    struct index_build_options build = {.metric = vector_metric_ranking(world->collection.metric),
                                        .dim = world->collection.dim,
                                        .thread_count = 1};
    struct index_ivf *pieces[PARTS_MAX], *merged = NULL;
    struct index_ivf_part parts[PARTS_MAX];
    struct index_ivf_codebook *codebook;
    const struct store_span *old = NULL;
    size_t span_count, piece_count = 0;
    const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);

    for (size_t i = 0; i < span_count; i++)
        old = spans[i].segment->info.kind == SEGMENT_IVF_PQ ? &spans[i] : old;
    if (!old)
        return NULL;
    build.codebook = codebook = index_segment_copy_codebook(old->segment->object);
    for (size_t i = 0; i < count; i++) {
        uint32_t rows = sources[i]->row_count;
        float *vectors;
        parts[i] = (struct index_ivf_part){0};
        for (uint32_t j = 0; j < old->part_count; j++)
            if (old->parts[j].file_number == sources[i]->file_number)
                parts[i] = (struct index_ivf_part){index_segment_lists(old->segment->object),
                                                   old->parts[j].first_row, rows};
        if (parts[i].lists)
            continue;
        vectors = malloc((size_t)rows * build.dim * sizeof(float));
        gather(sources[i], build.dim, vectors);
        OK(index_ivf_code(vectors, rows, &build, &pieces[piece_count], &ok_error));
        parts[i] = (struct index_ivf_part){pieces[piece_count++], 0, rows};
        free(vectors);
    }
    OK(index_ivf_merge(parts, (uint32_t)count, &merged, &ok_error));
    index_ivf_take_probes(merged, index_segment_lists(old->segment->object));
    for (size_t i = 0; i < piece_count; i++)
        index_ivf_delete(pieces[i]);
    index_codebook_delete(codebook);
    return merged;
}

/* `ivf` (may be NULL) is what there is of lists already. */
static void write_segment(struct world *world, const float *vectors, uint32_t rows, bool lists,
                          struct index_ivf *ivf, const char *path, struct store_segment_info *info)
{
    struct index_build_options build = {.metric = vector_metric_ranking(world->collection.metric),
                                        .dim = world->collection.dim,
                                        .m = 16,
                                        .ef_construct = 100,
                                        .thread_count = 1,
                                        .seed = 7};
    struct index_hnsw_graph *graph = NULL;

    if (lists) {
        if (!ivf)
            OK(index_ivf_build(vectors, rows, &build, &ivf, &ok_error));
        OK(index_ivf_write(&world->clock.io, path, info->file_number, ivf, &info->bytes,
                           &ok_error));
    } else {
        OK(index_hnsw_build(vectors, rows, &build, &graph, &ok_error));
        OK(index_segment_write(&world->clock.io, path, info->file_number, graph, &info->bytes,
                               &ok_error));
    }
    index_ivf_delete(ivf);
    index_hnsw_graph_delete(graph);
    if (world->collection.hnsw_ef == 0)
        measure_effort(world, vectors, rows, path, info->file_number);
    info->kind = lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW;
}

/* A segment over the rows of the sources, one after another; its file's name in `final`. */
static struct store_segment build_segment(struct world *world, size_t shard,
                                          const struct store_source *const *sources, size_t count,
                                          bool lists, struct index_ivf *merged,
                                          char final[PATH_MAX])
{
    struct store_segment segment = {.info = {.recall = -1}, .release = index_segment_close};
    uint32_t dim = world->collection.dim, rows = 0;
    struct index_segment *opened;
    char temporary[PATH_MAX];
    float *vectors;

    for (size_t i = 0; i < count; i++)
        rows += sources[i]->row_count;
    vectors = aligned_alloc(64, ((size_t)rows * dim * sizeof(float) + 63) & ~63UL);
    rows = 0;
    for (size_t i = 0; i < count; i++) {
        gather(sources[i], dim, vectors + (size_t)rows * dim);
        rows += sources[i]->row_count;
    }
    store_shard_reserve_segment(world->shards[shard], &segment.info.file_number, temporary,
                                sizeof(temporary));
    write_segment(world, vectors, rows, lists, merged, temporary, &segment.info);
    free(vectors);
    snprintf(final, PATH_MAX, "%.*s", (int)(strlen(temporary) - 4), temporary);
    OK(io_rename(&world->clock.io, temporary, final, &ok_error));
    OK(io_sync_directory(&world->clock.io, store_shard_directory(world->shards[shard]), &ok_error));
    OK(index_segment_open(&world->clock.io, final, segment.info.file_number,
                          vector_metric_ranking(world->collection.metric), dim, rows, &opened,
                          &ok_error));
    segment.object = opened;
    return segment;
}

/* After an attach. When a merge or a drop was faster, the caller's segment is of no use any more. */
static bool is_attached(struct world *world, struct store_segment *segment, const char *path,
                        int code, const struct error *error)
{
    ck_assert_msg(code == 0 || code == ERROR_NOT_FOUND, "attach: %s", error->text);
    if (code == 0)
        return true;
    index_segment_close(segment->object);
    OK(io_unlink(&world->clock.io, path, &ok_error));
    return false;
}

static void index_source(struct world *world, size_t shard, const struct store_source *source,
                         bool lists)
{
    char path[PATH_MAX];
    struct store_segment segment = build_segment(world, shard, &source, 1, lists, NULL, path);
    struct error error = {0};
    int code = store_shard_attach(world->shards[shard], source->file_number, &segment, &error);

    (void)is_attached(world, &segment, path, code, &error);
}

bool world_span(struct world *world, size_t shard, int64_t from_ms, int64_t to_ms, uint8_t tier,
                bool lists)
{
    enum { PARTS_MAX = 200 };
    struct store_snapshot *snapshot =
        store_snapshot_acquire(world->shards[shard], atomic_load(&world->clock.now_ms));
    const struct store_source *chosen[PARTS_MAX];
    struct store_span_part parts[PARTS_MAX];
    uint32_t part_count = 0;
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    bool attached = false;

    for (size_t i = 0; i < count && part_count < PARTS_MAX; i++) {
        if (!sources[i].sealed || sources[i].window_start_ms < from_ms ||
            sources[i].window_start_ms >= to_ms)
            continue;
        chosen[part_count] = &sources[i];
        parts[part_count++] =
            (struct store_span_part){.window_start_ms = sources[i].window_start_ms,
                                     .file_number = sources[i].file_number,
                                     .row_count = sources[i].row_count};
    }
    if (part_count > 0) {
        char path[PATH_MAX];
        struct index_ivf *merged = lists ? merge_lists(world, snapshot, chosen, part_count) : NULL;
        struct store_segment segment =
            build_segment(world, shard, chosen, part_count, lists, merged, path);
        struct error error = {0};
        int code = store_shard_attach_span(world->shards[shard], &segment, tier,
                                           world->collection.window_ms, parts, part_count, &error);
        attached = is_attached(world, &segment, path, code, &error);
    }
    store_snapshot_release(snapshot);
    return attached;
}

void world_index_as(struct world *world, size_t shard, int64_t time_ms, bool lists)
{
    struct store_snapshot *snapshot =
        store_snapshot_acquire(world->shards[shard], atomic_load(&world->clock.now_ms));
    const struct store_source *source = sealed_source(snapshot, window_start(world, time_ms));

    if (source) /* else nothing was left of the window */
        index_source(world, shard, source, lists);
    store_snapshot_release(snapshot);
}

void world_index(struct world *world, size_t shard, int64_t time_ms)
{
    world_index_as(world, shard, time_ms, false);
}

size_t world_index_chunks(struct world *world, size_t shard, uint32_t min_rows)
{
    struct store_snapshot *snapshot =
        store_snapshot_acquire(world->shards[shard], atomic_load(&world->clock.now_ms));
    size_t count, built = 0;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++) {
        if (sources[i].kind == STORE_SOURCE_MEMTABLE || sources[i].sealed || sources[i].segment ||
            sources[i].row_count < min_rows)
            continue;
        index_source(world, shard, &sources[i], false);
        built++;
    }
    store_snapshot_release(snapshot);
    return built;
}

/* Asking. */

struct query_view *world_view(struct world *world)
{
    struct query_view_options options = {
        .collection = &world->collection,
        .registry = world->registry,
        .io = &world->clock.io,
        .pool = world->pool,
        .describer = world->describer,
        /* A test asks hundreds of questions through one view, and may have
                                          * a tenth of a processor. */
        .timeout_ms = 10 * 60 * 1000,
        .shared_work_min = 1};
    struct query_view *view;

    OK(query_view_open(&options, &view, &ok_error));
    return view;
}

const struct query_filter *world_filter(struct arena *arena, const char *json)
{
    const struct query_filter *filter;
    struct doc doc;

    OK(doc_parse_json(arena, json, strlen(json), NULL, &doc, &ok_error));
    OK(query_filter_compile(&doc, "", arena, &filter, &ok_error));
    return filter;
}

uint64_t world_hit_id(const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);
    uint64_t id = 0;

    ck_assert_uint_eq(key_bytes, 9);
    for (int i = 1; i < 9; i++)
        id = id << 8 | key[i];
    return id;
}
