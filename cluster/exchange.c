/* One exchange is driven by the thread that waits for it: its set of connections runs all of its
 * requests, and nothing here is shared with other exchanges but the idle connections and the
 * latencies.
 *
 *     wanted     a shard, its owners by preference, how many of them were asked, whether some
 *                request under way wants it, whether an answer served it
 *     request    one node, for some shards; hedged from hedge_ns on
 *
 * A shard that is not served and that no request under way wants is asked for at its next owner.
 * The exchange ends when all are served, when no owner is left, or with its time.
 *
 * An owner that was heard and answers that it has the shard no more has left it to another one, of
 * whom it has heard earlier than this node. That one is waited for a moment (MOVES_NS). A patient call
 * waits longer, where everybody is gone: for another node, for one that has announced the shard anew since
 * it was asked, and for this process, which may be the next owner itself. */
#include "cluster/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "cluster/connections.h"
#include "cluster/latency.h"
#include "cluster/wanted.h"
#include "net/http/http.h"
#include "net/http_client/http_client.h"
#include "store/lease.h"

enum {
    CONNECT_TIMEOUT_MS = 1000,
    SILENT_CONNECT_TIMEOUT_MS = 250, /* to a node that may be dead */
    ANSWER_MAX_BYTES = 512 << 20,
    ANSWER_SHARE = 32, /* of the time left, for the answer's way back */
    WAIT_MS = 50,      /* between two looks at the stop */
    LOG_EVERY_S = 1
};

/* Until a hedge is looked for again that the budget refused, or that nobody could be asked for. */
#define HEDGE_AGAIN_NS INT64_C(10000000)
#define LOOK_AGAIN_NS  INT64_C(100000000)
/* From then on a hedge is not for a faster answer but for any: the budget, which requests fill that
 * may all be waiting for the same node, holds only what would be too much for the others. Those that come later pay. */
#define LATE_NS INT64_C(1000000000)
/* The announcement is under way: it takes milliseconds, on a busy machine tens of them. */
#define MOVES_NS      INT64_C(500000000)
#define MOVES_LOOK_NS INT64_C(5000000)

enum outcome {
    ANSWERED,
    UNREACHABLE,
    REFUSED,
    BUSY,
    LATE,
    UNUSABLE,
    SUPERSEDED,
    CANCELLED,
    OUTCOMES
};

static const char *const outcome_names[OUTCOMES] = {
    [ANSWERED] = "answered",
    [UNREACHABLE] = "unreachable",
    [REFUSED] = "refused",
    [BUSY] = "busy",
    [LATE] = "late",
    [UNUSABLE] = "unusable",
    [SUPERSEDED] = "superseded",
    [CANCELLED] = "cancelled",
};

struct exchanger {
    struct cluster_options options;
    struct nodes *nodes;
    struct query_peers peers;
    struct latency *latency;
    struct connections *connections;
    struct logger_limit complaints;
    struct metric *outcomes[OUTCOMES], *hedges, *seconds;
};

struct request {
    struct request *next;
    struct query_exchange *exchange;
    CURL *curl;
    const char *node, *address;
    struct wanted **wanted; /* that it asks for */
    size_t wanted_count;
    bool *superseded; /* those that somebody else has by now; once there is an answer */
    struct buffer body, reply;
    char reason[CURL_ERROR_SIZE];
    int64_t start_ns, hedge_ns; /* hedge_ns: from when on it may be hedged */
    bool done;
};

struct query_exchange {
    struct exchanger *exchanger;
    const struct query_peer_call *call;
    struct connection_set *set;
    struct curl_slist *headers; /* of every request */
    struct arena arena;
    struct wanted *wanted;
    struct request *requests; /* all that were made */
    uint64_t taken_count;     /* of announcements, before the owners were looked for */
    size_t running;
    struct query_peer_counts counts;
};

static int64_t now_ns(const struct query_exchange *exchange)
{
    return io_monotonic_ns(exchange->exchanger->options.io);
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

static void set_transfer(struct request *request, long connect_timeout_ms)
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
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, exchange->headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, request->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request->reply);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, request);
}

