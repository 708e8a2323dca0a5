#include "cluster/connections.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/http_client/http_client.h"

enum { IDLE_SETS_MAX = 64, IDLE_HANDLES_MAX = 256 };

struct connections {
    const struct config *config;
    struct io *io;
    pthread_mutex_t lock; /* guards all below */
    struct connection_set *idle;
    size_t idle_count;
    CURL *handles[IDLE_HANDLES_MAX]; /* idle, of any set */
    size_t handle_count;
};

struct connection_set {
    struct connection_set *next;
    struct connections *connections;
    CURLM *multi;
    /* What libcurl waits for. Its socket data is the place here, and one more. */
    struct pollfd *sockets;
    struct pollfd *ready; /* a copy while libcurl may change `sockets` */
    size_t count, capacity;
    int64_t timer_ns; /* when libcurl wants to be called in any case */
};

static void *place_data(size_t place)
{
    return (void *)(uintptr_t)(place + 1);
}

static void forget_socket(struct connection_set *set, size_t place)
{
    set->sockets[place] = set->sockets[--set->count];
    if (place < set->count)
        (void)curl_multi_assign(set->multi, set->sockets[place].fd, place_data(place));
}

static int on_socket(CURL *curl, curl_socket_t socket, int what, void *context, void *data)
{
    struct connection_set *set = context;
    size_t place = data ? (size_t)(uintptr_t)data - 1 : set->count;
    int events = (what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0);

    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (data)
            forget_socket(set, place);
        return 0;
    }
    if (!data) {
        if (set->count == set->capacity) {
            set->capacity = set->capacity ? 2 * set->capacity : 8;
            set->sockets =
                memory_checked(realloc(set->sockets, set->capacity * sizeof(*set->sockets)));
            set->ready = memory_checked(realloc(set->ready, set->capacity * sizeof(*set->ready)));
        }
        set->count++;
        (void)curl_multi_assign(set->multi, socket, place_data(place));
    }
    set->sockets[place] = (struct pollfd){.fd = socket, .events = (short)events};
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct connection_set *set = context;

    (void)multi;
    set->timer_ns = timeout_ms < 0
                        ? INT64_MAX
                        : io_monotonic_ns(set->connections->io) + timeout_ms * INT64_C(1000000);
    return 0;
}

/* Sets. */

static struct connection_set *set_new(struct connections *connections)
{
    struct connection_set *set = memory_new(1, sizeof(*set));

    set->connections = connections;
    set->timer_ns = INT64_MAX;
    set->multi = memory_checked(curl_multi_init());
    (void)curl_multi_setopt(set->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(set->multi, CURLMOPT_SOCKETDATA, set);
    (void)curl_multi_setopt(set->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(set->multi, CURLMOPT_TIMERDATA, set);
    return set;
}

static void set_delete(struct connection_set *set)
{
    curl_multi_cleanup(set->multi);
    free(set->sockets);
    free(set->ready);
    free(set);
}

struct connection_set *connections_take(struct connections *connections)
{
    struct connection_set *set;

    pthread_mutex_lock(&connections->lock);
    set = connections->idle;
    if (set) {
        connections->idle = set->next;
        connections->idle_count--;
    }
    pthread_mutex_unlock(&connections->lock);
    return set ? set : set_new(connections);
}

void connections_give(struct connection_set *set)
{
    struct connections *connections = set->connections;
    bool kept;

    pthread_mutex_lock(&connections->lock);
    kept = connections->idle_count < IDLE_SETS_MAX;
    if (kept) {
        set->next = connections->idle;
        connections->idle = set;
        connections->idle_count++;
    }
    pthread_mutex_unlock(&connections->lock);
    if (!kept)
        set_delete(set);
}

/* Transfers. */

static CURL *handle_new(const struct connections *connections)
{
    CURL *curl = memory_checked(curl_easy_init());

    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    http_client_prepare(curl, connections->config);
    return curl;
}

CURL *connection_set_handle(struct connection_set *set)
{
    struct connections *connections = set->connections;
    CURL *curl = NULL;

    pthread_mutex_lock(&connections->lock);
    if (connections->handle_count > 0)
        curl = connections->handles[--connections->handle_count];
    pthread_mutex_unlock(&connections->lock);
    return curl ? curl : handle_new(connections);
}

void connection_set_begin(struct connection_set *set, CURL *curl)
{
    (void)curl_multi_add_handle(set->multi, curl);
}

void connection_set_end(struct connection_set *set, CURL *curl)
{
    struct connections *connections = set->connections;

    (void)curl_multi_remove_handle(set->multi, curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL); /* the caller's, soon gone */
    pthread_mutex_lock(&connections->lock);
    if (connections->handle_count < IDLE_HANDLES_MAX) {
        connections->handles[connections->handle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&connections->lock);
    curl_easy_cleanup(curl);
}

static int64_t until_timer_ms(const struct connection_set *set)
{
    int64_t left_ns = set->timer_ns;

    if (left_ns < INT64_MAX)
        left_ns -= io_monotonic_ns(set->connections->io);
    return left_ns <= 0 ? 0 : left_ns / 1000000 + (left_ns % 1000000 > 0);
}

static size_t wait_ready(struct connection_set *set, int timeout_ms)
{
    int64_t timer_ms = until_timer_ms(set);
    size_t count = 0;

    if (timer_ms < timeout_ms)
        timeout_ms = (int)timer_ms;
    if ((set->count == 0 && timeout_ms == 0) ||
        poll(set->sockets, (nfds_t)set->count, timeout_ms) <= 0)
        return 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->sockets[i].revents != 0)
            set->ready[count++] = set->sockets[i];
    return count;
}

void connection_set_work(struct connection_set *set, int timeout_ms)
{
    size_t count = wait_ready(set, timeout_ms);
    int running;

    for (size_t i = 0; i < count; i++) {
        const short seen = set->ready[i].revents;
        int events = (seen & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0) |
                     (seen & POLLOUT ? CURL_CSELECT_OUT : 0) |
                     (seen & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0);
        (void)curl_multi_socket_action(set->multi, set->ready[i].fd, events, &running);
    }
    if (until_timer_ms(set) == 0) {
        set->timer_ns = INT64_MAX;
        (void)curl_multi_socket_action(set->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

CURL *connection_set_finished(struct connection_set *set, CURLcode *result)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(set->multi, &left)))
        if (message->msg == CURLMSG_DONE) {
            *result = message->data.result;
            return message->easy_handle;
        }
    return NULL;
}

struct connections *connections_new(const struct config *config, struct io *io)
{
    struct connections *connections = memory_new(1, sizeof(*connections));

    connections->config = config;
    connections->io = io;
    pthread_mutex_init(&connections->lock, NULL);
    return connections;
}

void connections_delete(struct connections *connections)
{
    if (!connections)
        return;
    while (connections->handle_count > 0)
        curl_easy_cleanup(connections->handles[--connections->handle_count]);
    while (connections->idle) {
        struct connection_set *next = connections->idle->next;
        set_delete(connections->idle);
        connections->idle = next;
    }
    pthread_mutex_destroy(&connections->lock);
    free(connections);
}
