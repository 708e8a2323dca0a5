/* Where things lie in an image, and whether bytes are one. */
#include "indexer/query/filter/column_image.h"

#include <string.h>
#ifdef __SSE2__ /* every x86-64 has it */
#include <emmintrin.h>

#include "base/bytes.h"
#endif

uint64_t column_image_bytes(const struct column_head *head)
{
    uint64_t fixed = sizeof(*head) + bytes_align(head->path_bytes, 8);

    if (head->code_bytes == 0)
        return head->row_count || head->value_count || head->value_bytes || head->number_count ||
                       head->string_count
                   ? UINT64_MAX
                   : fixed;
    if ((head->code_bytes != 1 && head->code_bytes != 2 && head->code_bytes != 4) ||
        (uint64_t)head->number_count + head->string_count > head->value_count ||
        head->value_count > head->row_count || head->value_bytes > UINT64_MAX / 4)
        return UINT64_MAX;
    return fixed + (uint64_t)head->number_count * sizeof(double) +
           (uint64_t)head->value_count * sizeof(uint64_t) +
           bytes_align(((uint64_t)head->value_count + 1) * sizeof(uint32_t), 8) +
           bytes_align((uint64_t)head->row_count * sizeof(uint32_t), 8) +
           bytes_align((uint64_t)head->row_count * head->code_bytes, 8) +
           bytes_align(head->value_bytes, 8);
}

void column_image_view(const void *bytes, struct column_image *image)
{
    const struct column_head *head = bytes;
    const uint8_t *at = (const uint8_t *)bytes + sizeof(*head);

    *image = (struct column_image){.head = head, .path = (const char *)at};
    if (head->code_bytes == 0)
        return;
    at += bytes_align(head->path_bytes, 8);
    image->numbers = (const double *)at;
    at += (size_t)head->number_count * sizeof(double);
    image->ends = (const uint64_t *)at;
    at += (size_t)head->value_count * sizeof(uint64_t);
    image->starts = (const uint32_t *)at;
    at += bytes_align(((uint64_t)head->value_count + 1) * sizeof(uint32_t), 8);
    image->rows = (const uint32_t *)at;
    at += bytes_align((uint64_t)head->row_count * sizeof(uint32_t), 8);
    image->codes = at;
    at += bytes_align((uint64_t)head->row_count * head->code_bytes, 8);
    image->values = at;
}

int column_image_values(const struct column_image *image, uint32_t code, struct arena *arena,
                        struct doc *values, struct error *error)
{
    struct filter_slice bytes = column_image_bytes_of(image, code);
    uint32_t place = code - image->head->number_count;
    struct doc *string;

    if (code < image->head->number_count || place >= image->head->string_count)
        return doc_parse_msgpack(arena, (const uint8_t *)bytes.bytes, bytes.size_bytes, NULL,
                                 values, error);
    string = doc_items(arena, 1);
    *string = (struct doc){
        .type = DOC_STRING, .count = (uint32_t)bytes.size_bytes, .string = bytes.bytes};
    *values = (struct doc){.type = DOC_ARRAY, .count = 1, .items = string};
    return 0;
}

/* Rows of a span of codes. */

#ifdef __SSE2__
/* 16 rows from `row` on, one bit each. Codes less `first` are compared as unsigned numbers. */
static uint32_t mark_16(const struct column_image *image, uint32_t row, uint32_t first,
                        uint32_t most)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i parts[4];

    if (image->head->code_bytes == 1) {
        __m128i codes = _mm_loadu_si128((const void *)((const uint8_t *)image->codes + row));
        codes = _mm_subs_epu8(_mm_sub_epi8(codes, _mm_set1_epi8((char)first)),
                              _mm_set1_epi8((char)most));
        return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(codes, zero));
    }
    if (image->head->code_bytes == 2) {
        for (int i = 0; i < 2; i++) {
            __m128i codes =
                _mm_loadu_si128((const void *)((const uint16_t *)image->codes + row + 8 * i));
            codes = _mm_subs_epu16(_mm_sub_epi16(codes, _mm_set1_epi16((short)first)),
                                   _mm_set1_epi16((short)most));
            parts[i] = _mm_cmpeq_epi16(codes, zero);
        }
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(parts[0], parts[1]));
    }
    for (int i = 0; i < 4; i++) {
        const __m128i sign = _mm_set1_epi32(INT32_MIN);
        __m128i codes =
            _mm_loadu_si128((const void *)((const uint32_t *)image->codes + row + 4 * i));
        codes = _mm_xor_si128(_mm_sub_epi32(codes, _mm_set1_epi32((int)first)), sign);
        parts[i] = _mm_cmpgt_epi32(codes, _mm_xor_si128(_mm_set1_epi32((int)most), sign));
    }
    parts[0] =
        _mm_packs_epi16(_mm_packs_epi32(parts[0], parts[1]), _mm_packs_epi32(parts[2], parts[3]));
    return ~(uint32_t)_mm_movemask_epi8(parts[0]) & UINT16_MAX;
}
#endif

