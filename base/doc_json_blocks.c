/* Short decimals of an array, sixty-four bytes of text and eight numbers at a time, for processors
 * with AVX-512 (VBMI2). An item is "0.0123456789": a minus or none, one digit, a point, at most
 * fourteen digits, and the comma behind; one space may be ahead.
 *
 * First the text: each byte's kind is a bit in a word of its kind, and what may follow what is said
 * in words, not bytes (after Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019);
 * where points, commas, minuses and the digits ahead of points lie becomes lists. Then the numbers:
 * the sixteen bytes that end at the comma have the fraction's digits at their right end, those
 * ahead become zeros, and neighbours are joined, two, four and eight at a time (doc_json_floats.c
 * has it for one number). The digits, with the one ahead of the point, stay below 2^53, so that one
 * division by an exact power of ten rounds correctly (Clinger, 1990).
 *
 * Of a record of 768 numbers the parser's part went from 4.5 to 1.3 us: docs/benchmarks.md. */
#include "base/doc_json_floats.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi,bmi2"

enum {
    WIDTH = 16,        /* bytes of an item that are looked at, its end */
    FRACTION_MAX = 14, /* ten times as much, and it is still below 2^53 */
    BLOCK = 64,
    BLOCK_ITEMS = BLOCK / 4, /* "0.1," is the shortest */
    CHUNK = 16 * BLOCK,      /* text whose items are found before their numbers are read */
    GROUP = 8                /* numbers read together */
};

_Static_assert(sizeof(struct doc) == 24 && offsetof(struct doc, type) == 0 &&
                   offsetof(struct doc, count) == 4 && offsetof(struct doc, place) == 8 &&
                   offsetof(struct doc, number) == 16,
               "documents are written as three words");

/* Items of a chunk, as far as they are well formed. Offsets are from the chunk's first byte. */
struct found {
    uint16_t points[CHUNK / 4 + BLOCK_ITEMS];
    uint16_t commas[CHUNK / 4 + BLOCK_ITEMS];
    uint8_t wholes[CHUNK / 4 + BLOCK_ITEMS];  /* the digit ahead of the point, as text */
    uint8_t minuses[CHUNK / 4 + BLOCK_ITEMS]; /* 255 or 0 */
    size_t count;
};

/* Kinds of bytes, a bit for each byte of a block. */
struct kinds {
    uint64_t comma, space, minus, whole, point, fraction;
};

/* What the byte behind each byte of a kind is: the last one of the block before comes in. */
static inline uint64_t behind(uint64_t kind, uint64_t before)
{
    return kind << 1 | before >> (BLOCK - 1);
}

/* The kinds of a block's bytes. Returns those bytes that may not stand behind what is ahead of
 * them; from the first such byte on the kinds mean nothing. */
__attribute__((target(TARGET))) static inline uint64_t find_kinds(__m512i bytes,
                                                                  const struct kinds *before,
                                                                  struct kinds *kinds)
{
    uint64_t digits =
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8('0')), _mm512_set1_epi8(9));
    uint64_t behind_comma, behind_space, behind_whole, allowed;

    kinds->comma = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(','));
    kinds->space = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));
    kinds->minus = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('-'));
    kinds->point = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('.'));
    behind_comma = behind(kinds->comma, before->comma);
    behind_space = behind(kinds->space, before->space);
    kinds->whole = digits & (behind_comma | behind_space | behind(kinds->minus, before->minus));
    kinds->fraction = digits & ~kinds->whole;
    behind_whole = behind(kinds->whole, before->whole);
    allowed = (kinds->space & behind_comma) | (kinds->minus & (behind_comma | behind_space)) |
              kinds->whole | (kinds->point & behind_whole) | (kinds->fraction & ~behind_whole) |
              (kinds->comma & behind(kinds->fraction, before->fraction));
    return ~allowed;
}

/* Appends where the bits of `kind` are. */
__attribute__((target(TARGET))) static inline void list_places(uint16_t *list, uint64_t kind,
                                                               size_t base)
{
    static const uint8_t numbers[BLOCK] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    __m512i places = _mm512_maskz_compress_epi8(kind, _mm512_loadu_si512(numbers));
    __m256i words = _mm256_cvtepu8_epi16(_mm512_castsi512_si128(places));

    _mm256_storeu_si256((void *)list, _mm256_add_epi16(words, _mm256_set1_epi16((short)base)));
}

