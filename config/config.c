#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/load.h"
#include "config/nearest.h"

/* Appends at most one byte more than a configuration may have: enough to tell. */
static int read_file(const char *path, struct buffer *text, struct buffer *report)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    int failure = 0;

    if (file < 0) {
        failure = errno;
    } else {
        while (text->size <= TREE_BYTES_MAX &&
               (got = read(file, buffer_reserve(text, 65536), 65536)) > 0)
            text->size += (size_t)got;
        if (got < 0)
            failure = errno;
        (void)close(file);
    }
    if (failure == 0)
        return 0;
    buffer_append_format(report, "%s: cannot read: %s (name a file with -c FILE)\n", path,
                         strerror(failure));
    return failure == ENOENT ? ERROR_NOT_FOUND : ERROR_INVALID;
}

/* The files of both folders, each in the order of their names. */

struct folder {
    struct loaded_source *sources; /* the first is the configuration itself */
    size_t count;
    int code;
};

void config_folder(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');

    (void)snprintf(folder, PATH_MAX, "%.*s" CONFIG_FOLDER, slash ? (int)(slash - path + 1) : 0,
                   path);
}

static void state_folder(const char *data_dir, char folder[PATH_MAX])
{
    (void)snprintf(folder, PATH_MAX, "%.2048s/" CONFIG_FOLDER, data_dir);
}

void config_state_folder(const struct config *config, char folder[PATH_MAX])
{
    state_folder(config->data_dir, folder);
}

static int is_yaml(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void free_source(struct loaded_source *source)
{
    free((void *)(uintptr_t)source->path);
    free((void *)(uintptr_t)source->text);
}

static void add_source(struct folder *folder, const char *path, struct buffer *report)
{
    struct buffer text = {0};
    int code = read_file(path, &text, report);

    if (code != 0) {
        folder->code = code;
        buffer_destroy(&text);
        return;
    }
    buffer_append_byte(&text, '\0');
    folder->sources = memory_resize(folder->sources, folder->count + 1, sizeof(*folder->sources));
    folder->sources[folder->count++] = (struct loaded_source){.path = memory_checked(strdup(path)),
                                                              .text = (char *)text.data,
                                                              .size_bytes = text.size - 1};
}

/* A folder that is not there has no files. That of the state is the service's: others may check the
 * configuration without it. */
static void add_folder(struct folder *folder, const char *path, bool of_state,
                       struct buffer *report)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_yaml, by_name);

    if (count < 0 && of_state && errno == EACCES) {
        buffer_append_format(report, "%s: warning: cannot read what was made over HTTP: %s\n", path,
                             strerror(errno));
    } else if (count < 0 && errno != ENOENT && errno != ENOTDIR) {
        buffer_append_format(report, "%s: cannot read: %s\n", path, strerror(errno));
        folder->code = ERROR_INVALID;
    }
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX + NAME_MAX + 2];
        (void)snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        add_source(folder, file, report);
        free(entries[i]);
    }
    free(entries);
}

static bool is_same_folder(const char *a, const char *b)
{
    struct stat found[2];

    return stat(a, &found[0]) == 0 && stat(b, &found[1]) == 0 &&
           found[0].st_dev == found[1].st_dev && found[0].st_ino == found[1].st_ino;
}

static void add_folders(struct folder *folder, const char *path, struct buffer *report)
{
    char *data_dir = loaded_config_data_dir(&folder->sources[0]);
    char beside[PATH_MAX], state[PATH_MAX];

    config_folder(path, beside);
    add_folder(folder, beside, false, report);
    if (data_dir && strlen(data_dir) < PATH_MAX / 2) {
        state_folder(data_dir, state);
        if (folder->code == 0 && !is_same_folder(beside, state))
            add_folder(folder, state, true, report);
    }
    free(data_dir);
}

/* In place of the file that is there, or behind the others: it is not written yet. */
static void put_source(struct folder *folder, const char *path, const char *text)
{
    struct loaded_source source = {.size_bytes = strlen(text)};

    source.path = memory_checked(strdup(path));
    source.text = memory_checked(strdup(text));
    for (size_t i = 1; i < folder->count; i++)
        if (strcmp(folder->sources[i].path, path) == 0) {
            free_source(&folder->sources[i]);
            folder->sources[i] = source;
            return;
        }
    folder->sources = memory_resize(folder->sources, folder->count + 1, sizeof(*folder->sources));
    folder->sources[folder->count++] = source;
}

int config_load(const char *path, struct config **config, struct buffer *report)
{
    return config_load_with(path, NULL, NULL, config, report);
}

int config_load_with(const char *path, const char *file, const char *text, struct config **config,
                     struct buffer *report)
{
    struct loaded_config *loaded = NULL;
    struct folder folder = {0};
    int code;

    *config = NULL;
    add_source(&folder, path, report);
    if (folder.code == 0)
        add_folders(&folder, path, report);
    if (folder.code == 0 && file)
        put_source(&folder, file, text);
    code = folder.code;
    if (code == 0)
        code = loaded_config_parse_all(folder.sources, folder.count, &loaded, report);
    if (code == 0)
        *config = &loaded->config;
    for (size_t i = 0; i < folder.count; i++)
        free_source(&folder.sources[i]);
    free(folder.sources);
    return code;
}

const char *config_default_path(const char *given)
{
    if (given)
        return given;
    if (access("./windrow.yaml", F_OK) == 0)
        return "./windrow.yaml";
    return "/etc/windrow/windrow.yaml";
}

bool config_has_spans(const struct config_collection *collection)
{
    return collection->spans == CONFIG_SPANS_AUTO && collection->window_ms > 0;
}

