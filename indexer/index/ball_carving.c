/* Carving: rows are assigned to the nearest few of some random leaders; a ball that is too large is
 * carved again. Balls overlap, so that neighbours cut apart by one border meet in another ball. */
#include <assert.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/distance_matrix.h"
#include "indexer/index/level_build.h"

enum {
    LEAF_ROWS_MAX = 1500,
    LEAF_ROWS_MIN = 96,       /* for very long rows */
    LEAF_BYTES_MAX = 4 << 20, /* what a thread gathers of a leaf */
    LEADERS_MAX = 1024,       /* of one carving */
    FANOUT_MAX = 8,           /* balls that a row is put into, first carving */
    FANOUT_DEEP = 2,          /* the same, further carvings */
    DEPTH_MAX = 12,
    KEEP_MAX = INDEX_SMALLEST_MAX,
    SCALE_COUNT = 2, /* coarser samples of a leaf, see fill_leaf */
    SCALE_RATIO = 8,
    SCALE_KEEP = 4
};

struct carve {
    const struct index_codes *codes;
    const struct index_level_options *options;
    struct index_candidate_lists *lists;
    struct index_distance_matrix *matrices; /* one a thread */
    uint32_t **shuffled;                    /* one a thread: room for the rows of a leaf */
    uint32_t leaf_rows;                     /* a ball of up to so many rows is a leaf */
    uint32_t keep;                          /* neighbours that a row keeps from one leaf */
};

/* Balls of one carving: members[offsets[b] .. offsets[b + 1]) */
struct balls {
    uint32_t count;
    uint32_t *offsets;
    uint32_t *members;
};

static void balls_destroy(struct balls *balls)
{
    free(balls->offsets);
    free(balls->members);
}

static uint32_t row_at(const uint32_t *rows, uint32_t i)
{
    return rows ? rows[i] : i;
}

/* One leader from each of `leaders` equal stretches: rows lie in neighbourhood order, so this
 * spreads the leaders. */
static void choose_leaders(const uint32_t *rows, uint32_t count, uint32_t leader_count,
                           uint64_t seed, uint32_t *leaders)
{
    for (uint32_t i = 0; i < leader_count; i++) {
        uint64_t first = (uint64_t)count * i / leader_count;
        uint64_t end = (uint64_t)count * (i + 1) / leader_count;
        leaders[i] = row_at(rows, (uint32_t)(first + index_random(&seed) % (end - first)));
    }
}

struct assignment {
    struct index_distance_matrix *matrices; /* one a thread, columns are the leaders */
    const uint32_t *rows;                   /* NULL: all */
    uint32_t fanout;
    uint32_t *nearest; /* fanout leaders for each row */
};

static void assign_rows(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct assignment *assignment = context;
    struct index_distance_matrix *matrix = &assignment->matrices[thread];
    uint32_t rows[INDEX_MATRIX_BLOCK_ROWS];

    for (; first < end; first += INDEX_MATRIX_BLOCK_ROWS) {
        uint32_t count =
            end - first < INDEX_MATRIX_BLOCK_ROWS ? end - first : INDEX_MATRIX_BLOCK_ROWS;
        for (uint32_t i = 0; i < count; i++)
            rows[i] = row_at(assignment->rows, first + i);
        index_distance_matrix_keys(matrix, rows, count);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t best[FANOUT_MAX];
            uint32_t found =
                index_kernels()->smallest(matrix->keys + (size_t)i * matrix->key_stride,
                                          matrix->column_count, assignment->fanout, best);
            assert(found == assignment->fanout);
            for (uint32_t j = 0; j < found; j++)
                assignment->nearest[(size_t)(first + i) * found + j] = index_neighbour_row(best[j]);
        }
    }
}

