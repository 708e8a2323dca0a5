/* windrow compact: asks the running service for merges now. */
#include <stdio.h>

#include "windrow/cli/command.h"
#include "windrow/cli/window_request.h"

static const char help[] =
    "Usage: windrow compact -C COLLECTION [--window TIME] [--shard SHARD]\n\n"
    "Asks the running service (http.listen of the config) for a seal, a reseal or a merge now and\n"
    "waits until it is done. Without --window: every window that is closed; a collection without\n"
    "windows merges all it has.\n\n"
    "  -c, --config FILE      default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  -C, --collection NAME  may be left out when the config has only one\n"
    "      --window TIME      the window that holds it, open or not: 2026-11-21T03:04:05Z,\n"
    "                         milliseconds, or 2h for two hours ago\n"
    "      --shard SHARD      only this one, as `windrow status` names it\n"
    "      --json             the raw reply\n\n"
    "Example:\n"
    "  windrow compact -C news --window 2026-11-21T03:00:00Z\n";

int command_compact(int argc, char **argv)
{
    return window_request_run(argc, argv, "compact", help, false);
}
