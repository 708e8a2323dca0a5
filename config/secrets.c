#include "config/load.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 64 * 1024 };

#define KAFKA_PREFIX "WINDROW_KAFKA_"

/* The file's text without line ends behind it; NULL is reported. */
static const char *read_secret(struct loaded_config *loaded, const char *name, const char *path,
                               struct report_mark mark, struct report *report)
{
    char *text = arena_alloc(&loaded->arena, SECRET_BYTES_MAX + 1, 1);
    size_t size = 0;
    ssize_t got = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        report_error(report, mark, "%s: cannot open %.200s: %s", name, path, strerror(errno));
        return NULL;
    }
    while (size <= SECRET_BYTES_MAX &&
           (got = read(file, text + size, SECRET_BYTES_MAX + 1 - size)) > 0)
        size += (size_t)got;
    if (got < 0)
        report_error(report, mark, "%s: cannot read %.200s: %s", name, path, strerror(errno));
    (void)close(file);
    if (got < 0)
        return NULL;
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    if (size == 0 || size > SECRET_BYTES_MAX || memchr(text, 0, size)) {
        report_error(report, mark, "%s: %.200s is empty, larger than 64 KiB, or not text", name,
                     path);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static const char *copy(struct loaded_config *loaded, const char *text)
{
    return arena_copy(&loaded->arena, text, strlen(text));
}

/* A key that every user of the machine may read protects nothing. */
bool secret_is_private(const char *name, const char *path, struct report_mark mark,
                       struct report *report)
{
    struct stat status;

    if (stat(path, &status) != 0 || (status.st_mode & (S_IROTH | S_IWOTH)) == 0)
        return true; /* whoever opens it says why it cannot */
    report_error(report, mark,
                 "%s: every user may read or write %.200s (mode %04o; such as chmod 640 %.200s)",
                 name, path, (unsigned)status.st_mode & 07777, path);
    return false;
}

static const char *read_keys_at(struct loaded_config *loaded, const char *name, const char *path,
                                struct report_mark mark, struct report *report)
{
    const char *text;

    if (!path || !secret_is_private(name, path, mark, report))
        return NULL;
    text = read_secret(loaded, name, path, mark, report);
    return text ? keys_parse(loaded, name, text, mark, report) : NULL;
}

static const char *read_keys(struct loaded_config *loaded, const char *name, const char *path,
                             struct report *report)
{
    return read_keys_at(loaded, name, path, loaded->marks[property_find(name) - properties],
                        report);
}

static void read_embedder_keys(struct loaded_config *loaded, struct report *report)
{
    const struct property *property = property_find("collections.*.embedder.key_file");
    const char *file = report->file;

    for (size_t i = 0; i < loaded->config.collection_count; i++) {
        struct config_collection *collection = &loaded->config.collections[i];
        char name[160];
        (void)snprintf(name, sizeof(name), "collections.%s.embedder.key_file", collection->name);
        report->file = collection->file;
        report->file_number = collection->file_number;
        collection->embedder_key =
            read_keys_at(loaded, name, collection->embedder_key_file,
                         loaded->collection_marks[i][property - properties], report);
    }
    report->file = file;
    report->file_number = 0;
}

static void read_all_keys(struct loaded_config *loaded, struct report *report)
{
    const char *environment = getenv("WINDROW_HTTP_API_KEY");
    struct config *config = &loaded->config;
    const struct {
        const char *name, *path;
        _Atomic(const char *) *keys;
    } lesser[] = {
        {"http.read_only_key_file", loaded->read_only_key_path, &config->http_read_only_key},
        {"http.internal_key_file", loaded->internal_key_path, &config->http_internal_key}};

    loaded->api_key_from_environment = environment && *environment;
    if (loaded->api_key_from_environment)
        config->http_api_key = keys_parse(loaded, "WINDROW_HTTP_API_KEY", environment,
                                          (struct report_mark){1, 1}, report);
    else
        config->http_api_key = read_keys(loaded, "http.api_key_file", loaded->api_key_path, report);
    for (size_t i = 0; i < 2; i++) {
        *lesser[i].keys = read_keys(loaded, lesser[i].name, lesser[i].path, report);
        if (lesser[i].path && !loaded->api_key_path && !loaded->api_key_from_environment)
            report_error(report, loaded->marks[property_find(lesser[i].name) - properties],
                         "%s: nothing protects writes (set http.api_key_file, too)",
                         lesser[i].name);
    }
}

static void read_pair_files(struct loaded_config *loaded, struct config_pair *pairs, size_t count,
                            struct report *report)
{
    for (size_t i = 0; i < count; i++) {
        char name[160];
        const char *text;
        if (strncmp(pairs[i].value, "file:", 5) != 0)
            continue;
        (void)snprintf(name, sizeof(name), "kafka.properties.%.120s", pairs[i].name);
        text = read_secret(loaded, name, pairs[i].value + 5, loaded->pair_marks[i], report);
        if (text)
            pairs[i].value = text;
    }
}

/* WINDROW_KAFKA_SASL_PASSWORD=x -> sasl.password, x. False for other variables. */
static bool read_variable(struct loaded_config *loaded, const char *variable,
                          struct config_pair *pair)
{
    const char *equals = strchr(variable, '=');
    char *name;

    if (!equals || equals[1] == '\0' || strncmp(variable, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) != 0)
        return false;
    variable += strlen(KAFKA_PREFIX);
    if (equals == variable)
        return false;
    name = arena_copy(&loaded->arena, variable, (size_t)(equals - variable));
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '.' : (char)tolower((unsigned char)*c);
    *pair = (struct config_pair){name, copy(loaded, equals + 1)};
    return true;
}

static size_t count_variables(void)
{
    size_t count = 0;

    for (char **variable = environ; *variable; variable++)
        count += strncmp(*variable, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) == 0;
    return count;
}

void secrets_read(struct loaded_config *loaded, struct report *report)
{
    struct config *config = &loaded->config;
    size_t count = config->kafka_property_count;
    size_t room = count + count_variables() + 1;
    struct config_pair *pairs = arena_calloc(&loaded->arena, room, sizeof(*pairs));
    struct report_mark *marks = arena_calloc(&loaded->arena, room, sizeof(*marks));

    read_all_keys(loaded, report);
    read_embedder_keys(loaded, report);
    if (count > 0) {
        memcpy(pairs, config->kafka_properties, count * sizeof(*pairs));
        memcpy(marks, loaded->pair_marks, count * sizeof(*marks));
    }
    read_pair_files(loaded, pairs, count, report);
    for (char **variable = environ; *variable; variable++) {
        struct config_pair pair;
        size_t at = 0;
        if (!read_variable(loaded, *variable, &pair))
            continue;
        if (property_kafka_reserved(pair.name)) {
            report_error(report, (struct report_mark){1, 1},
                         "the environment variable " KAFKA_PREFIX "... cannot set %.80s (%s)",
                         pair.name, property_kafka_reserved(pair.name));
            continue;
        }
        while (at < count && strcmp(pairs[at].name, pair.name) != 0)
            at++;
        pairs[at] = pair;
        marks[at] = (struct report_mark){LOADED_FROM_ENVIRONMENT, 0};
        count += at == count;
    }
    config->kafka_properties = pairs;
    config->kafka_property_count = count;
    loaded->pair_marks = marks;
}
