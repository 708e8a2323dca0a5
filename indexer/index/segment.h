/* segment: the file of a graph; ivf_file.h draws that of the other kind.
 *
 *     0        header (4096 bytes, the last 8 its checksum)
 *     4096     section LOW      dim floats                   (empty for FLOAT)
 *              section ROWS     count u32: the node's row
 *              section CODES    count x stride bytes
 *              section PLACES   where nodes' links begin and end: struct index_link_block (links.h)
 *                               for every 27 nodes
 *              section LINKS    a node's links, each a number of `link_bits` bits, nearest first,
 *                               the lowest bits first; every node's from a whole byte on; 8 zeros
 *              section LEVELS   for each level above 0, lowest first:
 *                               nodes u32[n], below u32[n], links u32[n][m]
 *
 * Sections start on 4096-byte borders, in this order, with zeros between. Little endian. Checksums
 * are checksum_block over a section with (file number, section, its size) as identity: a section
 * of another file or place fails. */
#ifndef INDEXER_INDEX_SEGMENT_H
#define INDEXER_INDEX_SEGMENT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "indexer/index/choice.h"
#include "indexer/index/effort.h"
#include "indexer/index/graph.h"
#include "indexer/index/index.h"

#define INDEX_SEGMENT_MAGIC UINT64_C(0x3147455357444e57) /* "WNDWSEG1" */

enum {
    INDEX_SEGMENT_VERSION = 2,
    INDEX_SEGMENT_VERSION_HALF = 3, /* of files with half codes, which version 2 does not know */
    INDEX_SEGMENT_VERSION_OUTLIERS = 4, /* of files with outliers, whatever their codes */
    INDEX_SEGMENT_PAGE = 4096
};

enum index_section {
    INDEX_SECTION_LOW,
    INDEX_SECTION_ROWS,
    INDEX_SECTION_CODES,
    INDEX_SECTION_PLACES,
    INDEX_SECTION_LINKS,
    INDEX_SECTION_LEVELS,
    INDEX_SECTION_COUNT
};

struct index_section_entry {
    uint64_t offset; /* of the section in the file */
    uint64_t size_bytes;
    uint64_t checksum;
};

struct index_segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t metric; /* enum vector_metric */
    uint64_t file_number;
    uint64_t file_bytes; /* of the whole file */
    uint32_t code_kind;  /* enum index_code_kind */
    uint32_t dim;        /* of the vectors */
    uint32_t extra_dim;  /* dimensions that codes have beyond that */
    uint32_t stride;     /* bytes of a row of codes */
    uint32_t count;      /* nodes = rows of the run */
    uint32_t m;
    uint32_t ef_construct;
    float step;
    float longest_square;
    uint32_t level_count;
    uint32_t level_items[INDEX_LEVELS_MAX];
    uint64_t link_bytes; /* of section LINKS */
    uint32_t link_bits;  /* follows from `count` */
    uint32_t reserved;   /* 0 */
    struct index_section_entry sections[INDEX_SECTION_COUNT];
    struct index_effort effort;
    struct index_choice choice;
    uint8_t levels[INDEX_HALF_LEVELS]; /* HALF: codes, ascending; else 0 */
    struct index_outliers outliers;    /* version 4; else 0 */
    uint8_t zeros[INDEX_SEGMENT_PAGE - 440 - INDEX_HALF_LEVELS - sizeof(struct index_outliers)];
    uint64_t checksum; /* of the bytes before, identity (file number, INDEX_SECTION_COUNT, 0) */
};

static_assert(offsetof(struct index_segment_header, file_number) == 16, "layout");
static_assert(offsetof(struct index_segment_header, level_items) == 72, "layout");
static_assert(offsetof(struct index_segment_header, sections) == 120, "layout");
static_assert(offsetof(struct index_segment_header, effort) == 264, "layout");
static_assert(offsetof(struct index_segment_header, choice) == 400, "layout");
static_assert(offsetof(struct index_segment_header, levels) == 432, "layout");
static_assert(offsetof(struct index_segment_header, outliers) == 448, "layout");
static_assert(offsetof(struct index_segment_header, checksum) == 4088, "layout");
static_assert(sizeof(struct index_segment_header) == INDEX_SEGMENT_PAGE, "layout");

