#include "config/load.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static bool is_header_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x21 || (unsigned char)*text > 0x7e)
            return false;
    return true;
}

static const char *check_key(const char *key, struct report_mark mark, struct report *report)
{
    if (!key || is_header_text(key))
        return key;
    report_error(report, mark,
                 "the API key contains blanks or unprintable characters (use one line of "
                 "printable ASCII)");
    return NULL;
}

static void read_api_key(struct loaded_config *loaded, struct report *report)
{
    const char *environment = getenv("WINDROW_HTTP_API_KEY");
    const struct property *property = property_find("http.api_key_file");
    struct report_mark mark = loaded->marks[property - properties];
    const char *key = NULL;

    if (environment && *environment) {
        key = copy(loaded, environment);
        loaded->api_key_from_environment = true;
        mark = (struct report_mark){1, 1};
    } else if (loaded->api_key_path) {
        key = read_secret(loaded, "http.api_key_file", loaded->api_key_path, mark, report);
    }
    loaded->config.http_api_key = check_key(key, mark, report);
}

static void read_read_only_key(struct loaded_config *loaded, struct report *report)
{
    const char *path = loaded->read_only_key_path;
    struct report_mark mark = loaded->marks[property_find("http.read_only_key_file") - properties];
    const char *key;

    if (!path)
        return;
    key = read_secret(loaded, "http.read_only_key_file", path, mark, report);
    loaded->config.http_read_only_key = check_key(key, mark, report);
    if (!loaded->config.http_api_key)
        report_error(
            report, mark,
            "http.read_only_key_file: nothing protects writes (set http.api_key_file, too)");
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

    read_api_key(loaded, report);
    read_read_only_key(loaded, report);
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
