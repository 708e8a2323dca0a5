/* Decimal to double, correctly rounded.
 *
 * Most numbers have at most 19 digits. When the digits fit 53 bits and the power of ten is exact
 * (up to 10^22), one multiplication or division rounds correctly (Clinger, "How to read floating
 * point numbers accurately", 1990). Otherwise the digits are multiplied by a 128-bit
 * approximation of the power of five (Lemire, "Number parsing at a gigabyte per second", 2021, and
 * Mushtak and Lemire, "Fast number parsing without fallback", 2023). A float32 written by way of a
 * double has 17 digits, so that embeddings need the second method as often as the first. What
 * neither covers goes to strtod. */
#include "base/doc_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { POWER_MIN = -64, POWER_MAX = 55 };

/* The 128 highest bits of 5^q, highest bit set: cut off for q >= 0, rounded up for q < 0. */
static const uint64_t powers_of_five[POWER_MAX - POWER_MIN + 1][2] = {
    {UINT64_C(0xa87fea27a539e9a5), UINT64_C(0x3f2398d747b36224)},
    {UINT64_C(0xd29fe4b18e88640e), UINT64_C(0x8eec7f0d19a03aad)},
    {UINT64_C(0x83a3eeeef9153e89), UINT64_C(0x1953cf68300424ac)},
    {UINT64_C(0xa48ceaaab75a8e2b), UINT64_C(0x5fa8c3423c052dd7)},
    {UINT64_C(0xcdb02555653131b6), UINT64_C(0x3792f412cb06794d)},
    {UINT64_C(0x808e17555f3ebf11), UINT64_C(0xe2bbd88bbee40bd0)},
    {UINT64_C(0xa0b19d2ab70e6ed6), UINT64_C(0x5b6aceaeae9d0ec4)},
    {UINT64_C(0xc8de047564d20a8b), UINT64_C(0xf245825a5a445275)},
    {UINT64_C(0xfb158592be068d2e), UINT64_C(0xeed6e2f0f0d56712)},
    {UINT64_C(0x9ced737bb6c4183d), UINT64_C(0x55464dd69685606b)},
    {UINT64_C(0xc428d05aa4751e4c), UINT64_C(0xaa97e14c3c26b886)},
    {UINT64_C(0xf53304714d9265df), UINT64_C(0xd53dd99f4b3066a8)},
    {UINT64_C(0x993fe2c6d07b7fab), UINT64_C(0xe546a8038efe4029)},
    {UINT64_C(0xbf8fdb78849a5f96), UINT64_C(0xde98520472bdd033)},
    {UINT64_C(0xef73d256a5c0f77c), UINT64_C(0x963e66858f6d4440)},
    {UINT64_C(0x95a8637627989aad), UINT64_C(0xdde7001379a44aa8)},
    {UINT64_C(0xbb127c53b17ec159), UINT64_C(0x5560c018580d5d52)},
    {UINT64_C(0xe9d71b689dde71af), UINT64_C(0xaab8f01e6e10b4a6)},
    {UINT64_C(0x9226712162ab070d), UINT64_C(0xcab3961304ca70e8)},
    {UINT64_C(0xb6b00d69bb55c8d1), UINT64_C(0x3d607b97c5fd0d22)},
    {UINT64_C(0xe45c10c42a2b3b05), UINT64_C(0x8cb89a7db77c506a)},
    {UINT64_C(0x8eb98a7a9a5b04e3), UINT64_C(0x77f3608e92adb242)},
    {UINT64_C(0xb267ed1940f1c61c), UINT64_C(0x55f038b237591ed3)},
    {UINT64_C(0xdf01e85f912e37a3), UINT64_C(0x6b6c46dec52f6688)},
    {UINT64_C(0x8b61313bbabce2c6), UINT64_C(0x2323ac4b3b3da015)},
    {UINT64_C(0xae397d8aa96c1b77), UINT64_C(0xabec975e0a0d081a)},
    {UINT64_C(0xd9c7dced53c72255), UINT64_C(0x96e7bd358c904a21)},
    {UINT64_C(0x881cea14545c7575), UINT64_C(0x7e50d64177da2e54)},
    {UINT64_C(0xaa242499697392d2), UINT64_C(0xdde50bd1d5d0b9e9)},
    {UINT64_C(0xd4ad2dbfc3d07787), UINT64_C(0x955e4ec64b44e864)},
    {UINT64_C(0x84ec3c97da624ab4), UINT64_C(0xbd5af13bef0b113e)},
    {UINT64_C(0xa6274bbdd0fadd61), UINT64_C(0xecb1ad8aeacdd58e)},
    {UINT64_C(0xcfb11ead453994ba), UINT64_C(0x67de18eda5814af2)},
    {UINT64_C(0x81ceb32c4b43fcf4), UINT64_C(0x80eacf948770ced7)},
    {UINT64_C(0xa2425ff75e14fc31), UINT64_C(0xa1258379a94d028d)},
    {UINT64_C(0xcad2f7f5359a3b3e), UINT64_C(0x096ee45813a04330)},
    {UINT64_C(0xfd87b5f28300ca0d), UINT64_C(0x8bca9d6e188853fc)},
    {UINT64_C(0x9e74d1b791e07e48), UINT64_C(0x775ea264cf55347e)},
    {UINT64_C(0xc612062576589dda), UINT64_C(0x95364afe032a819e)},
    {UINT64_C(0xf79687aed3eec551), UINT64_C(0x3a83ddbd83f52205)},
    {UINT64_C(0x9abe14cd44753b52), UINT64_C(0xc4926a9672793543)},
    {UINT64_C(0xc16d9a0095928a27), UINT64_C(0x75b7053c0f178294)},
    {UINT64_C(0xf1c90080baf72cb1), UINT64_C(0x5324c68b12dd6339)},
    {UINT64_C(0x971da05074da7bee), UINT64_C(0xd3f6fc16ebca5e04)},
    {UINT64_C(0xbce5086492111aea), UINT64_C(0x88f4bb1ca6bcf585)},
    {UINT64_C(0xec1e4a7db69561a5), UINT64_C(0x2b31e9e3d06c32e6)},
    {UINT64_C(0x9392ee8e921d5d07), UINT64_C(0x3aff322e62439fd0)},
    {UINT64_C(0xb877aa3236a4b449), UINT64_C(0x09befeb9fad487c3)},
    {UINT64_C(0xe69594bec44de15b), UINT64_C(0x4c2ebe687989a9b4)},
    {UINT64_C(0x901d7cf73ab0acd9), UINT64_C(0x0f9d37014bf60a11)},
    {UINT64_C(0xb424dc35095cd80f), UINT64_C(0x538484c19ef38c95)},
    {UINT64_C(0xe12e13424bb40e13), UINT64_C(0x2865a5f206b06fba)},
    {UINT64_C(0x8cbccc096f5088cb), UINT64_C(0xf93f87b7442e45d4)},
    {UINT64_C(0xafebff0bcb24aafe), UINT64_C(0xf78f69a51539d749)},
    {UINT64_C(0xdbe6fecebdedd5be), UINT64_C(0xb573440e5a884d1c)},
    {UINT64_C(0x89705f4136b4a597), UINT64_C(0x31680a88f8953031)},
    {UINT64_C(0xabcc77118461cefc), UINT64_C(0xfdc20d2b36ba7c3e)},
    {UINT64_C(0xd6bf94d5e57a42bc), UINT64_C(0x3d32907604691b4d)},
    {UINT64_C(0x8637bd05af6c69b5), UINT64_C(0xa63f9a49c2c1b110)},
    {UINT64_C(0xa7c5ac471b478423), UINT64_C(0x0fcf80dc33721d54)},
    {UINT64_C(0xd1b71758e219652b), UINT64_C(0xd3c36113404ea4a9)},
    {UINT64_C(0x83126e978d4fdf3b), UINT64_C(0x645a1cac083126ea)},
    {UINT64_C(0xa3d70a3d70a3d70a), UINT64_C(0x3d70a3d70a3d70a4)},
    {UINT64_C(0xcccccccccccccccc), UINT64_C(0xcccccccccccccccd)},
    {UINT64_C(0x8000000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xa000000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xc800000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xfa00000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x9c40000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xc350000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xf424000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x9896800000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xbebc200000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xee6b280000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x9502f90000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xba43b74000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xe8d4a51000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x9184e72a00000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xb5e620f480000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xe35fa931a0000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x8e1bc9bf04000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xb1a2bc2ec5000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xde0b6b3a76400000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x8ac7230489e80000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xad78ebc5ac620000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xd8d726b7177a8000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x878678326eac9000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xa968163f0a57b400), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xd3c21bcecceda100), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x84595161401484a0), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xa56fa5b99019a5c8), UINT64_C(0x0000000000000000)},
    {UINT64_C(0xcecb8f27f4200f3a), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x813f3978f8940984), UINT64_C(0x4000000000000000)},
    {UINT64_C(0xa18f07d736b90be5), UINT64_C(0x5000000000000000)},
    {UINT64_C(0xc9f2c9cd04674ede), UINT64_C(0xa400000000000000)},
    {UINT64_C(0xfc6f7c4045812296), UINT64_C(0x4d00000000000000)},
    {UINT64_C(0x9dc5ada82b70b59d), UINT64_C(0xf020000000000000)},
    {UINT64_C(0xc5371912364ce305), UINT64_C(0x6c28000000000000)},
    {UINT64_C(0xf684df56c3e01bc6), UINT64_C(0xc732000000000000)},
    {UINT64_C(0x9a130b963a6c115c), UINT64_C(0x3c7f400000000000)},
    {UINT64_C(0xc097ce7bc90715b3), UINT64_C(0x4b9f100000000000)},
    {UINT64_C(0xf0bdc21abb48db20), UINT64_C(0x1e86d40000000000)},
    {UINT64_C(0x96769950b50d88f4), UINT64_C(0x1314448000000000)},
    {UINT64_C(0xbc143fa4e250eb31), UINT64_C(0x17d955a000000000)},
    {UINT64_C(0xeb194f8e1ae525fd), UINT64_C(0x5dcfab0800000000)},
    {UINT64_C(0x92efd1b8d0cf37be), UINT64_C(0x5aa1cae500000000)},
    {UINT64_C(0xb7abc627050305ad), UINT64_C(0xf14a3d9e40000000)},
    {UINT64_C(0xe596b7b0c643c719), UINT64_C(0x6d9ccd05d0000000)},
    {UINT64_C(0x8f7e32ce7bea5c6f), UINT64_C(0xe4820023a2000000)},
    {UINT64_C(0xb35dbf821ae4f38b), UINT64_C(0xdda2802c8a800000)},
    {UINT64_C(0xe0352f62a19e306e), UINT64_C(0xd50b2037ad200000)},
    {UINT64_C(0x8c213d9da502de45), UINT64_C(0x4526f422cc340000)},
    {UINT64_C(0xaf298d050e4395d6), UINT64_C(0x9670b12b7f410000)},
    {UINT64_C(0xdaf3f04651d47b4c), UINT64_C(0x3c0cdd765f114000)},
    {UINT64_C(0x88d8762bf324cd0f), UINT64_C(0xa5880a69fb6ac800)},
    {UINT64_C(0xab0e93b6efee0053), UINT64_C(0x8eea0d047a457a00)},
    {UINT64_C(0xd5d238a4abe98068), UINT64_C(0x72a4904598d6d880)},
    {UINT64_C(0x85a36366eb71f041), UINT64_C(0x47a6da2b7f864750)},
    {UINT64_C(0xa70c3c40a64e6c51), UINT64_C(0x999090b65f67d924)},
    {UINT64_C(0xd0cf4b50cfe20765), UINT64_C(0xfff4b4e3f741cf6d)},
};

