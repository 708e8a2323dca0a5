/* daemon: the service behind `windrow run`. */
#ifndef WINDROW_DAEMON_DAEMON_H
#define WINDROW_DAEMON_DAEMON_H

#include <stdbool.h>

#include "base/error.h"
#include "base/io.h"
#include "config/config.h"

struct daemon_options {
    struct config *config; /* the daemon frees it */
    unsigned roles;        /* enum config_role */
    bool trust_clock;      /* an operator confirmed the wall clock */
    struct io *wall;       /* clocks to use; NULL: the operating system's. For tests */
};

/** Runs until SIGTERM or SIGINT. Called once, before the process has other threads. A second signal while it stops
 * ends the process. ERROR_PEER: all is durable, but a Kafka client had not ended and is left behind. */
int daemon_run(const struct daemon_options *options, struct error *error);

#endif
