#include "indexer/endpoint/rest/client_settings.h"

#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/handlers.h"
#include "indexer/endpoint/rest/payload_edit.h"
#include "indexer/endpoint/rest/rest.h"

enum { SECTIONS = 9, SECTION_KEYS = 12 };

/* A setting as it changes what is kept: "Disabled" takes quantization away, as a null does. */
static struct doc taken(const char *name, const struct doc *value)
{
    bool disabled = strcmp(name, "quantization_config") == 0 && value->type == DOC_STRING;

    return disabled ? doc_null() : *value;
}

/* The pairs of `map` whose keys are listed; `names` ends with NULL. */
static struct doc pick(struct arena *arena, const struct doc *map, const char *const *names)
{
    struct doc picked = doc_map(arena, SECTION_KEYS);

    for (; *names; names++)
        if (doc_get(map, *names))
            doc_put(&picked, *names, taken(*names, doc_get(map, *names)));
    return picked;
}

static void put_section(struct doc *settings, const char *name, const struct doc *section)
{
    if (section && (section->type != DOC_MAP || section->count > 0))
        doc_put(settings, name, taken(name, section));
}

/* The config has checked the text. */
static struct doc parse_kept(struct arena *arena, const char *text, size_t size_bytes)
{
    struct doc settings = {.type = DOC_MAP};

    (void)doc_parse_json(arena, text, size_bytes, NULL, &settings, ERROR_IGNORED);
    return settings;
}

struct doc client_settings_read(struct arena *arena, const struct config_collection *collection)
{
    const char *text = config_client_settings(collection, arena);

    return text ? parse_kept(arena, text, strlen(text)) : (struct doc){.type = DOC_MAP};
}

bool client_settings_is_parameter(const struct doc *key)
{
    static const char *const parameters[] = {
        "size",        "distance",          "datatype", "on_disk", "memory", "quantization_config",
        "hnsw_config", "multivector_config"};

    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        if (doc_string_equals(key, parameters[i]))
            return true;
    return false;
}

const struct doc *client_settings_own(const struct doc *vectors, const char *own)
{
    for (uint32_t i = 0; vectors && i < vectors->count; i++) {
        const struct doc *key = &vectors->items[2 * i];
        if (!client_settings_is_parameter(key) &&
            (own ? doc_string_equals(key, own) : !doc_get(&key[1], "multivector_config")))
            return key;
    }
    return NULL;
}

/* Of the vectors beside the collection's own, by name. */
static struct doc take_extras(struct arena *arena, const struct doc *vectors, const struct doc *own,
                              const char *const *names)
{
    struct doc *pairs = doc_items(arena, vectors ? 2 * vectors->count : 0);
    struct doc extras = {.type = DOC_MAP, .items = pairs};

    for (uint32_t i = 0; vectors && i < vectors->count; i++) {
        const struct doc *key = &vectors->items[2 * i];
        const struct doc section =
            key[1].type == DOC_MAP ? pick(arena, &key[1], names) : (struct doc){.type = DOC_MAP};
        if (key == own || client_settings_is_parameter(key) || section.count == 0)
            continue;
        pairs[2 * extras.count] = *key;
        pairs[2 * extras.count++ + 1] = section;
    }
    return extras;
}

struct doc client_settings_take(struct arena *arena, const struct doc *body, const char *own)
{
    static const char *const of_vectors[] = {"on_disk", "memory", "quantization_config",
                                             "hnsw_config", NULL};
    static const char *const of_params[] = {"shard_number",
                                            "replication_factor",
                                            "write_consistency_factor",
                                            "read_fan_out_factor",
                                            "read_fan_out_delay_ms",
                                            "on_disk_payload",
                                            "payload",
                                            "id_tracker",
                                            NULL};
    static const char *const sections[] = {"sparse_vectors",      "hnsw_config",
                                           "optimizers_config",   "wal_config",
                                           "quantization_config", NULL};
    const struct doc *metadata = doc_get(body, "metadata"), *params = doc_get(body, "params");
    const struct doc *vectors = doc_get(body, "vectors"), *name = client_settings_own(vectors, own);
    struct doc settings = doc_map(arena, SECTIONS), section;

