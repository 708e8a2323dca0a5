/* One exchange is driven by the thread that waits for it: libcurl's multi interface runs all of its
 * requests, and nothing here is shared with other exchanges but the idle connections and the
 * latencies.
 *
 *     wanted     a shard, its owners by preference, how many of them were asked, whether some
 *                request under way wants it, whether an answer served it
 *     request    one node, for some shards; hedged from hedge_ns on
 *
 * A shard that is not served and that no request under way wants is asked for at its next owner.
 * The exchange ends when all are served, when no owner is left, or with its time. */
#include "indexer/cluster/exchange.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "indexer/cluster/latency.h"
#include "indexer/http/http.h"
#include "indexer/http_client/http_client.h"

enum {
    OWNERS_MAX = 8, /* of a shard, that are tried */
    CONNECT_TIMEOUT_MS = 1000,
    ANSWER_MAX_BYTES = 512 << 20,
    ANSWER_SHARE = 32, /* of the time left, for the answer's way back */
    WAIT_MS = 50,      /* between two looks at the stop */
    IDLE_SETS_MAX = 64,
    LOG_EVERY_S = 1
};

/* Until a hedge is looked for again that the budget refused, or that nobody could be asked for. */
#define HEDGE_AGAIN_NS INT64_C(10000000)
#define LOOK_AGAIN_NS  INT64_C(100000000)
/* From then on a hedge is not for a faster answer but for any: the budget, which requests fill that
 * may all be waiting for the same node, does not hold it. */
#define LATE_NS INT64_C(1000000000)

/* Connections for one call at a time. */
struct connection_set {
    struct connection_set *next;
    CURLM *multi;
};

enum outcome { ANSWERED, UNREACHABLE, REFUSED, BUSY, UNUSABLE, CANCELLED, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = {
    [ANSWERED] = "answered", [UNREACHABLE] = "unreachable", [REFUSED] = "refused",
    [BUSY] = "busy",         [UNUSABLE] = "unusable",       [CANCELLED] = "cancelled",
};

struct exchanger {
    struct cluster_options options;
    struct members *members;
    struct query_peers peers;
    struct latency *latency;
    pthread_mutex_t lock; /* of the sets */
    struct connection_set *idle;
    size_t idle_count;
    struct logger_limit complaints;
    struct metric *outcomes[OUTCOMES], *hedges, *seconds;
};

/* A shard that is wanted. */
struct wanted {
    const char *name;
    struct members_owner owners[OWNERS_MAX];
    size_t owner_count;
    size_t next_owner; /* the first that was not asked yet */
    bool served;
    bool asked; /* some request under way wants it */
};

struct request {
    struct request *next;
    struct query_exchange *exchange;
    CURL *curl;
    struct curl_slist *headers;
    const char *node, *address;
    struct wanted **wanted; /* that it asks for */
    size_t wanted_count;
    struct buffer body, reply;
    char reason[CURL_ERROR_SIZE];
    int64_t start_ns, hedge_ns; /* hedge_ns: from when on it may be hedged */
    bool done;
};

struct query_exchange {
    struct exchanger *exchanger;
    const struct query_peer_call *call;
    struct connection_set *set;
    struct arena arena;
    struct wanted *wanted;
    struct request *requests; /* all that were made */
    size_t running;
    struct query_peer_counts counts;
};

static int64_t now_ns(const struct query_exchange *exchange)
{
    return io_monotonic_ns(exchange->exchanger->options.io);
}

/* Owners of a shard. */

/* Among those from `first` on and before `end`; `end` when it is not there. */
static size_t owner_place(const struct wanted *wanted, size_t first, size_t end,
                          const char *address)
{
    while (first < end && strcmp(wanted->owners[first].address, address) != 0)
        first++;
    return first;
}

/* Those between the two places close up. */
static void move_owner(struct wanted *wanted, size_t from, size_t to)
{
    struct members_owner *owners = wanted->owners, owner = owners[from];

    if (from < to)
        memmove(&owners[from], &owners[from + 1], (to - from) * sizeof(owner));
    else
        memmove(&owners[to + 1], &owners[to], (from - to) * sizeof(owner));
    owners[to] = owner;
}

/* Connections. */

static struct connection_set *take_set(struct exchanger *exchanger)
{
    struct connection_set *set;

