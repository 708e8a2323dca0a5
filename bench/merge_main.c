/* Merging the chunks of a window: the plan of store/merge_plan.h against a heap that takes one row
 * at a time, on real chunk files with random 16-byte ids.
 *
 *   windrow-bench-merge FOLDER [CHUNKS [ROWS_PER_CHUNK [DIM]]]
 *
 * Four measurements, each both ways and in CPU time of one core (the machine is shared): the order
 * of the keys; vectors brought together in that order; payloads likewise; all of it. Both ways must
 * give the same rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench/measure.h"
#include "store/files/table_internal.h"
#include "store/merge_plan.h"

enum { PASSES = 3, PAYLOAD_BYTES = 64, GATHER_ROWS = 2048 };

static struct io *io;
static const char *folder;
static uint32_t chunk_count = 16, chunk_rows = 8192, dim = 768;
static struct table **tables;

static void fail(const char *what, const struct error *error)
{
    fprintf(stderr, "windrow-bench-merge: %s%s%s\n", what, error ? ": " : "",
            error ? error->text : "");
    exit(1);
}

static uint64_t draw(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Chunks. */

static void write_chunk(uint32_t index)
{
    struct table_description description = {.kind = TABLE_CHUNK,
                                            .file_number = index * 2 + 1,
                                            .log_file_number = index * 2 + 2,
                                            .dim = dim,
                                            .window_length_ms = 1};
    size_t vector_bytes = (size_t)dim * 4;
    float *vectors = malloc(vector_bytes * chunk_rows);
    struct table_writer *writer;
    struct table_info info;
    struct error error;
    char path[PATH_MAX];
    int log;

    if (!vectors)
        fail("no memory", NULL);
    for (size_t i = 0; i < (size_t)dim * chunk_rows; i++)
        vectors[i] = (float)(int32_t)draw();
    table_path(folder, description.log_file_number, "log", path, sizeof(path));
    if (io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &log, &error) != 0 ||
        io_write(io, log, path, vectors, vector_bytes * chunk_rows, 0, &error) != 0 ||
        io_close(io, log, path, &error) != 0 ||
        table_writer_open(io, folder, &description, &writer, &error) != 0)
        fail("write", &error);
    for (uint32_t i = 0; i < chunk_rows; i++) {
        uint8_t key[17] = {2};
        uint8_t payload[PAYLOAD_BYTES];
        uint64_t id[2] = {draw(), draw()};
        struct table_row row = {.key = key,
                                .key_bytes = sizeof(key),
                                .offset = index * (int64_t)chunk_rows + i,
                                .payload = payload,
                                .payload_bytes = sizeof(payload),
                                .vector = vectors + (size_t)i * dim,
                                .log_position = i * vector_bytes};
        memcpy(key + 1, id, sizeof(id));
        memset(payload, 'x', sizeof(payload));
        memcpy(payload, id, sizeof(id));
        if (table_writer_add(writer, &row, &error) != 0)
            fail("add", &error);
    }
    if (table_writer_finish(writer, &info, &error) != 0 ||
        table_open(io, folder, &description, &info, &tables[index], &error) != 0)
        fail("finish", &error);
    free(vectors);
}

/* What a run is made of. */

struct sink {
    bool vectors, payloads;
    uint64_t rows;
    uint64_t digest; /* both ways must agree */
    float *floats;   /* where vectors are brought together */
    struct arena arena;
};

static void digest(struct sink *sink, uint32_t table, uint32_t row)
{
    sink->digest = (sink->digest ^ ((uint64_t)table << 32 | row)) * UINT64_C(0x9e3779b97f4a7c15);
    sink->rows++;
}

/* Row at a time, from a heap. */

struct cursor {
    uint32_t table, place, row;
    const uint8_t *key;
    size_t key_bytes;
};

static bool cursor_load(struct cursor *cursor)
{
    const struct table *table = tables[cursor->table];

    if (cursor->place == table_row_count(table))
        return false;
    cursor->row = table_row_at(table, cursor->place);
    cursor->key = table_key(table, cursor->row, &cursor->key_bytes);
    return true;
}

static bool cursor_before(const struct cursor *a, const struct cursor *b)
{
    int order = bytes_compare(a->key, a->key_bytes, b->key, b->key_bytes);

    return order ? order < 0 : a->table > b->table;
}

static void sink_down(struct cursor *heap, size_t count, size_t at)
{
    struct cursor item = heap[at];

    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && cursor_before(&heap[child + 1], &heap[child]))
            child++;
        if (!cursor_before(&heap[child], &item))
            break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void row_by_row(struct sink *sink)
{
    struct cursor *heap = calloc(chunk_count, sizeof(*heap));
    size_t count = 0;

    for (uint32_t i = 0; i < chunk_count; i++) {
        heap[count].table = i;
        count += cursor_load(&heap[count]);
    }
    for (size_t i = count / 2; i-- > 0;)
        sink_down(heap, count, i);
    while (count > 0) {
        const struct table *table = tables[heap[0].table];
        const uint8_t *payload;
        size_t payload_bytes;
        digest(sink, heap[0].table, heap[0].row);
        if (sink->vectors &&
            table_gather(table, &heap[0].row, 1, sink->floats + sink->rows % GATHER_ROWS * dim,
                         ERROR_IGNORED) != 0)
            fail("gather", NULL);
        if (sink->payloads && table_payload(table, heap[0].row, &sink->arena, &payload,
                                            &payload_bytes, ERROR_IGNORED) != 0)
            fail("payload", NULL);
        if (sink->rows % GATHER_ROWS == 0)
            arena_reset(&sink->arena);
        heap[0].place++;
        if (!cursor_load(&heap[0]))
            heap[0] = heap[--count];
        if (count > 0)
            sink_down(heap, count, 0);
    }
    free(heap);
}

