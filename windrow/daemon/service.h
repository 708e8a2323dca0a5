/* The running service: opens the store, answers, consumes, compacts; stops in the reverse order. */
#ifndef WINDROW_SERVICE_H
#define WINDROW_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/indexer.h"
#include "indexer/query/query.h"
#include "ingest/ingest.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/bad_records.h"
#include "windrow/daemon/clock_watch.h"
#include "windrow/daemon/collections.h"
#include "windrow/daemon/daemon.h"
#include "windrow/daemon/drain.h"
#include "windrow/daemon/history.h"
#include "windrow/daemon/moved.h"
#include "windrow/daemon/safe_clock.h"
#include "windrow/daemon/shared_collections.h"
#include "windrow/daemon/writer.h"

/* A loop is alive while its heartbeat is younger than this; a stuck one stops the watchdog's pings.
 */
enum { SERVICE_LOOP_TIMEOUT_MS = 30000 };

struct service {
    struct config *config; /* what the process started with, TTLs of the last reload */
    unsigned roles;
    struct safe_clock *clock;
    struct io *wall; /* the wall clock as it shows, believed or not */
    struct io *io;   /* the operating system's, with the safe clock as its wall clock */
    struct metrics *metrics;
    struct trace_export *traces; /* NULL: spans go nowhere */
    struct store *store;
    struct store_registry *registry;
    struct http_server *http;
    _Atomic(struct indexer *) indexer; /* HTTP asks for /status before indexer_start returns */
    _Atomic(struct compaction_scheduler *) scheduler; /* NULL until started */
    struct query_describer describer;                 /* of shards, for /windows and /status */
    struct writer *writer;
    struct collections *collections;
    struct shared_collections *shared; /* NULL: the process is alone */
    _Atomic(struct ingest *) ingest;   /* NULL until started and after it stopped */
    int64_t start_ns;
    _Atomic int64_t ingest_alive_ns; /* heartbeat, monotonic */
    struct clock_watch clock_watch;
    struct drain drain;
    struct moved *moved;
    struct history *history;
    struct bad_records *bad_records;
    atomic_bool unclaimed_closed; /* shards of other processes were let go */
};

/** Starts everything. A broker or NATS that is away is no failure. */
int service_start(const struct daemon_options *options, struct service **service,
                  struct error *error);
/** Stops reading, flushes, commits offsets as a hint, closes. Frees the service. */
void service_stop(struct service *service);
/** Called about twice a second by the main thread: what needs a look now and then. */
void service_tick(struct service *service);
/** Reads the config again and applies what may change while running; logs what needs a restart. */
void service_reload(struct service *service);
/** GET /config: what `windrow check-config --against URL` compares a file with. */
void service_handle_config(struct http_request *request);
/** Another TTL for a collection, in open shards too. */
void service_set_ttl(struct service *service, const char *collection, int64_t ttl_ms);
/** Every loop gave a sign of life lately. Any thread. */
bool service_alive(struct service *service);
/** Caught up, or why not. Any thread. */
bool service_ready(struct service *service, char *why, size_t why_bytes);

#endif
