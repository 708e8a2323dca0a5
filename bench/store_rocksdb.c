/* The peer: RocksDB of the distribution through its C interface, set as ANCHORS of this project and
 * its own guide for time-ordered data say: FIFO, large memtables, bloom filter, no compression
 * (float32 vectors do not shrink under its block compressors). */
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

#include "bench/store.h"

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

static double look_up(rocksdb_t *db, uint64_t records, uint64_t lookups)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    double before = bench_now();
    uint64_t random = 88172645463325252u;

    for (uint64_t i = 0; i < lookups; i++) {
        uint8_t key[BENCH_KEY_BYTES];
        char *problem = NULL;
        rocksdb_pinnableslice_t *value;
        size_t length;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bench_key(random % records, key);
        value = rocksdb_get_pinned(db, options, (const char *)key, sizeof(key), &problem);
        check(problem);
        if (!value || memcmp(rocksdb_pinnableslice_value(value, &length),
                             bench_vector(random % records), sizeof(float)) != 0)
            bench_fail("rocksdb", "a key was not found");
        rocksdb_pinnableslice_destroy(value);
    }
    rocksdb_readoptions_destroy(options);
    return (double)lookups / (bench_now() - before);
}

void bench_rocksdb(const char *folder, uint64_t records, uint32_t batch, uint64_t lookups,
                   struct bench_result *result, double *lookup_rate)
{
    rocksdb_options_t *options = make_options();
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_writebatch_t *group = rocksdb_writebatch_create();
    char *problem = NULL;
    uint64_t device = bench_device_bytes();
    double user = (double)records * BENCH_RECORD_BYTES;
    double before;
    static uint8_t value[BENCH_VALUE_BYTES];
    rocksdb_t *db = rocksdb_open(options, folder, &problem);

    check(problem);
    rocksdb_writeoptions_set_sync(write, 1);
    before = bench_now();
    for (uint64_t i = 0; i < records; i += batch) {
        rocksdb_writebatch_clear(group);
        for (uint64_t j = i; j < i + batch && j < records; j++) {
            uint8_t key[BENCH_KEY_BYTES];
            bench_key(j, key);
            memcpy(value, bench_vector(j), BENCH_DIM * sizeof(float));
            rocksdb_writebatch_put(group, (const char *)key, sizeof(key), (const char *)value,
                                   sizeof(value));
        }
        rocksdb_write(db, write, group, &problem);
        check(problem);
    }
    result->seconds = bench_now() - before;
    result->megabytes = user / 1e6;
    rocksdb_flush(db, flush, &problem);
    check(problem);
    result->device_ratio = (double)(bench_device_bytes() - device) / user;
    result->space_ratio = (double)bench_folder_bytes(folder) / user;
    *lookup_rate = lookups ? look_up(db, records, lookups) : 0;
    rocksdb_close(db);
    rocksdb_writebatch_destroy(group);
    rocksdb_writeoptions_destroy(write);
    rocksdb_flushoptions_destroy(flush);
    rocksdb_options_destroy(options);
}