/* Appends those of `bytes` whose bits are set. */
__attribute__((target(TARGET))) static inline void list_bytes(uint8_t *list, uint64_t kind,
                                                              __m512i bytes)
{
    _mm_storeu_si128((void *)list, _mm512_castsi512_si128(_mm512_maskz_compress_epi8(kind, bytes)));
}

/* The bytes of a block; zeros, which no item has, behind the end of the text. */
__attribute__((target(TARGET))) static inline __m512i load_block(const char *text, const char *end)
{
    size_t left = (size_t)(end - text);

    return left >= BLOCK ? _mm512_loadu_si512(text)
                         : _mm512_maskz_loadu_epi8((UINT64_C(1) << left) - 1, text);
}

/* Finds the items in a chunk of text; the first begins there, or behind one space. False: behind
 * the last one found is something else than an item. */
__attribute__((target(TARGET))) static bool find_items(const char *text, const char *end,
                                                       struct found *found)
{
    struct kinds kinds, before = {.comma = UINT64_C(1) << (BLOCK - 1)};
    size_t points = 0, wholes = 0, commas = 0;
    uint64_t wrong = 0;

    for (size_t at = 0; at < CHUNK && wrong == 0; at += BLOCK) {
        __m512i bytes = load_block(text + at, end);
        uint64_t right, minus_points;
        wrong = find_kinds(bytes, &before, &kinds);
        right = _blsmsk_u64(wrong) & ~wrong; /* the bytes ahead of the first wrong one */
        minus_points = kinds.minus << 2 | before.minus >> (BLOCK - 2);
        kinds.point &= right;
        kinds.whole &= right;
        kinds.comma &= right;
        list_places(found->points + points, kinds.point, at);
        list_bytes(found->minuses + points, kinds.point, _mm512_movm_epi8(minus_points));
        list_bytes(found->wholes + wholes, kinds.whole, bytes);
        list_places(found->commas + commas, kinds.comma, at);
        points += (size_t)__builtin_popcountll(kinds.point);
        wholes += (size_t)__builtin_popcountll(kinds.whole);
        commas += (size_t)__builtin_popcountll(kinds.comma);
        before = kinds;
    }
    /* A last group may be read that is not full: its places must lie in the text. */
    list_places(found->points + points, 0, 0);
    list_places(found->commas + commas, 0, 0);
    found->count = commas;
    return wrong == 0;
}

/* The sixteen bytes ahead of every other of seven commas. */
__attribute__((target(TARGET))) static inline __m512i load_ends(const char *text,
                                                                const uint16_t *commas)
{
    const char *ends = text - WIDTH;
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(ends + commas[0])));

    all = _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + commas[2])), 1);
    all = _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + commas[4])), 2);
    return _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + commas[6])), 3);
}

/* Joins the last `counts` digits of each sixteen bytes to four numbers below 10000; `counts` has
 * the number of digits at each of the sixteen bytes. */
__attribute__((target(TARGET))) static inline __m512i join_fours(__m512i text, __m512i counts)
{
    const __m512i from_end = _mm512_broadcast_i32x4(
        _mm_setr_epi8(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1));
    __mmask64 kept = _mm512_cmpge_epu8_mask(counts, from_end);
    __m512i digits = _mm512_maskz_sub_epi8(kept, text, _mm512_set1_epi8('0'));

    return _mm512_madd_epi16(_mm512_maddubs_epi16(digits, _mm512_set1_epi16(0x010a)),
                             _mm512_set1_epi32(0x00010064));
}

/* The fractions of eight items as whole numbers; counts: of their digits. */
__attribute__((target(TARGET))) static inline __m512i read_fractions(const char *text,
                                                                     const uint16_t *commas,
                                                                     __m128i counts)
{
    /* Word w of `counts` belongs to item w: of even items to the quarters of one register, of odd
     * ones to those of another. */
    const __m512i even =
        _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0c0c0c0c0c0c0c0c, 0x0808080808080808,
                         0x0808080808080808, 0x0404040404040404, 0x0404040404040404, 0, 0);
    const __m512i odd = _mm512_add_epi8(even, _mm512_set1_epi8(2));
    __m512i all = _mm512_broadcast_i32x4(counts);
    __m512i fours_even = join_fours(load_ends(text, commas), _mm512_shuffle_epi8(all, even));
    __m512i fours_odd = join_fours(load_ends(text, commas + 1), _mm512_shuffle_epi8(all, odd));
    __m512i eights = _mm512_madd_epi16(_mm512_packus_epi32(fours_even, fours_odd),
                                       _mm512_set1_epi32(0x00012710));

    return _mm512_add_epi64(_mm512_mul_epu32(eights, _mm512_set1_epi64(100000000)),
                            _mm512_srli_epi64(eights, 32));
}

