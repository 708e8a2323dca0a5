/* links: level 0's links as a segment file holds them and as searches read them.
 *
 * A node has up to 2 m links (a mean of 14 to 27 of 32 on real data): numbers of nodes with no more
 * bits than the last node's needs, nearest first, one behind the other from a whole byte on. A
 * table says where each node's begin: 27 nodes share a cache line of it. With four bytes a link and
 * room for 2 m of them at every node, links were half of the file at 128 dimensions; these are two
 * fifths of that. Differences between sorted links would be smaller still by a fifth, but the order
 * by nearness would be gone, which filtered searches go by.
 *
 * A link is read as four bytes: INDEX_LINK_SLACK zeros lie behind the last. */
#ifndef INDEXER_INDEX_LINKS_H
#define INDEXER_INDEX_LINKS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "indexer/index/kernels.h"

enum {
    INDEX_LINKS_MAX = 512, /* of a node */
    INDEX_LINK_BLOCK_NODES = 27,
    INDEX_LINK_SLACK = 8 /* three are enough */
};

#define INDEX_NO_LINK UINT32_MAX

/** How many of a row's links lie before the first INDEX_NO_LINK, `most` at most. */
static inline uint32_t index_links_used(const uint32_t *links, uint32_t most)
{
    uint32_t used = 0;

    while (used < most && links[used] != INDEX_NO_LINK)
        used++;
    return used;
}

struct index_link_block {
    uint64_t first;                              /* byte at which the first node's links begin */
    uint16_t begins[INDEX_LINK_BLOCK_NODES + 1]; /* each node's, from there; the last's end */
};
static_assert(sizeof(struct index_link_block) == 64, "a cache line");
static_assert(INDEX_LINK_BLOCK_NODES * INDEX_LINKS_MAX * sizeof(uint32_t) <= UINT16_MAX, "begins");

struct index_links {
    const struct index_link_block *blocks; /* index_link_block_count */
    const uint8_t *bytes;
    uint32_t bits; /* of a link: index_link_bits */
};

/** Bits of a link among `count` nodes: as many as count - 1 has, but at least 8, so that a size in
 * bytes tells how many links there are, and such that no link touches a fifth byte. */
uint32_t index_link_bits(uint32_t count);
/** Blocks of the table for `count` nodes. */
uint32_t index_link_block_count(uint32_t count);

static inline uint32_t index_link_bytes(uint32_t link_count, uint32_t bits)
{
    return (link_count * bits + 7) / 8;
}

/** Packs count x degree links with INDEX_NO_LINK behind each row's last. *blocks and *bytes belong
 * to the caller, *size_bytes is that of the latter, with the slack. */
void index_links_pack(const uint32_t *links, uint32_t count, uint32_t degree,
                      struct index_link_block **blocks, uint8_t **bytes, uint64_t *size_bytes);

/** NULL when every node's links lie within `size_bytes` less the slack, behind those of the node
 * before, are at most `degree` and each below `count`; else what is wrong. `bits` must be right. */
const char *index_links_check(const struct index_links *links, uint32_t count, uint32_t degree,
                              uint64_t size_bytes);

/* A node's links: numbers at bit 0, `bits`, 2 * bits ... */
struct index_link_run {
    const uint8_t *bytes;
    uint32_t bits, mask;
    int32_t last; /* no link begins behind this bit; below 0: there is none */
};

static inline struct index_link_run index_links_of(const struct index_links *links, uint32_t node)
{
    const struct index_link_block *block = &links->blocks[node / INDEX_LINK_BLOCK_NODES];
    const uint16_t *begins = &block->begins[node % INDEX_LINK_BLOCK_NODES];

    return (struct index_link_run){links->bytes + block->first + begins[0], links->bits,
                                   UINT32_MAX >> (32 - links->bits),
                                   (begins[1] - begins[0]) * 8 - (int32_t)links->bits};
}

/** Whether a link begins at bit `at`: for (at = 0; index_link_is_at(run, at); at += run->bits). */
static inline bool index_link_is_at(const struct index_link_run *run, uint32_t at)
{
    return (int32_t)at <= run->last;
}

static inline uint32_t index_link_at(const struct index_link_run *run, uint32_t at)
{
    uint32_t word;

    memcpy(&word, run->bytes + at / 8, sizeof(word));
    return word >> at % 8 & run->mask;
}

static inline uint32_t index_links_count(const struct index_links *links, uint32_t node)
{
    return (uint32_t)(index_links_of(links, node).last + (int32_t)links->bits) / links->bits;
}

/** Asks for the table's line of a node, from which index_links_prefetch reads. Always inlined: gcc
 * takes a function that only asks for memory for one that does nothing, and drops calls of it. */
static inline __attribute__((always_inline)) void index_links_prefetch_place(
    const struct index_links *links, uint32_t node)
{
    __builtin_prefetch(&links->blocks[node / INDEX_LINK_BLOCK_NODES]);
}

/** Asks for a node's links: two lines whatever there is, which few nodes go beyond, because whether
 * one does could not be foretold. */
static inline __attribute__((always_inline)) void index_links_prefetch(
    const struct index_links *links, uint32_t node)
{
    const struct index_link_block *block = &links->blocks[node / INDEX_LINK_BLOCK_NODES];
    const uint16_t *begins = &block->begins[node % INDEX_LINK_BLOCK_NODES];
    const uint8_t *bytes = links->bytes + block->first;

    __builtin_prefetch(bytes + begins[0]);
    __builtin_prefetch(bytes + begins[1]);
    for (uint32_t at = begins[0] + INDEX_CODE_ALIGN; at + INDEX_CODE_ALIGN < begins[1];
         at += INDEX_CODE_ALIGN)
        __builtin_prefetch(bytes + at);
}

#endif
