/* Decimals of an array, sixty-four bytes of text and eight numbers at a time, for processors with
 * AVX-512 (VBMI2). An item is "0.0123456789": a minus or none, one digit, a point, digits, and the
 * comma behind; one space may be ahead.
 *
 * First the text: each byte's kind is a bit in a word of its kind, and what may follow what is said
 * in words, not bytes (after Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019);
 * where points, commas, minuses and the digits ahead of points lie becomes lists. Then the numbers:
 * the sixteen bytes that end at the comma have the fraction's digits at their right end, those
 * ahead become zeros, and neighbours are joined, two, four and eight at a time (doc_json_floats.c
 * has it for one number). With fourteen digits and the one ahead of the point it stays below 2^53,
 * and one division by an exact power of ten rounds correctly (Clinger, 1990). Up to nineteen are
 * scaled as doc_number_scale does it (Lemire, "Number parsing at a gigabyte per second", 2021).
 *
 * bench/notes/ingest.md has what it gave. */
#include "base/doc_internal.h"

#include <stddef.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi2,bmi"

enum {
    WIDTH = 16,        /* digits taken together */
    FRACTION_MAX = 14, /* one more, ahead of the point, and it is still below 2^53 */
    LONG_MAX = 19,     /* what 64 bits hold */
    LONG_POWERS = 8,   /* of ten, from FRACTION_MAX on; a register of them */
    BLOCK = 64,
    BLOCK_ITEMS = BLOCK / 4, /* "0.1," is the shortest */
    CHUNK = 16 * BLOCK,      /* text whose items are found before their numbers are read */
    GROUP = 8                /* numbers read together */
};

_Static_assert(2 * WIDTH <= JSON_FLOAT_BYTES, "as much is looked at ahead of a comma");
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

/* Sixteen bytes each that end at every other of seven places. */
__attribute__((target(TARGET))) static inline __m512i load_ends(const char *text,
                                                                const uint16_t *places)
{
    const char *ends = text - WIDTH;
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(ends + places[0])));

    all = _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + places[2])), 1);
    all = _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + places[4])), 2);
    return _mm512_inserti64x2(all, _mm_loadu_si128((const void *)(ends + places[6])), 3);
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

/* Eight items: where they are, and their parts. */
struct group {
    const uint16_t *commas;
    __m128i counts;  /* digits behind the point, words */
    __m512i places;  /* first byte */
    __m512i minuses; /* all ones or zero */
    __m512i wholes;  /* 0 to 9 */
};

__attribute__((target(TARGET))) static inline struct group load_group(const struct found *found,
                                                                      size_t first)
{
    __m128i points = _mm_loadu_si128((const void *)(found->points + first));
    __m128i commas = _mm_loadu_si128((const void *)(found->commas + first));
    __m128i wholes = _mm_loadl_epi64((const void *)(found->wholes + first));
    __m128i minuses = _mm_loadl_epi64((const void *)(found->minuses + first));
    struct group group;

    group.commas = found->commas + first;
    group.counts = _mm_sub_epi16(_mm_sub_epi16(commas, points), _mm_set1_epi16(1));
    group.minuses = _mm512_cvtepi8_epi64(minuses);
    group.wholes = _mm512_sub_epi64(_mm512_cvtepu8_epi64(wholes), _mm512_set1_epi64('0'));
    group.places = _mm512_sub_epi64(_mm512_add_epi64(_mm512_cvtepu16_epi64(points), group.minuses),
                                    _mm512_set1_epi64(1));
    return group;
}

/* Two registers with four numbers below 10000 for each of four items. */
struct fours {
    __m512i even, odd;
};

/* The digits ahead of the commas, or of what `text` is behind them: `counts` of them, at most
 * sixteen are taken. */
__attribute__((target(TARGET))) static inline struct fours read_fours(const char *text,
                                                                      const struct group *group,
                                                                      __m128i counts)
{
    /* Word w of `counts` belongs to item w: of even items to the quarters of one register, of odd
     * ones to those of another. */
    const __m512i even =
        _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0c0c0c0c0c0c0c0c, 0x0808080808080808,
                         0x0808080808080808, 0x0404040404040404, 0x0404040404040404, 0, 0);
    const __m512i odd = _mm512_add_epi8(even, _mm512_set1_epi8(2));
    __m512i all = _mm512_broadcast_i32x4(counts);

    return (struct fours){
        join_fours(load_ends(text, group->commas), _mm512_shuffle_epi8(all, even)),
        join_fours(load_ends(text, group->commas + 1), _mm512_shuffle_epi8(all, odd))};
}