    pthread_mutex_lock(&exchanger->lock);
    set = exchanger->idle;
    if (set) {
        exchanger->idle = set->next;
        exchanger->idle_count--;
    }
    pthread_mutex_unlock(&exchanger->lock);
    if (set)
        return set;
    set = memory_new(1, sizeof(*set));
    set->multi = memory_checked(curl_multi_init());
    return set;
}

static void free_set(struct connection_set *set)
{
    curl_multi_cleanup(set->multi);
    free(set);
}

static void give_set(struct exchanger *exchanger, struct connection_set *set)
{
    bool kept;

    pthread_mutex_lock(&exchanger->lock);
    kept = exchanger->idle_count < IDLE_SETS_MAX;
    if (kept) {
        set->next = exchanger->idle;
        exchanger->idle = set;
        exchanger->idle_count++;
    }
    pthread_mutex_unlock(&exchanger->lock);
    if (!kept)
        free_set(set);
}

/* Requests. */

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct buffer *reply = context;

    if (reply->size + size * count > ANSWER_MAX_BYTES)
        return 0; /* the transfer fails */
    buffer_append(reply, bytes, size * count);
    return size * count;
}

static void set_transfer(struct request *request)
{
    const struct query_exchange *exchange = request->exchange;
    int64_t left_ms = (exchange->call->deadline_ns - request->start_ns) / 1000000;
    CURL *curl = request->curl;
    const struct config *config = exchange->exchanger->options.config;
    char url[400];

    if (left_ms < 1)
        left_ms = 1;
    /* The node gives up a little earlier: that it ran out of time is an answer, too. */
    (void)snprintf(url, sizeof(url), "%s://%s/internal/query?timeout_ms=%lld",
                   http_client_scheme(config), request->address,
                   (long long)(left_ms - left_ms / ANSWER_SHARE));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
    http_client_prepare(curl, config);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, request->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request->reply);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, request);
}

static void send_request(struct query_exchange *exchange, const struct members_owner *owner,
                         struct wanted **wanted, size_t count)
{
    struct request *request = memory_checked(arena_calloc(&exchange->arena, 1, sizeof(*request)));
    const char **names = memory_checked(arena_calloc(&exchange->arena, count + 1, sizeof(*names)));

    for (size_t i = 0; i < count; i++) {
        names[i] = wanted[i]->name;
        wanted[i]->asked = true;
    }
    *request = (struct request){
        .exchange = exchange,
        .next = exchange->requests,
        .curl = memory_checked(curl_easy_init()),
        .headers = http_client_headers(exchange->exchanger->options.config, HTTP_TYPE_BINARY),
        .node = owner->node,
        .address = owner->address,
        .wanted = wanted,
        .wanted_count = count,
        .start_ns = now_ns(exchange)};
    request->hedge_ns =
        request->start_ns + latency_hedge_ns(exchange->exchanger->latency, owner->address);
    query_peer_request(exchange->call, names, count, &request->body);
    set_transfer(request);
    exchange->requests = request;
    exchange->running++;
    exchange->counts.asked++;
    latency_earn(exchange->exchanger->latency);
    (void)curl_multi_add_handle(exchange->set->multi, request->curl);
}

static void end_request(struct request *request)
{
    (void)curl_multi_remove_handle(request->exchange->set->multi, request->curl);
    curl_easy_cleanup(request->curl);
    curl_slist_free_all(request->headers);
    request->curl = NULL;
    buffer_destroy(&request->body);
    buffer_destroy(&request->reply);
    request->done = true;
    request->exchange->running--;
}