/* Planned. */

/* Rows of each table among `entries`, gathered at once. */
static void bring_together(struct sink *sink, const struct merge_entry *entries, size_t count,
                           bool vectors)
{
    uint32_t *rows = malloc(sizeof(*rows) * count);
    uint32_t *sizes = malloc(sizeof(*sizes) * count);
    uint32_t *ends = calloc(chunk_count + 1, sizeof(*ends));
    const uint8_t **payloads = malloc(sizeof(*payloads) * count);

    for (size_t i = 0; i < count; i++)
        ends[entries[i].table + 1]++;
    for (uint32_t table = 0; table < chunk_count; table++)
        ends[table + 1] += ends[table];
    for (size_t i = 0; i < count; i++)
        rows[ends[entries[i].table]++] = entries[i].row;
    for (uint32_t table = 0; table < chunk_count; table++) {
        uint32_t first = table > 0 ? ends[table - 1] : 0;
        uint32_t found = ends[table] - first;
        int result = vectors ? table_gather(tables[table], rows + first, found,
                                            sink->floats + (size_t)first * dim, ERROR_IGNORED)
                             : table_gather_payloads(tables[table], rows + first, found,
                                                     &sink->arena, payloads, sizes, ERROR_IGNORED);
        if (result)
            fail("gather", NULL);
    }
    free(rows);
    free(sizes);
    free(ends);
    free(payloads);
}

static void planned(struct sink *sink)
{
    struct merge_plan *plan =
        merge_plan_new((const struct table *const *)tables, chunk_count, NULL, NULL);
    const struct merge_entry *entries;
    size_t count;

    while ((entries = merge_plan_next(plan, &count)) != NULL) {
        for (size_t i = 0; i < count; i++)
            digest(sink, entries[i].table, entries[i].row);
        for (size_t i = 0; sink->vectors && i < count; i += GATHER_ROWS)
            bring_together(sink, entries + i, count - i < GATHER_ROWS ? count - i : GATHER_ROWS,
                           true);
        if (sink->payloads)
            bring_together(sink, entries, count, false);
        arena_reset(&sink->arena);
    }
    merge_plan_delete(plan);
}

static double measure(void (*way)(struct sink *), struct sink *sink)
{
    double best = 1e9;

    for (int i = 0; i < PASSES; i++) {
        double start = bench_thread_cpu();
        sink->rows = sink->digest = 0;
        arena_reset(&sink->arena);
        way(sink);
        start = bench_thread_cpu() - start;
        best = start < best ? start : best;
    }
    return best;
}

static void compare(const char *name, bool vectors, bool payloads, float *floats)
{
    struct sink heap = {.vectors = vectors, .payloads = payloads, .floats = floats};
    struct sink plan = heap;
    double heap_seconds, plan_seconds, bytes;

    arena_create(&heap.arena, 0);
    arena_create(&plan.arena, 0);
    heap_seconds = measure(row_by_row, &heap);
    plan_seconds = measure(planned, &plan);
    if (heap.rows != plan.rows || heap.digest != plan.digest)
        fail("the two ways differ", NULL);
    bytes = (double)plan.rows *
            (17 + (vectors ? dim * 4.0 : 0) + (payloads ? (double)PAYLOAD_BYTES : 0));
    printf("  %-22s heap %8.2f M rows/s %8.0f MB/s   plan %8.2f M rows/s %8.0f MB/s   x %.1f\n",
           name, (double)heap.rows / heap_seconds * 1e-6, bytes / heap_seconds * 1e-6,
           (double)plan.rows / plan_seconds * 1e-6, bytes / plan_seconds * 1e-6,
           heap_seconds / plan_seconds);
    arena_destroy(&heap.arena);
    arena_destroy(&plan.arena);
}

int main(int argc, char **argv)
{
    float *floats;

    if (argc < 2)
        fail("name a folder for the chunks", NULL);
    folder = argv[1];
    chunk_count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : chunk_count;
    chunk_rows = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : chunk_rows;
    dim = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : dim;
    io = io_posix();
    tables = calloc(chunk_count + 1, sizeof(*tables));
    floats = malloc((size_t)GATHER_ROWS * dim * sizeof(float));
    if (!tables || !floats || chunk_count == 0 || chunk_rows == 0 || dim == 0)
        fail("counts must be above zero", NULL);
    for (uint32_t i = 0; i < chunk_count; i++)
        write_chunk(i);
    printf("%u chunks of %u rows, %u-d, 16-byte ids, %d-byte payloads\n", chunk_count, chunk_rows,
           dim, PAYLOAD_BYTES);
    compare("key order", false, false, floats);
    compare("keys and vectors", true, false, floats);
    compare("keys and payloads", false, true, floats);
    compare("everything", true, true, floats);
    for (uint32_t i = 0; i < chunk_count; i++)
        table_close(tables[i]);
    free(tables);
    free(floats);
    return 0;
}