uint64_t config_flat_below_rows(const struct config_collection *collection)
{
    return config_has_spans(collection) ? collection->flat_below_rows / CONFIG_SPAN_WINDOWS
                                        : collection->flat_below_rows;
}

const char *config_key_rule_name(enum config_key_rule rule)
{
    const struct property *property = property_find("collections.*.key");

    for (size_t i = 0; i < property->choice_count; i++)
        if (property->choices[i].value == (int)rule)
            return property->choices[i].name;
    return "unknown";
}

const struct config_collection *config_collection_find(const struct config *config,
                                                       const char *name)
{
    for (size_t i = 0; i < config->collection_count; i++)
        if (!config->collections[i].removed && strcmp(config->collections[i].name, name) == 0)
            return &config->collections[i];
    return NULL;
}

const char *config_vector_name(const struct config_collection *collection)
{
    return collection->vector_name ? collection->vector_name : "";
}

bool config_is_dense_vector(const struct config_collection *collection, const char *name,
                            size_t name_bytes)
{
    const char *own = config_vector_name(collection);

    return bytes_equal(own, strlen(own), name, name_bytes);
}

const char *config_sparse_vector(const struct config_collection *collection, const char *name,
                                 size_t name_bytes)
{
    for (size_t i = 0; i < collection->sparse_vector_count; i++) {
        const char *each = collection->sparse_vectors[i];
        if (bytes_equal(each, strlen(each), name, name_bytes))
            return each;
    }
    return NULL;
}

const struct config_vector *config_extra_vector(const struct config_collection *collection,
                                                const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < collection->extra_vector_count; i++) {
        const struct config_vector *each = &collection->extra_vectors[i];
        if (bytes_equal(each->name, strlen(each->name), name, name_bytes))
            return each;
    }
    return NULL;
}

const char *config_part(const struct config_collection *collection, const char *name,
                        size_t name_bytes)
{
    const struct config_vector *extra = config_extra_vector(collection, name, name_bytes);

    return extra ? extra->name : config_sparse_vector(collection, name, name_bytes);
}

struct config_vector config_own_vector(const struct config_collection *collection)
{
    return (struct config_vector){.name = config_vector_name(collection),
                                  .dim = collection->dim,
                                  .metric = collection->metric};
}

bool config_has_parts(const struct config_collection *collection)
{
    return collection->sparse_vector_count > 0 || collection->extra_vector_count > 0;
}

void config_shard_name(const struct config_collection *collection, size_t topic, int32_t partition,
                       char name[CONFIG_SHARD_NAME_BYTES])
{
    if (topic == 0)
        (void)snprintf(name, CONFIG_SHARD_NAME_BYTES, "%d", partition);
    else
        (void)snprintf(name, CONFIG_SHARD_NAME_BYTES, "%s-%d", collection->topics[topic],
                       partition);
}

bool config_shard_partition(const struct config_collection *collection, const char *name,
                            const char **topic, int32_t *partition)
{
    const char *dash = strrchr(name, '-');
    const char *number = dash ? dash + 1 : name;
    uint64_t value;

    if (collection->topic_count == 0 || text_parse_u64(number, strlen(number), &value) != 0 ||
        value > INT32_MAX)
        return false;
    *partition = (int32_t)value;
    *topic = dash ? NULL : collection->topics[0];
    for (size_t i = 1; i < collection->topic_count && dash && !*topic; i++) {
        size_t length = strlen(collection->topics[i]);
        if ((size_t)(dash - name) == length && strncmp(collection->topics[i], name, length) == 0)
            *topic = collection->topics[i];
    }
    return *topic != NULL;
}

void config_shard_folder(const struct config_collection *collection, const char *shard,
                         char folder[CONFIG_SHARD_NAME_BYTES])
{
    const char *topic;
    int32_t partition;

    if (!config_shard_partition(collection, shard, &topic, &partition))
        (void)snprintf(folder, CONFIG_SHARD_NAME_BYTES, "%s", shard);
    else if (topic[0] == '.')
        (void)snprintf(folder, CONFIG_SHARD_NAME_BYTES, "%%%s-%d", topic + 1, partition);
    else
        (void)snprintf(folder, CONFIG_SHARD_NAME_BYTES, "%s-%d", topic, partition);
}

bool config_shard_of_folder(const struct config_collection *collection, const char *folder,
                            char shard[CONFIG_SHARD_NAME_BYTES])
{
    const char *dash = strrchr(folder, '-');
    char same[CONFIG_SHARD_NAME_BYTES];
    uint64_t partition;

    if (collection->topic_count == 0) {
        (void)snprintf(shard, CONFIG_SHARD_NAME_BYTES, "%s", folder);
        return true;
    }
    if (!dash || text_parse_u64(dash + 1, strlen(dash + 1), &partition) != 0 ||
        partition > INT32_MAX)
        return false;
    for (size_t i = 0; i < collection->topic_count; i++) {
        config_shard_name(collection, i, (int32_t)partition, shard);
        config_shard_folder(collection, shard, same);
        if (strcmp(same, folder) == 0)
            return true;
    }
    return false;
}

void config_consumer_group(const struct config *config, char out[CONFIG_GROUP_BYTES])
{
    (void)snprintf(out, CONFIG_GROUP_BYTES, "%.400s%s%s", config->kafka_group,
                   config->cluster_replica_set ? "-" : "",
                   config->cluster_replica_set ? config->cluster_replica_set : "");
}

const char *config_collection_nearest(const struct config *config, const char *name)
{
    struct nearest nearest = nearest_to(name);
    const char *found = NULL;

    for (size_t i = 0; i < config->collection_count; i++)
        if (nearest_try(&nearest, config->collections[i].name))
            found = config->collections[i].name;
    return found;
}