/* Asks the next owner of every shard that nobody is asked for: one request a node. */
static void ask_owners(struct query_exchange *exchange)
{
    const size_t count = exchange->call->shard_count;

    for (size_t i = 0; i < count; i++) {
        struct wanted *first = &exchange->wanted[i];
        const struct members_owner *owner;
        struct wanted **together;
        size_t size = 0;
        if (first->served || first->asked || first->next_owner == first->owner_count)
            continue;
        owner = &first->owners[first->next_owner];
        together = memory_checked(arena_calloc(&exchange->arena, count, sizeof(struct wanted *)));
        for (size_t k = i; k < count; k++) {
            struct wanted *one = &exchange->wanted[k];
            if (!one->served && !one->asked && one->next_owner < one->owner_count &&
                strcmp(one->owners[one->next_owner].address, owner->address) == 0) {
                together[size++] = one;
                one->next_owner++;
            }
        }
        send_request(exchange, owner, together, size);
    }
}

/* Answers. */

/* A node that keeps failing is not worth a line for each search. */
static void complain(struct query_exchange *exchange, const struct request *request,
                     const char *why)
{
    (void)logger_write_limited(&exchange->exchanger->complaints, LOGGER_WARNING, "cluster",
                               "peer_failed", "node %s at %s: %s", request->node, request->address,
                               why);
}

static enum outcome accept_reply(struct query_exchange *exchange, struct request *request)
{
    const struct query_peer_call *call = exchange->call;
    const char **names =
        memory_checked(arena_calloc(&exchange->arena, request->wanted_count + 1, sizeof(*names)));
    bool *served =
        memory_checked(arena_calloc(&exchange->arena, request->wanted_count + 1, sizeof(*served)));
    struct query_peer_answer answer = {.node = request->node,
                                       .shards = names,
                                       .shard_count = request->wanted_count,
                                       .body = request->reply.data,
                                       .body_bytes = request->reply.size,
                                       .served = served};
    struct error error = {0};

    for (size_t i = 0; i < request->wanted_count; i++)
        names[i] = request->wanted[i]->name;
    if (call->accept(call->context, &answer, &error) != 0) {
        complain(exchange, request, error.text);
        return UNUSABLE;
    }
    for (size_t i = 0; i < request->wanted_count; i++)
        request->wanted[i]->served |= served[i];
    exchange->counts.answered++;
    return ANSWERED;
}

static enum outcome outcome_of(struct query_exchange *exchange, struct request *request,
                               CURLcode result)
{
    long status = 0;

    if (result != CURLE_OK) {
        char why[HTTP_CLIENT_REASON_BYTES];
        complain(exchange, request, http_client_reason(result, request->reason, why));
        return UNREACHABLE;
    }
    (void)curl_easy_getinfo(request->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 429)
        return BUSY;
    if (status != 200) {
        char why[300];
        (void)snprintf(why, sizeof(why), "status %ld: %.200s", status,
                       buffer_text(&request->reply));
        complain(exchange, request, why);
        return REFUSED;
    }
    return accept_reply(exchange, request);
}

/* A request overlaps with an answer that was taken: its own would have some rows twice. Its node is
 * the next to be asked for the shards that are left. */
static void withdraw(struct request *request)
{
    for (size_t i = 0; i < request->wanted_count; i++) {
        struct wanted *wanted = request->wanted[i];
        size_t place = owner_place(wanted, 0, wanted->next_owner, request->address);
        if (!wanted->served && place < wanted->next_owner)
            move_owner(wanted, place, --wanted->next_owner);
    }
    metric_add(request->exchange->exchanger->outcomes[CANCELLED], 1);
    end_request(request);
}

/* After a request has ended: what is under way goes on where it does not overlap with what was
 * answered, and shards that nobody is asked for are free for the next owner. */
static void settle(struct query_exchange *exchange)
{
    for (size_t i = 0; i < exchange->call->shard_count; i++)
        exchange->wanted[i].asked = false;
    for (struct request *request = exchange->requests; request; request = request->next) {
        size_t served = 0;
        if (request->done)
            continue;
        for (size_t i = 0; i < request->wanted_count; i++)
            served += request->wanted[i]->served;
        if (served > 0)
            withdraw(request);
        else
            for (size_t i = 0; i < request->wanted_count; i++)
                request->wanted[i]->asked = true;
    }
}

