/* Searches while the world changes under them: appends, flushes, chunks indexed and merged, windows
 * sealed, resealed, indexed, turned from graphs into lists and back, dropped, and spans over them
 * built, replaced and taken away. The stream is a
 * function of the offset, so that what must be visible in a view is known from the offset the view
 * itself names, and brute force over it says what a search must answer. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/attach.h"
#include "store/files/key.h"
#include "store/snapshot.h"
#include "tests/indexer/query/query_world.h"
#include "tests/support/compact.h"

#if defined(__SANITIZE_THREAD__)
enum { OFFSETS = 4000, SEARCHERS = 4 };
#else
enum { OFFSETS = 16000, SEARCHERS = 8 };
#endif

enum {
    DIM = 8,
    K = 10,
    WINDOW_MS = 400000,
    STEP_MS = 1000, /* event time a record: 400 records a window */
    TTL_MS = 3 * WINDOW_MS + 100000,
    LATE_MS = WINDOW_MS / 2, /* how far behind a late record is at most */
    IDS = 3000,
    CHUNK_ROWS_MIN = 100 /* of a chunk with a segment */
};
static const int64_t START_MS = 1760000000000 / WINDOW_MS * WINDOW_MS;

struct hammer {
    struct world world;
    uint64_t seed;
    atomic_llong written; /* offsets */
    atomic_bool stop;
    atomic_ullong searches;
    atomic_ullong graphs, lists, chunks, spans; /* walked by searches */
    atomic_ullong wanted, found;                /* true neighbours of searches that are not exact */
};

