/* latency: how long nodes take to answer, which ones do not, and how many hedges are to be had. Inside the room
 * only. Any thread. */
#ifndef CLUSTER_LATENCY_H
#define CLUSTER_LATENCY_H

#include <stdbool.h>
#include <stddef.h>
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
/** A request was sent that is no hedge: a twentieth of a hedge becomes free. */
void latency_earn(struct latency *latency);
/** Takes so many hedges, or none: false. `overdue`: later ones may pay for it. Of any R requests that are no hedges and
 * come one after the other, hedges are at most R / 20 and 20 that were saved before, and 100 more where some were overdue. */
bool latency_spend(struct latency *latency, size_t count, bool overdue);

#endif
