/* windrow rebuild: asks the running service to read a window again from Kafka. */
#include <stdio.h>

#include "windrow/cli/command.h"
#include "windrow/cli/window_request.h"

static const char help[] =
    "Usage: windrow rebuild -C COLLECTION --window TIME [--shard SHARD]\n\n"
    "Asks the running service (http.listen of the config) to read a window again from Kafka, and\n"
    "waits until it is swapped in. A window that was taken out because its files are damaged "
    "comes\n"
    "back. Searches go on; refused when Kafka no longer holds what the window was made of.\n\n"
    "  -c, --config FILE      default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  -C, --collection NAME  may be left out when the config has only one\n"
    "      --window TIME      the window that holds it: 2026-11-21T03:04:05Z, milliseconds, or 2h\n"
    "                         for two hours ago\n"
    "      --shard SHARD      only this one, as `windrow status` names it\n"
    "      --json             the raw reply\n\n"
    "Example:\n"
    "  windrow rebuild -C news --window 2026-11-21T03:00:00Z\n";

int command_rebuild(int argc, char **argv)
{
    return window_request_run(argc, argv, "rebuild", help, true);
}