static void send_request(struct query_exchange *exchange, const struct nodes_owner *owner,
                         struct wanted **wanted, size_t count)
{
    struct request *request = memory_checked(arena_calloc(&exchange->arena, 1, sizeof(*request)));
    const char **names = memory_checked(arena_calloc(&exchange->arena, count + 1, sizeof(*names)));

    for (size_t i = 0; i < count; i++) {
        names[i] = wanted[i]->name;
        wanted[i]->asked = true;
    }
    *request = (struct request){.exchange = exchange,
                                .next = exchange->requests,
                                .curl = connection_set_handle(exchange->set),
                                .node = owner->node,
                                .address = owner->address,
                                .wanted = wanted,
                                .wanted_count = count,
                                .start_ns = now_ns(exchange)};
    request->hedge_ns =
        request->start_ns + latency_hedge_ns(exchange->exchanger->latency, owner->address);
    query_peer_request(exchange->call, names, count, &request->body);
    set_transfer(request, owner->silent ? SILENT_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS);
    exchange->requests = request;
    exchange->running++;
    exchange->counts.asked++;
    connection_set_begin(exchange->set, request->curl);
}

static void end_request(struct request *request)
{
    connection_set_end(request->exchange->set, request->curl);
    request->curl = NULL;
    buffer_destroy(&request->body);
    buffer_destroy(&request->reply);
    request->done = true;
    request->exchange->running--;
}

static bool is_patient(const struct query_exchange *exchange)
{
    const struct query_peer_call *call = exchange->call;

    return call->patient_until_ns != 0 && now_ns(exchange) < call->patient_until_ns &&
           (!call->may_wait || call->may_wait(call->context));
}

/* Nodes that have come since the exchange began, or have come back. */
static void look_again(struct query_exchange *exchange, struct wanted *wanted)
{
    struct nodes_owner fresh[WANTED_OWNERS_MAX];
    size_t count = nodes_owners(exchange->exchanger->nodes, exchange->call->collection->name,
                                wanted->name, &exchange->arena, fresh, WANTED_OWNERS_MAX);

    wanted_add(wanted, fresh, count, !wanted->refused && is_patient(exchange));
}

/* Asks the next owner of every shard that nobody is asked for: one request a node. Shards that moved
 * while their owners were asked have one who was not here when the exchange began: all of them are
 * looked for before anybody is asked, or each would be a request of its own. */
