/* The commands that ask the running service to work on windows: compact, rebuild. */
#ifndef WINDROW_WINDOW_REQUEST_H
#define WINDROW_WINDOW_REQUEST_H

#include <stdbool.h>

/** Reads the options, sends POST /collections/C/<command>, prints the windows it names. Returns an
 * exit status. `needs_window`: --window may not be left out. */
int window_request_run(int argc, char **argv, const char *command, const char *help,
                       bool needs_window);

#endif
