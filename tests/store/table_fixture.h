/* Tables with random rows, kept in memory beside the files for comparison. */
#ifndef TESTS_STORE_TABLE_FIXTURE_H
#define TESTS_STORE_TABLE_FIXTURE_H

#include "base/arena.h"
#include "store/files/table.h"

enum { TABLE_FIXTURE_DIM_MAX = 65536 };

struct table_fixture_options {
    enum table_kind kind;
    enum vector_codec codec;
    uint32_t dim;
    uint32_t row_count; /* about: a run leaves repeated keys out */
    uint32_t key_space; /* distinct ids to draw from; 0: as many as rows, so that some repeat */
    uint64_t file_number;
    uint64_t seed;
    bool small_payloads; /* else some are larger than a block */
};

struct table_fixture {
    struct table_description description;
    struct table_info info;
    struct table_row *rows; /* as numbered in the table */
    uint32_t row_count;
    struct arena arena;
};

/** Draws rows and writes the table, and n.log for a chunk. Fails the test when writing fails. */
void table_fixture_create(struct table_fixture *fixture, struct io *io, const char *directory,
                          const struct table_fixture_options *options);
void table_fixture_destroy(struct table_fixture *fixture);

/** Adds all rows to a writer; the first error ends it. */
int table_fixture_add_rows(const struct table_fixture *fixture, struct table_writer *writer,
                           struct error *error);

/** Opens the table and reads everything. 0: all is as written; ERROR_CORRUPT: damage was detected;
 * any other outcome fails the test. */
int table_fixture_compare(const struct table_fixture *fixture, struct io *io,
                          const char *directory);

#endif
