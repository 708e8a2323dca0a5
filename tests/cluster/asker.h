/* A node that hears others over a real NATS server and asks them: its store, its config, its clock. */
#ifndef TESTS_CLUSTER_ASKER_H
#define TESTS_CLUSTER_ASKER_H

#include <nats/nats.h>
#include <stdatomic.h>
#include <time.h>

#include "base/doc.h"
#include "base/io.h"
#include "cluster/cluster.h"
#include "tests/support/nats_server.h"
#include "tests/support/test_main.h"

#define SECOND_NS INT64_C(1000000000)

struct asker {
    struct nats_server nats;
    natsConnection *connection; /* of those that announce themselves */
    struct config config;
    struct config_collection collection;
    struct metrics *metrics;
    struct store *store;
    struct store_registry *registry;
    struct cluster_options options; /* of the node, complete */
    struct io io;                   /* the operating system's, but the clock */
    struct io_operations operations;
    /* The monotonic clock. It moves when a test moves it: how long anything takes on this machine then decides
     * nothing. */
    _Atomic int64_t clock_ns;
};

/** Opens the store and connects; whoever calls it opens the members or the cluster with `options`. */
void asker_open(struct asker *asker);
void asker_close(struct asker *asker);
void asker_pass(struct asker *asker, int64_t ns);
/** Waits until the node has heard all that was said: else the last announcement may come after time has passed, and whoever
 * said it is not silent. */
void asker_settle(struct asker *asker);
/** The value of the first series that begins so; -1: there is none. */
int asker_metric(const struct asker *asker, const char *series);

/** Says on the subject of announcements what a node would. */
void asker_publish(struct asker *asker, const struct doc *announcement);

/* What nodes say comes on another thread: they say it until it shows. */
#define UNTIL(condition, say)                                                                      \
    do {                                                                                           \
        static const struct timespec pause = {.tv_nsec = 5000000};                                 \
        int round = 0;                                                                             \
        for (; round < 4000 && !(condition); round++) {                                            \
            say;                                                                                   \
            nanosleep(&pause, NULL);                                                               \
        }                                                                                          \
        ck_assert_msg(condition, "never: %s", #condition);                                         \
    } while (0)

#endif
