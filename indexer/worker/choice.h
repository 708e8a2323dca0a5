/* choice: graph or lists, where `kind: auto` leaves it open. Private to indexer/worker.
 *
 * The owner of a shard looks at the segments of the collection that have about as many rows, in all
 * shards that are open here. Where both kinds were measured the cheaper one is built; where one was, and
 * the other is expected to be close, the other one is built and so measured: no segment is built
 * twice for it. Where none was, the builder tries both on a sample (indexer/index/choice.h). */
#ifndef INDEXER_WORKER_CHOICE_H
#define INDEXER_WORKER_CHOICE_H

#include "indexer/worker/build.h"
#include "indexer/worker/worker.h"

/** Fills in job->choice from what is known of the collection, for jobs that ask for a graph and may get
 * lists as well (worker_kind_is_free); leaves others alone. */
void worker_choose(struct store_registry *registry, const struct config_collection *collection,
                   int64_t now_ms, struct worker_job *job);

/** Sets the kind of the build and why, as the job has them. */
void worker_build_choose(struct build *build, const struct worker_job *job);

/** As worker_build_good, of the kind that is chosen: tries both kinds first where the job says so, then
 * gets the codebook of lists. Lists that were chosen and have too low a recall give way to a graph. */
int worker_build_chosen(struct build *build, bool *low_recall, struct error *error);

#endif
