/* What is concluded from the end of a partition: a shard is settled only beside nothing that may be left. */
#include <stdlib.h>

#include "ingest/idle.h"
#include "store/append.h"
#include "store/store.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { NEXT_OFFSET = 10, NOW_MS = 1000000, HOUR_MS = 60 * 60 * 1000 };

/* A shard whose next offset is NEXT_OFFSET, by a log that tells the time. */
static struct store_shard *open_shard(struct store *store)
{
    struct store_shard *shard = fixture_shard(store, HOUR_MS, HOUR_MS, STORE_DURABILITY_LOG);
    struct fixture_group *group = calloc(1, sizeof(*group));

    ck_assert_ptr_nonnull(group);
    fixture_group_start(group, NEXT_OFFSET - 1);
    fixture_group_put(group, 1, 1, 0, 8, false);
    group->group.clock.log = (struct store_log_clock){true, 1, 1, 1};
    ck_assert_int_eq(store_shard_append(shard, &group->group, ERROR_IGNORED), 0);
    free(group);
    return shard;
}

START_TEST(partition_is_settled_when_nothing_is_left_to_read)
{
    static const struct {
        const char *what;
        struct partition_shared shared;
        bool settles;
    } cases[] = {
        {"all is read", {.end_offset = 10, .high_watermark = 10}, true},
        {"records below the durable offset are of no interest",
         {.end_offset = 9, .high_watermark = 9},
         true},
        {"a record is left", {.end_offset = 11, .high_watermark = 11}, false},
        {"a transaction is open", {.end_offset = 10, .high_watermark = 11}, false},
        {"no fetch was answered, and a transaction may be open",
         {.end_offset = 10, .high_watermark = -1},
         false},
        {"no broker told the end", {.end_offset = -1, .high_watermark = 10}, false},
        {"the broker told it long ago",
         {.end_offset = 10, .high_watermark = 10, .end_seen_ns = -60 * NS_PER_S},
         false},
    };
    struct store *store = fixture_store(io_posix(), test_directory(), 1 << 20);
    struct store_shard *shard = open_shard(store);
    struct partition_list list;
    const struct partition_context context = {.list = &list};

    partition_list_create(&list);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int64_t before_ms = store_shard_log_passed_ms(shard);
        struct partition partition = {
            .context = &context,
            .lane = {.shard = shard,
                     .clock = TWCS_CLOCK_NONE,
                     .position = NEXT_OFFSET,
                     .durable.next_offset = NEXT_OFFSET,
                     .at_end = true},
            .shared = cases[i].shared,
        };
        partition.lane.clock.safe_wall_ms = NOW_MS + (int64_t)i;
        idle_watch(&partition, NS_PER_S);
        ck_assert_msg((store_shard_log_passed_ms(shard) > before_ms) == cases[i].settles, "%s",
                      cases[i].what);
    }
    partition_list_destroy(&list);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
}
END_TEST

TEST_TABLE(TEST(partition_is_settled_when_nothing_is_left_to_read))
