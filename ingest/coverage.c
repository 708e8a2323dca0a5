#include "ingest/coverage.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"

enum { FILE_MAX_BYTES = 1 << 20, PARTITIONS_MAX = 1 << 20, LABEL_BYTES = 300 };

struct coverage {
    const struct config *config;
    struct store_registry *registry;
    struct topics *topics;
    struct io *io;
    int *told; /* partitions of each topic in topics->list; -1: not known */
};

static int file_path(const struct coverage *coverage, const char *collection, const char *ending,
                     char path[PATH_MAX], struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s.partitions%s", coverage->config->data_dir,
                          collection, ending);

    return length < PATH_MAX ? 0
                             : error_set(error, ERROR_INVALID,
                                         "the path of %s.partitions is too long", collection);
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

/* The file. It appears whole or not at all. */

static int write_file(const struct coverage *coverage, const char *path, const char *temporary,
                      const struct buffer *text, struct error *error)
{
    struct error ignored;
    int file;
    int code = io_open(coverage->io, temporary, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, error);

    if (code != 0)
        return code;
    code = io_write(coverage->io, file, temporary, text->data, text->size, 0, error);
    if (code == 0)
        code = io_datasync(coverage->io, file, temporary, error);
    if (code != 0) {
        (void)io_close(coverage->io, file, temporary, &ignored);
        return code;
    }
    code = io_close(coverage->io, file, temporary, error);
    if (code == 0)
        code = io_rename(coverage->io, temporary, path, error);
    return code == 0 ? io_sync_directory(coverage->io, coverage->config->data_dir, error) : code;
}

static void keep(const struct coverage *coverage, const struct config_collection *collection)
{
    struct buffer text = {0};
    struct error error = {0};
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    int code = file_path(coverage, collection->name, "", path, &error);

    if (code == 0)
        code = file_path(coverage, collection->name, ".tmp", temporary, &error);
    for (size_t i = 0; i < coverage->topics->count; i++)
        if (coverage->topics->list[i].collection == collection && coverage->told[i] >= 0)
            buffer_append_format(&text, "%d %s\n", coverage->told[i],
                                 coverage->topics->list[i].name);
    if (code == 0)
        code = write_file(coverage, path, temporary, &text, &error);
    if (code != 0)
        log_warning("ingest",
                    "%s: cannot keep its number of partitions (%s); a start without a broker will "
                    "not know it",
                    collection->name, error.text);
    buffer_destroy(&text);
}

static int read_file(const struct coverage *coverage, const char *path, struct buffer *text,
                     struct error *error)
{
    struct error ignored;
    uint64_t size_bytes = 0;
    int file;
    int code = io_open(coverage->io, path, IO_READ, &file, error);

    if (code != 0)
        return code;
    code = io_size(coverage->io, file, path, &size_bytes, error);
    if (code == 0 && size_bytes > FILE_MAX_BYTES)
        code = error_set(error, ERROR_CORRUPT, "%s has %llu bytes", path,
                         (unsigned long long)size_bytes);
    if (code == 0) {
        buffer_reserve(text, size_bytes + 1);
        code = io_read(coverage->io, file, path, text->data, size_bytes, 0, error);
    }
    if (code == 0)
        text->size = size_bytes;
    (void)io_close(coverage->io, file, path, &ignored);
    return code;
}

/* A line that says nothing of a configured topic is passed over. */
static void take_line(struct coverage *coverage, const struct config_collection *collection,
                      const char *line)
{
    const char *space = strchr(line, ' ');
    const struct topic *topic = space ? topics_find(coverage->topics, space + 1) : NULL;
    uint64_t count;

    if (topic && topic->collection == collection &&
        text_parse_u64(line, (size_t)(space - line), &count) == 0 && count <= PARTITIONS_MAX)
        coverage->told[topic - coverage->topics->list] = (int)count;
}

static void load(struct coverage *coverage, const struct config_collection *collection)
{
    struct buffer text = {0};
    struct error error = {0};
    char path[PATH_MAX];
    char *rest;
    int code = file_path(coverage, collection->name, "", path, &error);

    if (code == 0)
        code = read_file(coverage, path, &text, &error);
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

    if (!coverage || !(coverage->told = calloc(topics->count + 1, sizeof(*coverage->told))))
        abort();
    coverage->config = config;
    coverage->registry = registry;
    coverage->topics = topics;
    coverage->io = io;
    for (size_t i = 0; i < topics->count; i++)
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
 * removed, or a broker that does not know it yet. */
static bool learn(struct coverage *coverage, const struct config_collection *collection)
{
    struct topics *topics = coverage->topics;
    bool changed = false;

    pthread_mutex_lock(&topics->lock);
    for (size_t i = 0; i < topics->count; i++) {
        int count = topics->list[i].partition_count;
        if (topics->list[i].collection != collection || count <= coverage->told[i])
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
        if (!learn(coverage, collection))
            continue;
        tell(coverage, collection);
        if (coverage->config->data_dir)
            keep(coverage, collection);
    }
}
