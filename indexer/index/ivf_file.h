/* ivf_file: the segment file of an IVF-PQ index.
 *
 *     0        header (4096 bytes, the last 8 its checksum)
 *     4096     section LOW        dim floats                     (INT7 centroids only, else empty)
 *              section CENTROIDS  (lists + 1) x dim floats, the last row is the origin
 *              section CODES      lists x stride bytes: codes of the centroids
 *              section CODEWORDS  parts x part_dim x 16 floats
 *              section LISTS      first block u32[lists + 1], rows u32[lists]
 *              section ROWS       blocks x 32 u32: row numbers, UINT32_MAX behind a list's last
 *              section BIASES     blocks x 32 u16                (L2 only, else empty)
 *              section BLOCKS     blocks x parts x 16 bytes, as pq.h draws them
 *
 * Borders, byte order and checksums as in segment.h; magic, version, metric, file number and size
 * have the same places.
 *
 * A codebook alone, on its way to a builder on another machine, is the beginning of such a file, up
 * to section LISTS; its header counts one row in one block. */
#ifndef INDEXER_INDEX_IVF_FILE_H
#define INDEXER_INDEX_IVF_FILE_H

#include "indexer/index/ivf.h"
#include "indexer/index/segment.h"

#define INDEX_IVF_MAGIC UINT64_C(0x3146564957444e57) /* "WNDWIVF1" */

enum {
    INDEX_IVF_VERSION = 1,
    INDEX_IVF_VERSION_OUTLIERS = 2 /* of files with outliers */
};

enum index_ivf_section {
    INDEX_IVF_LOW,
    INDEX_IVF_CENTROIDS,
    INDEX_IVF_CODES,
    INDEX_IVF_CODEWORDS,
    INDEX_IVF_LISTS,
    INDEX_IVF_ROWS,
    INDEX_IVF_BIASES,
    INDEX_IVF_BLOCKS,
    INDEX_IVF_SECTION_COUNT
};

struct index_ivf_header {
    uint64_t magic;
    uint32_t version;
    uint32_t metric; /* enum vector_metric */
    uint64_t file_number;
    uint64_t file_bytes; /* of the whole file */
    uint32_t code_kind;  /* of the centroids: enum index_code_kind */
    uint32_t dim;        /* of the vectors */
    uint32_t stride;     /* bytes of a centroid's codes */
    uint32_t part_dim;   /* dimensions of a part */
    uint32_t part_count;
    uint32_t count; /* rows of the run */
    uint32_t list_count;
    uint32_t block_count;
    uint32_t probes_10; /* lists that hold nearly all of the nearest 10 rows */
    uint32_t probes_100;
    uint32_t fixed_probes; /* lists that every search reads; 0: as many as it needs */
    float step;
    float bias_low;
    float bias_step;
    float codebook_error;
    float error;
    uint64_t codebook;
    struct index_section_entry sections[INDEX_IVF_SECTION_COUNT];
    struct index_effort effort;
    struct index_choice choice;
    struct index_outliers outliers; /* version 2; else 0 */
    uint8_t zeros[INDEX_SEGMENT_PAGE - 472 - sizeof(struct index_outliers)];
    uint64_t checksum; /* of the bytes before, identity (file number, section count, 0) */
};

static_assert(offsetof(struct index_ivf_header, file_number) ==
                  offsetof(struct index_segment_header, file_number),
              "common");
static_assert(offsetof(struct index_ivf_header, dim) == 36, "layout");
static_assert(offsetof(struct index_ivf_header, codebook) == 96, "layout");
static_assert(offsetof(struct index_ivf_header, sections) == 104, "layout");
static_assert(offsetof(struct index_ivf_header, effort) == 296, "layout");
static_assert(offsetof(struct index_ivf_header, choice) == 432, "layout");
static_assert(offsetof(struct index_ivf_header, outliers) == 464, "layout");
static_assert(offsetof(struct index_ivf_header, checksum) == 4088, "layout");
static_assert(sizeof(struct index_ivf_header) == INDEX_SEGMENT_PAGE, "layout");

/** Fills sizes and offsets from counts; ERROR_CORRUPT when a count is out of bounds. */
int index_ivf_layout(struct index_ivf_header *header, struct error *error);
uint64_t index_ivf_header_checksum(const struct index_ivf_header *header);

/** Checks the mapped file and places `ivf` in it. Nothing in the file is believed. */
int index_ivf_open(const void *bytes, uint64_t size_bytes, uint64_t file_number,
                   struct index_ivf *ivf, struct error *error);

/** Asks for lists to be in memory, before the first of them is scanned; their numbers are the lower halves of
 * `lists`. */
void index_ivf_fetch_lists(const struct index_segment *segment, const uint64_t *lists,
                           uint32_t count);

#endif
