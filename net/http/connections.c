/* Who has to go when there are too many connections. A connection that waits for its client (for a
 * request, for the rest of one, or until a reply is read) may be closed; one that waits for us may
 * not. Of the client with the most connections the one that has waited longest goes, so that idle
 * connections keep nobody else out, neither probes nor other clients. */
#include <sys/socket.h>

#include "base/memory.h"
#include "net/http/server.h"

#include <stdlib.h>

void http_connections_create(struct http_connections *connections, uint32_t max,
                             struct metrics *metrics)
{
    *connections = (struct http_connections){
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .max = max,
        .closed = metrics_counter(metrics, "windrow_http_connections_closed_total",
                                  "Connections closed because there were too many", NULL, 0)};
}

void http_connections_destroy(struct http_connections *connections)
{
    pthread_mutex_destroy(&connections->lock);
}

/* Under the lock. */
static void unlink_waiting(struct http_connections *connections, struct http_connection *one)
{
    struct http_connection_lane *lane = &connections->lanes[one->lane];

    if (!one->waits)
        return;
    *(one->older ? &one->older->newer : &lane->oldest) = one->newer;
    *(one->newer ? &one->newer->older : &lane->newest) = one->older;
    one->waits = false;
}

/* Under the lock. */
static void link_waiting(struct http_connections *connections, struct http_connection *one)
{
    struct http_connection_lane *lane = &connections->lanes[one->lane];

    one->older = lane->newest;
    one->newer = NULL;
    *(lane->newest ? &lane->newest->newer : &lane->oldest) = one;
    lane->newest = one;
    one->waits = true;
}

/* Under the lock. The connection ends as if the client had closed it: libmicrohttpd, whose socket it
 * is, sees the end of its input. */
static void close_longest_waiting(struct http_connections *connections,
                                  const struct http_connection *spared)
{
    struct http_connection *chosen = NULL;
    uint32_t most = 0;

    for (uint32_t i = 0; i < THREAD_LANES_MAX; i++) {
        const struct http_connection_lane *lane = &connections->lanes[i];
        if (lane->oldest && lane->oldest != spared && lane->count > most) {
            chosen = lane->oldest;
            most = lane->count;
        }
    }
    if (!chosen)
        return;
    unlink_waiting(connections, chosen);
    chosen->is_closed = true;
    (void)shutdown(chosen->socket, SHUT_RDWR);
    metric_add(connections->closed, 1);
}

struct http_connection *http_connection_open(struct http_connections *connections, int socket,
                                             uint32_t lane)
{
    struct http_connection *fresh = memory_new(1, sizeof(*fresh));

    fresh->socket = socket;
    fresh->lane = lane;
    pthread_mutex_lock(&connections->lock);
    connections->lanes[lane].count++;
    link_waiting(connections, fresh);
    if (++connections->count > connections->max)
        close_longest_waiting(connections, fresh);
    pthread_mutex_unlock(&connections->lock);
    return fresh;
}

void http_connection_close(struct http_connections *connections, struct http_connection *one)
{
    pthread_mutex_lock(&connections->lock);
    unlink_waiting(connections, one);
    connections->lanes[one->lane].count--;
    connections->count--;
    pthread_mutex_unlock(&connections->lock);
    free(one);
}

/* libmicrohttpd is told once, by epoll's edge, that bytes and the end of them came. It reads the bytes; where these
 * do not fill its buffer it waits for another edge, which never comes: the connection would stay until its idle
 * limit. Ending the side that has ended makes one. */
void http_connection_notice_end(const struct http_connection *connection)
{
    char byte;

    if (recv(connection->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        (void)shutdown(connection->socket, SHUT_RD);
}

void http_connection_set_waiting(struct http_connections *connections, struct http_connection *one,
                                 bool waits)
{
    pthread_mutex_lock(&connections->lock);
    unlink_waiting(connections, one);
    if (waits && !one->is_closed)
        link_waiting(connections, one);
    pthread_mutex_unlock(&connections->lock);
}
