#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "windrow/command.h"
#include "windrow/crash.h"
#include "windrow/notify.h"
#include "windrow/service.h"

static const char help[] =
    "Usage: windrow run [-c FILE] [--role ingest|indexer|all] [--trust-clock]\n\n"
    "Runs the service until SIGTERM or Ctrl-C. SIGHUP reads the config again and says that the\n"
    "wall clock is right.\n\n"
    "  -c, --config FILE   default ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  --role ROLE         overrides `roles` of the config\n"
    "  --trust-clock       the wall clock is right, however long windrow did not run\n"
    "  -v, --verbose       debug lines\n\n"
    "Example:\n  windrow run -c windrow.yaml\n";

enum { TICK_MS = 500 };

static int parse_role(const char *text, unsigned *roles)
{
    if (strcmp(text, "all") == 0)
        *roles = CONFIG_ROLE_INGEST | CONFIG_ROLE_INDEXER;
    else if (strcmp(text, "ingest") == 0)
        *roles = CONFIG_ROLE_INGEST;
    else if (strcmp(text, "indexer") == 0)
        *roles = CONFIG_ROLE_INDEXER;
    else
        return command_usage_error("run", "--role is ingest, indexer or all, not %s", text);
    return COMMAND_OK;
}

/* Waits for a signal for at most one tick; feeds the watchdog while the loops are alive. */
static void serve(struct service *service, const sigset_t *signals)
{
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t tick_ms = watchdog_ms > 0 && watchdog_ms < TICK_MS ? watchdog_ms : TICK_MS;
    struct timespec timeout = {.tv_sec = tick_ms / 1000,
                               .tv_nsec = (long)(tick_ms % 1000) * 1000000};

    for (;;) {
        int signal_number = sigtimedwait(signals, NULL, &timeout);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info("windrow", "stopping on %s", strsignal(signal_number));
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

static int run(const struct service_options *options)
{
    const struct config *config = options->config;
    struct service *service;
    struct error error = {0};
    sigset_t signals;

    /* Blocked before any thread exists, so that only sigtimedwait sees them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    crash_report_install();

    if (service_start(options, &service, &error) != 0)
        return command_fail("%s", error.text);
    log_info("windrow", "answering on http://%s:%u", config->http_host,
             indexer_http_port(service->indexer));
    notify_send("READY=1\nSTATUS=answering searches");
    serve(service, &signals);
    notify_send("STOPPING=1\nSTATUS=flushing");
    service_stop(service);
    log_info("windrow", "stopped");
    return COMMAND_OK;
}

int command_run(int argc, char **argv)
{
    return command_run_under(NULL, argc, argv);
}

int command_run_under(struct io *wall, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"role", required_argument, NULL, 'r'},
        {"trust-clock", no_argument, NULL, 't'},  {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct service_options run_options = {.wall = wall};
    const char *config_path = NULL;
    int status;
    int option;

    while ((option = getopt_long(argc, argv, "c:r:vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'r':
            status = parse_role(optarg, &run_options.roles);
            if (status != COMMAND_OK)
                return status;
            break;
        case 't':
            run_options.trust_clock = true;
            break;
        case 'v':
            logger_set_level(LOGGER_DEBUG);
            break;
        case 'h':
            fputs(help, stdout);
            return COMMAND_OK;
        default:
            return command_usage_error("run", "see above");
        }
    }
    if (optind < argc)
        return command_usage_error("run", "unexpected %s", argv[optind]);
    status = command_load_config(config_path, &run_options.config);
    if (status != COMMAND_OK)
        return status;
    if (run_options.roles == 0)
        run_options.roles = run_options.config->roles;
    if ((run_options.roles & CONFIG_ROLE_INGEST) == 0 && !run_options.config->nats_url) {
        config_free(run_options.config);
        command_fail("the role indexer alone builds for other machines and gets its work from "
                     "NATS: give nats.url");
        return COMMAND_CONFIG;
    }
    return run(&run_options);
}
