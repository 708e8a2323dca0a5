/* Why leaves and not insertion: insertion computes the distances of one row to a few hundred
 * others, one after another, each from another cache line, and needs the graph it is building to
 * find them. A leaf computes a million at once from registers and nearby cache, and leaves do not
 * depend on each other. Measured with hnswlib 0.8 (insertion, m 16, ef_construct 200) in the same
 * run, one thread, processor time, to graphs of about the same recall at the same ef:
 * docs/benchmarks.md, section Index: 13 to 17 times faster. Selecting the nearest of a leaf cost
 * several times what the products cost, until it lost its branches (index_kernels.smallest). */
#include "indexer/index/layer.h"

#include "indexer/index/memory.h"

enum { POOL_ROWS_MIN = 32, POOL_ROWS_MAX = 160 };

static uint32_t pool_capacity(const struct index_layer_options *options)
{
    uint32_t wanted = options->ef_construct / 3;

    return wanted < POOL_ROWS_MIN ? POOL_ROWS_MIN : wanted > POOL_ROWS_MAX ? POOL_ROWS_MAX : wanted;
}

uint64_t index_layer_bytes(uint32_t count, uint32_t stride,
                           const struct index_layer_options *options)
{
    uint64_t pools = count * ((uint64_t)pool_capacity(options) * sizeof(uint64_t) +
                              sizeof(uint32_t) + sizeof(atomic_uchar));
    uint64_t per_thread;
    uint64_t leaves = index_leaves_bytes(count, stride, options->ef_construct, &per_thread);
    uint64_t links = index_prune_bytes(count, options->degree);

    leaves += per_thread * options->thread_count;
    return pools + (leaves > links ? leaves : links);
}

bool index_layer_build(const struct index_codes *codes, const struct index_layer_options *options,
                       uint32_t *links)
{
    struct index_pools pools;
    bool done;

    index_pools_create(&pools, codes->count, pool_capacity(options));
    done = index_leaves_fill(codes, options, &pools) &&
           index_prune_links(codes, options, &pools, links);
    index_pools_destroy(&pools);
    if (done)
        index_repair_links(codes, options->degree, links);
    return done;
}