static void finish_request(struct query_exchange *exchange, struct request *request,
                           CURLcode result)
{
    struct exchanger *exchanger = exchange->exchanger;
    enum outcome outcome = outcome_of(exchange, request, result);
    int64_t took_ns = now_ns(exchange) - request->start_ns;

    metric_add(exchanger->outcomes[outcome], 1);
    if (outcome == UNREACHABLE)
        latency_suspect(exchanger->latency, request->address, now_ns(exchange));
    if (outcome == ANSWERED) {
        metric_observe(exchanger->seconds, (double)took_ns / 1e9);
        latency_note(exchanger->latency, request->address, took_ns);
    }
    end_request(request);
    settle(exchange);
}

/* Hedging. */

/* Nodes that have come since the exchange began. */
static void look_again(struct query_exchange *exchange, struct wanted *wanted)
{
    struct members_owner fresh[OWNERS_MAX];
    size_t count = members_owners(exchange->exchanger->members, exchange->call->collection->name,
                                  wanted->name, &exchange->arena, fresh, OWNERS_MAX);

    for (size_t i = 0; i < count && wanted->owner_count < OWNERS_MAX; i++)
        if (owner_place(wanted, 0, wanted->owner_count, fresh[i].address) == wanted->owner_count)
            wanted->owners[wanted->owner_count++] = fresh[i];
}

/* Whether each shard of the request has another owner that was not asked. */
static bool has_others(struct query_exchange *exchange, const struct request *request)
{
    bool all = true;

    for (size_t i = 0; i < request->wanted_count; i++) {
        struct wanted *wanted = request->wanted[i];
        if (wanted->next_owner == wanted->owner_count)
            look_again(exchange, wanted);
        all &= wanted->next_owner < wanted->owner_count;
    }
    return all;
}

/* If the owner can be asked for the shard, it is. */
static bool take_owner(struct wanted *wanted, const char *address)
{
    size_t place = owner_place(wanted, wanted->next_owner, wanted->owner_count, address);

    if (place == wanted->owner_count)
        return false;
    move_owner(wanted, place, wanted->next_owner++);
    return true;
}

static bool may_hedge(struct query_exchange *exchange, const struct request *slow)
{
    struct latency *latency = exchange->exchanger->latency;
    const struct wanted *first = slow->wanted[0];

    if (latency_spend(latency))
        return true;
    /* When everybody is slow, asking twice makes it worse. */
    return now_ns(exchange) - slow->start_ns >= LATE_NS &&
           !latency_suspected(latency, first->owners[first->next_owner].address);
}

/* Asks others for the same shards: one node for all of them where there is one. */
static void ask_others(struct query_exchange *exchange, const struct request *slow)
{
    const size_t count = slow->wanted_count;
    bool *taken = memory_checked(arena_calloc(&exchange->arena, count, sizeof(*taken)));

    for (size_t i = 0; i < count; i++) {
        struct wanted *first = slow->wanted[i];
        struct members_owner owner;
        struct wanted **together;
        size_t size = 0;
        if (taken[i])
            continue;
        owner = first->owners[first->next_owner];
        together = memory_checked(arena_calloc(&exchange->arena, count, sizeof(struct wanted *)));
        for (size_t k = i; k < count; k++)
            if (!taken[k] && take_owner(slow->wanted[k], owner.address)) {
                taken[k] = true;
                together[size++] = slow->wanted[k];
            }
        send_request(exchange, &owner, together, size);
        exchange->counts.hedged++;
        metric_add(exchange->exchanger->hedges, 1);
    }
}

/* A node that has fallen silent is not waited for when there is nobody else. */
static void hedge(struct query_exchange *exchange, struct request *slow)
{
    struct exchanger *exchanger = exchange->exchanger;

    if (!has_others(exchange, slow)) {
        slow->hedge_ns = now_ns(exchange) + LOOK_AGAIN_NS;
        if (!members_hears(exchanger->members, slow->address)) {
            complain(exchange, slow, "it is silent");
            metric_add(exchanger->outcomes[UNREACHABLE], 1);
            end_request(slow);
            settle(exchange);
        }
        return;
    }
    slow->hedge_ns = now_ns(exchange) + LATE_NS;
    latency_suspect(exchanger->latency, slow->address, now_ns(exchange));
    if (may_hedge(exchange, slow))
        ask_others(exchange, slow);
    else
        slow->hedge_ns = now_ns(exchange) + HEDGE_AGAIN_NS;
}

