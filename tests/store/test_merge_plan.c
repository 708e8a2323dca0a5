/* A merge plan gives the rows that a sort of all rows would give, each key once, the newest first.
 */
#include <stdlib.h>
#include <string.h>

#include "store/merge_plan.h"
#include "tests/store/table_fixture.h"
#include "tests/store/table_memory_io.h"
#include "tests/support/test_main.h"

enum { TABLES_MAX = 7 };

struct world {
    struct memory_io memory;
    struct table_fixture fixtures[TABLES_MAX];
    struct table *tables[TABLES_MAX];
    uint32_t table_count;
    uint32_t row_count;
};

static void create(struct world *world, uint32_t table_count, uint32_t rows, uint64_t *state)
{
    uint64_t seed = test_random(state);

    memory_io_create(&world->memory);
    world->table_count = table_count;
    world->row_count = 0;
    for (uint32_t i = 0; i < table_count; i++) {
        struct table_fixture_options options = {.kind = test_random(state) % 3 ? TABLE_CHUNK
                                                                               : TABLE_RUN,
                                                .dim = 1,
                                                .file_number = 10 + i * 2,
                                                .small_payloads = true};
        options.row_count = (uint32_t)(1 + test_random(state) % rows);
        options.key_space = rows * 2;          /* ids meet in several tables */
        options.seed = seed + (i % 2 ? i : 0); /* some tables hold the same rows */
        table_fixture_create(&world->fixtures[i], &world->memory.io, "d", &options);
        ck_assert_int_eq(table_open(&world->memory.io, "d", &world->fixtures[i].description,
                                    &world->fixtures[i].info, &world->tables[i], ERROR_IGNORED),
                         0);
        world->row_count += world->fixtures[i].row_count;
    }
}

static void destroy(struct world *world)
{
    for (uint32_t i = 0; i < world->table_count; i++) {
        table_close(world->tables[i]);
        table_fixture_destroy(&world->fixtures[i]);
    }
    memory_io_destroy(&world->memory);
}

static const struct table_row *row_of(const struct world *world, const struct merge_entry *entry)
{
    return &world->fixtures[entry->table].rows[entry->row];
}

static int compare_keys(const struct table_row *a, const struct table_row *b)
{
    size_t common = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    int order = memcmp(a->key, b->key, common);

    return order ? order : (int)a->key_bytes - (int)b->key_bytes;
}

static int compare_entries(const void *left, const void *right, void *context)
{
    const struct merge_entry *a = left, *b = right;
    const struct table_row *a_row = row_of(context, a), *b_row = row_of(context, b);
    int order = compare_keys(a_row, b_row);

    if (order)
        return order;
    if (a_row->offset != b_row->offset)
        return a_row->offset > b_row->offset ? -1 : 1;
    if (a->table != b->table)
        return a->table > b->table ? -1 : 1;
    return a->row > b->row ? -1 : 1;
}

static bool two_thirds_survive(void *context, uint32_t table, uint32_t row)
{
    (void)context;
    return (row * 7 + table) % 3 != 0;
}

/* By a sort of everything. */
static size_t expect(struct world *world, merge_survives survives, struct merge_entry *out)
{
    size_t count = 0, kept = 0;

    for (uint32_t i = 0; i < world->table_count; i++) {
        for (uint32_t row = 0; row < world->fixtures[i].row_count; row++) {
            if (!survives || survives(NULL, i, row))
                out[count++] = (struct merge_entry){0, i, row};
        }
    }
    qsort_r(out, count, sizeof(*out), compare_entries, world);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_keys(row_of(world, &out[kept - 1]), row_of(world, &out[i])) != 0)
            out[kept++] = out[i];
    }
    return kept;
}

static void check(struct world *world, merge_survives survives)
{
    struct merge_entry *expected = calloc(world->row_count + 1, sizeof(*expected));
    size_t expected_count = expect(world, survives, expected), done = 0, count;
    struct merge_plan *plan = merge_plan_new((const struct table *const *)world->tables,
                                             world->table_count, survives, NULL);
    const struct merge_entry *entries;
    int batches = 0;

    while ((entries = merge_plan_next(plan, &count)) != NULL) {
        batches++;
        for (size_t i = 0; i < count; i++, done++) {
            if (done >= expected_count || entries[i].table != expected[done].table ||
                entries[i].row != expected[done].row)
                ck_abort_msg("batch %d: entry %zu is not the %zu-th of the sort", batches, i, done);
        }
    }
    ck_assert_uint_eq(done, expected_count);
    ck_assert_ptr_null(merge_plan_next(plan, &count));
    if (world->row_count > MERGE_PLAN_BATCH_ROWS * 2)
        ck_assert_int_gt(batches, 1);
    merge_plan_delete(plan);
    free(expected);
}

START_TEST(plan_of_small_tables_is_the_sort_of_their_rows)
{
    uint64_t state = test_seed();
    struct world world;

    for (int i = 0; i < 150; i++) {
        create(&world, (uint32_t)(1 + test_random(&state) % TABLES_MAX),
               (uint32_t)(1 + test_random(&state) % 400), &state);
        check(&world, NULL);
        check(&world, two_thirds_survive);
        destroy(&world);
    }
}
END_TEST

START_TEST(plan_of_many_batches_is_the_sort_of_its_rows)
{
    uint64_t state = test_seed();
    struct world world;

    for (int i = 0; i < 3; i++) {
        create(&world, TABLES_MAX, 60000, &state);
        check(&world, i % 2 ? NULL : two_thirds_survive);
        destroy(&world);
    }
}
END_TEST

START_TEST(plan_of_nothing_ends_at_once)
{
    struct merge_plan *plan = merge_plan_new(NULL, 0, NULL, NULL);
    size_t count;

    ck_assert_ptr_null(merge_plan_next(plan, &count));
    merge_plan_delete(plan);
}
END_TEST

START_TEST(sorted_pieces_merge_in_a_stable_order)
{
    enum { ENTRIES = 2000 };
    static struct merge_entry entries[ENTRIES], scratch[ENTRIES];
    uint64_t state = test_seed();

    for (int round = 0; round < 300; round++) {
        size_t ends[10], run_count = 1 + test_random(&state) % 10, count = 0;
        const struct merge_entry *merged;
        for (size_t i = 0; i < run_count; i++) {
            uint64_t prefix = 0;
            for (uint64_t left = test_random(&state) % (round % 3 ? 200 : 3); left > 0; left--) {
                prefix += test_random(&state) % 3;
                entries[count] = (struct merge_entry){prefix, (uint32_t)i, (uint32_t)count};
                count++;
            }
            ends[i] = count;
        }
        merged = merge_entries(entries, scratch, ends, run_count);
        for (size_t i = 1; i < count; i++) {
            bool ordered =
                merged[i - 1].prefix < merged[i].prefix ||
                (merged[i - 1].prefix == merged[i].prefix && merged[i - 1].row < merged[i].row);
            if (!ordered)
                ck_abort_msg("round %d: entry %zu is out of order", round, i);
        }
    }
}
END_TEST

TEST_TABLE(TEST(plan_of_small_tables_is_the_sort_of_their_rows),
           TEST(plan_of_many_batches_is_the_sort_of_its_rows), TEST(plan_of_nothing_ends_at_once),
           TEST(sorted_pieces_merge_in_a_stable_order))
