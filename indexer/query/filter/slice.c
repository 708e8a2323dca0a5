/* A share of all ids, by their hash: {"slice": {"total": n, "index": i}} is the i-th of n. Several readers that take
 * a slice each see every point once.
 *
 * The hash is the one of Qdrant, so that a slice holds the same ids here: SipHash-2-4 (Aumasson and Bernstein, 2012) with a
 * key of zeros, over the 8 bytes of a number, little-endian, or the 16 bytes of a UUID; over the bytes of other texts. */
#include <string.h>

#include "base/text.h"
#include "indexer/query/filter/filter.h"

struct sip {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void sip_round(struct sip *sip)
{
    sip->a += sip->b;
    sip->b = rotate(sip->b, 13) ^ sip->a;
    sip->a = rotate(sip->a, 32);
    sip->c += sip->d;
    sip->d = rotate(sip->d, 16) ^ sip->c;
    sip->a += sip->d;
    sip->d = rotate(sip->d, 21) ^ sip->a;
    sip->c += sip->b;
    sip->b = rotate(sip->b, 17) ^ sip->c;
    sip->c = rotate(sip->c, 32);
}

static void sip_take(struct sip *sip, uint64_t block)
{
    sip->d ^= block;
    sip_round(sip);
    sip_round(sip);
    sip->a ^= block;
}

static uint64_t siphash(const uint8_t *bytes, size_t size)
{
    struct sip sip = {0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261,
                      0x7465646279746573};
    uint64_t block, last = (uint64_t)size << 56;
    size_t at = 0;

    for (; at + sizeof(block) <= size; at += sizeof(block)) {
        memcpy(&block, bytes + at, sizeof(block)); /* little-endian, as the machine is */
        sip_take(&sip, block);
    }
    for (unsigned shift = 0; at < size; at++, shift += 8)
        last |= (uint64_t)bytes[at] << shift;
    sip_take(&sip, last);
    sip.c ^= 0xFF;
    for (int i = 0; i < 4; i++)
        sip_round(&sip);
    return sip.a ^ sip.b ^ sip.c ^ sip.d;
}

static uint64_t hash_id(const struct doc *id)
{
    uint8_t uuid[16];
    uint64_t number;

    if (doc_as_u64(id, &number))
        return siphash((const uint8_t *)&number, sizeof(number));
    if (text_parse_uuid(id->string, id->count, uuid) == 0)
        return siphash(uuid, sizeof(uuid));
    return siphash((const uint8_t *)id->string, id->count);
}

bool filter_slice_match(const struct filter_condition *condition, struct filter_subject *subject)
{
    struct doc id;

    if (!subject->row)
        return false; /* an element of an array has no id */
    id = query_row_id(subject->row, subject->scratch);
    return hash_id(&id) % condition->slice_total == condition->slice_index;
}

static int compile_number(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *slice, const char *name, uint32_t *number)
{
    struct filter_place at = filter_place_name(place, name);
    const struct doc *doc = filter_get(slice, name);
    uint64_t value;

    if (!doc)
        return filter_error(compiler, place, "missing field `%s`", name);
    if (!doc_as_u64(doc, &value) || value > UINT32_MAX)
        return filter_error(compiler, &at, "expected an unsigned integer of 32 bits");
    *number = (uint32_t)value;
    return 0;
}

int filter_compile_slice(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_condition *condition)
{
    static const char *const known[] = {"slice", NULL}, *const keys[] = {"total", "index", NULL};
    struct filter_place at = filter_place_name(place, "slice");
    const struct doc *slice = doc_get(doc, "slice");

    if (filter_check_keys(compiler, place, doc, known) != 0 ||
        filter_check_keys(compiler, &at, slice, keys) != 0 ||
        compile_number(compiler, &at, slice, "total", &condition->slice_total) != 0 ||
        compile_number(compiler, &at, slice, "index", &condition->slice_index) != 0)
        return compiler->error->code;
    if (condition->slice_total == 0)
        return filter_error(compiler, &at, "expected a `total` of at least 1");
    if (condition->slice_index >= condition->slice_total)
        return filter_error(compiler, &at, "`index` %u of %u: it " QUERY_FILTER_NO_SLICE,
                            condition->slice_index, condition->slice_total);
    /* An element of an array is no point: it has no id. */
    condition->kind = compiler->nested > 0 ? FILTER_CONSTANT : FILTER_ID_SLICE;
    compiler->recent = true;
    return 0;
}