/* Three words a document, eight documents. */
__attribute__((target(TARGET))) static inline void write_items(struct doc *items, __m512i places,
                                                               __m512i numbers)
{
    const __m512i type = _mm512_set1_epi64(DOC_DOUBLE);
    const __m512i first = _mm512_set_epi64(2, 0, 9, 1, 0, 8, 0, 0);
    const __m512i second = _mm512_set_epi64(0, 12, 4, 0, 11, 3, 0, 10);
    const __m512i third = _mm512_set_epi64(15, 7, 0, 14, 6, 0, 13, 5);
    char *to = (char *)items;

    _mm512_storeu_si512(
        to, _mm512_mask_mov_epi64(_mm512_permutex2var_epi64(places, first, numbers), 0x49, type));
    _mm512_storeu_si512(
        to + 64,
        _mm512_mask_mov_epi64(_mm512_permutex2var_epi64(places, second, numbers), 0x92, type));
    _mm512_storeu_si512(
        to + 128,
        _mm512_mask_mov_epi64(_mm512_permutex2var_epi64(places, third, numbers), 0x24, type));
}

/* Reads eight items of `found`, from `first` on; returns how many of them are not too long, up to
 * the first that is. */
__attribute__((target(TARGET))) static inline size_t read_group(const char *text, uint32_t place,
                                                                const struct found *found,
                                                                size_t first, struct doc *items)
{
    static const double powers[16] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    __m128i points = _mm_loadu_si128((const void *)(found->points + first));
    __m128i commas = _mm_loadu_si128((const void *)(found->commas + first));
    __m128i counts = _mm_sub_epi16(_mm_sub_epi16(commas, points), _mm_set1_epi16(1));
    __m512i minuses = _mm512_cvtepi8_epi64(_mm_loadl_epi64((const void *)(found->minuses + first)));
    __m512i wholes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)(found->wholes + first)));
    __m512i places = _mm512_add_epi64(_mm512_cvtepu16_epi64(points), minuses);
    __m512d power = _mm512_permutex2var_pd(_mm512_loadu_pd(powers), _mm512_cvtepu16_epi64(counts),
                                           _mm512_loadu_pd(powers + 8));
    __m512d whole = _mm512_cvtepi64_pd(_mm512_sub_epi64(wholes, _mm512_set1_epi64('0')));
    __m512d number = _mm512_cvtepi64_pd(read_fractions(text, found->commas + first, counts));

    number = _mm512_div_pd(_mm512_fmadd_pd(whole, power, number), power);
    write_items(items, _mm512_add_epi64(places, _mm512_set1_epi64((int64_t)place - 1)),
                _mm512_or_si512(_mm512_castpd_si512(number),
                                _mm512_and_si512(minuses, _mm512_set1_epi64(INT64_MIN))));
    return (size_t)__builtin_ctz(_mm_cmpgt_epu16_mask(counts, _mm_set1_epi16(FRACTION_MAX)) |
                                 1U << GROUP);
}

bool json_take_float_blocks(struct json_parser *parser)
{
    struct doc_scratch *scratch = &parser->scratch;
    struct found found;
    bool go_on;

    do {
        const char *text = parser->at;
        uint32_t place = (uint32_t)(text - parser->start);
        size_t taken = 0;
        go_on = find_items(text, parser->end, &found);
        while (taken < found.count) {
            size_t left = found.count - taken, right;
            if (scratch->capacity - scratch->count < GROUP)
                return false;
            right = read_group(text, place, &found, taken, scratch->items + scratch->count);
            right = right < left ? right : left;
            scratch->count += right;
            taken += right;
            if (right > 0)
                parser->at = text + found.commas[taken - 1] + 1;
            if (right < GROUP && taken < found.count)
                return true;
        }
        go_on = go_on && found.count > 0;
    } while (go_on);
    return false;
}

bool json_has_float_blocks(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("bmi");
}

#endif
