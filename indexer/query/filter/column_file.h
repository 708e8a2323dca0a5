/* n.columns: the images of a run's columns in one file beside it, mapped. Little endian.
 *
 *     0    struct column_file_header
 *     64   an image (column_image.h) for each column, each padded with zeros to 64
 *
 * The header carries a checksum of itself and one of all that follows, both with the run's number.
 * The file is written under the name n.columns.tmp, synced and renamed. It is derived from the run
 * and named by no edit: one that is missing, damaged or of another version is made again. */
#ifndef INDEXER_QUERY_FILTER_COLUMN_FILE_H
#define INDEXER_QUERY_FILTER_COLUMN_FILE_H

#include "indexer/query/filter/column_image.h"
#include "indexer/query/filter/column_memory.h"

#define COLUMN_FILE_MAGIC "wdrCOLS\0"

enum { COLUMN_FILE_VERSION = 1, COLUMN_FILE_ALIGNMENT = 64, COLUMN_FILE_MAX = 64 };

struct column_file_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t column_count;
    uint64_t file_number; /* of the run */
    uint64_t size_bytes;  /* of the file */
    uint32_t row_count;
    uint32_t reserved[3];   /* zeros */
    uint64_t data_checksum; /* of everything behind the header */
    uint64_t checksum;      /* of the bytes before */
};

static_assert(sizeof(struct column_file_header) == 64, "column_file_header");
static_assert(offsetof(struct column_file_header, data_checksum) == 48, "data_checksum");

/* A file that is mapped; each column that uses it holds a reference. */
struct column_file {
    _Atomic uint32_t references;
    struct io *io;
    const void *bytes;
    uint64_t size_bytes;
    uint32_t column_count;
    struct column_image columns[COLUMN_FILE_MAX];
};

/** Maps and checks every byte. ERROR_IO: there is none, or it cannot be read; ERROR_CORRUPT;
 * ERROR_UNSUPPORTED: of another version. The file has one reference. */
int column_file_open(struct io *io, const char *path, uint64_t file_number, uint32_t row_count,
                     struct column_file **file, struct error *error);
void column_file_ref(struct column_file *file);
void column_file_unref(struct column_file *file);

/** Writes `images`, at most COLUMN_FILE_MAX, to `temporary`, syncs, and renames it to `path`. */
int column_file_write(struct io *io, const char *temporary, const char *path, uint64_t file_number,
                      uint32_t row_count, const struct buffer *images, size_t count,
                      uint64_t *size_bytes, struct error *error);

#endif
