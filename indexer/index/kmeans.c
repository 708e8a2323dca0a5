/* Lloyd's iterations. Assignment takes nearly all of the time: it is a matrix product of codes, a
 * block of rows against all centroids, on as many threads as there are. Each thread has its own copy
 * of the centroids' codes in front of which the rows are put, because the matrix wants both in one
 * view.
 *
 * Sums are made in the order of rows within each centroid, by one thread for each centroid: the
 * outcome is the same to the bit for any number of threads. */
#include "indexer/index/kmeans.h"

#include <assert.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/distance_matrix.h"

enum { ITERATIONS = 10 };

/* A thread's: the centroids as columns, and a block of rows in front of them. */
struct assigner {
    struct index_codes view; /* INDEX_MATRIX_BLOCK_ROWS rows, then the centroids */
    uint8_t *codes;
    struct index_distance_matrix matrix;
    bool ready;
};

struct assignment {
    const struct index_kmeans *kmeans;
    const float *centroids;
    struct assigner *assigners;
    uint32_t *nearest;
};

static const float *row_of(const struct index_kmeans *kmeans, uint32_t i)
{
    return kmeans->vectors + (size_t)(kmeans->rows ? kmeans->rows[i] : i) * kmeans->quantiser->dim;
}

static void assigner_create(struct assigner *assigner, const struct assignment *assignment)
{
    const struct index_kmeans *kmeans = assignment->kmeans;
    const struct index_quantiser *quantiser = kmeans->quantiser;
    uint32_t count = kmeans->centroid_count;
    uint32_t *columns = index_allocate(count, sizeof(uint32_t));

    assigner->codes = index_allocate((size_t)INDEX_MATRIX_BLOCK_ROWS + count, quantiser->stride);
    assigner->view = (struct index_codes){quantiser->kind, quantiser->stride,
                                          INDEX_MATRIX_BLOCK_ROWS + count, assigner->codes};
    for (uint32_t i = 0; i < count; i++) {
        columns[i] = INDEX_MATRIX_BLOCK_ROWS + i;
        index_quantiser_encode(quantiser, assignment->centroids + (size_t)i * quantiser->dim,
                               assigner->codes + (size_t)columns[i] * quantiser->stride);
    }
    index_distance_matrix_create(&assigner->matrix, &assigner->view, count);
    index_distance_matrix_columns(&assigner->matrix, columns, count);
    assigner->ready = true;
    free(columns);
}

static void assigner_destroy(struct assigner *assigner)
{
    if (!assigner->ready)
        return;
    index_distance_matrix_destroy(&assigner->matrix);
    free(assigner->codes);
}

static void assign_block(const struct assignment *assignment, struct assigner *assigner,
                         uint32_t first, uint32_t count)
{
    const struct index_kmeans *kmeans = assignment->kmeans;
    struct index_distance_matrix *matrix = &assigner->matrix;
    uint32_t rows[INDEX_MATRIX_BLOCK_ROWS];

    for (uint32_t i = 0; i < count; i++) {
        rows[i] = i;
        index_quantiser_encode(kmeans->quantiser, row_of(kmeans, first + i),
                               assigner->codes + (size_t)i * kmeans->quantiser->stride);
    }
    index_distance_matrix_keys(matrix, rows, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t best;
        uint32_t found = index_kernels()->smallest(matrix->keys + (size_t)i * matrix->key_stride,
                                                   matrix->column_count, 1, &best);
        /* Nothing is nearest to a row whose distances are all beyond bounds. */
        assignment->nearest[first + i] = found ? index_neighbour_row(best) : 0;
    }
}

static void assign_rows(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct assignment *assignment = context;
    struct assigner *assigner = &assignment->assigners[thread];

    if (!assigner->ready)
        assigner_create(assigner, assignment);
    for (; first < end; first += INDEX_MATRIX_BLOCK_ROWS)
        assign_block(assignment, assigner, first,
                     end - first < INDEX_MATRIX_BLOCK_ROWS ? end - first : INDEX_MATRIX_BLOCK_ROWS);
}

