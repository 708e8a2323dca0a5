/* A replica is a function of the log: whoever reads the same records, whenever and however, stores the
 * same. One topic is read live with pauses, later at once, after all TTLs have passed, by a process that
 * restarts, from a copy and from a backup, under every late policy. Each must decide the same about
 * every record, and show the same points of the same versions at any instant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/install.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"
#include "twcs/compaction/compaction.h"

enum {
    WINDOW_MS = 1000,
    TTL_MS = 6000,
    IDLE_MS = 400, /* as in idle_timeout */
    SKEW_MS = 300, /* a timestamp is older than its message by less */
    MESSAGES = 160,
    IDS = 12,
    GROUP_MAX = 8,
    DECISIONS = 8
};

/* The long form is the same program with another number (CMakeLists.txt). */
#ifndef REPLICA_ROUNDS
#define REPLICA_ROUNDS (TEST_SANITIZED ? 1 : 4)
#endif

#define START INT64_C(1000000)

/* A message of the topic. Its offset is its place. */
struct message {
    int64_t written_ms; /* when it came to the broker, by a true clock */
    int64_t timestamp_ms;
    int64_t event_ms, ttl_ms;
    uint32_t id;
    bool is_delete, expects;
    int64_t expected_offset;
};

/* What became of it; the first two are also what a condition says. */
enum fate { UNREAD, STORED, UNMET, LATE, EXPIRED, FUTURE };

struct topic {
    struct message messages[MESSAGES];
    int64_t end_ms; /* all are written and every row has expired */
};

/* One way of reading it. */
struct reader {
    const char *name;
    struct io *io;
    int64_t *wall_ms;
    char folder[4096];
    const struct config_collection *collection;
    struct store *store;
    struct store_shard *shard;
    struct twcs_policy policy;
    struct twcs_clock clock;
    enum fate fates[MESSAGES];
    struct arena arena;
    uint64_t random;
    size_t next;
};

static uint64_t below(uint64_t *random, uint64_t limit)
{
    return test_random(random) % limit;
}

/* The topic. */

static int64_t last_offset_of(const struct topic *topic, size_t count, uint32_t id)
{
    for (size_t i = count; i-- > 0;)
        if (topic->messages[i].id == id)
            return topic->messages[i].is_delete ? STORE_EXPECT_NONE : (int64_t)i;
    return STORE_EXPECT_NONE;
}

/* Producers know the last version, or an earlier one, or believe that there is none. */
static void expect_something(const struct topic *topic, size_t count, uint64_t *random,
                             struct message *message)
{
    uint64_t chance = below(random, 12);

    message->expects = chance < 7;
    message->expected_offset = chance < 5    ? last_offset_of(topic, count, message->id)
                               : chance == 5 ? STORE_EXPECT_NONE
                                             : (int64_t)below(random, count + 1);
}

static void make_topic(struct topic *topic, uint64_t *random)
{
    int64_t now_ms = START;

    for (size_t i = 0; i < MESSAGES; i++) {
        struct message *message = &topic->messages[i];
        uint64_t pause = below(random, 100);
        now_ms += pause == 0   ? (int64_t)below(random, 2 * TTL_MS)
                  : pause < 8  ? (int64_t)below(random, 3 * WINDOW_MS)
                  : pause < 40 ? (int64_t)below(random, 200)
                               : (int64_t)below(random, 20);
        *message = (struct message){.written_ms = now_ms,
                                    .timestamp_ms = now_ms - (int64_t)below(random, SKEW_MS),
                                    .id = (uint32_t)below(random, IDS)};
        message->event_ms = message->timestamp_ms;
        if (below(random, 4) == 0)
            message->event_ms -= (int64_t)below(random, TTL_MS + WINDOW_MS);
        if (below(random, 20) == 0)
            message->event_ms += (int64_t)below(random, 2 * WINDOW_MS);
        if (below(random, 3) == 0)
            message->ttl_ms = 1 + (int64_t)below(random, TTL_MS);
        message->is_delete = below(random, 8) == 0;
        expect_something(topic, i, random, message);
    }
    topic->end_ms = now_ms + 3 * TTL_MS;
}

/* Reading it. */

static int no_sync(struct io *io, int file)
{
    (void)io;
    (void)file;
    return 0;
}

static int no_directory_sync(struct io *io, const char *path)
{
    (void)io;
    (void)path;
    return 0;
}

