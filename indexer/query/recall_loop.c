/* The recall of answers, held by a closed loop.
 *
 * What a segment promises was measured when it was built: alone, with its own rows as queries. An answer comes from
 * all segments of all shards, for queries that may be unlike any row. So the promise errs both ways: rows
 * that are hidden from a graph promise too little (.97 to .99 where .95 was asked), lists too much.
 *
 * The loop. The latest searches over everything are kept, their vectors and limits. In the background each
 * is answered exactly, and by default with each of a ladder of efforts, all at one instant. The least effort
 * whose mean recall is the asked one, and half a hundredth more, is what searches take from then on. So one pass
 * finds it, whatever it was before: nothing can swing. A pass is made when enough searches were kept, again when a
 * quarter of the indexed rows came or went, when index.recall changed, and when all that is kept is new.
 *
 * Chance. 256 searches with a spread of .1 tell the mean to .006. The standard error counts as part of the
 * margin where it is more than half a hundredth, and fewer than 128 searches never lower an effort. A vector is kept
 * once: a search that is asked again and again tells nothing of the others.
 *
 * Cost. 256 exact searches a pass, 23 s of a core over ten million vectors of 128 numbers, in rounds that take a
 * twentieth of a processor, for all collections together. No comparison begins while a search waits for a thread. A
 * search takes a lock for reading; one in 16 copies its vector, after the first 512. Memory: the vectors that are kept,
 * and a copy of them while a pass lasts.
 *
 * Nothing is stored: after a restart segments serve as they were built until enough searches came again.
 *
 * Locking. `known_lock` guards the list of collections. A search reads it while it looks into an entry; a round, which takes
 * long, is one of the entry's users instead. An entry's `lock` guards the searches that are kept and the
 * result. The one thread that holds `rounds` makes a round: passes and the rest belong to it. */
#include "indexer/query/recall_loop.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "base/memory.h"
#include "store/registry.h"

enum {
    KEPT = QUERY_RECALL_SEARCHES,
    KEPT_AT_FIRST = 2 * KEPT, /* searches, all of which are looked at */
    KEPT_ONE_IN = 16,         /* of the later ones */
    SEARCHES_MIN = 32,        /* that tell anything */
    SEARCHES_TO_LOWER = 128,  /* that are trusted to take less than was measured */
    LIMIT_MAX = 1000,         /* of searches that are kept */
    RUNGS = 11,               /* of the ladder */
    RUNG_OF_ONE = 4,
    ROUND_MS = 200,
    REST = 19,      /* times as long as a round took */
    RENEWED_S = 600 /* a pass for the sake of new searches, at most so often */
};
static const double margin = .005; /* above what is asked */
static const double rows_drift = 1.25;
static const double ties = 1e-6; /* of a score: rows that tie with the last one are as right */

struct kept {
    float *vector;
    uint64_t hash; /* of the vector */
    uint32_t limit;
};

/* Searches that are compared, and what came out so far. */
struct pass {
    float *vectors; /* dim each */
    uint32_t limits[KEPT];
    uint32_t count, next;
    uint32_t compared;                 /* the others had no exact answer */
    double sum[RUNGS], squares[RUNGS]; /* of the shares that each rung found */
    double asked;
    uint64_t newest; /* how many searches had been kept */
};

struct held {
    struct held *next;
    uint32_t users; /* the list and rounds, under `known_lock` */
    const struct store_registry *registry;
    char *collection;
    uint32_t dim;
    enum vector_metric metric;
    _Atomic double effort;
    _Atomic uint64_t seen; /* searches that could have been kept */

    pthread_mutex_t lock;
    struct kept kept[KEPT];
    uint64_t kept_count; /* since the beginning: the newest is at (kept_count - 1) % KEPT */
    struct query_recall result;

    struct pass *pass; /* NULL: none is under way */
    /* Of the pass that ended last. */
    uint64_t pass_rows; /* indexed then; 0: none has ended */
    double pass_asked;
    uint32_t pass_searches;
    uint64_t pass_newest;
    int64_t pass_ended_ns;
};

