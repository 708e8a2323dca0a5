/* The peer: RocksDB of the distribution with the sizes that windrow has here, everything else as it
 * comes. A group is followed by what it has made due, as on windrow's side. */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/compaction.h"
#include "bench/measure.h"
#include "bench/store_load.h"

static const struct {
    const char *name;
    int style;
} ways[] = {{"RocksDB FIFO", rocksdb_fifo_compaction},
            {"RocksDB universal", rocksdb_universal_compaction},
            {"RocksDB leveled", rocksdb_level_compaction}};

size_t compaction_rocksdb_count(void)
{
    return sizeof(ways) / sizeof(ways[0]);
}

static void check(char *problem)
{
    if (problem)
        bench_fail("rocksdb", problem);
}

static rocksdb_options_t *make_options(int style)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_fifo_compaction_options_t *fifo = rocksdb_fifo_compaction_options_create();

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_enable_statistics(options);
    rocksdb_options_set_compaction_style(options, style);
    rocksdb_fifo_compaction_options_set_max_table_files_size(fifo, UINT64_C(1) << 40);
    rocksdb_options_set_fifo_compaction_options(options, fifo);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, COMPACTION_MEMTABLE_BYTES);
    rocksdb_options_set_target_file_size_base(options, COMPACTION_FILE_BYTES);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, COMPACTION_LEVEL0_FILES);
    /* As windrow's first sorted level: what one merge of level 0 brings. */
    rocksdb_options_set_max_bytes_for_level_base(options, (uint64_t)COMPACTION_LEVEL0_FILES *
                                                              COMPACTION_FILE_BYTES);
    rocksdb_options_set_max_bytes_for_level_multiplier(options, COMPACTION_SIZE_RATIO);
    rocksdb_options_set_num_levels(options,
                                   style == rocksdb_fifo_compaction ? 1 : COMPACTION_LEVELS);
    rocksdb_options_set_max_open_files(options, -1);
    rocksdb_fifo_compaction_options_destroy(fifo);
    return options;
}

static void write_all(rocksdb_t *db, struct compaction_load *load)
{
    static uint8_t value[BENCH_VALUE_BYTES];
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writebatch_t *group = rocksdb_writebatch_create();
    uint64_t rested_version = 0;
    struct compaction_row row;
    char *problem = NULL;
    int count;

    rocksdb_writeoptions_set_sync(options, 1);
    do {
        rocksdb_writebatch_clear(group);
        for (count = 0; count < BENCH_GROUP && compaction_load_next(load, &row); count++) {
            memcpy(value, row.vector, BENCH_DIM * sizeof(float));
            memcpy(value + BENCH_DIM * sizeof(float), row.payload, BENCH_PAYLOAD_BYTES);
            rocksdb_writebatch_put(group, (const char *)row.key, BENCH_KEY_BYTES,
                                   (const char *)value, sizeof(value));
        }
        rocksdb_write(db, options, group, &problem);
        check(problem);
        bench_rocksdb_rest(db, &rested_version);
    } while (count == BENCH_GROUP);
    rocksdb_writebatch_destroy(group);
    rocksdb_writeoptions_destroy(options);
}

static void finish(rocksdb_t *db)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    uint64_t rested_version = 0;
    char *problem = NULL;

    rocksdb_flush(db, options, &problem);
    check(problem);
    bench_rocksdb_rest(db, &rested_version);
    rocksdb_flushoptions_destroy(options);
}

/* Of lines like "rocksdb.wal.bytes COUNT : 123". */
static double counted(const char *statistics, const char *name)
{
    const char *line = strstr(statistics, name);
    unsigned long long value = 0;

    if (!line || sscanf(line + strlen(name), " COUNT : %llu", &value) != 1)
        bench_fail("rocksdb", "a counter is not there");
    return (double)value;
}

static unsigned deepest_level(rocksdb_t *db)
{
    unsigned deepest = 0;

    for (unsigned level = 0; level < COMPACTION_LEVELS; level++) {
        char name[64];
        char *files;
        (void)snprintf(name, sizeof(name), "rocksdb.num-files-at-level%u", level);
        files = rocksdb_property_value(db, name);
        if (files && strcmp(files, "0") != 0)
            deepest = level;
        rocksdb_free(files);
    }
    return deepest;
}

static void check_rows(rocksdb_t *db, uint64_t distinct)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_iterator_t *rows = rocksdb_create_iterator(db, options);
    uint64_t count = 0;

    for (rocksdb_iter_seek_to_first(rows); rocksdb_iter_valid(rows); rocksdb_iter_next(rows))
        count++;
    if (count != distinct)
        bench_fail("rocksdb", "rows are missing or too many");
    rocksdb_iter_destroy(rows);
    rocksdb_readoptions_destroy(options);
}

void compaction_rocksdb_run(size_t way, const char *folder, struct compaction_load *load,
                            struct compaction_result *result)
{
    rocksdb_options_t *options = make_options(ways[way].style);
    uint64_t before = bench_device_bytes();
    char *problem = NULL;
    rocksdb_t *db = rocksdb_open(options, folder, &problem);
    char *statistics;

    check(problem);
    write_all(db, load);
    finish(db);
    statistics = rocksdb_options_statistics_get_string(options);
    *result = (struct compaction_result){
        .name = ways[way].name,
        .distinct = load->distinct,
        .device_bytes = bench_device_bytes() - before,
        .log_bytes = counted(statistics, "rocksdb.wal.bytes"),
        .flush_bytes = counted(statistics, "rocksdb.flush.write.bytes"),
        .merge_bytes = counted(statistics, "rocksdb.compact.write.bytes"),
        .folder_bytes = bench_folder_bytes(folder),
        .folder_files = bench_folder_files(folder),
        .deepest_level = deepest_level(db)};
    rocksdb_free(statistics);
    check_rows(db, load->distinct);
    rocksdb_close(db);
    rocksdb_options_destroy(options);
}
