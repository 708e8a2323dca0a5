/* column image: the values at one payload path of a table as bytes, made in memory or mapped from
 * n.columns (column_file.h), and used where they lie.
 *
 * A row has one code; a code stands for what the path leads to in a row, as a list of values. Codes
 * ascend with the values: those with one number that a double holds exactly, those with one string,
 * then everything else (lists, null, nothing). Little endian, each array padded with zeros to 8:
 *
 *   struct column_head                              path            path_bytes
 *   numbers   f64 x number_count                    ends            u64 x value_count
 *   starts    u32 x (value_count + 1)               rows            u32 x row_count
 *   codes     code_bytes x row_count                values          value_bytes
 *
 * The values of code c end at ends[c]: the bytes of the string, or a MessagePack array. The rows of
 * code c are rows[starts[c]] to rows[starts[c + 1] - 1], ascending. A path that is not fit for a
 * column has code_bytes 0, no value and no row: it is remembered that it is not. */
#ifndef INDEXER_QUERY_FILTER_COLUMN_IMAGE_H
#define INDEXER_QUERY_FILTER_COLUMN_IMAGE_H

#include <assert.h>

#include "indexer/query/filter/filter.h"

struct column_head {
    uint64_t size_bytes; /* of the image, this head included; a multiple of 8 */
    uint64_t value_bytes;
    uint32_t row_count; /* 0 when it is not fit */
    uint32_t value_count;
    uint32_t number_count; /* of the first codes */
    uint32_t string_count; /* of those that follow */
    uint32_t code_bytes;   /* 1, 2 or 4; 0: not fit */
    uint32_t path_bytes;
};

static_assert(sizeof(struct column_head) == 40, "column_head");

struct column_image {
    const struct column_head *head;
    const char *path;
    const double *numbers;
    const uint64_t *ends;
    const uint32_t *starts, *rows;
    const void *codes;
    const uint8_t *values;
};

/** Bytes of an image with these counts; UINT64_MAX when they do not belong together. */
uint64_t column_image_bytes(const struct column_head *head);
/** Where the arrays lie behind the head, which is believed; `bytes` are aligned to 8. */
void column_image_view(const void *bytes, struct column_image *image);
/** Whether bytes from outside are an image of at most `size_bytes` over `row_count` rows: nothing in
 * it leads out of it. ERROR_CORRUPT. */
int column_image_check(const void *bytes, uint64_t size_bytes, uint32_t row_count,
                       struct column_image *image, struct error *error);

static inline bool column_image_is_fit(const struct column_image *image)
{
    return image->head->code_bytes != 0;
}

static inline uint32_t column_image_code(const struct column_image *image, uint32_t row)
{
    return image->head->code_bytes == 1   ? ((const uint8_t *)image->codes)[row]
           : image->head->code_bytes == 2 ? ((const uint16_t *)image->codes)[row]
                                          : ((const uint32_t *)image->codes)[row];
}

/** Sets the bits of the rows whose code is in [first, last), first < last, in one pass over all codes,
 * 16 at a time. `bits`: a bit a row, in whole words; overwritten. */
void column_image_mark(const struct column_image *image, uint32_t first, uint32_t last,
                       uint64_t *bits);

/** The bytes of a code's values. */
static inline struct filter_slice column_image_bytes_of(const struct column_image *image,
                                                        uint32_t code)
{
    uint64_t first = code > 0 ? image->ends[code - 1] : 0;

    return (struct filter_slice){(const char *)image->values + first,
                                 (size_t)(image->ends[code] - first)};
}

/** The values of a code as a list in the arena; ERROR_CORRUPT. */
int column_image_values(const struct column_image *image, uint32_t code, struct arena *arena,
                        struct doc *values, struct error *error);

/* An image while it is made, row after row. */
struct column_making;
struct column_making *column_making_new(uint32_t row_count, const struct filter_slot *slot);
/** The next row's payload. */
void column_making_add(struct column_making *making, const struct doc *payload);
/** All rows were added: appends the image to an empty buffer. */
void column_making_finish(struct column_making *making, struct buffer *image);
void column_making_delete(struct column_making *making);

#endif