static pthread_rwlock_t known_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct held *known;
static pthread_mutex_t rounds = PTHREAD_MUTEX_INITIALIZER;
static int64_t rest_until_ns; /* no round begins before; guarded by `rounds` */
static _Atomic uint64_t kept_bytes;

/* Effort of a rung: from a quarter to eight times, by the root of two. */
static double rung_effort(uint32_t rung)
{
    return exp2(((double)rung - RUNG_OF_ONE) / 2);
}

/* Entries. */

/* Under `known_lock`. */
static struct held *find(const struct store_registry *registry, const char *collection)
{
    for (struct held *held = known; held; held = held->next)
        if (held->registry == registry && strcmp(held->collection, collection) == 0)
            return held;
    return NULL;
}

static float *make_vectors(uint32_t count, uint32_t dim)
{
    atomic_fetch_add(&kept_bytes, (uint64_t)count * dim * sizeof(float));
    return memory_new((size_t)count * dim, sizeof(float));
}

static void free_vectors(float *vectors, uint32_t count, uint32_t dim)
{
    if (vectors)
        atomic_fetch_sub(&kept_bytes, (uint64_t)count * dim * sizeof(float));
    free(vectors);
}

static void end_pass(struct held *held)
{
    if (held->pass)
        free_vectors(held->pass->vectors, held->pass->count, held->dim);
    free(held->pass);
    held->pass = NULL;
}

static void delete_held(struct held *held)
{
    for (uint32_t i = 0; i < KEPT; i++)
        free_vectors(held->kept[i].vector, 1, held->dim);
    end_pass(held);
    pthread_mutex_destroy(&held->lock);
    free(held->collection);
    free(held);
}

static bool fits(const struct held *held, const struct config_collection *collection)
{
    return held->dim == collection->dim && held->metric == collection->metric;
}

static bool names(const struct held *held, const struct store_registry *registry,
                  const char *collection)
{
    return held->registry == registry && (!collection || strcmp(held->collection, collection) == 0);
}

/* Under `known_lock`, for writing. */
static void drop(struct held *held)
{
    if (--held->users == 0)
        delete_held(held);
}

void query_recall_forget(const struct store_registry *registry, const char *collection)
{
    struct held **at = &known;

    pthread_rwlock_wrlock(&known_lock);
    while (*at) {
        struct held *held = *at;
        if (names(held, registry, collection)) {
            *at = held->next;
            drop(held);
        } else {
            at = &held->next;
        }
    }
    pthread_rwlock_unlock(&known_lock);
}

static struct held *make(const struct store_registry *registry,
                         const struct config_collection *collection)
{
    struct held *held = memory_new(1, sizeof(*held));

    held->users = 1;
    held->registry = registry;
    held->collection = memory_checked(strdup(collection->name));
    held->dim = collection->dim;
    held->metric = collection->metric;
    atomic_store(&held->effort, 1);
    held->result.effort = 1;
    pthread_mutex_init(&held->lock, NULL);
    held->next = known;
    return held;
}

/* Makes it known when it was not. release() it. */
static struct held *acquire(const struct store_registry *registry,
                            const struct config_collection *collection)
{
    struct held *held;

    pthread_rwlock_wrlock(&known_lock);
    held = find(registry, collection->name);
    if (!held)
        held = known = make(registry, collection);
    held->users++;
    pthread_rwlock_unlock(&known_lock);
    return held;
}

static void release(struct held *held)
{
    pthread_rwlock_wrlock(&known_lock);
    drop(held);
    pthread_rwlock_unlock(&known_lock);
}

uint64_t query_recall_bytes(void)
{
    return atomic_load(&kept_bytes);
}

bool query_recall_get(const struct store_registry *registry, const char *collection,
                      struct query_recall *recall)
{
    struct held *held;

    pthread_rwlock_rdlock(&known_lock);
    held = find(registry, collection);
    if (held) {
        pthread_mutex_lock(&held->lock);
        *recall = held->result;
        pthread_mutex_unlock(&held->lock);
    }
    pthread_rwlock_unlock(&known_lock);
    return held && recall->searches > 0;
}

/* Searches that are kept. */

