#include "ingest/coverage.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/lease.h"

enum { PARTITIONS_MAX = 1 << 20, LABEL_BYTES = 300 };

struct coverage {
    const struct config *config;
    struct store_registry *registry;
    struct topics *topics;
    struct io *io;
    int *told; /* partitions of each topic in topics->list; -1: not known */
};

static void file_name(const struct config_collection *collection, char name[NAME_MAX])
{
    (void)snprintf(name, NAME_MAX, "%s.partitions", collection->name);
}

/* Nothing while a topic of the collection is unknown: the registry then knows of no shards. */
static void tell(struct coverage *coverage, const struct config_collection *collection)
{
    struct store_expected_shard *shards;
    struct arena arena;
    size_t count = 0;
    size_t filled = 0;

    for (size_t i = 0; i < coverage->topics->count; i++) {
        if (coverage->topics->list[i].collection != collection)
            continue;
        if (coverage->told[i] < 0)
            return;
        count += (size_t)coverage->told[i];
    }
    arena_create(&arena, 0);
    shards = memory_checked(arena_calloc(&arena, count + 1, sizeof(*shards)));
    for (size_t i = 0; i < coverage->topics->count; i++) {
        const struct topic *topic = &coverage->topics->list[i];
        for (int32_t number = 0; topic->collection == collection && number < coverage->told[i];
             number++) {
            const struct topic_partition partition = topic_partition_of(topic, number);
            char label[LABEL_BYTES];
            int length = snprintf(label, sizeof(label), "%s[%d]", topic->name, number);
            shards[filled++] = (struct store_expected_shard){
                .name = arena_copy(&arena, partition.shard, strlen(partition.shard)),
                .label = arena_copy(&arena, label, (size_t)length)};
        }
    }
    store_registry_expect(coverage->registry, collection->name, shards, filled);
    arena_destroy(&arena);
}

static void keep(const struct coverage *coverage, const struct config_collection *collection)
{
    struct buffer text = {0};
    struct error error = {0};
    char name[NAME_MAX];

    file_name(collection, name);
    for (size_t i = 0; i < coverage->topics->count; i++)
        if (coverage->topics->list[i].collection == collection && coverage->told[i] >= 0)
            buffer_append_format(&text, "%d %s\n", coverage->told[i],
                                 coverage->topics->list[i].name);
    if (io_replace_file(coverage->io, coverage->config->data_dir, name, text.data, text.size,
                        &error) != 0)
        log_warning("ingest",
                    "%s: cannot keep its number of partitions (%s); a start without a broker will "
                    "not know it",
                    collection->name, error.text);
    buffer_destroy(&text);
}

/* A line that says nothing of a configured topic is passed over. */
static void take_line(struct coverage *coverage, const struct config_collection *collection,
                      const char *line)
{
    const char *space = strchr(line, ' ');
    const struct topic *topic = space ? topics_find(coverage->topics, space + 1) : NULL;
    uint64_t count;

    if (topic && topic->collection == collection &&
        text_parse_u64(line, (size_t)(space - line), &count) == 0 && count > 0 &&
        count <= PARTITIONS_MAX)
        coverage->told[topic - coverage->topics->list] = (int)count;
}

static void load(struct coverage *coverage, const struct config_collection *collection)
{
    struct buffer text = {0};
    struct error error = {0};
    char name[NAME_MAX];
    char *rest;
    int code;

    file_name(collection, name);
    code = io_read_file(coverage->io, coverage->config->data_dir, name, &text, &error);
    if (code == 0) {
        buffer_append_byte(&text, '\0');
        for (char *line = strtok_r((char *)text.data, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest))
            take_line(coverage, collection, line);
        tell(coverage, collection);
    } else if (code != ERROR_NOT_FOUND) {
        log_warning("ingest", "%s: its number of partitions is unknown until a broker answers: %s",
                    collection->name, error.text);
    }
    buffer_destroy(&text);
}

struct coverage *coverage_new(const struct config *config, struct store_registry *registry,
                              struct topics *topics, struct io *io)
{
    struct coverage *coverage = calloc(1, sizeof(*coverage));

    if (!coverage || !(coverage->told = calloc(topics->room, sizeof(*coverage->told))))
        abort();
    coverage->config = config;
    coverage->registry = registry;
    coverage->topics = topics;
    coverage->io = io;
    for (size_t i = 0; i < topics->room; i++)
        coverage->told[i] = -1;
    for (size_t i = 0; config->data_dir && i < config->collection_count; i++)
        load(coverage, &config->collections[i]);
    return coverage;
}

void coverage_delete(struct coverage *coverage)
{
    if (!coverage)
        return;
    free(coverage->told);
    free(coverage);
}

/* Whether metadata says anything new. Partitions are never taken from a topic: 0 is a topic that was
 * removed, or a broker that does not know it yet. Of one that nobody has seen it is not known which partitions
 * it will have: an answer without them is not whole. */
static bool learn(struct coverage *coverage, const struct config_collection *collection)
{
    struct topics *topics = coverage->topics;
    bool changed = false;

    pthread_mutex_lock(&topics->lock);
    for (size_t i = 0; i < topics->count; i++) {
        int count = topics->list[i].partition_count;
        if (topics->list[i].collection != collection || count <= 0 || count <= coverage->told[i])
            continue;
        coverage->told[i] = count;
        changed = true;
    }
    pthread_mutex_unlock(&topics->lock);
    return changed;
}

void coverage_update(struct coverage *coverage)
{
    for (size_t i = 0; i < coverage->config->collection_count; i++) {
        const struct config_collection *collection = &coverage->config->collections[i];
        if (collection->removed || collection->refused || !learn(coverage, collection))
            continue;
        tell(coverage, collection);
        if (coverage->config->data_dir)
            keep(coverage, collection);
    }
}