/* The last sixteen digits of the fractions as whole numbers. */
__attribute__((target(TARGET))) static inline __m512i read_fractions(const char *text,
                                                                     const struct group *group)
{
    struct fours fours = read_fours(text, group, group->counts);
    __m512i eights = _mm512_madd_epi16(_mm512_packus_epi32(fours.even, fours.odd),
                                       _mm512_set1_epi32(0x00012710));

    return _mm512_add_epi64(_mm512_mul_epu32(eights, _mm512_set1_epi64(100000000)),
                            _mm512_srli_epi64(eights, 32));
}

/* (whole x 10^counts + fraction) / 10^counts, where that and the power are below 2^53: right for up
 * to FRACTION_MAX digits. */
__attribute__((target(TARGET))) static inline __m512d divide(const struct group *group,
                                                             __m512i fractions)
{
    const double *powers = doc_number_powers_of_ten;
    __m512d power = _mm512_permutex2var_pd(
        _mm512_loadu_pd(powers), _mm512_cvtepu16_epi64(group->counts), _mm512_loadu_pd(powers + 8));
    __m512d whole = _mm512_cvtepi64_pd(group->wholes);

    return _mm512_div_pd(_mm512_fmadd_pd(whole, power, _mm512_cvtepi64_pd(fractions)), power);
}

/* The upper half of the product of two words. */
__attribute__((target(TARGET))) static inline __m512i multiply_high(__m512i a, __m512i b)
{
    const __m512i half = _mm512_set1_epi64(UINT32_MAX);
    __m512i a_high = _mm512_srli_epi64(a, 32), b_high = _mm512_srli_epi64(b, 32);
    __m512i low_high = _mm512_mul_epu32(a, b_high), high_low = _mm512_mul_epu32(a_high, b);
    __m512i carry = _mm512_add_epi64(
        _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32),
        _mm512_add_epi64(_mm512_and_si512(low_high, half), _mm512_and_si512(high_low, half)));
    __m512i high = _mm512_add_epi64(
        _mm512_mul_epu32(a_high, b_high),
        _mm512_add_epi64(_mm512_srli_epi64(low_high, 32), _mm512_srli_epi64(high_low, 32)));

    return _mm512_add_epi64(high, _mm512_srli_epi64(carry, 32));
}

/* digits / 10^counts for more than FRACTION_MAX digits, correctly rounded, as doc_number_scale does
 * it; so small a power of ten leaves nothing half way between two doubles. *open: those for which
 * more bits of the power are needed. Zeros give nonsense. */