/* Over everything, by the collection's recall: the others ask for another answer, or of few rows. */
static bool is_usual(const struct searcher *searcher)
{
    const struct query_search *search = searcher->search;

    return searcher->query && searcher->scorer.kind == QUERY_NEAREST && !searcher->filter &&
           !searcher->bounded && !searcher->exact && searcher->ef == 0 && search->recall == 0 &&
           search->half_life_ms == 0 && !search->has_threshold && !search->exclude_key &&
           (uint64_t)search->limit + search->offset <= LIMIT_MAX;
}

/* One that is asked again and again tells nothing of the others. */
static void keep(struct held *held, const struct searcher *searcher)
{
    struct kept *kept = &held->kept[held->kept_count % KEPT];
    size_t bytes = held->dim * sizeof(float);
    uint64_t hash = checksum_block(searcher->query, bytes, 0, 0, 0);

    for (uint64_t i = 0; i < KEPT && i < held->kept_count; i++)
        if (held->kept[i].hash == hash)
            return;
    if (!kept->vector)
        kept->vector = make_vectors(1, held->dim);
    memcpy(kept->vector, searcher->query, bytes);
    kept->hash = hash;
    kept->limit = searcher->search->limit + searcher->search->offset;
    held->kept_count++;
}

/* What was found for usual searches is taken by the others only where it is more than was measured. */
double recall_loop_begin(const struct searcher *searcher)
{
    const struct query_view *view = searcher->view;
    bool usual = is_usual(searcher);
    double effort = 1;
    struct held *held;

    if (searcher->search->effort > 0)
        return searcher->search->effort;
    pthread_rwlock_rdlock(&known_lock);
    held = find(view->registry, view->collection->name);
    if (held && fits(held, view->collection)) {
        uint64_t seen = usual ? atomic_fetch_add_explicit(&held->seen, 1, memory_order_relaxed) : 1;
        /* Who would have to wait for the lock has another search beside it. */
        if (usual && (seen < KEPT_AT_FIRST || seen % KEPT_ONE_IN == 0) &&
            pthread_mutex_trylock(&held->lock) == 0) {
            keep(held, searcher);
            pthread_mutex_unlock(&held->lock);
        }
        effort = atomic_load_explicit(&held->effort, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&known_lock);
    return usual ? effort : fmax(effort, 1);
}

/* A pass. */

static uint64_t indexed_rows(const struct query_view *view)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < view->shard_count; i++)
        for (size_t j = 0; j < view->shards[i].source_count; j++)
            rows += view->shards[i].sources[j].segment ? view->shards[i].sources[j].row_count : 0;
    return rows;
}

/* With the entry's lock. */
static bool is_due(const struct held *held, uint64_t rows, double asked, int64_t now_ns)
{
    double before = (double)held->pass_rows, after = (double)rows;

    if (held->kept_count < SEARCHES_MIN || rows == 0)
        return false;
    if (held->pass_rows == 0 || held->pass_asked != asked || after > before * rows_drift ||
        before > after * rows_drift)
        return true;
    /* The first pass may have had few of them. */
    return held->kept_count >= KEPT &&
           (held->pass_searches < KEPT ||
            (held->kept_count - held->pass_newest >= KEPT &&
             now_ns - held->pass_ended_ns >= (int64_t)RENEWED_S * 1000000000));
}

/* With the entry's lock. */
static struct pass *begin(const struct held *held, double asked)
{
    struct pass *pass = memory_new(1, sizeof(*pass));

    pass->count = held->kept_count < KEPT ? (uint32_t)held->kept_count : KEPT;
    pass->vectors = make_vectors(pass->count, held->dim);
    pass->asked = asked;
    pass->newest = held->kept_count;
    for (uint32_t i = 0; i < pass->count; i++) {
        memcpy(pass->vectors + (size_t)i * held->dim, held->kept[i].vector,
               held->dim * sizeof(float));
        pass->limits[i] = held->kept[i].limit;
    }
    return pass;
}

/* An id that several shards hold comes back from each: both answers of a comparison have it. */
static int ask(struct query_view *view, const struct pass *pass, const struct held *held,
               double effort, struct arena *arena, struct query_result *result, struct error *error)
{
    const struct query_search search = {.vector = pass->vectors + (size_t)pass->next * held->dim,
                                        .limit = pass->limits[pass->next],
                                        .recall = pass->asked,
                                        .effort = effort,
                                        .exact = effort == 0,
                                        .from_ms = INT64_MIN,
                                        .to_ms = INT64_MAX,
                                        .duplicates = true,
                                        .arena = arena};

    return query_search_run(view, &search, result, error);
}