static void ask_owners(struct query_exchange *exchange)
{
    const size_t count = exchange->call->shard_count;

    for (size_t i = 0; i < count; i++) {
        struct wanted *wanted = &exchange->wanted[i];
        if (!wanted->served && !wanted->asked && wanted->next_owner == wanted->owner_count)
            look_again(exchange, wanted);
    }
    for (size_t i = 0; i < count; i++) {
        struct wanted *first = &exchange->wanted[i];
        const struct nodes_owner *owner;
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
        latency_earn(exchange->exchanger->latency);
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

/* The owners were chosen by what had been heard then. */
static bool superseded(void *asker, size_t place, int32_t generation)
{
    struct request *request = asker;
    struct query_exchange *exchange = request->exchange;
    struct nodes *nodes = exchange->exchanger->nodes;

    if (nodes_taken_count(nodes) == exchange->taken_count ||
        !nodes_superseded(nodes, exchange->call->collection->name, request->wanted[place]->name,
                          request->node, generation))
        return false;
    request->superseded[place] = true;
    return true;
}

/* The newer owner is looked for, and this one asked again for what is its own. */
static bool ask_again(struct query_exchange *exchange, struct request *request)
{
    bool any = false;

    for (size_t i = 0; i < request->wanted_count; i++)
        any |= request->superseded[i];
    for (size_t i = 0; any && i < request->wanted_count; i++) {
        struct wanted *wanted = request->wanted[i];
        if (!request->superseded[i])
            wanted_put_back(wanted, request->address);
        else if (wanted->moves_until_ns == 0)
            wanted->moves_until_ns = now_ns(exchange) + MOVES_NS;
    }
    return any;
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
                                       .served = served,
                                       .superseded = superseded,
                                       .asker = request};
    struct error error = {0};

    request->superseded = memory_checked(
        arena_calloc(&exchange->arena, request->wanted_count + 1, sizeof(*request->superseded)));
    for (size_t i = 0; i < request->wanted_count; i++)
        names[i] = request->wanted[i]->name;
    if (call->accept(call->context, &answer, &error) != 0) {
        if (ask_again(exchange, request))
            return SUPERSEDED;
        complain(exchange, request, error.text);
        return UNUSABLE;
    }
    for (size_t i = 0; i < request->wanted_count; i++) {
        request->wanted[i]->served |= served[i];
        if (!served[i] && request->wanted[i]->moves_until_ns == 0)
            request->wanted[i]->moves_until_ns = now_ns(exchange) + MOVES_NS;
    }
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
    if (status == 504) /* it would not get to it in time */
        return LATE;
    if (status != 200) {
        char why[300];
        (void)snprintf(why, sizeof(why), "status %ld: %.200s", status,
                       buffer_text(&request->reply));
        complain(exchange, request, why);
        return REFUSED;
    }
    return accept_reply(exchange, request);
}

/* Whoever hands a shard over or stops says 503. */
static bool may_have_left(const struct request *request, enum outcome outcome)
{
    long status = 0;

    (void)curl_easy_getinfo(request->curl, CURLINFO_RESPONSE_CODE, &status);
    return outcome == ANSWERED || outcome == SUPERSEDED || outcome == UNREACHABLE ||
           (outcome == REFUSED && status == 503);
}

/* A request overlaps with an answer that was taken: its own would have some rows twice. Its node is
 * the next to be asked for the shards that are left. */
static void withdraw(struct request *request)
{
    for (size_t i = 0; i < request->wanted_count; i++)
        if (!request->wanted[i]->served)
            wanted_put_back(request->wanted[i], request->address);
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
    nodes_note(exchanger->nodes, request->address, outcome != UNREACHABLE && outcome != UNUSABLE);
    if (outcome == UNREACHABLE || outcome == BUSY || outcome == LATE)
        latency_suspect(exchanger->latency, request->address, now_ns(exchange));
    if (!may_have_left(request, outcome))
        for (size_t i = 0; i < request->wanted_count; i++)
            request->wanted[i]->refused = true;
    if (outcome == ANSWERED) {
        exchange->counts.answered++;
        metric_observe(exchanger->seconds, (double)took_ns / 1e9);
        latency_note(exchanger->latency, request->address, took_ns);
    }
    end_request(request);
    settle(exchange);
}

/* Hedging. */

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

/* How many nodes ask_others would ask. */
static size_t count_others(struct query_exchange *exchange, const struct request *slow)
{
    const size_t count = slow->wanted_count;
    bool *taken = memory_checked(arena_calloc(&exchange->arena, count, sizeof(*taken)));
    size_t nodes = 0;

    for (size_t i = 0; i < count; i++) {
        const struct wanted *first = slow->wanted[i];
        if (taken[i])
            continue;
        nodes++;
        for (size_t k = i; k < count; k++)
            taken[k] |= wanted_may_take(slow->wanted[k], first->owners[first->next_owner].address);
    }
    return nodes;
}

static bool may_hedge(struct query_exchange *exchange, const struct request *slow)
{
    struct latency *latency = exchange->exchanger->latency;
    const struct wanted *first = slow->wanted[0];
    /* When everybody is slow, asking twice makes it worse. */
    bool overdue = now_ns(exchange) - slow->start_ns >= LATE_NS &&
                   !latency_suspected(latency, first->owners[first->next_owner].address);

    return latency_spend(latency, count_others(exchange, slow), overdue);
}

/* Asks others for the same shards: one node for all of them where there is one. Half of a hedge would be of no use. */
static void ask_others(struct query_exchange *exchange, const struct request *slow)
{
    const size_t count = slow->wanted_count;
    bool *taken = memory_checked(arena_calloc(&exchange->arena, count, sizeof(*taken)));

    for (size_t i = 0; i < count; i++) {
        struct wanted *first = slow->wanted[i];
        struct nodes_owner owner;
        struct wanted **together;
        size_t size = 0;
        if (taken[i])
            continue;
        owner = first->owners[first->next_owner];
        together = memory_checked(arena_calloc(&exchange->arena, count, sizeof(struct wanted *)));
        for (size_t k = i; k < count; k++)
            if (!taken[k] && wanted_take(slow->wanted[k], owner.address)) {
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
        if (!nodes_expects(exchanger->nodes, slow->address, slow->start_ns)) {
            nodes_note(exchanger->nodes, slow->address, false);
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

static struct query_exchange *start(void *context, const struct query_peer_call *call)
{
    struct exchanger *exchanger = context;
    struct query_exchange *exchange = memory_new(1, sizeof(*exchange));

    exchange->exchanger = exchanger;
    exchange->call = call;
    exchange->set = connections_take(exchanger->connections);
    exchange->headers = http_client_headers(exchanger->options.config, HTTP_TYPE_BINARY);
    arena_create(&exchange->arena, 0);
    exchange->taken_count = nodes_taken_count(exchanger->nodes);
    exchange->wanted = memory_checked(
        arena_calloc(&exchange->arena, call->shard_count + 1, sizeof(struct wanted)));
    for (size_t i = 0; i < call->shard_count; i++) {
        struct wanted *wanted = &exchange->wanted[i];
        wanted->name = call->shards[i];
        wanted->owner_count = nodes_owners(exchanger->nodes, call->collection->name, wanted->name,
                                           &exchange->arena, wanted->owners, WANTED_OWNERS_MAX);
    }
    wanted_avoid_suspects(exchange->wanted, call->shard_count, exchanger->latency,
                          now_ns(exchange));
    ask_owners(exchange);
    connection_set_work(exchange->set, 0);
    return exchange;
}

static int protocol(void *context)
{
    const struct exchanger *exchanger = context;

    return nodes_protocol(exchanger->nodes);
}

static bool reaches(void *context, const struct config_collection *collection, const char *shard,
                    int64_t offset)
{
    struct exchanger *exchanger = context;
    struct nodes_owner owners[WANTED_OWNERS_MAX];
    struct arena arena;
    size_t count;
    bool reached = false;

    arena_create(&arena, 0);
    count =
        nodes_owners(exchanger->nodes, collection->name, shard, &arena, owners, WANTED_OWNERS_MAX);
    for (size_t i = 0; i < count; i++)
        reached |= !owners[i].handed_over || owners[i].next_offset > offset;
    arena_destroy(&arena);
    return reached;
}

static bool serves(void *context, const struct config_collection *collection, const char *shard)
{
    return reaches(context, collection, shard, INT64_MIN);
}

static void collect(struct query_exchange *exchange)
{
    CURLcode result;
    CURL *curl;

    while ((curl = connection_set_finished(exchange->set, &result))) {
        struct request *request = NULL;
        (void)curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&request);
        if (request && !request->done)
            finish_request(exchange, request, result);
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

enum awaited { NOBODY, SOMEBODY, SOMEBODY_SOON };

/* Whether a shard has moved whose next owner may still be heard of. */
static enum awaited awaits_owner(const struct query_exchange *exchange)
{
    const int64_t now = now_ns(exchange);
    const bool patient = is_patient(exchange);
    enum awaited awaited = NOBODY;

    for (size_t i = 0; i < exchange->call->shard_count; i++) {
        const struct wanted *wanted = &exchange->wanted[i];
        if (wanted->served || wanted->asked)
            continue;
        if (now < wanted->moves_until_ns)
            return SOMEBODY_SOON;
        if (patient && !wanted->refused)
            awaited = SOMEBODY;
    }
    return awaited;
}

/* Whether this process has become the owner. A copy that others have more of answers when they do not (gather.c). */
static bool has_come(const struct query_exchange *exchange, const struct wanted *wanted)
{
    struct store_registry *registry = exchange->exchanger->options.registry;
    struct store_lease lease;
    bool whole;

    if (wanted->served || wanted->asked ||
        !store_registry_acquire_shard(registry, exchange->call->collection->name, wanted->name,
                                      &lease))
        return false;
    whole = !lease.behind && !lease.handed_over && !lease.late;
    store_registry_release(registry, &lease);
    return whole;
}

/* Answers for shards that have come to this process since the call began, as another node would. */
static void answer_here(struct query_exchange *exchange)
{
    const struct cluster_options *options = &exchange->exchanger->options;
    const int64_t left_ms = (exchange->call->deadline_ns - now_ns(exchange)) / 1000000;
    const struct query_view_options view = {.registry = options->registry,
                                            .io = options->io,
                                            .timeout_ms = left_ms,
                                            .pool = exchange->call->pool,
                                            .describer = options->describer,
                                            .stop = exchange->call->stop};
    const size_t count = exchange->call->shard_count;
    struct request here = {
        .exchange = exchange, .node = options->config->node, .address = "this process"};
    const char **names = NULL;
    struct error error = {0};

    for (size_t i = 0; i < count; i++) {
        if (!has_come(exchange, &exchange->wanted[i]))
            continue;
        if (!names) {
            names = memory_checked(arena_calloc(&exchange->arena, count, sizeof(*names)));
            here.wanted =
                memory_checked(arena_calloc(&exchange->arena, count, sizeof(struct wanted *)));
        }
        names[here.wanted_count] = exchange->wanted[i].name;
        here.wanted[here.wanted_count++] = &exchange->wanted[i];
    }
    if (!names || left_ms < 1)
        return;
    query_peer_request(exchange->call, names, here.wanted_count, &here.body);
    if (query_answer(options->config, &view, here.body.data, here.body.size, &here.reply, &error) ==
        0)
        (void)accept_reply(exchange, &here);
    buffer_destroy(&here.body);
    buffer_destroy(&here.reply);
    settle(exchange);
}

static void wait_for_answers(struct query_exchange *exchange)
{
    struct thread_pool *pool = exchange->call->pool;

    connection_set_work(exchange->set, 0);
    for (;;) {
        const size_t before = exchange->counts.asked;
        enum awaited awaited;
        int64_t next_ns;
        bool waits;
        collect(exchange);
        ask_owners(exchange);
        if (awaits_owner(exchange) != NOBODY)
            answer_here(exchange);
        awaited = awaits_owner(exchange);
        if ((exchange->running == 0 && awaited == NOBODY) || is_over(exchange))
            return;
        next_ns = hedge_late(exchange);
        if (awaited == SOMEBODY_SOON && now_ns(exchange) + MOVES_LOOK_NS < next_ns)
            next_ns = now_ns(exchange) + MOVES_LOOK_NS;
        if (exchange->counts.asked > before) {
            connection_set_work(exchange->set, 0);
            continue;
        }
        waits = pool && thread_pool_wait_begin(pool);
        /* An outage would take all threads. */
        if (pool && !waits && exchange->running == 0 && awaited == SOMEBODY)
            return;
        connection_set_work(exchange->set, wait_ms(exchange, next_ns));
        if (waits)
            thread_pool_wait_end(pool);
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
    connections_give(exchange->set);
    curl_slist_free_all(exchange->headers);
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

struct exchanger *exchanger_new(const struct cluster_options *options, struct nodes *nodes)
{
    struct exchanger *exchanger = memory_new(1, sizeof(*exchanger));

    exchanger->complaints.interval_ns = LOG_EVERY_S * INT64_C(1000000000);

    exchanger->options = *options;
    exchanger->nodes = nodes;
    exchanger->peers = (struct query_peers){.context = exchanger,
                                            .serves = serves,
                                            .reaches = reaches,
                                            .protocol = protocol,
                                            .start = start,
                                            .finish = finish};
    exchanger->latency = latency_new();
    /* They time curl's own timers, which know no other clock than the real one. */
    exchanger->connections = connections_new(options->config, io_posix());
    make_metrics(exchanger);
    return exchanger;
}

void exchanger_delete(struct exchanger *exchanger)
{
    if (!exchanger)
        return;
    connections_delete(exchanger->connections);
    latency_delete(exchanger->latency);
    free(exchanger);
}

const struct query_peers *exchanger_peers(const struct exchanger *exchanger)
{
    return &exchanger->peers;
}
