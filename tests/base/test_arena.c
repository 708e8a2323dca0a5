#include <string.h>

#include "base/arena.h"
#include "tests/support/test_main.h"

START_TEST(memory_has_the_asked_alignment)
{
    static const size_t alignments[] = {1, 2, 8, 16, 64, 512, 4096};
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < 1000; i++) {
        size_t alignment = alignments[i % 7];
        uint8_t *bytes = arena_alloc(&arena, 1 + i * 37 % 5000, alignment);
        ck_assert_uint_eq((uintptr_t)bytes % alignment, 0);
        memset(bytes, 0xaa, 1 + i * 37 % 5000);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(allocations_do_not_overlap)
{
    struct arena arena;
    uint8_t *pieces[500];

    arena_create(&arena, 0);
    for (int i = 0; i < 500; i++) {
        pieces[i] = arena_alloc(&arena, 777, 8);
        memset(pieces[i], i & 0xff, 777);
    }
    for (int i = 0; i < 500; i++)
        for (int j = 0; j < 777; j++)
            ck_assert_uint_eq(pieces[i][j], i & 0xff);
    arena_destroy(&arena);
}
END_TEST

START_TEST(the_limit_answers_null_and_stays_usable)
{
    struct arena arena;

    arena_create(&arena, 1000);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 600, 1));
    ck_assert_ptr_null(arena_alloc(&arena, 600, 1));
    ck_assert_ptr_null(arena_calloc(&arena, SIZE_MAX / 2, 4));
    ck_assert_ptr_nonnull(arena_alloc(&arena, 400, 1));
    ck_assert_uint_eq(arena.used_bytes, 1000);
    arena_destroy(&arena);
}
END_TEST

START_TEST(reset_keeps_one_block_and_counts_from_zero)
{
    struct arena arena;

    arena_create(&arena, 0);
    for (int i = 0; i < 100; i++)
        (void)arena_alloc(&arena, 10000, 8);
    arena_reset(&arena);
    ck_assert_uint_eq(arena.used_bytes, 0);
    size_t kept = arena.reserved_bytes;
    ck_assert_uint_gt(kept, 0);
    (void)arena_alloc(&arena, 10000, 8);
    ck_assert_uint_eq(arena.reserved_bytes, kept);
    arena_destroy(&arena);
    ck_assert_uint_eq(arena.reserved_bytes, 0);
}
END_TEST

START_TEST(copies_end_with_a_zero_and_arrays_are_zeroed)
{
    struct arena arena;

    arena_create(&arena, 0);
    memset(arena_alloc(&arena, 4096, 1), 0xff, 4096);
    arena_reset(&arena);
    const char *copy = arena_copy(&arena, "a\0b", 3);
    ck_assert_mem_eq(copy, "a\0b", 4);
    const uint8_t *zeroed = arena_calloc(&arena, 100, 7);
    for (int i = 0; i < 700; i++)
        ck_assert_uint_eq(zeroed[i], 0);
    arena_destroy(&arena);
}
END_TEST

TEST_TABLE(TEST(memory_has_the_asked_alignment), TEST(allocations_do_not_overlap),
           TEST(the_limit_answers_null_and_stays_usable),
           TEST(reset_keeps_one_block_and_counts_from_zero),
           TEST(copies_end_with_a_zero_and_arrays_are_zeroed))