/* A counting sort by leader; rows keep their order inside a ball. */
static void collect_balls(const uint32_t *rows, uint32_t count, uint32_t fanout,
                          const uint32_t *nearest, uint32_t leader_count, struct balls *balls)
{
    size_t total = (size_t)count * fanout;
    uint32_t *offsets = index_allocate_zeroed((size_t)leader_count + 2, sizeof(uint32_t));

    balls->count = leader_count;
    balls->members = index_allocate(total, sizeof(uint32_t));
    for (size_t i = 0; i < total; i++)
        offsets[nearest[i] + 2]++;
    for (uint32_t i = 0; i < leader_count; i++)
        offsets[i + 2] += offsets[i + 1];
    for (size_t i = 0; i < total; i++)
        balls->members[offsets[nearest[i] + 1]++] = row_at(rows, (uint32_t)(i / fanout));
    balls->offsets = offsets;
}

/* Balls around `leader_count` leaders. `leaves` belong to the threads of this carving. */
static bool carve_rows(const struct index_codes *codes, struct index_distance_matrix *matrices,
                       const struct thread_team *team, const uint32_t *rows, uint32_t count,
                       uint32_t leader_count, uint32_t fanout, uint64_t seed, struct balls *balls)
{
    uint32_t *leaders = index_allocate(leader_count, sizeof(uint32_t));
    struct assignment assignment = {matrices, rows, fanout,
                                    index_allocate((size_t)count * fanout, sizeof(uint32_t))};
    bool done;

    assert(codes->count >= leader_count && leader_count >= fanout && fanout <= FANOUT_MAX);
    choose_leaders(rows, count, leader_count, seed, leaders);
    for (uint32_t i = 0; i < team->threads; i++)
        index_distance_matrix_columns(&matrices[i], leaders, leader_count);
    done = thread_team_for(team, count, 16 * INDEX_MATRIX_BLOCK_ROWS, assign_rows, &assignment);
    if (done)
        collect_balls(rows, count, fanout, assignment.nearest, leader_count, balls);
    free(leaders);
    free(assignment.nearest);
    return done;
}

static void shuffle(const uint32_t *rows, uint32_t count, uint64_t seed, uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(index_random(&seed) % (i + 1));
        out[i] = out[at];
        out[at] = rows[i];
    }
}

/* The nearest `keep` of the leaf, then the nearest few of an eighth of it, and of an eighth of
 * that. In a tight group the nearest of all are inside the group; the coarser samples offer ways
 * out of it. Where there are no groups the relative-neighbourhood rule drops them again.
 *
 * The samples are beginnings of the shuffled matrix. What is nearer than the last entry so far is
 * in the list already, so the list grows only at its end. */
static uint32_t select_at_scales(const int32_t *keys, uint32_t count, uint32_t keep, uint64_t *best)
{
    const struct index_kernels *kernels = index_kernels();
    uint32_t found = kernels->smallest(keys, count, keep, best);

    for (uint32_t scale = 0; scale < SCALE_COUNT; scale++) {
        uint64_t few[SCALE_KEEP];
        uint32_t few_count;
        count /= SCALE_RATIO;
        few_count = kernels->smallest(keys, count, SCALE_KEEP, few);
        for (uint32_t i = 0; i < few_count; i++)
            if (found == 0 || few[i] > best[found - 1])
                best[found++] = few[i];
    }
    return found;
}

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Positions become rows; equal keys then order by row, as everywhere. */
static void name_rows(uint64_t *best, uint32_t count, const uint32_t *rows)
{
    bool sorted = true;

    for (uint32_t i = 0; i < count; i++) {
        best[i] = index_neighbour(index_neighbour_key(best[i]), rows[index_neighbour_row(best[i])]);
        sorted = sorted && (i == 0 || best[i - 1] < best[i]);
    }
    if (!sorted)
        qsort(best, count, sizeof(*best), compare_entries);
}