    section = pick(arena, name ? &name[1] : vectors, of_vectors);
    put_section(&settings, "vectors", &section);
    section = take_extras(arena, vectors, name, of_vectors);
    put_section(&settings, "extra_vectors", &section);
    section = pick(arena, params ? params : body, of_params);
    put_section(&settings, "params", &section);
    for (size_t i = 0; sections[i]; i++)
        put_section(&settings, sections[i], doc_get(body, sections[i]));
    put_section(&settings, "quantization_config", doc_get(body, "quantization"));
    if (metadata) { /* without `windrow`, which is read as settings of windrow's own */
        struct doc *pair = doc_items(arena, 2);
        const struct doc windrow = {.type = DOC_MAP, .count = 1, .items = pair};
        pair[0] = doc_string(arena, "windrow");
        pair[1] = doc_null();
        section = payload_merge(arena, metadata, &windrow);
        put_section(&settings, "metadata", &section);
    }
    return settings;
}

struct doc client_settings_merge(struct arena *arena, const struct doc *kept,
                                 const struct doc *changed)
{
    struct doc *pairs = doc_items(arena, 2 * changed->count);
    struct doc merged = {.type = DOC_MAP, .count = changed->count, .items = pairs};

    for (uint32_t i = 0; i < changed->count; i++) {
        const struct doc *key = &changed->items[2 * i], *value = &key[1];
        const struct doc *before = doc_get_n(kept, key->string, key->count);
        bool whole = doc_string_equals(key, "quantization_config") || value->type != DOC_MAP;
        pairs[2 * i] = *key;
        /* With nothing before, too: a null that takes a key away is not kept. */
        pairs[2 * i + 1] = whole ? *value : payload_merge(arena, before, value);
    }
    return payload_merge(arena, kept, &merged);
}

int client_settings_write(struct arena *arena, const struct doc *settings, struct doc *text,
                          struct error *error)
{
    struct buffer out = {0};
    int code = 0;

    *text = doc_null();
    if (settings->count == 0)
        return 0;
    doc_write_json(&out, settings);
    if (out.size > CLIENT_SETTINGS_MAX_BYTES)
        code = error_set(error, ERROR_INVALID,
                         "Wrong input: settings and metadata have %zu bytes as JSON, at most %d",
                         out.size, CLIENT_SETTINGS_MAX_BYTES);
    else
        *text = doc_string(arena, memory_checked(arena_copy(arena, out.data, out.size)));
    buffer_destroy(&out);
    return code;
}

int rest_changes_settle(struct arena *arena, const struct doc *changes, const struct doc *kept,
                        struct doc *settled, struct error *error)
{
    const struct doc *ttl = doc_get(changes, "ttl"), *changed = doc_get(changes, "client_settings");
    struct doc settings = {.type = DOC_MAP}, text;

    *settled = doc_map(arena, 2);
    if (ttl)
        doc_put(settled, "ttl", *ttl);
    if (!changed)
        return 0;
    if (kept && kept->type == DOC_STRING)
        settings = parse_kept(arena, kept->string, kept->count);
    settings = client_settings_merge(arena, &settings, changed);
    if (client_settings_write(arena, &settings, &text, error) != 0)
        return error->code;
    doc_put(settled, "client_settings", text);
    return 0;
}

/* What is shown. */

/* A section as it was sent, and behind that the values that hold where nothing was. */
static struct doc shown(struct arena *arena, const struct doc *sent, const struct doc *otherwise)
{
    struct doc section = doc_map(arena, (sent ? sent->count : 0) + otherwise->count);

    if (sent)
        doc_merge(&section, sent);
    doc_merge(&section, otherwise);
    return section;
}