/* Hedges what is late; returns when the next request will be. */
static int64_t hedge_late(struct query_exchange *exchange)
{
    int64_t now = now_ns(exchange), next_ns = INT64_MAX;

    for (struct request *request = exchange->requests; request; request = request->next) {
        if (request->done)
            continue;
        if (request->hedge_ns <= now)
            hedge(exchange, request);
        else if (request->hedge_ns < next_ns)
            next_ns = request->hedge_ns;
    }
    return next_ns;
}

/* The calls of query_peers. */

/* Puts nodes that did not answer of late behind the others. A node is judged once for the whole call,
 * so that all of its shards are asked for together. */
static void avoid_suspects(struct query_exchange *exchange)
{
    enum { SUSPECTS_MAX = 32 };
    struct latency *latency = exchange->exchanger->latency;
    const char *judged[SUSPECTS_MAX];
    bool avoided[SUSPECTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < exchange->call->shard_count; i++) {
        struct wanted *wanted = &exchange->wanted[i];
        struct members_owner kept[OWNERS_MAX];
        size_t first = 0, last = 0;
        for (size_t k = 0; k < wanted->owner_count; k++) {
            const char *address = wanted->owners[k].address;
            size_t place = 0;
            while (place < count && strcmp(judged[place], address) != 0)
                place++;
            if (place == count && count < SUSPECTS_MAX) {
                judged[count] = address;
                avoided[count++] = latency_avoid(latency, address, now_ns(exchange));
            }
            if (place < count && avoided[place])
                kept[OWNERS_MAX - ++last] = wanted->owners[k];
            else
                wanted->owners[first++] = wanted->owners[k];
        }
        for (size_t k = last; k > 0; k--)
            wanted->owners[first++] = kept[OWNERS_MAX - 1 - (last - k)];
    }
}

static struct query_exchange *start(void *context, const struct query_peer_call *call)
{
    struct exchanger *exchanger = context;
    struct query_exchange *exchange = memory_new(1, sizeof(*exchange));
    int running;

    exchange->exchanger = exchanger;
    exchange->call = call;
    exchange->set = take_set(exchanger);
    arena_create(&exchange->arena, 0);
    exchange->wanted = memory_checked(
        arena_calloc(&exchange->arena, call->shard_count + 1, sizeof(struct wanted)));
    for (size_t i = 0; i < call->shard_count; i++) {
        struct wanted *wanted = &exchange->wanted[i];
        wanted->name = call->shards[i];
        wanted->owner_count =
            members_owners(exchanger->members, call->collection->name, wanted->name,
                           &exchange->arena, wanted->owners, OWNERS_MAX);
    }
    avoid_suspects(exchange);
    ask_owners(exchange);
    (void)curl_multi_perform(exchange->set->multi, &running);
    return exchange;
}

static int protocol(void *context)
{
    const struct exchanger *exchanger = context;

    return members_protocol(exchanger->members);
}

static bool serves(void *context, const struct config_collection *collection, const char *shard)
{
    struct exchanger *exchanger = context;
    struct members_owner owner;
    struct arena arena;
    bool found;

    arena_create(&arena, 0);
    found = members_owners(exchanger->members, collection->name, shard, &arena, &owner, 1) > 0;
    arena_destroy(&arena);
    return found;
}

static void collect(struct query_exchange *exchange)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(exchange->set->multi, &left))) {
        struct request *request = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        if (request && !request->done)
            finish_request(exchange, request, message->data.result);
    }
}

static bool is_over(const struct query_exchange *exchange)
{
    struct stop *stop = exchange->call->stop;
    struct error ignored;

    return now_ns(exchange) >= exchange->call->deadline_ns ||
           (stop && ((stop->ending && atomic_load(stop->ending)) || stop_check(stop, &ignored)));
}