/* Nothing crashes here: thousands of rounds need no disk that is waited for. */
static struct io *unsynced_io(int64_t **wall_ms)
{
    static struct io_operations operations;
    static struct io io = {&operations};

    operations = *fixture_io(wall_ms)->operations;
    operations.datasync = no_sync;
    operations.sync_directory = no_directory_sync;
    return &io;
}

static void open_reader(struct reader *reader)
{
    struct store_clock clock;
    int64_t next_offset;

    reader->store = fixture_store(reader->io, reader->folder, 16 * 1024);
    reader->shard = fixture_shard(reader->store, WINDOW_MS, TTL_MS, STORE_DURABILITY_KAFKA);
    next_offset = store_shard_next_offset(reader->shard);
    clock = store_shard_clock(reader->shard);
    reader->clock = next_offset < 0 ? TWCS_CLOCK_NONE : compaction_clock(&clock);
    reader->next = next_offset < 0 ? 0 : (size_t)next_offset;
    (void)twcs_clock_tick(&reader->clock, *reader->wall_ms, true);
}

static void close_reader(struct reader *reader)
{
    ck_assert_int_eq(
        store_shard_close(reader->shard, below(&reader->random, 2) == 0, ERROR_IGNORED), 0);
    store_close(reader->store);
}

static struct reader *new_reader(const char *name, const struct config_collection *collection,
                                 uint64_t random)
{
    static int number;
    struct reader *reader = calloc(1, sizeof(*reader));

    ck_assert_ptr_nonnull(reader);
    reader->name = name;
    reader->io = unsynced_io(&reader->wall_ms);
    reader->collection = collection;
    reader->policy = compaction_policy(collection);
    reader->random = random;
    snprintf(reader->folder, sizeof(reader->folder), "%s/%d", test_directory(), number++);
    arena_create(&reader->arena, 0);
    open_reader(reader);
    return reader;
}

static void delete_reader(struct reader *reader)
{
    close_reader(reader);
    ck_assert_int_eq(store_folder_remove(reader->io, reader->folder, ERROR_IGNORED), 0);
    arena_destroy(&reader->arena);
    free(reader);
}

static enum fate fate_of(enum twcs_verdict verdict)
{
    switch (verdict) {
    case TWCS_ACCEPT:
    case TWCS_ACCEPT_LATE:
        return STORED;
    case TWCS_DROP_LATE:
    case TWCS_DEAD_LETTER_LATE:
        return LATE;
    case TWCS_EXPIRED:
        return EXPIRED;
    case TWCS_FUTURE:
        return FUTURE;
    }
    abort();
}

/* As a lane of ingestion does (ingest/judge.c). */
static void take(struct reader *reader, struct fixture_group *group, const struct message *message)
{
    struct store_record *record = &group->records[group->group.record_count];
    int64_t now_ms = *reader->wall_ms;
    enum fate *fate = &reader->fates[reader->next];
    int64_t stamp_ms;

    (void)twcs_clock_follow(&reader->clock, now_ms);
    stamp_ms = twcs_clock_stamp(&reader->clock, &reader->policy, message->timestamp_ms, now_ms);
    *fate = message->is_delete ? STORED
                               : fate_of(twcs_judge(&reader->policy, &reader->clock,
                                                    message->event_ms, message->ttl_ms, stamp_ms));
    reader->next++;
    if (*fate != STORED) {
        group->group.next_offset++;
        return;
    }
    if (message->is_delete) {
        fixture_group_delete(group, message->id, false);
    } else {
        fixture_group_put(group, message->id, message->event_ms, message->ttl_ms, 8, false);
        twcs_clock_observe(&reader->clock, &reader->policy, message->event_ms, stamp_ms, now_ms);
    }
    record->expects = message->expects;
    record->expected_offset = message->expected_offset;
    record->log_time_ms = twcs_log_time(&reader->clock, stamp_ms);
}

static void append(struct reader *reader, struct fixture_group *group)
{
    struct error error = {0};

    group->group.clock = compaction_store_clock(&reader->clock);
    ck_assert_msg(store_shard_append(reader->shard, &group->group, &error) == 0, "%s", error.text);
    for (size_t i = 0; i < group->group.record_count; i++)
        if (store_shard_refusal(reader->shard, group->records[i].offset))
            reader->fates[group->records[i].offset] = UNMET;
}