static struct doc describe_vector(struct arena *arena, const struct config_vector *vector,
                                  const char *distance, const struct doc *sent)
{
    struct doc own = doc_map(arena, 3), list = doc_map(arena, 1);

    doc_put(&own, "size", doc_integer(vector->dim));
    doc_put(&own, "distance", doc_string(arena, distance));
    if (vector->multiple) {
        doc_put(&list, "comparator", doc_string(arena, "max_sim"));
        doc_put(&own, "multivector_config", list);
    }
    return shown(arena, sent, &own);
}

static struct doc describe_vectors(struct arena *arena, const struct config_collection *collection,
                                   const char *distance, const struct doc *sent,
                                   const struct doc *sent_extras)
{
    const struct config_vector vector = config_own_vector(collection);
    const struct doc own = describe_vector(arena, &vector, distance, sent);
    struct doc named = doc_map(arena, 1 + (uint32_t)collection->extra_vector_count);

    if (*vector.name == '\0' && collection->extra_vector_count == 0)
        return own;
    doc_put(&named, vector.name, own);
    for (size_t i = 0; i < collection->extra_vector_count; i++) {
        const struct config_vector *extra = &collection->extra_vectors[i];
        doc_put(&named, extra->name,
                describe_vector(arena, extra, rest_metric_name(extra->metric),
                                doc_get(sent_extras, extra->name)));
    }
    return named;
}

static struct doc describe_sparse(struct arena *arena, const struct config_collection *collection,
                                  const struct doc *sent)
{
    struct doc names = doc_map(arena, (uint32_t)collection->sparse_vector_count);

    for (size_t i = 0; i < collection->sparse_vector_count; i++) {
        const struct doc *params = doc_get(sent, collection->sparse_vectors[i]);
        doc_put(&names, collection->sparse_vectors[i],
                params ? *params : (struct doc){.type = DOC_MAP});
    }
    return names;
}

static struct doc describe_params(struct arena *arena, const struct config_collection *collection,
                                  const char *distance, size_t shard_count,
                                  const struct doc *settings)
{
    struct doc own = doc_map(arena, 6);

    doc_put(&own, "vectors",
            describe_vectors(arena, collection, distance, doc_get(settings, "vectors"),
                             doc_get(settings, "extra_vectors")));
    if (collection->sparse_vector_count > 0)
        doc_put(&own, "sparse_vectors",
                describe_sparse(arena, collection, doc_get(settings, "sparse_vectors")));
    doc_put(&own, "shard_number", doc_integer(shard_count > 0 ? (int64_t)shard_count : 1));
    doc_put(&own, "replication_factor", doc_integer(1));
    doc_put(&own, "write_consistency_factor", doc_integer(1));
    doc_put(&own, "on_disk_payload", doc_bool(true));
    return shown(arena, doc_get(settings, "params"), &own);
}

/* What graphs are built with. Where the vector's own setting decided it, that one is shown with the vector, and
 * here is the one for all vectors that was sent beside it. */
static struct doc graph_setting(const struct doc *sent, const struct doc *of_vector,
                                const char *name, uint32_t built_with)
{
    const struct doc *for_all = doc_get(sent, name), *own = doc_get(of_vector, name);
    uint64_t value;

    return for_all && own && doc_as_u64(own, &value) && value == built_with
               ? *for_all
               : doc_integer(built_with);
}

static struct doc describe_hnsw(struct arena *arena, const struct config_collection *collection,
                                const struct doc *sent, const struct doc *of_vector)
{
    struct doc hnsw = doc_map(arena, 3 + (sent ? sent->count : 0));

    doc_put(&hnsw, "m", graph_setting(sent, of_vector, "m", collection->hnsw_m));
    doc_put(&hnsw, "ef_construct",
            graph_setting(sent, of_vector, "ef_construct", collection->hnsw_ef_construct));
    if (sent)
        doc_merge(&hnsw, sent);
    if (!doc_get(&hnsw, "full_scan_threshold"))
        doc_put(&hnsw, "full_scan_threshold", doc_integer((int64_t)collection->flat_below_rows));
    return hnsw;
}

