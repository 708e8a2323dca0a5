/* The items of an array as embeddings have them: "0.0123456789", with a sign or without, one digit
 * before the point, a comma behind. There is no branch on the sign or on how many digits there are,
 * which no processor can foresee; and commas are found ahead, so that an item does not wait for the
 * end of the one before. The two took most of the time.
 *
 * Sixteen bytes behind the point are looked at together: how many of them are digits, those moved
 * to the right end with zeros before them, and then neighbours joined, two, four and eight at a
 * time (after Lemire, "Number parsing at a gigabyte per second", 2021, and Mula's conversion of
 * sixteen digits). Up to 2^53 the digits and the power of ten are both exact, so that one division
 * rounds correctly (Clinger, 1990); a float64 written in full, three digits longer, takes
 * doc_number_scale. Whatever else an item is, the parser of all numbers reads it, or refuses it.
 *
 * With AVX-512 eight items are read together (doc_json_blocks.c). */
#include "base/doc_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

enum {
    WIDTH = 16,        /* digits taken together */
    FRACTION_MAX = 19, /* what 64 bits hold for certain */
    BLOCK = 64,        /* bytes whose commas are found together */
};

_Static_assert(1 + 3 + 2 * WIDTH <= BLOCK, "an item is looked at when so much is left of the text");

static const uint64_t powers[FRACTION_MAX + 1] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

/* Read from byte n on, it moves n bytes to the right end and makes the others zero. */
static const int8_t to_the_right[2 * WIDTH] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                               -1, -1, -1, -1, -1, 0,  1,  2,  3,  4,  5,
                                               6,  7,  8,  9,  10, 11, 12, 13, 14, 15};

/* The digits at `text`, at most sixteen: their number and, in *value, what they say. */
__attribute__((target("sse4.1"))) static inline size_t take_fraction(const char *text,
                                                                     uint64_t *value)
{
    const __m128i tens = _mm_set1_epi16(0x010a);
    const __m128i hundreds = _mm_set1_epi32(0x00010064);
    const __m128i ten_thousands = _mm_set1_epi32(0x00012710);
    __m128i bytes, numbers;
    size_t count;
    uint64_t eights;

    memcpy(&bytes, text, sizeof(bytes));
    bytes = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    count = (size_t)__builtin_ctz(
        ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(9)), bytes)));
    memcpy(&numbers, to_the_right + count, sizeof(numbers));
    bytes = _mm_shuffle_epi8(bytes, numbers);
    numbers = _mm_madd_epi16(_mm_maddubs_epi16(bytes, tens), hundreds);
    numbers = _mm_madd_epi16(_mm_packus_epi32(numbers, numbers), ten_thousands);
    eights = (uint64_t)_mm_cvtsi128_si64(numbers);
    *value = (eights & UINT32_MAX) * 100000000 + (eights >> 32);
    return count;
}

/* The item at `at`, when it is one that ends at `comma`. */
__attribute__((target("sse4.1"))) static inline bool take_item(const char *at, const char *comma,
                                                               double *out)
{
    uint64_t negative = *at == '-';
    uint64_t whole, fraction, bits;
    size_t count, length;
    double number;

    at += negative;
    whole = (uint64_t)(unsigned char)*at - '0';
    if (whole > 9 || at[1] != '.' || comma - at < 3)
        return false;
    at += 2;
    length = (size_t)(comma - at);
    count = take_fraction(at, &fraction);
    if (count == WIDTH && length > WIDTH) {
        uint64_t rest;
        count += take_fraction(at + WIDTH, &rest);
        if (count > FRACTION_MAX - (whole > 0))
            return false;
        fraction = fraction * powers[count - WIDTH] + rest;
    }
    if (count != length)
        return false;
    fraction += whole * powers[length];
    if (length <= WIDTH && fraction <= UINT64_C(1) << 53) {
        number = (double)(int64_t)fraction / doc_number_powers_of_ten[length];
    } else {
        double scaled;
        if (!doc_number_scale(fraction, -(int64_t)length, &scaled))
            return false;
        number = scaled;
    }
    memcpy(&bits, &number, sizeof(bits));
    bits |= negative << 63;
    memcpy(out, &bits, sizeof(bits));
    return true;
}

/* A bit for each of the bytes of a block. */
__attribute__((target("sse4.1"))) static inline uint64_t find_commas(const char *text)
{
    uint64_t found = 0;

    for (unsigned i = 0; i < BLOCK; i += WIDTH) {
        __m128i bytes;
        memcpy(&bytes, text + i, sizeof(bytes));
        bytes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
        found |= (uint64_t)(unsigned)_mm_movemask_epi8(bytes) << i;
    }
    return found;
}

/* Takes the items that begin ahead of `until`. */
__attribute__((target("sse4.1"))) static void take_items(struct json_parser *parser,
                                                         const char *until)
{
    struct doc_scratch *scratch = &parser->scratch;
    struct doc *item = scratch->items + scratch->count;
    struct doc *end = scratch->items + scratch->capacity;
    const char *at = parser->at;
    const char *block = at; /* behind the one whose commas are known */
    uint64_t commas = 0;

    while (item < end && at < until && parser->end - at >= BLOCK) {
        const char *comma;
        if (commas == 0) {
            if (parser->end - block < BLOCK)
                break;
            commas = find_commas(block);
            block += BLOCK;
            continue;
        }
        comma = block - BLOCK + __builtin_ctzll(commas);
        commas &= commas - 1;
        at += *at == ' ';
        if (!take_item(at, comma, &item->number))
            break;
        item->type = DOC_DOUBLE;
        item->count = 0;
        item->place = (uint32_t)(at - parser->start);
        item++;
        at = comma + 1;
    }
    parser->at = at;
    scratch->count = (size_t)(item - scratch->items);
}

/* Falls back before it scans for commas: other values need no such scan. */
static bool looks_like_item(const struct json_parser *parser)
{
    const char *at = parser->at;

    if (parser->end - at < BLOCK || parser->scratch.count == parser->scratch.capacity)
        return false;
    at += *at == ' ';
    at += *at == '-';
    return json_is_digit(at[0]) && at[1] == '.';
}

enum way { ONE_BY_ONE, ITEMS, BLOCKS };

static enum way way;
static pthread_once_t way_once = PTHREAD_ONCE_INIT;

/* The best that the processor takes; WINDROW_SIMD (indexer/index/kernels.h) may ask for less. */
static void choose_way(void)
{
    const char *wanted = getenv("WINDROW_SIMD");

    way = json_has_float_blocks() ? BLOCKS : __builtin_cpu_supports("sse4.1") ? ITEMS : ONE_BY_ONE;
    if (wanted && strcmp(wanted, "scalar") == 0)
        way = ONE_BY_ONE;
    if (wanted && strcmp(wanted, "avx2") == 0 && way == BLOCKS)
        way = ITEMS;
}

void json_take_floats(struct json_parser *parser)
{
    if (!looks_like_item(parser))
        return;
    (void)pthread_once(&way_once, choose_way);
    if (way == BLOCKS) {
        const char *enough = parser->start + JSON_FLOAT_BYTES;
        if (parser->at < enough)
            take_items(parser, enough);
        if (parser->at >= enough)
            json_take_float_blocks(parser);
    } else if (way == ITEMS) {
        take_items(parser, parser->end);
    }
}

#else

void json_take_floats(struct json_parser *parser)
{
    (void)parser;
}

#endif