__attribute__((target(TARGET))) static inline __m512d scale(__m512i digits, __m512i counts,
                                                            const uint64_t powers[LONG_POWERS],
                                                            __mmask8 *open)
{
    const __m512i one = _mm512_set1_epi64(1);
    __m512i shift = _mm512_lzcnt_epi64(digits);
    __m512i power = _mm512_permutexvar_epi64(
        _mm512_sub_epi64(counts, _mm512_set1_epi64(FRACTION_MAX + 1)), _mm512_loadu_si512(powers));
    __m512i high = multiply_high(_mm512_sllv_epi64(digits, shift), power);
    __m512i top = _mm512_srli_epi64(high, 63);
    __m512i mantissa = _mm512_srlv_epi64(high, _mm512_add_epi64(top, _mm512_set1_epi64(9)));
    /* floor(log2(10^-count)) = (-217706 count) >> 16, and what the bias and the shifts add. */
    __m512i exponent = _mm512_srai_epi64(_mm512_mul_epi32(counts, _mm512_set1_epi64(-217706)), 16);

    exponent = _mm512_add_epi64(exponent, _mm512_set1_epi64(63 + 1023));
    exponent = _mm512_add_epi64(exponent, _mm512_sub_epi64(top, shift));
    mantissa = _mm512_srli_epi64(_mm512_add_epi64(mantissa, _mm512_and_si512(mantissa, one)), 1);
    *open = _mm512_cmpeq_epi64_mask(_mm512_and_si512(high, _mm512_set1_epi64(0x1ff)),
                                    _mm512_set1_epi64(0x1ff));
    /* The leading bit, and a carry out of the mantissa, add to the exponent. */
    return _mm512_castsi512_pd(
        _mm512_add_epi64(_mm512_slli_epi64(_mm512_sub_epi64(exponent, one), 52), mantissa));
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

/* Writes a group's documents; the chunk begins at `place`. */
__attribute__((target(TARGET))) static inline void write_group(const struct group *group,
                                                               uint32_t place, __m512d numbers,
                                                               struct doc *items)
{
    __m512i signs = _mm512_and_si512(group->minuses, _mm512_set1_epi64(INT64_MIN));

    write_items(items, _mm512_add_epi64(group->places, _mm512_set1_epi64(place)),
                _mm512_or_si512(_mm512_castpd_si512(numbers), signs));
}

/* How many are ahead of the first that has its bit set. */
static inline size_t ahead_of(unsigned wrong)
{
    return (size_t)__builtin_ctz(wrong | 1U << GROUP);
}

/* Reads eight items, from `first` on; returns how many of them are right: those ahead of the first
 * with more than FRACTION_MAX digits. */
__attribute__((target(TARGET))) static inline size_t read_short(const char *text, uint32_t place,
                                                                const struct found *found,
                                                                size_t first, struct doc *items)
{
    struct group group = load_group(found, first);

    write_group(&group, place, divide(&group, read_fractions(text, &group)), items);
    return ahead_of(_mm_cmpgt_epu16_mask(group.counts, _mm_set1_epi16(FRACTION_MAX)));
}

/* The same with up to LONG_MAX digits that fit 64 bits: as a float64 is written in full. */
__attribute__((target(TARGET))) static inline size_t read_long(const char *text, uint32_t place,
                                                               const struct found *found,
                                                               size_t first,
                                                               const uint64_t powers[LONG_POWERS],
                                                               struct doc *items)
{
    struct group group = load_group(found, first);
    __m512i counts = _mm512_cvtepu16_epi64(group.counts);
    __m512i fractions = read_fractions(text, &group);
    struct fours ahead =
        read_fours(text - WIDTH, &group, _mm_subs_epu16(group.counts, _mm_set1_epi16(WIDTH)));
    __m512i upper =
        _mm512_unpackhi_epi64(_mm512_srli_epi64(ahead.even, 32), _mm512_srli_epi64(ahead.odd, 32));
    __mmask8 is_long = _mm_cmpgt_epu16_mask(group.counts, _mm_set1_epi16(FRACTION_MAX));
    __mmask8 wrong = _mm_cmpgt_epu16_mask(group.counts, _mm_set1_epi16(LONG_MAX)), open;
    __m512i digits = _mm512_add_epi64(
        fractions, _mm512_mullo_epi64(upper, _mm512_set1_epi64(10000000000000000)));
    __m512d numbers;

    wrong |= is_long & _mm512_cmpgt_epi64_mask(group.wholes, _mm512_setzero_si512());
    numbers = scale(digits, counts, powers, &open);
    numbers = _mm512_mask_blend_pd(is_long, divide(&group, fractions), numbers);
    numbers = _mm512_mask_mov_pd(numbers,
                                 is_long & _mm512_cmpeq_epi64_mask(digits, _mm512_setzero_si512()),
                                 _mm512_setzero_pd());
    write_group(&group, place, numbers, items);
    return ahead_of(wrong | (open & is_long));
}

/* An item that is nothing for a group. */
static bool take_one(struct json_parser *parser)
{
    struct doc item = {0};

    parser->at += *parser->at == ' ';
    item.place = (uint32_t)(parser->at - parser->start);
    if (json_parse_number(parser, &item) != 0)
        return false;
    parser->at++;
    parser->scratch.items[parser->scratch.count++] = item;
    return true;
}

void json_take_float_blocks(struct json_parser *parser)
{
    struct doc_scratch *scratch = &parser->scratch;
    uint64_t powers[LONG_POWERS] = {0}; /* when they are needed */
    struct found found;
    bool go_on, are_long = false;

    do {
        const char *text = parser->at;
        uint32_t place = (uint32_t)(text - parser->start);
        size_t taken = 0;
        go_on = find_items(text, parser->end, &found) && found.count > 0;
        while (taken < found.count) {
            struct doc *items = scratch->items + scratch->count;
            size_t left = found.count - taken, right;
            if (scratch->capacity - scratch->count < GROUP)
                return;
            right = are_long ? read_long(text, place, &found, taken, powers, items)
                             : read_short(text, place, &found, taken, items);
            right = right < left ? right : left;
            if (right > 0) {
                scratch->count += right;
                taken += right;
                parser->at = text + found.commas[taken - 1] + 1;
            } else if (!are_long) {
                are_long = true;
                for (int i = 0; i < LONG_POWERS; i++)
                    powers[i] = doc_number_power(-(FRACTION_MAX + 1 + i));
            } else {
                if (!take_one(parser))
                    return;
                taken++;
            }
        }
    } while (go_on);
}

bool json_has_float_blocks(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi");
}

#endif