/* Reads what was written by now, in groups of any size, at most `limit` messages. */
static void read_messages(struct reader *reader, const struct topic *topic, size_t limit)
{
    static struct fixture_group group;

    while (limit > 0 && reader->next < MESSAGES &&
           topic->messages[reader->next].written_ms <= *reader->wall_ms) {
        size_t count = 1 + below(&reader->random, GROUP_MAX);
        memset(&group, 0, sizeof(group));
        fixture_group_start(&group, (int64_t)reader->next);
        for (; count > 0 && limit > 0 && reader->next < MESSAGES; count--, limit--) {
            const struct message *message = &topic->messages[reader->next];
            if (message->written_ms > *reader->wall_ms)
                break;
            take(reader, &group, message);
        }
        append(reader, &group);
    }
}

/* All there is was read: as a partition that is at its end (ingest/idle.c). */
static void be_idle(struct reader *reader, const struct topic *topic)
{
    struct fixture_group nothing;

    if (reader->next < MESSAGES && topic->messages[reader->next].written_ms <= *reader->wall_ms)
        return;
    (void)twcs_clock_follow(&reader->clock, *reader->wall_ms);
    store_shard_settle(reader->shard, reader->clock.safe_wall_ms - IDLE_MS);
    if (reader->next == 0 || !twcs_clock_idle(&reader->clock, &reader->policy))
        return;
    fixture_group_start(&nothing, (int64_t)reader->next);
    append(reader, &nothing);
}

static void compact(struct reader *reader)
{
    struct twcs_decision decisions[DECISIONS];
    struct compaction_view view;
    size_t count;

    compaction_describe(reader->shard, reader->collection, *reader->wall_ms, &reader->arena, &view);
    count = twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count, decisions,
                        DECISIONS);
    for (size_t i = 0; i < count; i++) {
        struct error error = {0};
        int code = compaction_execute(reader->shard, &view, &decisions[i], 1, NULL, NULL, &error);
        ck_assert_msg(code == 0 || code == ERROR_BUSY || code == ERROR_NOT_FOUND, "%s", error.text);
    }
    arena_reset(&reader->arena);
}

/* What happens to a node at any time. */
static void disturb(struct reader *reader, bool restarts)
{
    uint64_t chance = below(&reader->random, 20);

    if (chance < 8)
        compact(reader);
    else if (chance < 12)
        ck_assert_int_eq(store_shard_flush(reader->shard, ERROR_IGNORED), 0);
    else if (chance == 12 && restarts) {
        close_reader(reader);
        open_reader(reader);
    }
}

/* With pauses of its own, until `until` messages are read. */
static void read_live(struct reader *reader, const struct topic *topic, size_t until)
{
    while (reader->next < until) {
        uint64_t chance = below(&reader->random, 60);
        *reader->wall_ms += chance == 0  ? (int64_t)below(&reader->random, 3 * TTL_MS)
                            : chance < 6 ? (int64_t)below(&reader->random, WINDOW_MS)
                                         : (int64_t)below(&reader->random, 60);
        read_messages(reader, topic, until - reader->next);
        if (below(&reader->random, 3) != 0)
            be_idle(reader, topic);
        disturb(reader, true);
    }
}

static void read_at_once(struct reader *reader, const struct topic *topic)
{
    while (reader->next < MESSAGES) {
        read_messages(reader, topic, 1 + below(&reader->random, 40));
        disturb(reader, false);
    }
}

/* Comparing. */

/* Offset of the id's version that is shown at `now_ms`, -1 without one. */
static int64_t shown(struct reader *reader, uint32_t id, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(reader->shard, now_ms);
    const struct store_source *source;
    struct store_key key;
    int64_t offset = -1;
    uint32_t row;

    fixture_key(id, &key);
    if (store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED) == 0)
        offset = store_row_offset(source, row);
    store_snapshot_release(snapshot);
    return offset;
}

/* From message `first` on: what came before it was read by another one. */
static void check_fates(const struct reader *a, const struct reader *b, size_t first)
{
    for (size_t i = first; i < MESSAGES; i++)
        ck_assert_msg(a->fates[i] == b->fates[i], "offset %zu: %s came to %d, %s to %d", i, a->name,
                      (int)a->fates[i], b->name, (int)b->fates[i]);
}

/* At and after the instant to which the clocks of both have come. */
static void check_shown(struct reader *a, struct reader *b, int64_t from_ms)
{
    for (int64_t now_ms = from_ms; now_ms <= from_ms + TTL_MS + WINDOW_MS; now_ms += WINDOW_MS / 4)
        for (uint32_t id = 0; id < IDS; id++) {
            int64_t one = shown(a, id, now_ms), other = shown(b, id, now_ms);
            ck_assert_msg(one == other, "id %u at %lld: %s shows %lld, %s shows %lld", id,
                          (long long)now_ms, a->name, (long long)one, b->name, (long long)other);
        }
}