/* The share of the exact answer that another one has. */
static double share_of(const struct query_result *exact, const struct query_result *result)
{
    double last = exact->hits[exact->hit_count - 1].order;
    size_t right = 0;

    last -= ties * fabs(last);
    for (size_t i = 0; i < result->hit_count; i++)
        right += result->hits[i].order >= last;
    return right < exact->hit_count ? (double)right / (double)exact->hit_count : 1;
}

static int compare_next(struct query_view *view, const struct held *held, struct pass *pass,
                        struct error *error)
{
    struct query_result exact, result;
    struct arena arena;
    double shares[RUNGS] = {0};
    bool whole;
    int code;

    arena_create(&arena, 0);
    code = ask(view, pass, held, 0, &arena, &exact, error);
    whole = code == 0 && exact.hit_count > 0 && !exact.partial;
    for (uint32_t rung = 0; rung < RUNGS && code == 0 && whole; rung++) {
        code = ask(view, pass, held, rung_effort(rung), &arena, &result, error);
        whole = code == 0 && !result.partial;
        shares[rung] = whole ? share_of(&exact, &result) : 0;
    }
    for (uint32_t rung = 0; rung < RUNGS && whole; rung++) {
        pass->sum[rung] += shares[rung];
        pass->squares[rung] += shares[rung] * shares[rung];
    }
    pass->compared += whole;
    pass->next += code != ERROR_CANCELLED; /* another round asks again */
    arena_destroy(&arena);
    return code;
}

/* What comes out of a pass. */

static double mean_of(const struct pass *pass, uint32_t rung)
{
    return pass->sum[rung] / pass->compared;
}

/* What a rung has to reach to be enough. */
static double bar_of(const struct pass *pass, uint32_t rung)
{
    double mean = mean_of(pass, rung);
    double variance = fmax(pass->squares[rung] / pass->compared - mean * mean, 0);
    double above = fmax(margin, sqrt(variance / pass->compared));

    return pass->asked + fmin(above, (1 - pass->asked) / 2);
}

/* Where no effort is enough, the least one that is about as good as the best. */
static uint32_t best_rung(const struct pass *pass)
{
    uint32_t best = RUNG_OF_ONE, rung = RUNG_OF_ONE;

    for (uint32_t i = RUNG_OF_ONE; i < RUNGS; i++)
        best = mean_of(pass, i) > mean_of(pass, best) ? i : best;
    while (mean_of(pass, rung) < mean_of(pass, best) - margin / 2)
        rung++;
    return rung;
}

/* The least effort with which this and each greater one is enough, between two rungs by proportion. */
static void choose(const struct pass *pass, struct query_recall *result)
{
    uint32_t least = pass->compared < SEARCHES_TO_LOWER ? RUNG_OF_ONE : 0;
    uint32_t rung = RUNGS;
    double below, above, share;

    while (rung > least && mean_of(pass, rung - 1) >= bar_of(pass, rung - 1))
        rung--;
    result->asked = pass->asked;
    result->searches = pass->compared;
    if (rung == RUNGS || rung == least) {
        rung = rung == RUNGS ? best_rung(pass) : least;
        result->effort = rung_effort(rung);
        result->measured = mean_of(pass, rung);
        return;
    }
    below = mean_of(pass, rung - 1);
    above = mean_of(pass, rung);
    share = above > below ? (bar_of(pass, rung) - below) / (above - below) : 1;
    share = fmin(fmax(share, 0), 1);
    result->effort = rung_effort(rung - 1) * exp2(share / 2);
    result->measured = below + share * (above - below);
}

