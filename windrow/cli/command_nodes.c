/* windrow nodes: who is in the cluster, and what each one serves. */
#include <stdio.h>

#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

/* "#7": in generation 7 of its consumer group. */
static void print_generation(const struct doc *shard)
{
    long long generation = (long long)reply_number(shard, "generation", 0);

    if (generation > 0)
        printf("#%lld", generation);
}

/* Behind the furthest copy, or the end of the partition. */
static void print_lag(const struct doc *shard)
{
    long long records = (long long)reply_number(shard, "behind_records", 0);
    long long seconds = (long long)reply_number(shard, "behind_seconds", 0);

    if (records > 0 && seconds > 0)
        printf(" (%lld records, %lld s behind)", records, seconds);
    else if (records > 0)
        printf(" (%lld records behind)", records);
}

static void print_node(const struct doc *node)
{
    const struct doc *shards = reply_get(node, "shards");
    const struct doc *claims = reply_get(node, "claims");
    const struct doc *set = reply_get(node, "replica_set");
    const struct doc *roles = reply_get(node, "roles");

    printf("%-20.*s %-22.*s %-8.*s ", REPLY_TEXT(node, "node"), REPLY_TEXT(node, "address"),
           set && set->type == DOC_STRING ? (int)set->count : 1,
           set && set->type == DOC_STRING ? set->string : "-");
    for (uint32_t i = 0; roles && i < roles->count; i++)
        printf("%s%.*s", i > 0 ? "," : "", (int)roles->items[i].count, roles->items[i].string);
    printf("  %u shards:", shards ? shards->count : 0);
    for (uint32_t i = 0; shards && i < shards->count; i++) {
        printf(" %.*s/%.*s@%lld", REPLY_TEXT(&shards->items[i], "collection"),
               REPLY_TEXT(&shards->items[i], "shard"),
               (long long)reply_number(&shards->items[i], "next_offset", -1));
        print_generation(&shards->items[i]);
        print_lag(&shards->items[i]);
    }
    for (uint32_t i = 0; claims && i < claims->count; i++) {
        printf(" %.*s/%.*s:%.*s", REPLY_TEXT(&claims->items[i], "collection"),
               REPLY_TEXT(&claims->items[i], "shard"), REPLY_TEXT(&claims->items[i], "state"));
        print_generation(&claims->items[i]);
        print_lag(&claims->items[i]);
    }
    if (reply_is_true(node, "silent"))
        printf("  (silent for %lld s: asked where nobody else answers)",
               (long long)reply_number(node, "heard_seconds", 0));
    printf("%s\n", reply_is_true(node, "self") ? "  (asked)" : "");
}

static void print_nodes(const struct doc *reply, const void *context)
{
    const struct doc *result = reply_get(reply, "result");
    const struct doc *nodes = reply_get(result, "nodes");
    const struct doc *gaps = reply_get(result, "gaps");

    (void)context;
    printf("cluster %.*s%s\n", REPLY_TEXT(result, "name"),
           reply_is_true(result, "connected") ? "" : ": NATS does not answer");
    for (uint32_t i = 0; nodes && i < nodes->count; i++)
        print_node(&nodes->items[i]);
    for (uint32_t i = 0; gaps && i < gaps->count; i++)
        printf("nobody serves %.*s\n", (int)gaps->items[i].count, gaps->items[i].string);
}

int command_nodes(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    bool json = false;
    const struct option_row rows[] = {OPTION_ROW_CONFIG(config_path), OPTION_ROWS_SERVICE,
                                      OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[-c FILE] [--json]",
        .about =
            "Asks the running service (http.listen of the config) which nodes of its cluster "
            "it hears: address, replica set, roles, shards with their next offsets and, behind #, "
            "the generation in which it has them, how far they are behind the furthest copy or "
            "the end of the partition, shards that it has and does not answer for yet, which nodes "
            "have fallen silent, and the partitions that no node that is "
            "heard "
            "serves.",
        .examples = "windrow nodes -c /etc/windrow/windrow.yaml",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK && !config->cluster_name)
        status = command_fail("this service is alone: cluster.name is not set");
    else if (status == COMMAND_OK)
        status = ask_service(config,
                             &(struct ask){.path = "/cluster", .json = json, .print = print_nodes});
    config_free(config);
    return status;
}