static void fill_leaf(const struct carve *carve, uint32_t thread, const uint32_t *members,
                      uint32_t count)
{
    struct index_distance_matrix *matrix = &carve->matrices[thread];
    uint32_t *rows = carve->shuffled[thread];

    if (count < 2)
        return;
    shuffle(members, count, carve->options->seed ^ members[0], rows);
    index_distance_matrix_columns(matrix, rows, count);
    for (uint32_t first = 0; first < count; first += INDEX_MATRIX_BLOCK_ROWS) {
        uint32_t block =
            count - first < INDEX_MATRIX_BLOCK_ROWS ? count - first : INDEX_MATRIX_BLOCK_ROWS;
        index_distance_matrix_own_keys(matrix, first, block);
        for (uint32_t i = 0; i < block; i++) {
            int32_t *keys = matrix->keys + (size_t)i * matrix->key_stride;
            uint64_t best[KEEP_MAX + SCALE_COUNT * SCALE_KEEP + 1];
            uint32_t found;
            index_candidate_lists_prefetch(carve->lists, rows[first + i]);
            keys[first + i] = INT32_MAX; /* itself */
            found = select_at_scales(keys, count, carve->keep, best);
            name_rows(best, found, rows);
            index_candidate_lists_merge(carve->lists, rows[first + i], best, found);
        }
    }
}

/* Rows that leaders do not tell apart: cut into leaves by position, and once more across the first
 * cut, so that the pieces hang together. */
static void fill_in_pieces(const struct carve *carve, uint32_t thread, const uint32_t *rows,
                           uint32_t count)
{
    uint32_t pieces = (count + carve->leaf_rows - 1) / carve->leaf_rows;
    uint32_t *piece = index_allocate(carve->leaf_rows + 1, sizeof(uint32_t));

    for (uint32_t p = 0; p < pieces; p++) {
        uint32_t first = (uint32_t)((uint64_t)count * p / pieces), size = 0;
        fill_leaf(carve, thread, rows + first,
                  (uint32_t)((uint64_t)count * (p + 1) / pieces) - first);
        for (uint32_t i = p; i < count; i += pieces)
            piece[size++] = rows[i];
        fill_leaf(carve, thread, piece, size);
    }
    free(piece);
}

static uint32_t leaders_for(const struct carve *carve, uint32_t count, uint32_t fanout)
{
    uint64_t wanted = (uint64_t)count * fanout * 2 / carve->leaf_rows;
    uint32_t most = LEADERS_MAX < carve->leaf_rows ? LEADERS_MAX : carve->leaf_rows;

    wanted = wanted < most ? wanted : most;
    return wanted > 2 * fanout ? (uint32_t)wanted : 2 * fanout;
}

static void fill_ball(const struct carve *carve, uint32_t thread, const uint32_t *rows,
                      uint32_t count, uint32_t parent_count, uint32_t depth)
{
    const struct thread_team alone = {.threads = 1};
    struct balls balls;
    uint64_t seed = carve->options->seed ^ (uint64_t)depth << 56 ^ (uint64_t)count << 28;

    if (thread_team_cancelled(&carve->options->team))
        return;
    if (count <= carve->leaf_rows) {
        fill_leaf(carve, thread, rows, count);
        return;
    }
    if (depth >= DEPTH_MAX || count > parent_count / 4 * 3) {
        fill_in_pieces(carve, thread, rows, count);
        return;
    }
    seed ^= rows[0];
    if (!carve_rows(carve->codes, &carve->matrices[thread], &alone, rows, count,
                    leaders_for(carve, count, FANOUT_DEEP), FANOUT_DEEP, seed, &balls))
        return;
    for (uint32_t i = 0; i < balls.count; i++)
        fill_ball(carve, thread, balls.members + balls.offsets[i],
                  balls.offsets[i + 1] - balls.offsets[i], count, depth + 1);
    balls_destroy(&balls);
}

struct fill {
    const struct carve *carve;
    const struct balls *balls;
    atomic_uint done;
};

