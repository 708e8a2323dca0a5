/* Why leaves and not insertion: insertion computes the distances of one row to a few hundred
 * others, one after another, each from another cache line, and needs the graph it is building to
 * find them. A leaf computes a million at once from registers and nearby cache, and leaves do not
 * depend on each other. Measured with hnswlib 0.8 (insertion, m 16, ef_construct 200) in the same
 * run, one thread, processor time, to graphs of about the same recall at the same ef:
 * docs/benchmarks.md, section Index: 13 to 17 times faster. Selecting the nearest of a leaf cost
 * several times what the products cost, until it lost its branches (index_kernels.smallest). */
#include "indexer/index/level_build.h"

#include "indexer/index/memory.h"

enum { LIST_ROWS_MIN = 32, LIST_ROWS_MAX = 160 };

static uint32_t list_capacity(const struct index_level_options *options)
{
    uint32_t wanted = options->ef_construct / 3;

    return wanted < LIST_ROWS_MIN ? LIST_ROWS_MIN : wanted > LIST_ROWS_MAX ? LIST_ROWS_MAX : wanted;
}

uint64_t index_level_build_bytes(uint32_t count, uint32_t stride,
                                 const struct index_level_options *options)
{
    uint64_t lists = count * ((uint64_t)list_capacity(options) * sizeof(uint64_t) +
                              sizeof(uint32_t) + sizeof(atomic_uchar));
    uint64_t per_thread;
    uint64_t leaves = index_ball_carving_bytes(count, stride, options->ef_construct, &per_thread);
    uint64_t links = index_prune_bytes(count, options->degree);

    leaves += per_thread * options->thread_count;
    return lists + (leaves > links ? leaves : links);
}

bool index_level_build(const struct index_codes *codes, const struct index_level_options *options,
                       uint32_t *links)
{
    struct index_candidate_lists lists;
    bool done;

    index_candidate_lists_create(&lists, codes->count, list_capacity(options));
    done = index_ball_carving_run(codes, options, &lists) &&
           index_prune_links(codes, options, &lists, links);
    index_candidate_lists_destroy(&lists);
    if (done)
        index_repair_links(codes, options->degree, links);
    return done;
}