/** ERROR_CORRUPT: "index segment: `what`". */
int index_segment_corrupt(struct error *error, const char *what);

/** Lays sections of `sizes` bytes behind the header, each on a border. Returns the file's size. */
uint64_t index_sections_place(struct index_section_entry *sections, const uint64_t *sizes,
                              uint32_t section_count);

/** ERROR_CORRUPT unless what was `read` lies where it was `computed` to lie. */
int index_sections_agree(const struct index_section_entry *computed,
                         const struct index_section_entry *read, uint32_t section_count,
                         struct error *error);

/** Reads every section of the file at `bytes`; ERROR_CORRUPT with the place of one whose checksum
 * is another. The sections must agree with the file's size. */
int index_sections_check(const uint8_t *bytes, const struct index_section_entry *sections,
                         uint32_t section_count, uint64_t file_number, struct error *error);

/** Fills sizes and offsets from counts and the size of the links; ERROR_CORRUPT when a count is out
 * of bounds. */
int index_segment_layout(struct index_segment_header *header, struct error *error);
uint64_t index_section_checksum(const void *bytes, uint64_t size_bytes, uint64_t file_number,
                                uint32_t section);
uint64_t index_header_checksum(const struct index_segment_header *header);

/** Fills in the checksums of `content`, whose sizes `sections` has. */
void index_sections_sum(struct index_section_entry *sections, const void *const *content,
                        uint32_t section_count, uint64_t file_number);

/** Creates the file and syncs it (not its folder): sections first, the header, a page, last. */
int index_sections_write(struct io *io, const char *path, const void *header,
                         const struct index_section_entry *sections, const void *const *content,
                         uint32_t section_count, uint64_t file_bytes, struct error *error);

struct index_ivf;

struct index_segment {
    struct index_graph graph; /* arrays inside the mapping; unused when there are lists */
    struct index_ivf *ivf; /* lists: its arrays inside the mapping, itself on the heap, or NULL */
    struct index_effort effort;
    struct index_effort_logs effort_logs; /* of `effort`, for searches */
    struct index_choice choice;
    struct index_outliers outliers;
    struct io *io;
    const uint8_t *bytes; /* the mapping */
    uint64_t size_bytes;
};

/** Times searches of the segment, whose effort is known, with rows of the sample; fills in cost,
 * score_ns and recall. */
int index_choice_measure(const struct index_segment *segment,
                         const struct index_effort_sample *sample, struct index_choice *choice,
                         struct error *error);

enum vector_metric index_segment_metric(const struct index_segment *segment);
uint32_t index_segment_dim(const struct index_segment *segment);

/** ERROR_CORRUPT unless a header has outliers just where its version says so. */
int index_segment_check_outliers(const struct index_outliers *outliers, bool expected,
                                 uint32_t row_count, struct error *error);

/** index_group_search of the two kinds: graphs; lists of one codebook. */
int index_graph_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error);
int index_ivf_search(const struct index_group_member *members, uint32_t member_count,
                     const struct index_search *search, struct index_hit *hits,
                     uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                     struct error *error);

/** Whether all queries look at the same rows of each member: others do not read a list together. */
bool index_queries_share_rows(const struct index_group_query *queries, uint32_t query_count,
                              uint32_t member_count);
/** index_group_searches through lists of one codebook, for queries that share rows. */
void index_ivf_searches(struct index_group_query *queries, uint32_t query_count,
                        uint32_t member_count);

/* A search of one graph alone that goes on, further and further, until it has met certain rows. */
struct index_walk {
    const float *query;
    const struct index_hit *hits; /* the rows */
    uint32_t count;
    uint32_t hidden_row; /* as if it were not in the graph; INDEX_NO_ROW: none */
    uint32_t width;      /* the widest search */
    bool one_of_many;    /* entered as one of many graphs: candidates are kept beyond its depth */
    uint32_t *met;       /* for each: the ef of a search that returns it; 2 * width: not met */
};
void index_graph_walk(const struct index_segment *segment, const struct index_walk *walk);

#endif