bool index_kmeans_assign(const struct index_kmeans *kmeans, const float *centroids,
                         uint32_t *nearest)
{
    struct assignment assignment = {
        kmeans, centroids, index_allocate_zeroed(kmeans->team->threads, sizeof(struct assigner)),
        nearest};
    bool done = thread_team_for(kmeans->team, kmeans->count, 8 * INDEX_MATRIX_BLOCK_ROWS,
                                assign_rows, &assignment);

    for (uint32_t i = 0; i < kmeans->team->threads; i++)
        assigner_destroy(&assignment.assigners[i]);
    free(assignment.assigners);
    return done;
}

void index_kmeans_collect(const uint32_t *nearest, uint32_t count, uint32_t centroid_count,
                          uint32_t *offsets, uint32_t *members)
{
    memset(offsets, 0, ((size_t)centroid_count + 2) * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++)
        offsets[nearest[i] + 2]++;
    for (uint32_t c = 0; c < centroid_count; c++)
        offsets[c + 2] += offsets[c + 1];
    for (uint32_t i = 0; i < count; i++)
        members[offsets[nearest[i] + 1]++] = i;
}

struct update {
    const struct index_kmeans *kmeans;
    const uint32_t *offsets, *members;
    float *centroids;
};

/* One thread sums a centroid's rows, in their order: the same sum whatever the threads. */
static void move_centroids(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct update *update = context;
    uint32_t dim = update->kmeans->quantiser->dim;

    (void)thread;
    for (uint32_t c = first; c < end; c++) {
        uint32_t size = update->offsets[c + 1] - update->offsets[c];
        float *centroid = update->centroids + (size_t)c * dim;
        if (size == 0)
            continue;
        memset(centroid, 0, dim * sizeof(float));
        for (uint32_t i = update->offsets[c]; i < update->offsets[c + 1]; i++) {
            const float *row = row_of(update->kmeans, update->members[i]);
            for (uint32_t d = 0; d < dim; d++)
                centroid[d] += row[d];
        }
        for (uint32_t d = 0; d < dim; d++)
            centroid[d] /= (float)size;
    }
}

/* A centroid without rows moves to a random row of the largest, which it then shares. */
static void reseed_empty(const struct update *update, uint64_t *state)
{
    const struct index_kmeans *kmeans = update->kmeans;
    uint32_t dim = kmeans->quantiser->dim, largest = 0, size;

    for (uint32_t c = 1; c < kmeans->centroid_count; c++)
        if (update->offsets[c + 1] - update->offsets[c] >
            update->offsets[largest + 1] - update->offsets[largest])
            largest = c;
    size = update->offsets[largest + 1] - update->offsets[largest];
    for (uint32_t c = 0; c < kmeans->centroid_count; c++) {
        uint32_t at =
            update->offsets[largest] + (uint32_t)((index_random(state) >> 32) * size >> 32);
        if (update->offsets[c + 1] == update->offsets[c])
            memcpy(update->centroids + (size_t)c * dim, row_of(kmeans, update->members[at]),
                   dim * sizeof(float));
    }
}

bool index_kmeans_train(const struct index_kmeans *kmeans, float *centroids)
{
    uint32_t dim = kmeans->quantiser->dim, count = kmeans->centroid_count;
    uint32_t *nearest = index_allocate(kmeans->count, sizeof(uint32_t));
    uint32_t *members = index_allocate(kmeans->count, sizeof(uint32_t));
    uint32_t *offsets = index_allocate((size_t)count + 2, sizeof(uint32_t));
    struct update update = {kmeans, offsets, members, centroids};
    uint64_t state = kmeans->seed;
    bool done = true;

    assert(count > 0 && count <= kmeans->count);
    for (uint32_t c = 0; c < count; c++) {
        uint64_t first = (uint64_t)kmeans->count * c / count;
        uint64_t end = (uint64_t)kmeans->count * (c + 1) / count;
        memcpy(centroids + (size_t)c * dim,
               row_of(kmeans, (uint32_t)(first + index_random(&state) % (end - first))),
               dim * sizeof(float));
    }
    for (int i = 0; i < ITERATIONS && done; i++) {
        done = index_kmeans_assign(kmeans, centroids, nearest);
        if (!done)
            break;
        index_kmeans_collect(nearest, kmeans->count, count, offsets, members);
        done = thread_team_for(kmeans->team, count, 16, move_centroids, &update);
        reseed_empty(&update, &state);
    }
    free(nearest);
    free(members);
    free(offsets);
    return done;
}