uint64_t doc_number_power(int64_t exponent)
{
    return powers_of_five[exponent - POWER_MIN][0];
}

const double doc_number_powers_of_ten[DOC_NUMBER_POWERS] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool scale_exact(uint64_t digits, int64_t exponent, double *value)
{
    if (digits > UINT64_C(1) << 53 || exponent < -22 || exponent > 22)
        return false;
    *value = exponent < 0 ? (double)digits / doc_number_powers_of_ten[-exponent]
                          : (double)digits * doc_number_powers_of_ten[exponent];
    return true;
}

/* False when 128 bits of the power do not decide the rounding, and outside of normal doubles. */
static bool scale_wide(uint64_t digits, int64_t exponent, double *value)
{
    const uint64_t *power;
    unsigned __int128 product;
    uint64_t high, low, mantissa, bits;
    int shift, top, binary;

    if (exponent < POWER_MIN || exponent > POWER_MAX)
        return false;
    power = powers_of_five[exponent - POWER_MIN];
    shift = __builtin_clzll(digits);
    digits <<= shift;
    product = (unsigned __int128)digits * power[0];
    high = (uint64_t)(product >> 64);
    low = (uint64_t)product;
    /* The nine bits below the mantissa and its guard are all ones: the low half may carry. */
    if ((high & 0x1ff) == 0x1ff) {
        uint64_t carry = (uint64_t)((unsigned __int128)digits * power[1] >> 64);
        low += carry;
        if (low < carry)
            high++;
        if (low == UINT64_MAX && (exponent < -27 || exponent > 55))
            return false;
    }
    top = (int)(high >> 63);
    mantissa = high >> (top + 64 - 52 - 3);
    /* floor(log2(10^q)) = (217706 q) >> 16 in this range. */
    binary = (int)((217706 * exponent) >> 16) + 63 + top - shift + 1023;
    if (binary <= 0 || binary >= 0x7fe)
        return false;
    /* Exactly half way, possible only where 5^q is exact: to even, which is down here. */
    if (low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 &&
        mantissa << (top + 64 - 52 - 3) == high)
        mantissa &= ~UINT64_C(1);
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >= UINT64_C(2) << 52) {
        mantissa = UINT64_C(1) << 52;
        binary++;
    }
    bits = (mantissa & ~(UINT64_C(1) << 52)) | (uint64_t)binary << 52;
    memcpy(value, &bits, sizeof(*value));
    return true;
}