static uint64_t mix(const struct hammer *hammer, int64_t offset, uint64_t salt)
{
    uint64_t x = hammer->seed + (uint64_t)offset * 0x9E3779B97F4A7C15U + salt * 0xD1B54A32D192ED03U;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

static uint64_t id_at(const struct hammer *hammer, int64_t offset)
{
    return mix(hammer, offset, 1) % IDS;
}

static bool delete_at(const struct hammer *hammer, int64_t offset)
{
    return mix(hammer, offset, 2) % 20 == 0;
}

static int64_t time_at(const struct hammer *hammer, int64_t offset)
{
    uint64_t dice = mix(hammer, offset, 3);

    return START_MS + offset * STEP_MS - (dice % 10 == 0 ? (int64_t)(dice >> 32) % LATE_MS : 0);
}

static void vector_at(const struct hammer *hammer, int64_t offset, float *vector)
{
    for (uint64_t i = 0; i < DIM; i++)
        vector[i] = (float)(mix(hammer, offset, 10 + i) >> 40) / (float)(1 << 23) - 1.0F;
}

/* The world changes. */

static void append(struct hammer *hammer, int64_t first, size_t count)
{
    enum { GROUP = 16 };
    struct store_record records[GROUP];
    struct store_key keys[GROUP];
    float vectors[GROUP][DIM];
    struct store_group group = {
        .records = records, .record_count = count, .next_offset = first + (int64_t)count};
    struct error error = {0};
    int code;

    ck_assert_uint_le(count, GROUP);
    for (size_t i = 0; i < count; i++) {
        int64_t offset = first + (int64_t)i;
        bool is_delete = delete_at(hammer, offset);
        store_key_from_u64(id_at(hammer, offset), &keys[i]);
        vector_at(hammer, offset, vectors[i]);
        records[i] = (struct store_record){.key = keys[i].bytes,
                                           .key_bytes = keys[i].size_bytes,
                                           .is_delete = is_delete,
                                           .offset = offset,
                                           .event_time_ms = time_at(hammer, offset),
                                           .vector = is_delete ? NULL : vectors[i]};
    }
    group.clock.watermark_ms = START_MS + group.next_offset * STEP_MS;
    while ((code = store_shard_append(hammer->world.shards[0], &group, &error)) == ERROR_BUSY)
        usleep(1000);
    ck_assert_msg(code == 0, "%s", error.text);
}

static void *write_stream(void *context)
{
    struct hammer *hammer = context;
    int64_t offset = 0;

    while (offset < OFFSETS) {
        size_t count = 1 + mix(hammer, offset, 4) % 16;
        if (offset + (int64_t)count > OFFSETS)
            count = (size_t)(OFFSETS - offset);
        /* The clock never falls behind the newest record. */
        atomic_store(&hammer->world.clock.now_ms, START_MS + (offset + (int64_t)count) * STEP_MS);
        append(hammer, offset, count);
        offset += (int64_t)count;
        atomic_store(&hammer->written, offset);
        usleep(200);
    }
    return NULL;
}

/* Merges what the open windows and the late rows have. */
static void merge_chunks(struct hammer *hammer, int64_t first, int64_t end)
{
    struct error error = {0};

    for (int64_t window = first; window < end; window++) {
        int64_t start_ms = START_MS + window * WINDOW_MS;
        struct store_shard_info info;
        struct arena arena;
        size_t chunks = 0;
        arena_create(&arena, 0);
        store_shard_describe(hammer->world.shards[0], &arena, &info);
        for (size_t i = 0; i < info.window_count; i++)
            if (info.windows[i].start_ms == start_ms)
                chunks = info.windows[i].chunk_count;
        arena_destroy(&arena);
        if (chunks > 1)
            ck_assert_msg(
                compact_tier(hammer->world.shards[0], start_ms, WINDOW_MS, chunks, &error) == 0,
                "tier: %s", error.text);
    }
}

/* Over the last windows or all of them, in one of the tiers; now and then one goes for good. */
static void change_spans(struct hammer *hammer, int64_t first, int64_t end, uint64_t dice)
{
    struct store_shard *shard = hammer->world.shards[0];
    struct store_shard_info info;
    struct error error = {0};
    struct arena arena;
    int64_t from = dice & 1 ? first : first + (end - first) / 2;

    (void)world_span(&hammer->world, 0, START_MS + from * WINDOW_MS, START_MS + end * WINDOW_MS,
                     dice & 1 ? 2 : 1, dice >> 1 & 1);
    if ((dice >> 2) % 4 != 0)
        return;
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    if (info.span_count > 0)
        ck_assert_msg(store_shard_load_span(shard, info.spans[0].segment.file_number, NULL, NULL,
                                            &error) == 0,
                      "%s", error.text);
    arena_destroy(&arena);
}

static void *maintain(void *context)
{
    struct hammer *hammer = context;
    struct world *world = &hammer->world;
    uint64_t seed = hammer->seed | 1;
    int64_t sealed = 0;
    int64_t dropped = 0;

    while (!atomic_load(&hammer->stop)) {
        uint64_t dice = test_random(&seed);
        int64_t now_ms = atomic_load(&world->clock.now_ms);
        if (dice % 3 == 0)
            world_flush(world, 0);
        (void)world_index_chunks(world, 0, CHUNK_ROWS_MIN);
        if (dice >> 24 & 1)
            merge_chunks(hammer, sealed, sealed + 2);
        while (START_MS + (sealed + 1) * WINDOW_MS + LATE_MS / 2 < now_ms) {
            world_seal(world, 0, START_MS + sealed * WINDOW_MS);
            world_index(world, 0, START_MS + sealed * WINDOW_MS);
            sealed++;
        }
        if (sealed > dropped + 1 && (dice >> 8) % 4 == 0) { /* late rows are folded in */
            world_seal(world, 0, START_MS + (sealed - 1) * WINDOW_MS);
            if (dice >> 16 & 1)
                world_index(world, 0, START_MS + (sealed - 1) * WINDOW_MS);
        }
        if (sealed > dropped) { /* another kind of segment for one of the windows */
            int64_t window = dropped + (int64_t)((dice >> 32) % (uint64_t)(sealed - dropped));
            world_index_as(world, 0, START_MS + window * WINDOW_MS, dice >> 17 & 1);
        }
        if (sealed >
            dropped) /* sooner than a worker would: resealed and dropped parts are common */
            change_spans(hammer, dropped, sealed, dice >> 40);
        while (START_MS + (dropped + 1) * WINDOW_MS + TTL_MS < now_ms) {
            struct error error = {0};
            int code = store_shard_drop(world->shards[0], START_MS + dropped * WINDOW_MS, WINDOW_MS,
                                        "ttl", &error);
            ck_assert_msg(code == 0 || code == ERROR_NOT_FOUND, "drop: %s", error.text);
            dropped++;
        }
        usleep(2000);
    }
    return NULL;
}

/* Searches. */

struct searcher_state {
    struct hammer *hammer;
    uint64_t random;
    int64_t newest[IDS]; /* offset of the newest version below `next`; -1: none */
    int64_t next;
};

/* The model at an offset; views of one thread only move forward. */
static void catch_up(struct searcher_state *state, int64_t next)
{
    ck_assert_int_ge(next, state->next);
    for (; state->next < next; state->next++)
        state->newest[id_at(state->hammer, state->next)] = state->next;
}

static double distance_to(const struct hammer *hammer, const float *query, int64_t offset)
{
    float vector[DIM];
    double sum = 0;

    vector_at(hammer, offset, vector);
    for (int i = 0; i < DIM; i++)
        sum += ((double)query[i] - (double)vector[i]) * ((double)query[i] - (double)vector[i]);
    return sqrt(sum);
}

static void check_hits(struct searcher_state *state, const struct query_search *search,
                       const struct query_result *result, int64_t before_ms, int64_t after_ms)
{
    const struct hammer *hammer = state->hammer;
    double worst = result->hit_count ? (double)result->hits[result->hit_count - 1].score : 0;
    size_t certain = 0, possible = 0;

    for (size_t i = 0; i < result->hit_count; i++) {
        const struct query_row *row = &result->hits[i].row;
        uint64_t id = world_hit_id(row);
        int64_t offset = store_row_offset(row->source, row->row);
        ck_assert_uint_lt(id, IDS);
        ck_assert_msg(state->newest[id] == offset, "id %llu: version %lld instead of %lld",
                      (unsigned long long)id, (long long)offset, (long long)state->newest[id]);
        ck_assert(!delete_at(hammer, offset));
        ck_assert_int_gt(time_at(hammer, offset) + TTL_MS, before_ms);
        ck_assert_double_eq_tol((double)result->hits[i].score,
                                distance_to(hammer, search->vector, offset), 1e-4);
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(world_hit_id(&result->hits[j].row), id);
    }
    for (size_t id = 0; id < IDS; id++) {
        int64_t offset = state->newest[id];
        bool found = false;
        if (offset < 0 || delete_at(hammer, offset) ||
            time_at(hammer, offset) + TTL_MS <= before_ms)
            continue;
        possible++;
        if (time_at(hammer, offset) + TTL_MS <= after_ms)
            continue;
        certain++;
        if (!search->exact || (result->hit_count == search->limit &&
                               distance_to(hammer, search->vector, offset) > worst - 1e-4))
            continue;
        for (size_t i = 0; i < result->hit_count; i++)
            found = found || world_hit_id(&result->hits[i].row) == id;
        ck_assert_msg(found, "id %zu (offset %lld) is missing", id, (long long)offset);
    }
    ck_assert_uint_ge(result->hit_count, certain < search->limit ? certain : search->limit);
    ck_assert_uint_le(result->hit_count, possible);
}

/* How many of the true neighbours a search through segments found: those at most as far away as the
 * K-th by brute force. Rows that may have expired meanwhile are not asked for. */
static void count_found(struct searcher_state *state, const struct query_search *search,
                        const struct query_result *result, int64_t after_ms)
{
    struct hammer *hammer = state->hammer;
    double nearest[K];
    size_t count = 0, found = 0;

    for (size_t id = 0; id < IDS; id++) {
        int64_t offset = state->newest[id];
        double distance;
        size_t place;
        if (offset < 0 || delete_at(hammer, offset) || time_at(hammer, offset) + TTL_MS <= after_ms)
            continue;
        distance = distance_to(hammer, search->vector, offset);
        place = count < K ? count++ : K;
        if (place == K && distance >= nearest[K - 1])
            continue;
        place = place == K ? K - 1 : place;
        for (; place > 0 && nearest[place - 1] > distance; place--)
            nearest[place] = nearest[place - 1];
        nearest[place] = distance;
    }
    for (size_t i = 0; i < result->hit_count && count > 0; i++)
        found += (double)result->hits[i].score <= nearest[count - 1] + 1e-4;
    atomic_fetch_add(&hammer->wanted, count);
    atomic_fetch_add(&hammer->found, found < count ? found : count);
}

static void search_once(struct searcher_state *state)
{
    struct hammer *hammer = state->hammer;
    uint64_t dice = test_random(&state->random);
    int64_t written = atomic_load(&hammer->written);
    int64_t before_ms = atomic_load(&hammer->world.clock.now_ms);
    struct query_view *view = world_view(&hammer->world);
    int64_t after_ms = atomic_load(&hammer->world.clock.now_ms);
    const struct query_shard_freshness *fresh;
    struct query_result result;
    struct error error = {0};
    struct arena arena;
    float query[DIM];
    size_t count;
    struct query_search search = {.vector = query,
                                  .limit = K,
                                  .ef = 16,
                                  .exact = dice & 1,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .explain = true,
                                  .arena = &arena};

    fresh = query_view_freshness(view, &count);
    ck_assert_int_ge(fresh[0].next_offset, written > 0 ? written : -1);
    catch_up(state, fresh[0].next_offset > 0 ? fresh[0].next_offset : 0);
    vector_at(hammer, (int64_t)(dice >> 1) % OFFSETS + OFFSETS, query);
    arena_create(&arena, 0);
    ck_assert_msg(query_search_run(view, &search, &result, &error) == 0, "%s", error.text);
    ck_assert(!result.partial);
    check_hits(state, &search, &result, before_ms, after_ms);
    if (!search.exact)
        count_found(state, &search, &result, after_ms);
    for (size_t i = 0; i < result.explain_count; i++) {
        bool graph = strcmp(result.explain[i].source, "hnsw") == 0;
        atomic_fetch_add(&hammer->graphs, graph);
        atomic_fetch_add(&hammer->chunks, graph && result.explain[i].generation == 0);
        atomic_fetch_add(&hammer->lists, strcmp(result.explain[i].source, "ivf_pq") == 0);
        atomic_fetch_add(&hammer->spans, strstr(result.explain[i].source, "_span") != NULL);
    }
    atomic_fetch_add(&hammer->searches, 1);
    arena_destroy(&arena);
    query_view_close(view);
}

static void *search_always(void *context)
{
    struct searcher_state *state = context;

    while (!atomic_load(&state->hammer->stop))
        search_once(state);
    return NULL;
}

START_TEST(searches_stay_right_while_everything_moves)
{
    static struct hammer hammer;
    static struct searcher_state states[SEARCHERS];
    struct world_options options = {.shard_count = 1,
                                    .dim = DIM,
                                    .metric = VECTOR_METRIC_L2,
                                    .window_ms = WINDOW_MS,
                                    .ttl_ms = TTL_MS,
                                    .seed = test_seed()};
    pthread_t writer, maintainer, searchers[SEARCHERS];

    world_open(&hammer.world, &options);
    hammer.seed = options.seed;
    atomic_store(&hammer.world.clock.now_ms, START_MS);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_stream, &hammer), 0);
    ck_assert_int_eq(pthread_create(&maintainer, NULL, maintain, &hammer), 0);
    for (int i = 0; i < SEARCHERS; i++) {
        states[i].hammer = &hammer;
        states[i].random = options.seed + (uint64_t)i + 1;
        for (size_t id = 0; id < IDS; id++)
            states[i].newest[id] = -1;
        ck_assert_int_eq(pthread_create(&searchers[i], NULL, search_always, &states[i]), 0);
    }
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    /* Then maintenance and searches on the full world, as long as it takes to build a segment on a
     * busy machine; ctest's limit is the end of patience. */
    do
        usleep(200000);
    while (atomic_load(&hammer.graphs) == 0 || atomic_load(&hammer.lists) == 0 ||
           atomic_load(&hammer.spans) == 0 || atomic_load(&hammer.searches) <= 20);
    atomic_store(&hammer.stop, true);
    ck_assert_int_eq(pthread_join(maintainer, NULL), 0);
    for (int i = 0; i < SEARCHERS; i++)
        ck_assert_int_eq(pthread_join(searchers[i], NULL), 0);
    printf("%llu searches; walked: %llu graphs (%llu of chunks), %llu lists, %llu windows through "
           "spans; recall %.3f\n",
           (unsigned long long)atomic_load(&hammer.searches),
           (unsigned long long)atomic_load(&hammer.graphs),
           (unsigned long long)atomic_load(&hammer.chunks),
           (unsigned long long)atomic_load(&hammer.lists),
           (unsigned long long)atomic_load(&hammer.spans),
           (double)atomic_load(&hammer.found) / (double)atomic_load(&hammer.wanted));
    ck_assert_uint_gt(atomic_load(&hammer.searches), 20);
    ck_assert_uint_gt(atomic_load(&hammer.found) * 10, atomic_load(&hammer.wanted) * 8);
    world_close(&hammer.world);
}
END_TEST

TEST_TABLE(TEST(searches_stay_right_while_everything_moves))
