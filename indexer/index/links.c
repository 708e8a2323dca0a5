/* Packing of links, and their checks when a file is opened. Bits of a node's links run from the
 * lowest of its first byte upwards; a node begins at a whole byte. */
#include "indexer/index/links.h"

#include "indexer/index/build_tools.h"

enum { BITS_MIN = 8 };

/* A link begins at any even bit of a byte when its width is even, at bit 0 or 4 when it is a
 * multiple of four: so 26 and 28 bits end within four bytes, 27 and 29 to 31 do not always. */
uint32_t index_link_bits(uint32_t count)
{
    uint32_t bits = BITS_MIN;

    while (bits < 32 && (count - 1) >> bits > 0)
        bits++;
    return bits == 27 ? 28 : bits > 28 ? 32 : bits;
}

uint32_t index_link_block_count(uint32_t count)
{
    return count / INDEX_LINK_BLOCK_NODES + (count % INDEX_LINK_BLOCK_NODES > 0);
}

static void pack(const uint32_t *links, uint32_t count, uint32_t bits, uint8_t *bytes)
{
    uint64_t pending = 0;
    uint32_t pending_bits = 0;

    for (uint32_t i = 0; i < count; i++) {
        pending |= (uint64_t)links[i] << pending_bits;
        for (pending_bits += bits; pending_bits >= 8; pending_bits -= 8, pending >>= 8)
            *bytes++ = (uint8_t)pending;
    }
    if (pending_bits > 0)
        *bytes = (uint8_t)pending;
}

/* Places of nodes beyond the last end where it does. */
static uint64_t place_links(const uint32_t *links, uint32_t count, uint32_t degree,
                            struct index_link_block *blocks)
{
    uint32_t bits = index_link_bits(count), block_count = index_link_block_count(count);
    uint64_t size_bytes = 0;

    for (uint32_t i = 0; i < block_count; i++) {
        uint32_t end = 0;
        blocks[i].first = size_bytes;
        blocks[i].begins[0] = 0;
        for (uint32_t j = 0; j < INDEX_LINK_BLOCK_NODES; j++) {
            uint32_t node = i * INDEX_LINK_BLOCK_NODES + j;
            if (node < count)
                end +=
                    index_link_bytes(index_links_used(links + (size_t)node * degree, degree), bits);
            blocks[i].begins[j + 1] = (uint16_t)end;
        }
        size_bytes += end;
    }
    return size_bytes;
}

void index_links_pack(const uint32_t *links, uint32_t count, uint32_t degree,
                      struct index_link_block **blocks, uint8_t **bytes, uint64_t *size_bytes)
{
    struct index_links packed = {.bits = index_link_bits(count)};

    assert(degree <= INDEX_LINKS_MAX);
    packed.blocks = *blocks =
        index_allocate(index_link_block_count(count), sizeof(struct index_link_block));
    *size_bytes = place_links(links, count, degree, *blocks) + INDEX_LINK_SLACK;
    *bytes = index_allocate(*size_bytes, 1);
    for (uint32_t node = 0; node < count; node++) {
        const uint32_t *from = links + (size_t)node * degree;
        const struct index_link_block *block = &(*blocks)[node / INDEX_LINK_BLOCK_NODES];
        uint32_t at = node % INDEX_LINK_BLOCK_NODES;
        pack(from, index_links_used(from, degree), packed.bits,
             *bytes + block->first + block->begins[at]);
    }
    memset(*bytes + *size_bytes - INDEX_LINK_SLACK, 0, INDEX_LINK_SLACK);
}

static const char *check_places(const struct index_links *links, uint32_t count, uint32_t degree,
                                uint64_t size_bytes)
{
    uint32_t block_count = index_link_block_count(count);
    uint64_t end = 0;

    for (uint32_t i = 0; i < block_count; i++) {
        const struct index_link_block *block = &links->blocks[i];
        if (block->first != end || block->begins[0] != 0)
            return "links do not follow one another";
        for (uint32_t j = 0; j < INDEX_LINK_BLOCK_NODES; j++) {
            uint32_t used = (uint32_t)block->begins[j + 1] - block->begins[j],
                     number = used * 8 / links->bits;
            if (block->begins[j + 1] < block->begins[j] || number > degree ||
                used != index_link_bytes(number, links->bits) ||
                (used > 0 && i * INDEX_LINK_BLOCK_NODES + j >= count))
                return "the place of a node's links is wrong";
        }
        end += block->begins[INDEX_LINK_BLOCK_NODES];
    }
    if (end + INDEX_LINK_SLACK != size_bytes)
        return "links end elsewhere than they must";
    return NULL;
}

const char *index_links_check(const struct index_links *links, uint32_t count, uint32_t degree,
                              uint64_t size_bytes)
{
    uint32_t most = 0;
    const char *wrong = check_places(links, count, degree, size_bytes);

    if (wrong)
        return wrong;
    for (uint32_t node = 0; node < count; node++) {
        struct index_link_run run = index_links_of(links, node);
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits) {
            uint32_t link = index_link_at(&run, at);
            most = link > most ? link : most;
        }
    }
    return most < count ? NULL : "a link is out of bounds";
}
