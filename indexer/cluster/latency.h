/* latency: how long nodes take to answer, which ones do not, and how many hedges are to be had. Inside the room
 * only. Any thread. */
#ifndef INDEXER_CLUSTER_LATENCY_H
#define INDEXER_CLUSTER_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

struct latency;

struct latency *latency_new(void);
/** NULL is allowed. */
void latency_delete(struct latency *latency);

/** A node answered after so long. */
void latency_note(struct latency *latency, const char *address, int64_t took_ns);
/** After how long a request to the node is hedged: what 95 of 100 of its recent answers stayed
 * below, within bounds; the upper bound for a node that is new. */
int64_t latency_hedge_ns(struct latency *latency, const char *address);
/** The node let somebody wait too long, or could not be reached: others are asked first, until it
 * answers again. */
void latency_suspect(struct latency *latency, const char *address, int64_t now_ns);
/** Whether others should be asked first. Once in a while it says no: that request is a probe. */
bool latency_avoid(struct latency *latency, const char *address, int64_t now_ns);
/** Whether the node has not answered since it was suspected. */
bool latency_suspected(struct latency *latency, const char *address);
/** A request was sent: a twentieth of a hedge becomes free. */
void latency_earn(struct latency *latency);
/** Takes one hedge; false when none is left. */
bool latency_spend(struct latency *latency);

#endif
