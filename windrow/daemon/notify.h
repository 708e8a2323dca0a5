/* systemd's notification protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Without the
 * variable nothing happens. */
#ifndef WINDROW_NOTIFY_H
#define WINDROW_NOTIFY_H

#include <stdint.h>

/** Sends e.g. "READY=1\nSTATUS=answering". Failures are ignored: systemd is not there to hear it.
 */
void notify_send(const char *state);

/** "RELOADING=1" with the monotonic time stamp that systemd 253 wants beside it. */
void notify_reloading(void);

/** How often WATCHDOG=1 has to come: half of $WATCHDOG_USEC, 0 when no watchdog is asked for. */
int64_t notify_watchdog_ms(void);

#endif
