/* A real store with one shard, sealed windows of random vectors, and the registry that leases it.
 */
#ifndef TESTS_INDEXER_WORKER_WORKER_FIXTURE_H
#define TESTS_INDEXER_WORKER_WORKER_FIXTURE_H

#include <stdatomic.h>

#include "base/io.h"
#include "indexer/worker/worker.h"
#include "store/describe.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 3600000 };

/* The operating system's files, but segment files cannot be opened while `fail` is set. */
struct failing_io {
    struct io io; /* first */
    struct io_operations operations;
    _Atomic bool fail;
    _Atomic unsigned failures;
};

struct worker_fixture {
    struct config *config;
    struct metrics *metrics;
    struct failing_io io;
    struct store *store;
    struct store_registry *registry;
    struct store_shard *shard;  /* that the calls below are about */
    struct store_shard *other;  /* NULL unless there are two */
    struct worker_queue *queue; /* of fixture_start, as the pool is */
    struct worker_pool *pool;
    int64_t next_offset;
    uint64_t random;
    char data_dir[300];
};

/** `index` is the YAML of the collection's index section, dim and metric included, as in
 * "dim: 16, index: {flat_below: 0}". */
void fixture_open(struct worker_fixture *fixture, const char *name, const char *shard,
                  const char *collection_yaml);
void fixture_close(struct worker_fixture *fixture);
/** fixture_open of shard "0", on the heap, with a queue in this process and a pool that builds with so many
 * threads. */
struct worker_fixture *fixture_start(const char *name, const char *collection_yaml,
                                     uint32_t thread_count);
void fixture_stop(struct worker_fixture *fixture);
/** What the pool does until nothing lacks a segment. */
void fixture_reconcile(struct worker_fixture *fixture);
/** Opens a shard of the collection, as the first or the other one. */
struct store_shard *fixture_open_shard(struct worker_fixture *fixture, const char *name);
/** Which of two shards the calls below are about; nothing may be under way. */
void fixture_switch(struct worker_fixture *fixture);
/** Closes and opens the shard (of one), as a restart does. */
void fixture_reopen(struct worker_fixture *fixture);

/** Appends `rows` random vectors to window `number` and seals it. */
void fixture_seal(struct worker_fixture *fixture, int64_t number, uint32_t rows);

/** Appends `rows` random vectors to window `number` and flushes them: one more chunk. */
void fixture_flush(struct worker_fixture *fixture, int64_t number, uint32_t rows);
/** The unsealed files of window `number`, oldest first, without their keys; returns how many. */
size_t fixture_chunks(struct worker_fixture *fixture, int64_t number,
                      struct store_file_info *chunks, size_t room);
/** Waits until chunk `index` of the window has a segment. */
struct store_file_info fixture_wait_chunk(struct worker_fixture *fixture, int64_t number,
                                          size_t index);

struct worker_pool *fixture_pool(struct worker_fixture *fixture, struct worker_queue *queue,
                                 uint32_t thread_count);
/** Submits window `number` as a seal does. */
void fixture_submit(struct worker_fixture *fixture, struct worker_pool *pool, int64_t number);

/** The window as the store describes it; asserts that it exists. */
struct store_window_info fixture_window(struct worker_fixture *fixture, int64_t number);
/** Waits until the window has a segment. */
struct store_window_info fixture_wait_indexed(struct worker_fixture *fixture, int64_t number);
/** Epoch of the window's segment; 0: none. */
uint64_t fixture_codebook(struct worker_fixture *fixture, int64_t number);
/** Waits until nothing is waiting or under way. */
void fixture_wait_drained(struct worker_queue *queue);
/** Files in the shard's folder whose name ends so. */
int fixture_count_files(struct worker_fixture *fixture, const char *ending);
/** Until there are so many: files are unlinked in the background. */
void fixture_wait_files(struct worker_fixture *fixture, const char *ending, int wanted);
double fixture_counter(struct worker_fixture *fixture, const char *name);
/** The gauge `name` of the collection. */
double fixture_gauge(struct worker_fixture *fixture, const char *name);
/** Until it is so much: some are counted behind what they count. */
void fixture_wait_counter(struct worker_fixture *fixture, const char *name, double wanted);

#endif
