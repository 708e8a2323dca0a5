#include "cluster/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "cluster/exchange.h"
#include "cluster/members.h"
#include "cluster/snapshot.h"
#include "net/http/http.h"
#include "store/tools/copy.h"

struct cluster {
    struct cluster_options options;
    struct members *members;
    struct exchanger *exchanger;
    struct snapshot_source *source;
    struct snapshot_fetcher *fetcher;
};

int cluster_open(const struct cluster_options *options, struct cluster **cluster,
                 struct error *error)
{
    struct cluster *fresh = memory_new(1, sizeof(*fresh));

    fresh->options = *options;
    if (members_open(options, &fresh->members, error) != 0) {
        free(fresh);
        return error->code;
    }
    fresh->exchanger = exchanger_new(options, members_nodes(fresh->members));
    fresh->source = snapshot_source_new(options);
    fresh->fetcher = snapshot_fetcher_new(options, members_nodes(fresh->members));
    if (options->config->data_dir &&
        store_copy_clean(options->io, options->config->data_dir, error) != 0)
        log_warning("cluster", "%s", error->text);
    *cluster = fresh;
    return 0;
}

int cluster_announce(struct cluster *cluster, uint16_t port, struct error *error)
{
    return members_announce(cluster->members, port, error);
}

void cluster_leave(struct cluster *cluster)
{
    members_leave(cluster->members);
}

bool cluster_connected(const struct cluster *cluster)
{
    return members_connected(cluster->members);
}

bool cluster_reaches_readers(const struct cluster *cluster)
{
    return nodes_reaches_readers(members_nodes(cluster->members));
}

int cluster_drain(struct cluster *cluster, struct error *error)
{
    const char *set = cluster->options.config->cluster_replica_set;

    if (nodes_successors(members_nodes(cluster->members)) == 0)
        return error_set(error, ERROR_INVALID,
                         "no other node of %s%s reads Kafka: nobody can take the shards over",
                         set ? "replica set " : "this cluster", set ? set : "");
    members_set_draining(cluster->members);
    return 0;
}

size_t cluster_successors(struct cluster *cluster)
{
    return nodes_successors(members_nodes(cluster->members));
}

bool cluster_taken_over(struct cluster *cluster, const char *collection, const char *shard,
                        int64_t next_offset)
{
    return nodes_taken_over(members_nodes(cluster->members), collection, shard, next_offset);
}

bool cluster_ahead(struct cluster *cluster, const char *collection, const char *shard,
                   int64_t next_offset)
{
    return nodes_ahead(members_nodes(cluster->members), collection, shard, next_offset);
}

int64_t cluster_fetch_worth(struct cluster *cluster, const char *collection, const char *shard,
                            int64_t next_offset)
{
    return snapshot_fetch_worth(cluster->fetcher, collection, shard, next_offset);
}

int cluster_fetch_shard(struct cluster *cluster, const struct cluster_fetch *fetch, char *folder,
                        struct error *error)
{
    return snapshot_fetch(cluster->fetcher, fetch, folder, error);
}

void cluster_tick(struct cluster *cluster)
{
    snapshot_source_tick(cluster->source);
}

void cluster_close(struct cluster *cluster)
{
    if (!cluster)
        return;
    snapshot_fetcher_delete(cluster->fetcher);
    snapshot_source_delete(cluster->source);
    exchanger_delete(cluster->exchanger);
    members_close(cluster->members);
    free(cluster);
}

const struct query_peers *cluster_peers(const struct cluster *cluster)
{
    return exchanger_peers(cluster->exchanger);
}

/* The asking node sends how much of its request's time is left. */
static int64_t timeout_of(struct http_request *request)
{
    enum { TIMEOUT_DEFAULT_MS = 30000, TIMEOUT_MAX_MS = 3600 * 1000 };
    const char *argument = http_request_argument(request, "timeout_ms");
    uint64_t given;

    if (!argument || text_parse_u64(argument, strlen(argument), &given) != 0 ||
        given > TIMEOUT_MAX_MS)
        return TIMEOUT_DEFAULT_MS;
    return (int64_t)given;
}

static void handle_query(struct http_request *request)
{
    const struct cluster *cluster = request->context;
    const struct query_view_options options = {.registry = cluster->options.registry,
                                               .io = cluster->options.io,
                                               .timeout_ms = timeout_of(request),
                                               .pool = http_request_pool(request),
                                               .describer = cluster->options.describer,
                                               .stop = &request->stop};
    struct error error = {0};

    http_reply_plain(request, 200, HTTP_TYPE_BINARY);
    request->stop.deadline_ns = request->complete_ns + options.timeout_ms * 1000000;
    if (query_answer(cluster->options.config, &options, request->body.data, request->body.size,
                     &request->reply, &error) != 0)
        http_reply_from_error(request, &error);
}

static void handle_cluster(struct http_request *request)
{
    const struct cluster *cluster = request->context;
    struct doc described;

    members_describe(cluster->members, &request->arena, &described);
    http_reply_begin(request);
    doc_write_json(&request->reply, &described);
    http_reply_end(request, NULL);
}

static const struct http_key query_parameters[] = {
    {.name = "timeout_ms", .shape = &http_integer},
    {.name = NULL},
};
static const struct http_schema query_schema = {.parameters = query_parameters,
                                                .body = &http_bytes};

static const struct http_route routes[] = {
    {"GET", "/cluster", handle_cluster, HTTP_READ, NULL},
    {"POST", "/internal/query", handle_query, HTTP_INTERNAL, &query_schema},
};

void cluster_add_routes(struct cluster *cluster, struct http_server *server)
{
    http_server_add_routes(server, routes, sizeof(routes) / sizeof(routes[0]), cluster);
    snapshot_source_add_routes(cluster->source, server);
}
