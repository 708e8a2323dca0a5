#include "store/settings.h"

#include <limits.h>
#include <stdio.h>

#include "base/vector.h"
#include "store/files/manifest_format.h"
#include "store/places.h"
#include "store/store.h"

static void add(struct buffer *differences, const char *what, const char *stored,
                const char *wanted)
{
    buffer_append_format(differences, "%s%s is %s on disk and %s in the config",
                         differences->size ? "; " : "", what, stored, wanted);
}

static const char *metric_name(enum vector_metric metric)
{
    const char *name = vector_metric_name(metric);

    return name ? name : "unknown";
}

static const char *key_name(uint16_t key_rule)
{
    return config_key_rule_name((enum config_key_rule)(key_rule - 1));
}

struct store_settings store_settings_wanted(const struct config_collection *collection)
{
    return (struct store_settings){collection->dim, collection->metric,
                                   (uint16_t)(collection->key + 1)};
}

struct store_settings store_settings_stored(const struct manifest_state *state)
{
    return (struct store_settings){state->dim, (enum vector_metric)state->metric, state->key_rule};
}

int store_settings_check(const struct store_settings *stored, const struct store_settings *wanted,
                         struct error *error)
{
    struct buffer differences = {0};
    char numbers[2][16];
    int code = 0;

    (void)snprintf(numbers[0], sizeof(numbers[0]), "%u", stored->dim);
    (void)snprintf(numbers[1], sizeof(numbers[1]), "%u", wanted->dim);
    if (stored->dim != wanted->dim)
        add(&differences, "dimension", numbers[0], numbers[1]);
    if (stored->metric != wanted->metric)
        add(&differences, "metric", metric_name(stored->metric), metric_name(wanted->metric));
    if (stored->key_rule != 0 && wanted->key_rule != 0 && stored->key_rule != wanted->key_rule)
        add(&differences, "key", key_name(stored->key_rule), key_name(wanted->key_rule));
    if (differences.size)
        code = error_set(error, ERROR_INVALID,
                         "%s (set the former value again, or give the collection another name and "
                         "read its topics again)",
                         buffer_text(&differences));
    buffer_destroy(&differences);
    return code;
}

struct comparison {
    struct io *io;
    const char *folder; /* of the collection */
    const struct config_collection *collection;
    struct error *error; /* of the first shard that differs */
};

/* The first one tells it of the collection: its shards were written alike. */
static int compare_shard(void *context, const char *name)
{
    struct comparison *comparison = context;
    const struct config_collection *collection = comparison->collection;
    const struct store_settings wanted = store_settings_wanted(collection);
    struct store_settings stored;
    struct manifest_state state = {0};
    char directory[PATH_MAX], shard[CONFIG_SHARD_NAME_BYTES];
    int code;

    /* A shard of a topic that left the list is not opened. */
    if (!config_shard_of_folder(collection, name, shard) && !places_is_old_folder(name))
        return 0;
    if ((size_t)snprintf(directory, sizeof(directory), "%s/%s", comparison->folder, name) >=
        sizeof(directory))
        return 0;
    code = manifest_read_current(comparison->io, directory, &state, comparison->error);
    if (code == ERROR_NOT_FOUND) { /* no shard */
        *comparison->error = (struct error){0};
        return 0;
    }
    stored = store_settings_stored(&state);
    if (code == 0)
        code = store_settings_check(&stored, &wanted, comparison->error);
    manifest_state_destroy(&state);
    if (code != 0)
        (void)error_wrap(comparison->error, "shard %s", name);
    return code;
}

int store_settings_check_data(struct io *io, const char *data_dir,
                              const struct config_collection *collection, struct error *error)
{
    /* An earlier windrow had the collections beside LOCK. */
    static const char *const places[] = {"%.3000s/" STORE_COLLECTIONS "/%s", "%.3000s/%s"};
    struct error found = {0};
    char folder[PATH_MAX];
    struct comparison comparison = {io, folder, collection, &found};

    for (size_t i = 0; i < 2 && found.code == 0; i++)
        if ((size_t)snprintf(folder, sizeof(folder), places[i], data_dir, collection->name) <
            sizeof(folder))
            (void)io_list(io, folder, compare_shard, &comparison, ERROR_IGNORED);
    return found.code == 0 ? 0 : error_set(error, found.code, "%s", found.text);
}

size_t store_settings_compare(struct io *io, const char *data_dir, const struct config *config,
                              struct buffer *report)
{
    size_t count = 0;

    for (size_t i = 0; i < config->collection_count; i++) {
        const struct config_collection *collection = &config->collections[i];
        struct error error = {0};
        if (collection->removed || store_settings_check_data(io, data_dir, collection, &error) == 0)
            continue;
        buffer_append_format(report, "collections.%s: %s\n", collection->name, error.text);
        count++;
    }
    return count;
}
