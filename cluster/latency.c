#include "cluster/latency.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { SAMPLES = 64, NODES_MAX = 2048, HEDGE_SHARE = 20, HEDGES_SAVED = 20, HEDGES_OWED = 100 };

#define HEDGE_MIN_NS INT64_C(5000000)
#define HEDGE_MAX_NS INT64_C(250000000)
#define PROBE_NS     INT64_C(1000000000) /* between two probes of a node that does not answer */

struct node_latency {
    struct node_latency *next;
    char *address;
    int64_t samples[SAMPLES]; /* the recent ones, oldest overwritten */
    uint32_t count, place;
    int64_t hedge_ns;
    bool suspected;
    int64_t probe_ns; /* when it may be probed */
};

struct latency {
    pthread_mutex_t lock;
    struct node_latency *nodes; /* most recently used first */
    size_t node_count;
    int64_t
        tokens; /* HEDGE_SHARE of them are a hedge; below 0: what overdue ones have to be paid back */
};

struct latency *latency_new(void)
{
    struct latency *latency = memory_new(1, sizeof(*latency));

    pthread_mutex_init(&latency->lock, NULL);
    latency->tokens = HEDGE_SHARE;
    return latency;
}

static void free_node(struct node_latency *node)
{
    free(node->address);
    free(node);
}

void latency_delete(struct latency *latency)
{
    if (!latency)
        return;
    while (latency->nodes) {
        struct node_latency *next = latency->nodes->next;
        free_node(latency->nodes);
        latency->nodes = next;
    }
    pthread_mutex_destroy(&latency->lock);
    free(latency);
}

/* Under the lock; moves it to the front. Addresses of nodes that are gone fall off the end. */
static struct node_latency *find(struct latency *latency, const char *address)
{
    struct node_latency **place = &latency->nodes;
    struct node_latency *node;

    while (*place && strcmp((*place)->address, address) != 0) {
        if (!(*place)->next && latency->node_count == NODES_MAX) {
            free_node(*place);
            *place = NULL;
            latency->node_count--;
            break;
        }
        place = &(*place)->next;
    }
    node = *place;
    if (node) {
        *place = node->next;
    } else {
        node = memory_new(1, sizeof(*node));
        node->address = memory_checked(strdup(address));
        node->hedge_ns = HEDGE_MAX_NS;
        latency->node_count++;
    }
    node->next = latency->nodes;
    latency->nodes = node;
    return node;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

void latency_note(struct latency *latency, const char *address, int64_t took_ns)
{
    int64_t sorted[SAMPLES];
    struct node_latency *node;

    pthread_mutex_lock(&latency->lock);
    node = find(latency, address);
    node->samples[node->place] = took_ns;
    node->place = (node->place + 1) % SAMPLES;
    if (node->count < SAMPLES)
        node->count++;
    node->suspected = false;
    /* Sorting 64 numbers takes a microsecond or two; every eighth answer is enough. */
    if (node->count == SAMPLES && node->place % 8 == 0) {
        memcpy(sorted, node->samples, sizeof(sorted));
        qsort(sorted, SAMPLES, sizeof(*sorted), compare);
        node->hedge_ns = sorted[SAMPLES * 95 / 100];
        if (node->hedge_ns < HEDGE_MIN_NS)
            node->hedge_ns = HEDGE_MIN_NS;
        if (node->hedge_ns > HEDGE_MAX_NS)
            node->hedge_ns = HEDGE_MAX_NS;
    }
    pthread_mutex_unlock(&latency->lock);
}

int64_t latency_hedge_ns(struct latency *latency, const char *address)
{
    int64_t hedge_ns;

    pthread_mutex_lock(&latency->lock);
    hedge_ns = find(latency, address)->hedge_ns;
    pthread_mutex_unlock(&latency->lock);
    return hedge_ns;
}

void latency_suspect(struct latency *latency, const char *address, int64_t now_ns)
{
    struct node_latency *node;

    pthread_mutex_lock(&latency->lock);
    node = find(latency, address);
    if (!node->suspected)
        node->probe_ns = now_ns + PROBE_NS;
    node->suspected = true;
    pthread_mutex_unlock(&latency->lock);
}

bool latency_avoid(struct latency *latency, const char *address, int64_t now_ns)
{
    struct node_latency *node;
    bool avoid;

    pthread_mutex_lock(&latency->lock);
    node = find(latency, address);
    avoid = node->suspected && now_ns < node->probe_ns;
    if (node->suspected && !avoid)
        node->probe_ns = now_ns + PROBE_NS;
    pthread_mutex_unlock(&latency->lock);
    return avoid;
}

bool latency_suspected(struct latency *latency, const char *address)
{
    bool suspected;

    pthread_mutex_lock(&latency->lock);
    suspected = find(latency, address)->suspected;
    pthread_mutex_unlock(&latency->lock);
    return suspected;
}

void latency_earn(struct latency *latency)
{
    pthread_mutex_lock(&latency->lock);
    if (latency->tokens < HEDGE_SHARE * HEDGES_SAVED)
        latency->tokens++;
    pthread_mutex_unlock(&latency->lock);
}

bool latency_spend(struct latency *latency, size_t count, bool overdue)
{
    bool there;

    pthread_mutex_lock(&latency->lock);
    there = latency->tokens - (int64_t)count * HEDGE_SHARE >=
            (overdue ? -(int64_t)HEDGES_OWED * HEDGE_SHARE : 0);
    if (there)
        latency->tokens -= (int64_t)count * HEDGE_SHARE;
    pthread_mutex_unlock(&latency->lock);
    return there;
}
