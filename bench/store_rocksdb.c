/* The peer: RocksDB of the distribution through its C interface, set as its own guide for
 * time-ordered data says: FIFO, large memtables, bloom filter, no compression (float32 vectors do
 * not shrink under its block compressors). */
#include "bench/store_load.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "bench/measure.h"

struct bench_rocksdb {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_flushoptions_t *flush;
    rocksdb_writebatch_t *group;
    uint64_t next;
    uint64_t rested_version;
};

static rocksdb_options_t *make_options(void)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_fifo_compaction_options_t *fifo = rocksdb_fifo_compaction_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compaction_style(options, rocksdb_fifo_compaction);
    rocksdb_fifo_compaction_options_set_max_table_files_size(fifo, UINT64_C(1) << 40);
    rocksdb_options_set_fifo_compaction_options(options, fifo);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, 64 << 20);
    rocksdb_options_set_max_write_buffer_number(options, 4);
    rocksdb_options_set_max_open_files(options, -1);
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_fifo_compaction_options_destroy(fifo);
    return options;
}

static void check(char *problem)
{
    if (problem)
        bench_fail("rocksdb", problem);
}

struct bench_rocksdb *bench_rocksdb_open(const char *folder)
{
    struct bench_rocksdb *run = memory_new(1, sizeof(*run));
    char *problem = NULL;

    run->options = make_options();
    run->write = rocksdb_writeoptions_create();
    run->read = rocksdb_readoptions_create();
    run->flush = rocksdb_flushoptions_create();
    run->group = rocksdb_writebatch_create();
    rocksdb_writeoptions_set_sync(run->write, 1);
    run->db = rocksdb_open(run->options, folder, &problem);
    check(problem);
    return run;
}

static uint64_t property(rocksdb_t *db, const char *name)
{
    uint64_t value = 0;

    if (rocksdb_property_int(db, name, &value) != 0)
        bench_fail("rocksdb", name);
    return value;
}

/* Universal compaction calls itself pending also when it then finds nothing worth a merge: after
 * 50 ms in which none began, it rests until its files change. */
void bench_rocksdb_rest(struct rocksdb_t *db, uint64_t *rested_version)
{
    const struct timespec pause = {.tv_nsec = 200000};
    double idle_since = bench_now();

    for (;; nanosleep(&pause, NULL)) {
        uint64_t version = property(db, "rocksdb.current-super-version-number");
        if (property(db, "rocksdb.mem-table-flush-pending") > 0 ||
            property(db, "rocksdb.num-running-flushes") > 0 ||
            property(db, "rocksdb.num-running-compactions") > 0) {
            idle_since = bench_now();
        } else if (property(db, "rocksdb.compaction-pending") == 0 || version == *rested_version ||
                   bench_now() - idle_since > 0.05) {
            *rested_version = version;
            return;
        }
    }
}

void bench_rocksdb_write(struct bench_rocksdb *run, uint64_t records, uint32_t batch,
                         struct bench_side *side)
{
    static uint8_t value[BENCH_VALUE_BYTES];
    uint64_t device = bench_device_bytes();
    double before = bench_now();
    uint64_t end = run->next + records;
    char *problem = NULL;

    while (run->next < end) {
        rocksdb_writebatch_clear(run->group);
        for (uint32_t i = 0; i < batch && run->next < end; i++, run->next++) {
            uint8_t key[BENCH_KEY_BYTES];
            bench_key(run->next, key);
            memcpy(value, bench_vector(run->next), BENCH_DIM * sizeof(float));
            rocksdb_writebatch_put(run->group, (const char *)key, sizeof(key), (const char *)value,
                                   sizeof(value));
        }
        rocksdb_write(run->db, run->write, run->group, &problem);
        check(problem);
    }
    side->write_seconds += bench_now() - before;
    bench_rocksdb_rest(run->db, &run->rested_version);
    side->wall_seconds += bench_now() - before;
    side->device_bytes += bench_device_bytes() - device;
    side->records += records;
}

void bench_rocksdb_look_up(struct bench_rocksdb *run, uint64_t lookups, uint64_t *random,
                           struct bench_side *side)
{
    double before = bench_now();

    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t number = bench_random(random) % run->next;
        uint8_t key[BENCH_KEY_BYTES];
        char *problem = NULL;
        rocksdb_pinnableslice_t *value;
        size_t length;
        bench_key(number, key);
        value = rocksdb_get_pinned(run->db, run->read, (const char *)key, sizeof(key), &problem);
        check(problem);
        if (!value || memcmp(rocksdb_pinnableslice_value(value, &length), bench_vector(number),
                             sizeof(float)) != 0)
            bench_fail("rocksdb", "a key was not found");
        rocksdb_pinnableslice_destroy(value);
    }
    side->lookup_seconds += bench_now() - before;
    side->lookups += lookups;
}

void bench_rocksdb_finish(struct bench_rocksdb *run, struct bench_side *side)
{
    uint64_t device = bench_device_bytes();
    double before = bench_now();
    char *problem = NULL;

    rocksdb_flush(run->db, run->flush, &problem);
    check(problem);
    side->wall_seconds += bench_now() - before;
    side->device_bytes += bench_device_bytes() - device;
}

void bench_rocksdb_close(struct bench_rocksdb *run)
{
    rocksdb_close(run->db);
    rocksdb_writebatch_destroy(run->group);
    rocksdb_writeoptions_destroy(run->write);
    rocksdb_readoptions_destroy(run->read);
    rocksdb_flushoptions_destroy(run->flush);
    rocksdb_options_destroy(run->options);
    free(run);
}