struct doc client_settings_describe(struct arena *arena, const struct config_collection *collection,
                                    const char *distance, size_t shard_count)
{
    const struct doc settings = client_settings_read(arena, collection);
    struct doc config = doc_map(arena, SECTIONS), otherwise = doc_map(arena, 4);

    doc_put(&config, "params",
            describe_params(arena, collection, distance, shard_count, &settings));
    doc_put(&config, "hnsw_config",
            describe_hnsw(arena, collection, doc_get(&settings, "hnsw_config"),
                          doc_get(doc_get(&settings, "vectors"), "hnsw_config")));
    doc_put(&otherwise, "deleted_threshold", doc_number(0.3));
    doc_put(&otherwise, "vacuum_min_vector_number", doc_integer(1000));
    doc_put(&otherwise, "default_segment_number", doc_integer(0));
    doc_put(&otherwise, "flush_interval_sec", doc_integer(5));
    doc_put(&config, "optimizer_config",
            shown(arena, doc_get(&settings, "optimizers_config"), &otherwise));
    otherwise = doc_map(arena, 2);
    doc_put(&otherwise, "wal_capacity_mb", doc_integer(32));
    doc_put(&otherwise, "wal_segments_ahead", doc_integer(0));
    doc_put(&config, "wal_config", shown(arena, doc_get(&settings, "wal_config"), &otherwise));
    if (doc_get(&settings, "quantization_config"))
        doc_put(&config, "quantization_config", *doc_get(&settings, "quantization_config"));
    if (doc_get(&settings, "metadata"))
        doc_put(&config, "metadata", *doc_get(&settings, "metadata"));
    return config;
}

/* The vector's own setting, or the one for all. */
static const struct doc *setting_of(const struct doc *settings, const struct doc *of_vector,
                                    const char *section, const char *key)
{
    const struct doc *own = doc_get(of_vector, section), *for_all = doc_get(settings, section);

    if (!key)
        return own ? own : for_all;
    return doc_get(own, key) ? doc_get(own, key) : doc_get(for_all, key);
}

/* Of one vector, into *warning. False: nothing is wrong with its settings. */
static bool warn_of(struct arena *arena, const struct doc *settings, const struct doc *of_vector,
                    const struct config_vector *vector, struct doc *warning)
{
    static const char *const text =
        "Vector `%s`: `inline_storage` has no effect. Qdrant needs `quantization_config` for it "
        "and no list of vectors; windrow stores vectors as `vectors.storage` says";
    const struct doc *inlined = setting_of(settings, of_vector, "hnsw_config", "inline_storage");
    struct buffer message = {0};

    if (!inlined || inlined->type != DOC_BOOL || !inlined->boolean ||
        (setting_of(settings, of_vector, "quantization_config", NULL) && !vector->multiple))
        return false;
    buffer_append_format(&message, text, vector->name);
    *warning = doc_map(arena, 1);
    doc_put(warning, "message", doc_string(arena, buffer_text(&message)));
    buffer_destroy(&message);
    return true;
}

struct doc client_settings_warnings(struct arena *arena, const struct config_collection *collection)
{
    const struct doc settings = client_settings_read(arena, collection);
    const struct doc *extras = doc_get(&settings, "extra_vectors");
    const struct config_vector own = config_own_vector(collection);
    struct doc *items = doc_items(arena, 1 + (uint32_t)collection->extra_vector_count);
    uint32_t count = warn_of(arena, &settings, doc_get(&settings, "vectors"), &own, &items[0]);

    for (size_t i = 0; i < collection->extra_vector_count; i++) {
        const struct config_vector *extra = &collection->extra_vectors[i];
        count += warn_of(arena, &settings, doc_get(extras, extra->name), extra, &items[count]);
    }
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}