bool doc_number_scale(uint64_t digits, int64_t exponent, double *value)
{
    if (digits == 0) {
        *value = 0;
        return true;
    }
    return scale_exact(digits, exponent, value) || scale_wide(digits, exponent, value);
}

/* Numbers: the digits are gathered in one pass that also checks the grammar, and the value comes
 * from them without a second look at the text (doc_number.c). */

enum { DIGITS_EXACT = 19 };

/* Eight digits at once (Lemire, "Quickly parsing eight digits", 2018). */
static inline bool eight_digits(uint64_t word)
{
    return ((word & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
            (((word + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >> 4)) ==
           UINT64_C(0x3333333333333333);
}

static inline uint64_t eight_digits_value(uint64_t word)
{
    const uint64_t mask = UINT64_C(0x000000ff000000ff);
    const uint64_t hundreds = UINT64_C(0x000f424000000064); /* 100 + (10^6 << 32) */
    const uint64_t ones = UINT64_C(0x0000271000000001);     /* 1 + (10^4 << 32) */

    word -= UINT64_C(0x3030303030303030);
    word = word * 10 + (word >> 8);
    return ((word & mask) * hundreds + ((word >> 16) & mask) * ones) >> 32;
}

/* What parse_number has seen so far. */
struct number {
    const char *start; /* sign included */
    const char *end;
    uint64_t digits; /* wraps past 19 digits; then not used */
    int64_t exponent;
    size_t digit_count; /* without leading zeros */
    bool negative;
    bool integer; /* no fraction, no exponent */
};

static inline const char *take_digits(const char *at, const char *end, uint64_t *digits)
{
    uint64_t value = *digits;

    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        if (!eight_digits(word))
            break;
        value = value * 100000000 + eight_digits_value(word);
        at += 8;
    }
    while (at < end && json_is_digit(*at))
        value = value * 10 + (uint64_t)(*at++ - '0');
    *digits = value;
    return at;
}

/* The slow road: more than 19 digits, subnormals and the edge of the range. */
static int number_with_strtod(struct json_parser *parser, const struct number *number,
                              struct doc *out)
{
    size_t length = (size_t)(number->end - number->start);
    char small[64];
    char *copy = small;

    if (length >= sizeof(small)) {
        copy = memory_checked(malloc(length + 1));
    }
    memcpy(copy, number->start, length);
    copy[length] = '\0';
    /* The program never sets a locale, so that the decimal point is a point. */
    out->number = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    out->type = DOC_DOUBLE;
    return isinf(out->number) ? json_fail(parser, number->start, "the number does not fit a double")
                              : 0;
}

static int number_value(struct json_parser *parser, const struct number *number, struct doc *out)
{
    if (number->integer) {
        uint64_t digits = number->digits;
        /* A twentieth digit may still fit: then the text has it without wrapping. */
        if (number->digit_count > DIGITS_EXACT &&
            text_parse_u64(number->start + number->negative,
                           (size_t)(number->end - number->start) - number->negative, &digits) != 0)
            return number_with_strtod(parser, number, out);
        if (digits <= INT64_MAX && !(number->negative && digits == 0)) {
            out->type = DOC_INT;
            out->integer = number->negative ? -(int64_t)digits : (int64_t)digits;
            return 0;
        }
        if (!number->negative) {
            out->type = DOC_UINT;
            out->unsigned_integer = digits;
            return 0;
        }
        if (digits == UINT64_C(1) << 63) {
            out->type = DOC_INT;
            out->integer = INT64_MIN;
            return 0;
        }
        if (digits != 0)
            return number_with_strtod(parser, number, out);
        /* "-0" keeps its sign. */
    }
    if (number->digit_count > DIGITS_EXACT ||
        !doc_number_scale(number->digits, number->exponent, &out->number))
        return number_with_strtod(parser, number, out);
    out->type = DOC_DOUBLE;
    if (number->negative)
        out->number = -out->number;
    return 0;
}

static int take_exponent(struct json_parser *parser, struct number *number, const char **at)
{
    const char *cursor = *at + 1;
    const char *end = parser->end;
    int64_t exponent = 0;
    bool negative = false;

    if (cursor < end && (*cursor == '+' || *cursor == '-'))
        negative = *cursor++ == '-';
    if (cursor == end || !json_is_digit(*cursor))
        return json_fail(parser, cursor, "expected a digit in the exponent");
    for (; cursor < end && json_is_digit(*cursor); cursor++)
        if (exponent < 100000000) /* far beyond any double; must not overflow */
            exponent = exponent * 10 + (*cursor - '0');
    number->exponent += negative ? -exponent : exponent;
    number->integer = false;
    *at = cursor;
    return 0;
}

int json_parse_number(struct json_parser *parser, struct doc *out)
{
    struct number number = {.start = parser->at, .integer = true};
    const char *at = parser->at;
    const char *end = parser->end;
    const char *digits;

    if (*at == '-') {
        number.negative = true;
        at++;
    }
    digits = at;
    if (at == end || !json_is_digit(*at))
        return json_fail(parser, at, "expected a digit");
    if (*at == '0') {
        at++;
        if (at < end && json_is_digit(*at))
            return json_fail(parser, at, "a number must not start with 0");
    } else {
        at = take_digits(at, end, &number.digits);
        number.digit_count = (size_t)(at - digits);
    }
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        /* Zeros in front do not count as digits when nothing precedes them. */
        if (number.digit_count == 0)
            while (at < end && *at == '0')
                at++;
        digits = at;
        at = take_digits(at, end, &number.digits);
        if (at == fraction)
            return json_fail(parser, at, "expected a digit after the decimal point");
        number.digit_count += (size_t)(at - digits);
        number.exponent = -(int64_t)(at - fraction);
        number.integer = false;
    }
    if (at < end && (*at | 0x20) == 'e' && take_exponent(parser, &number, &at) != 0)
        return ERROR_INVALID;
    number.end = at;
    parser->at = at;
    return number_value(parser, &number, out);
}
