/* parts: the service as its parts see it, which is pointers to one another. service.c makes the parts and fills this in the
 * order of the start; nobody else changes a pointer. Inside the folder only. */
#ifndef WINDROW_DAEMON_PARTS_H
#define WINDROW_DAEMON_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "indexer/query/query.h"

struct compaction_scheduler;
struct config;
struct grpc_catalog;
struct grpc_server;
struct http_server;
struct ingest;
struct io;
struct metrics;
struct store;
struct store_registry;

struct bad_records;
struct builds;
struct clock_watch;
struct cluster;
struct collections;
struct drain;
struct embedder;
struct history;
struct moved;
struct rest;
struct safe_clock;
struct shared_collections;
struct trace_export;
struct writer;

struct service {
    struct config *config; /* what the process started with, TTLs of the last reload */
    unsigned roles;
    uint64_t descriptors_max; /* that the process may have open */
    struct safe_clock *clock;
    struct io *wall; /* the wall clock as it shows, believed or not */
    struct io *io;   /* the operating system's, with the safe clock as its wall clock */
    struct metrics *metrics;
    struct trace_export *traces; /* NULL: spans go nowhere */
    struct store *store;
    struct store_registry *registry;
    struct query_describer describer; /* of shards, for /windows and /status */

    /* The endpoint. HTTP asks for /status before all of it has started. */
    struct http_server *http;
    struct embedder *embedder;
    struct rest *rest;
    struct grpc_catalog *grpc_catalog; /* NULL: no gRPC */
    struct grpc_server *grpc;
    struct builds *builds;   /* for other threads: service_builds */
    struct cluster *cluster; /* for other threads: service_cluster. NULL: this process is alone */
    atomic_bool answers;     /* all of the above has started, and is there until the end */

    _Atomic(struct compaction_scheduler *) scheduler; /* NULL until started */
    _Atomic(struct ingest *) ingest;                  /* NULL until started and after it stopped */
    struct writer *writer;
    struct collections *collections;
    struct shared_collections *shared; /* NULL: the process is alone */
    int64_t start_ns;
    _Atomic int64_t ingest_alive_ns; /* heartbeat, monotonic */
    struct clock_watch *clock_watch;
    struct drain *drain;
    int64_t hand_over_end_ns; /* of a stop that hands shards over; the main thread */
    struct moved *moved;
    struct history *history;
    struct bad_records *bad_records;
    atomic_bool unclaimed_closed; /* shards of other processes were let go */
};

/** The cluster that this process is part of; NULL: it is alone, or not there yet. Any thread. */
static inline struct cluster *service_cluster(const struct service *service)
{
    return atomic_load(&service->answers) ? service->cluster : NULL;
}

/** NULL: not there yet. Any thread. */
static inline struct builds *service_builds(const struct service *service)
{
    return atomic_load(&service->answers) ? service->builds : NULL;
}

#endif