static void finish(struct held *held, uint64_t rows, int64_t now_ns)
{
    struct pass *pass = held->pass;
    struct query_recall result = {.effort = atomic_load(&held->effort)};

    if (pass->compared >= SEARCHES_MIN) {
        double before = result.effort;
        choose(pass, &result);
        atomic_store(&held->effort, result.effort);
        if (result.measured < result.asked)
            log_warning("query",
                        "%s: answers have a recall of %.3f, index.recall asks for %.3f: going "
                        "further than %.1f times does not help. Raise index.hnsw.ef_construct, or "
                        "use index.kind hnsw in place of lists",
                        held->collection, result.measured, result.asked, result.effort);
        else if (fabs(log2(result.effort / before)) > .1)
            log_info("query",
                     "%s: searches take %.2f times the measured effort, took %.2f: recall %.3f",
                     held->collection, result.effort, before, result.measured);
        pthread_mutex_lock(&held->lock);
        held->result = result;
        pthread_mutex_unlock(&held->lock);
    }
    held->pass_rows = rows > 0 ? rows : 1;
    held->pass_asked = pass->asked;
    held->pass_searches = pass->count;
    held->pass_newest = pass->newest;
    held->pass_ended_ns = now_ns;
    end_pass(held);
}

/* A search waits for a thread: those of all protocols run in the pool "http". */
static bool is_overloaded(void)
{
    struct thread_pool_usage pools[THREAD_POOLS_MAX];
    uint32_t count = thread_pool_usage_list(pools);
    bool waits = false;

    for (uint32_t i = 0; i < count; i++)
        waits |= strcmp(pools[i].name, "http") == 0 && pools[i].queued > 0;
    return waits;
}

/* As long as a round may take. */
static int make_round(struct query_view *view, struct held *held, struct error *error)
{
    double asked = view->collection->recall;
    uint64_t rows = indexed_rows(view);
    int64_t began_ns = io_monotonic_ns(view->io), now_ns = began_ns;
    bool compares;
    int code = 0;

    pthread_mutex_lock(&held->lock);
    if (held->pass && held->pass->asked != asked)
        end_pass(held);
    if (!held->pass && is_due(held, rows, asked, now_ns))
        held->pass = begin(held, asked);
    pthread_mutex_unlock(&held->lock);
    compares = held->pass != NULL;
    while (code == 0 && held->pass && now_ns - began_ns < (int64_t)ROUND_MS * 1000000 &&
           !is_overloaded()) {
        code = query_view_check(view, error);
        if (code == 0)
            code = compare_next(view, held, held->pass, error);
        now_ns = io_monotonic_ns(view->io);
        if (held->pass->next == held->pass->count)
            finish(held, rows, now_ns);
    }
    if (compares) /* a look at a collection alone keeps no other waiting */
        rest_until_ns = now_ns + (now_ns - began_ns) * REST;
    return code;
}

static int hold(const struct query_view_options *options, struct held *held, bool *more,
                struct error *error)
{
    struct query_view *view;
    int code = 0;

    if (io_monotonic_ns(options->io) >= rest_until_ns && !is_overloaded()) {
        code = query_view_open(options, &view, error);
        if (code != 0)
            return code;
        code = make_round(view, held, error);
        query_view_close(view);
    }
    *more = held->pass != NULL;
    return code;
}

/* With an ef of its own a search does not ask for a recall, and without segments it has all of it. */
static bool can_be_held(const struct config_collection *collection)
{
    return !collection->removed && collection->hnsw_ef == 0 &&
           collection->index_kind != CONFIG_INDEX_FLAT;
}

void query_recall_begin(const struct store_registry *registry,
                        const struct config_collection *collection)
{
    if (can_be_held(collection))
        release(acquire(registry, collection));
}

int query_recall_hold(const struct query_view_options *options, bool *more, struct error *error)
{
    const struct config_collection *collection = options->collection;
    struct held *held;
    int code = 0;

    assert(!options->peers && !options->pool);
    *more = false;
    if (!can_be_held(collection)) {
        query_recall_forget(options->registry, collection->name);
        return 0;
    }
    held = acquire(options->registry, collection);
    if (!fits(held, collection)) { /* made anew with other vectors */
        query_recall_forget(options->registry, collection->name);
    } else if (pthread_mutex_trylock(&rounds) == 0) {
        code = hold(options, held, more, error);
        pthread_mutex_unlock(&rounds);
    }
    release(held);
    return code;
}