void column_image_mark(const struct column_image *image, uint32_t first, uint32_t last,
                       uint64_t *bits)
{
    uint32_t rows = image->head->row_count, most = last - first - 1, row = 0;

    assert(first < last && last <= image->head->value_count);
    memset(bits, 0, ((size_t)rows + 63) / 64 * sizeof(*bits));
#ifdef __SSE2__
    for (; rows - row >= 16; row += 16)
        bits[row / 64] |= (uint64_t)mark_16(image, row, first, most) << row % 64;
#endif
    for (; row < rows; row++)
        if (column_image_code(image, row) - first <= most)
            bits[row / 64] |= UINT64_C(1) << row % 64;
}

/* Bytes from outside. */

static int corrupt(const struct column_image *image, struct error *error, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "column %.*s: %s", (int)image->head->path_bytes,
                     image->path, what);
}

static int check_order(const struct column_image *image, struct error *error)
{
    const struct column_head *head = image->head;

    for (uint32_t i = 0; i < head->number_count; i++)
        if (image->numbers[i] != image->numbers[i] ||
            (i > 0 && image->numbers[i] < image->numbers[i - 1]))
            return corrupt(image, error, "numbers do not ascend");
    for (uint32_t i = 1; i < head->string_count; i++) {
        struct filter_slice before = column_image_bytes_of(image, head->number_count + i - 1);
        struct filter_slice at = column_image_bytes_of(image, head->number_count + i);
        if (filter_slice_compare(&before, &at) >= 0)
            return corrupt(image, error, "strings do not ascend");
    }
    return 0;
}

static int check_values(const struct column_image *image, struct error *error)
{
    const struct column_head *head = image->head;
    struct arena arena;
    uint64_t before = 0;
    int code = 0;

    for (uint32_t i = 0; i < head->value_count; before = image->ends[i], i++)
        if (image->ends[i] < before || image->ends[i] > head->value_bytes ||
            image->ends[i] - before > UINT32_MAX)
            return corrupt(image, error, "values do not follow each other");
    if (before != head->value_bytes)
        return corrupt(image, error, "bytes that belong to no value");
    arena_create(&arena, 0);
    for (uint32_t i = 0; i < head->value_count && code == 0; i++) {
        struct doc values;
        double number;
        if (column_image_values(image, i, &arena, &values, error) != 0 || values.type != DOC_ARRAY)
            code = corrupt(image, error, "a value that is no list");
        else if (i < head->number_count &&
                 (values.count != 1 || !doc_as_double(values.items, &number) ||
                  number != image->numbers[i]))
            code = corrupt(image, error, "a number that is not its value");
        arena_reset(&arena);
    }
    arena_destroy(&arena);
    return code;
}

/* The spans of codes list each row once, and as its code says. */
static int check_rows(const struct column_image *image, struct error *error)
{
    const struct column_head *head = image->head;

    if (image->starts[0] != 0 || image->starts[head->value_count] != head->row_count)
        return corrupt(image, error, "rows without a code");
    for (uint32_t code = 0; code < head->value_count; code++) {
        uint32_t end = image->starts[code + 1];
        if (end < image->starts[code] || end > head->row_count)
            return corrupt(image, error, "starts do not ascend");
        for (uint32_t i = image->starts[code]; i < end; i++)
            if (image->rows[i] >= head->row_count ||
                (i > image->starts[code] && image->rows[i] <= image->rows[i - 1]) ||
                column_image_code(image, image->rows[i]) != code)
                return corrupt(image, error, "rows that do not have their code");
    }
    return 0;
}

int column_image_check(const void *bytes, uint64_t size_bytes, uint32_t row_count,
                       struct column_image *image, struct error *error)
{
    const struct column_head *head = bytes;
    int code;

    if (size_bytes < sizeof(*head) || head->size_bytes > size_bytes ||
        head->path_bytes > head->size_bytes || column_image_bytes(head) != head->size_bytes)
        return error_set(error, ERROR_CORRUPT, "a column whose sizes do not add up");
    column_image_view(bytes, image);
    if (!column_image_is_fit(image))
        return 0;
    if (head->row_count != row_count)
        return corrupt(image, error, "not of as many rows as the table");
    code = check_values(image, error);
    if (code == 0)
        code = check_order(image, error);
    return code == 0 ? check_rows(image, error) : code;
}
