#include "windrow/daemon/daemon.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "windrow/daemon/crash.h"
#include "windrow/daemon/notify.h"
#include "windrow/daemon/service.h"

/* Nothing tells that the system clock was set, and the watchdog wants a sign of life: the one thread
 * of the process that wakes by time alone. */
enum { TICK_MS = 500 };

/* A stop hands the shards over first, if somebody is there for them and the operator leaves the time. */
static bool hands_over(struct service *service, int64_t *until_ns)
{
    int64_t timeout_ms = service->config->cluster_drain_timeout_ms;
    struct error error = {0};

    if (timeout_ms == 0 || !service->config->cluster_name || drain_begin(service, &error) != 0)
        return false;
    *until_ns = io_monotonic_ns(service->io) + timeout_ms * 1000000;
    notify_send("STATUS=handing shards over");
    return true;
}

/* Waits for a signal for at most one tick; feeds the watchdog while the loops are alive. A second signal
 * stops at once. */
static void serve(struct service *service, const sigset_t *signals)
{
    int64_t until_ns = 0; /* of a stop that hands over */
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t tick_ms = watchdog_ms > 0 && watchdog_ms < TICK_MS ? watchdog_ms : TICK_MS;
    struct timespec timeout = {.tv_sec = tick_ms / 1000,
                               .tv_nsec = (long)(tick_ms % 1000) * 1000000};

    while (until_ns == 0 || (!drain_over(service) && io_monotonic_ns(service->io) < until_ns)) {
        int signal_number = sigtimedwait(signals, NULL, &timeout);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info("windrow", "stopping on %s", strsignal(signal_number));
            if (until_ns != 0 || !hands_over(service, &until_ns))
                return;
        }
        if (signal_number == SIGHUP) {
            notify_reloading();
            service_reload(service);
            notify_send("READY=1");
        }
        service_tick(service);
        if (watchdog_ms > 0 && service_alive(service))
            notify_send("WATCHDOG=1");
    }
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
             service->config->http_tls_cert_file ? "https" : "http", service->config->http_host,
             http_server_port(service->http));
    notify_send("READY=1\nSTATUS=answering searches");
    serve(service, &signals);
    notify_send("STOPPING=1\nSTATUS=flushing");
    service_stop(service);
    log_info("windrow", "stopped");
    return 0;
}
