/* locator: who has the shard of a job now. Private to indexer/worker.
 *
 *     builder   the job, as a request on PREFIX.owner.GROUP
 *     owner     the job as it is now, with the owner's address; or "unwanted"
 *
 * Every process of the group hears the request, and only the one that has the shard answers. So a job
 * outlives its owner, and a builder needs no list of nodes. */
#ifndef INDEXER_WORKER_LOCATOR_H
#define INDEXER_WORKER_LOCATOR_H

#include "indexer/worker/worker.h"
#include "net/nats/connection.h"

struct locator;

/** `prefix` must live as long. */
struct locator *locator_new(struct nats_connection *connection, const char *prefix,
                            const char *group);
/** Before the connection is closed. No call of the claim function is under way when it returns. */
void locator_end(struct locator *locator);
/** After the connection was closed. */
void locator_delete(struct locator *locator);

/** See struct worker_queue_operations. */
int locator_ask(struct locator *locator, struct worker_job *job, struct error *error);
int locator_answer(struct locator *locator, worker_claim_function claim, void *context,
                   struct error *error);

/** The library may have given the connection up, and there is another one: the subscription is made on it.
 * Now and then. */
void locator_follow(struct locator *locator);

/** Makes one word of a subject: a dot would start a new one, two dots are no subject. */
void locator_make_token(char *text);

#endif