static void fill_balls(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct fill *fill = context;
    const struct index_level_options *options = fill->carve->options;

    for (uint32_t i = first; i < end; i++) {
        const uint32_t *offsets = fill->balls->offsets;
        fill_ball(fill->carve, thread, fill->balls->members + offsets[i],
                  offsets[i + 1] - offsets[i], fill->carve->codes->count, 1);
        if (options->progress)
            options->progress(options->progress_context,
                              0.7 * (atomic_fetch_add(&fill->done, 1) + 1) / fill->balls->count);
    }
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static struct index_distance_matrix *matrices_new(const struct index_codes *codes,
                                                  uint32_t thread_count, uint32_t column_limit)
{
    struct index_distance_matrix *matrices = index_allocate(thread_count, sizeof(*matrices));

    for (uint32_t i = 0; i < thread_count; i++)
        index_distance_matrix_create(&matrices[i], codes, column_limit);
    return matrices;
}

static void matrices_delete(struct index_distance_matrix *matrices, uint32_t thread_count)
{
    for (uint32_t i = 0; i < thread_count; i++)
        index_distance_matrix_destroy(&matrices[i]);
    free(matrices);
}

static uint32_t leaf_rows_for(uint32_t stride)
{
    return clamp(LEAF_BYTES_MAX / stride, LEAF_ROWS_MIN, LEAF_ROWS_MAX);
}

static uint32_t fanout_for(uint32_t ef_construct)
{
    return clamp(ef_construct / 40, 3, FANOUT_MAX);
}

/* A carving of all rows names each `fanout` times, and again while balls are collected. A thread
 * carves one ball further; those of a few times the leaf's rows are the rule. */
uint64_t index_ball_carving_bytes(uint32_t count, uint32_t stride, uint32_t ef_construct,
                                  uint64_t *per_thread)
{
    uint32_t rows = leaf_rows_for(stride);

    *per_thread = index_distance_matrix_bytes(stride, rows > LEADERS_MAX ? rows + 1 : LEADERS_MAX) +
                  (uint64_t)rows * 64;
    return (uint64_t)count * 2 * fanout_for(ef_construct) * sizeof(uint32_t);
}

bool index_ball_carving_run(const struct index_codes *codes,
                            const struct index_level_options *options,
                            struct index_candidate_lists *lists)
{
    uint32_t fanout = fanout_for(options->ef_construct);
    struct carve carve = {
        .codes = codes,
        .options = options,
        .lists = lists,
        .leaf_rows = leaf_rows_for(codes->stride),
        .keep = clamp(options->ef_construct / 16, 10, KEEP_MAX),
    };
    struct balls balls;
    bool done = false;

    carve.matrices = matrices_new(codes, options->team.threads, carve.leaf_rows + 1);
    carve.shuffled = index_allocate(options->team.threads, sizeof(*carve.shuffled));
    for (uint32_t i = 0; i < options->team.threads; i++)
        carve.shuffled[i] = index_allocate(carve.leaf_rows + 1, sizeof(uint32_t));
    if (codes->count <= carve.leaf_rows) {
        uint32_t *all = index_allocate(codes->count, sizeof(uint32_t));
        for (uint32_t i = 0; i < codes->count; i++)
            all[i] = i;
        fill_leaf(&carve, 0, all, codes->count);
        free(all);
        done = !thread_team_cancelled(&options->team);
    } else if (carve_rows(codes, carve.matrices, &options->team, NULL, codes->count,
                          leaders_for(&carve, codes->count, fanout), fanout, options->seed,
                          &balls)) {
        struct fill fill = {.carve = &carve, .balls = &balls};
        done = thread_team_for(&options->team, balls.count, 1, fill_balls, &fill);
        balls_destroy(&balls);
    }
    for (uint32_t i = 0; i < options->team.threads; i++)
        free(carve.shuffled[i]);
    free(carve.shuffled);
    matrices_delete(carve.matrices, options->team.threads);
    return done;
}

enum { ORDER_ROWS = 256 }; /* rows of a neighbourhood, about */

bool index_neighbourhood_order(const struct index_codes *codes,
                               const struct index_level_options *options, uint32_t *order)
{
    uint32_t leader_count = clamp(codes->count / ORDER_ROWS, 1, LEADERS_MAX);
    struct index_distance_matrix *matrices =
        matrices_new(codes, options->team.threads, leader_count);
    struct balls balls;
    bool done = carve_rows(codes, matrices, &options->team, NULL, codes->count, leader_count, 1,
                           options->seed, &balls);

    if (done) {
        memcpy(order, balls.members, codes->count * sizeof(uint32_t));
        balls_destroy(&balls);
    }
    matrices_delete(matrices, options->team.threads);
    return done;
}