/* Another reader's shard, as a peer or a backup would give it. */
static struct reader *new_copy(const char *name, struct reader *from, uint64_t random)
{
    struct reader *copy = new_reader(name, from->collection, random);
    char token[STORE_BACKUP_TOKEN_BYTES];
    struct store_backup_shard done = {0};
    struct error error = {0};
    char backup[4200];
    size_t shards;
    uint64_t bytes;

    snprintf(backup, sizeof(backup), "%s.backup", copy->folder);
    ck_assert_int_eq(store_backup_begin(copy->io, backup, token, &error), 0);
    ck_assert_msg(store_shard_backup(from->shard, backup, NULL, &done, &error) == 0, "%s",
                  error.text);
    ck_assert_int_eq(store_backup_finish(copy->io, backup, &done, 1, &error), 0);
    close_reader(copy);
    ck_assert_int_eq(store_folder_remove(copy->io, copy->folder, &error), 0);
    ck_assert_msg(store_restore(copy->io, backup, copy->folder, &shards, &bytes, &error) == 0, "%s",
                  error.text);
    ck_assert_int_eq(store_folder_remove(copy->io, backup, &error), 0);
    open_reader(copy);
    return copy;
}

static void play(uint64_t seed, enum config_late late, bool after_ttl)
{
    const struct config_collection collection = {.name = "news",
                                                 .window_ms = WINDOW_MS,
                                                 .ttl_ms = TTL_MS,
                                                 .max_future_ms = WINDOW_MS,
                                                 .idle_timeout_ms = IDLE_MS,
                                                 .late_allowed_ms = WINDOW_MS / 2,
                                                 .late_policy = late,
                                                 .compaction_style = CONFIG_STYLE_TIME_WINDOW,
                                                 .max_space_amplification = 1.5,
                                                 .size_tiered_min_threshold = 4,
                                                 .size_tiered_max_threshold = 32};
    uint64_t random = seed | 1;
    static struct topic topic;
    struct reader *live, *copy, *later;
    int64_t *wall_ms, end_ms;
    size_t copied_at;

    make_topic(&topic, &random);
    copied_at = below(&random, MESSAGES);
    (void)unsynced_io(&wall_ms);
    *wall_ms = START; /* it is everybody's */
    live = new_reader("live", &collection, test_random(&random));
    read_live(live, &topic, copied_at);
    copy = new_copy("copy", live, test_random(&random));
    read_live(live, &topic, MESSAGES);
    if (after_ttl)
        *wall_ms += 10 * TTL_MS;
    end_ms = *wall_ms;
    later = new_reader("later", &collection, test_random(&random));
    read_at_once(later, &topic);
    read_at_once(copy, &topic);
    check_fates(live, later, 0);
    check_fates(live, copy, copied_at);
    check_shown(live, later, end_ms);
    check_shown(live, copy, end_ms);
    compact(live);
    check_shown(live, later, end_ms);
    delete_reader(live);
    delete_reader(copy);
    delete_reader(later);
}

static void play_rounds(enum config_late late)
{
    const char *given = getenv("WINDROW_REPLICA_ROUNDS");
    unsigned long rounds = given ? strtoul(given, NULL, 10) : REPLICA_ROUNDS;
    uint64_t random = test_seed();

    logger_set_level(LOGGER_ERROR);
    for (unsigned long i = 0; i < rounds; i++)
        play(test_random(&random), late, i % 3 == 2);
    printf("%lu rounds of %d messages\n", rounds, MESSAGES);
}

START_TEST(readers_agree_when_late_records_are_accepted)
{
    play_rounds(CONFIG_LATE_ACCEPT);
}
END_TEST

START_TEST(readers_agree_when_late_records_are_dropped)
{
    play_rounds(CONFIG_LATE_DROP);
}
END_TEST

START_TEST(readers_agree_when_late_records_are_dead_letters)
{
    play_rounds(CONFIG_LATE_DEAD_LETTER);
}
END_TEST

TEST_TABLE(TEST(readers_agree_when_late_records_are_accepted),
           TEST(readers_agree_when_late_records_are_dropped),
           TEST(readers_agree_when_late_records_are_dead_letters))
