#include "windrow/daemon/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/thread.h"
#include "ingest/ingest.h"
#include "windrow/daemon/crash.h"
#include "windrow/daemon/health.h"
#include "windrow/daemon/notify.h"
#include "windrow/daemon/reload.h"
#include "windrow/daemon/service.h"

/* Nothing tells that the system clock was set, and the watchdog wants a sign of life: the one thread
 * of the process that wakes by time alone. */
enum { TICK_MS = 500 };

/* Waits for a signal for at most one tick; feeds the watchdog while the loops are alive. A second signal
 * stops at once. */
static void serve(struct service *service, const sigset_t *signals)
{
    bool hands_over = false; /* a stop has begun, and waits for that */
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t tick_ms = watchdog_ms > 0 && watchdog_ms < TICK_MS ? watchdog_ms : TICK_MS;
    struct timespec timeout = {.tv_sec = tick_ms / 1000,
                               .tv_nsec = (long)(tick_ms % 1000) * 1000000};

    while (!hands_over || !service_handed_over(service)) {
        int signal_number = sigtimedwait(signals, NULL, &timeout);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info("windrow", "stopping on %s", strsignal(signal_number));
            if (hands_over || !service_hand_over(service))
                return;
            hands_over = true;
            notify_send("STATUS=handing shards over");
        }
        if (signal_number == SIGHUP) {
            notify_reloading();
            reload_config(service);
            notify_send("READY=1");
        }
        service_tick(service);
        if (watchdog_ms > 0 && health_alive(service))
            notify_send("WATCHDOG=1");
    }
}

/* Listens for signals while the service stops. */
struct listener {
    pthread_t thread;
    const sigset_t *signals;
    atomic_bool is_over; /* the service has stopped: SIGHUP wakes the thread then */
};

/* Whoever sends a second signal does not want to wait. All that was acknowledged is durable. */
static void *end_at_once(void *context)
{
    struct listener *listener = context;
    int signal_number = 0;

    while (sigwait(listener->signals, &signal_number) != 0 || signal_number == SIGHUP)
        if (atomic_load(&listener->is_over))
            return NULL;
    log_warning("windrow", "ending at once on a second signal (%s): the next start replays the log",
                strsignal(signal_number));
    _exit(EXIT_FAILURE);
}

static int stop(struct service *service, const sigset_t *signals, struct error *error)
{
    struct listener listener = {.signals = signals};
    bool listens = thread_start(&listener.thread, "stop", end_at_once, &listener) == 0;
    unsigned left;

    service_stop(service);
    if (listens) {
        atomic_store(&listener.is_over, true);
        (void)pthread_kill(listener.thread, SIGHUP);
        (void)pthread_join(listener.thread, NULL);
    }
    left = ingest_clients_left();
    if (left > 0)
        return error_set(error, ERROR_PEER,
                         "stopped, and all data is durable, but %u Kafka clients had not ended",
                         left);
    log_info("windrow", "stopped");
    return 0;
}

int daemon_run(const struct daemon_options *options, struct error *error)
{
    struct service *service;
    sigset_t signals;

    /* Blocked before any thread exists, so that only sigtimedwait sees them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    crash_report_install();

    if (service_start(options, &service, error) != 0)
        return error->code;
    log_info("windrow", "answering on %s://%s:%u",
             options->config->http_tls_cert_file ? "https" : "http", options->config->http_host,
             service_port(service));
    notify_send("READY=1\nSTATUS=answering searches");
    serve(service, &signals);
    notify_send("STOPPING=1\nSTATUS=flushing");
    return stop(service, &signals, error);
}
