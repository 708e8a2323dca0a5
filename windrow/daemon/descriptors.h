/* File descriptors of the process: how many it may have, and how many of them connections get.
 *
 * A connection costs its sender nothing, not even a key. A log file that cannot be opened costs the
 * service its writes. So connections get at most half of what is left after a reserve, and files
 * have the rest. */
#ifndef WINDROW_DAEMON_DESCRIPTORS_H
#define WINDROW_DAEMON_DESCRIPTORS_H

#include <stdint.h>

/** Raises the soft limit to the hard one, which needs no right. Returns the limit from now on. At startup. */
uint64_t descriptors_raise(void);

/** The connections of HTTP that a limit allows (struct http_options); gRPC takes half as many on top. */
uint32_t descriptors_connections_max(uint64_t limit);

#endif