/* Until the next event, but not beyond the next hedge, the deadline or a look at the stop. */
static int wait_ms(const struct query_exchange *exchange, int64_t next_ns)
{
    int64_t now = now_ns(exchange), until_ns = now + (int64_t)WAIT_MS * 1000000;

    if (next_ns < until_ns)
        until_ns = next_ns;
    if (exchange->call->deadline_ns < until_ns)
        until_ns = exchange->call->deadline_ns;
    return until_ns <= now ? 0 : (int)((until_ns - now + 999999) / 1000000);
}

static void wait_for_answers(struct query_exchange *exchange)
{
    struct thread_pool *pool = exchange->call->pool;
    int running;

    (void)curl_multi_perform(exchange->set->multi, &running);
    for (;;) {
        int64_t next_ns;
        bool waits;
        collect(exchange);
        ask_owners(exchange);
        if (exchange->running == 0 || is_over(exchange))
            return;
        next_ns = hedge_late(exchange);
        (void)curl_multi_perform(exchange->set->multi, &running);
        if ((size_t)running < exchange->running)
            continue;
        waits = pool && thread_pool_wait_begin(pool);
        (void)curl_multi_poll(exchange->set->multi, NULL, 0, wait_ms(exchange, next_ns), NULL);
        if (waits)
            thread_pool_wait_end(pool);
        (void)curl_multi_perform(exchange->set->multi, &running);
    }
}

static void finish(struct query_exchange *exchange, bool cancel, struct query_peer_counts *counts)
{
    struct exchanger *exchanger = exchange->exchanger;

    if (!cancel)
        wait_for_answers(exchange);
    for (struct request *request = exchange->requests; request; request = request->next)
        if (!request->done) {
            metric_add(exchanger->outcomes[CANCELLED], 1);
            end_request(request);
        }
    counts->asked += exchange->counts.asked;
    counts->answered += exchange->counts.answered;
    counts->hedged += exchange->counts.hedged;
    give_set(exchanger, exchange->set);
    arena_destroy(&exchange->arena);
    free(exchange);
}

/* The exchanger. */

static void make_metrics(struct exchanger *exchanger)
{
    struct metrics *metrics = exchanger->options.metrics;

    for (int i = 0; i < OUTCOMES; i++) {
        const struct metric_label label[] = {{"outcome", outcome_names[i]}};
        exchanger->outcomes[i] =
            metrics_counter(metrics, "windrow_cluster_requests_total",
                            "Requests to other nodes, by what became of them", label, 1);
    }
    exchanger->hedges =
        metrics_counter(metrics, "windrow_cluster_hedges_total",
                        "Requests to a second node because the first was slow", NULL, 0);
    exchanger->seconds = metrics_histogram(metrics, "windrow_cluster_request_seconds",
                                           "Time until another node answered", NULL, 0,
                                           metrics_seconds_bounds, metrics_seconds_bound_count);
}

struct exchanger *exchanger_new(const struct cluster_options *options, struct members *members)
{
    struct exchanger *exchanger = memory_new(1, sizeof(*exchanger));

    exchanger->complaints.interval_ns = LOG_EVERY_S * INT64_C(1000000000);

    exchanger->options = *options;
    exchanger->members = members;
    exchanger->peers = (struct query_peers){.context = exchanger,
                                            .serves = serves,
                                            .protocol = protocol,
                                            .start = start,
                                            .finish = finish};
    exchanger->latency = latency_new();
    pthread_mutex_init(&exchanger->lock, NULL);
    make_metrics(exchanger);
    return exchanger;
}

void exchanger_delete(struct exchanger *exchanger)
{
    if (!exchanger)
        return;
    while (exchanger->idle) {
        struct connection_set *next = exchanger->idle->next;
        free_set(exchanger->idle);
        exchanger->idle = next;
    }
    latency_delete(exchanger->latency);
    pthread_mutex_destroy(&exchanger->lock);
    free(exchanger);
}

const struct query_peers *exchanger_peers(const struct exchanger *exchanger)
{
    return &exchanger->peers;
}
