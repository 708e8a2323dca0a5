/* What no single value can tell: combinations, missing values, collections that exclude each other.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/text.h"
#include "config/load.h"

enum { WINDOWS_PER_TTL_MANY = 100, WINDOWS_PER_TTL_FEW = 4 };

static const struct report_mark start_of_file = {1, 1};

static struct report_mark mark_place(const struct report_mark *marks, const char *path,
                                     struct report_mark otherwise)
{
    const struct property *property = property_find(path);
    struct report_mark mark = marks[property - properties];

    return mark.line != 0 ? mark : otherwise;
}

static bool mark_was_given(const struct report_mark *marks, const char *path)
{
    return marks[property_find(path) - properties].line != 0;
}

static const char *style_name(enum config_style style)
{
    return property_choice_name(property_find("collections.*.compaction.style"), (int)style);
}

/* Only styles that keep merging can do without windows; settings about windows have no effect then.
 */
static void check_windowless(const struct config_collection *collection,
                             const struct report_mark *marks, struct report_mark name_mark,
                             struct report *report)
{
    static const char *const of_windows[] = {"collections.*.late.allowed",
                                             "collections.*.late.policy"};

    if (collection->compaction_style == CONFIG_STYLE_TIME_WINDOW ||
        collection->compaction_style == CONFIG_STYLE_FIFO)
        report_error(report, mark_place(marks, "collections.*.window", name_mark),
                     "collections.%s.window: ~ needs compaction.style size_tiered, leveled or "
                     "hybrid (%s merges by window)",
                     collection->name, style_name(collection->compaction_style));
    if (collection->max_bytes > 0)
        report_error(report, mark_place(marks, "collections.*.max_bytes", name_mark),
                     "collections.%s.max_bytes: drops whole windows, and window: ~ has none (set a "
                     "window, or bound the collection by ttl)",
                     collection->name);
    for (size_t i = 0; i < sizeof(of_windows) / sizeof(of_windows[0]); i++)
        if (mark_was_given(marks, of_windows[i]))
            report_error(report, mark_place(marks, of_windows[i], name_mark),
                         "collections.%s.%s: has no effect with window: ~ (without windows no "
                         "record is late)",
                         collection->name, of_windows[i] + sizeof("collections.*.") - 1);
    if (collection->index_kind == CONFIG_INDEX_HNSW)
        report_error(report, mark_place(marks, "collections.*.index.kind", name_mark),
                     "collections.%s.index.kind: hnsw segments are built from sealed windows, and "
                     "window: ~ has none (set a window, or index.kind: flat)",
                     collection->name);
}

/* A key of another style looks as if it had an effect: warn. */
static void check_unused(const struct config_collection *collection,
                         const struct report_mark *marks, struct report *report)
{
    enum config_style style = collection->compaction_style;
    bool levels = style == CONFIG_STYLE_LEVELED || style == CONFIG_STYLE_HYBRID;
    const uint64_t file_bytes = UINT64_C(64) << 20;
    const struct {
        const char *path;
        bool used;
        bool is_default; /* written-out defaults get no warning */
        const char *by;
    } keys[] = {
        {"collections.*.compaction.max_space_amplification",
         levels || style == CONFIG_STYLE_SIZE_TIERED, collection->max_space_amplification == 1.5,
         "size_tiered, leveled and hybrid"},
        {"collections.*.compaction.leveled.target_file_size", levels,
         collection->leveled_target_file_size_bytes == file_bytes, "leveled and hybrid"},
        {"collections.*.compaction.leveled.size_ratio", levels,
         collection->leveled_size_ratio == 10, "leveled and hybrid"},
        {"collections.*.compaction.size_tiered.min_threshold", style != CONFIG_STYLE_FIFO,
         collection->size_tiered_min_threshold == 4, "all styles but fifo"},
        {"collections.*.compaction.size_tiered.max_threshold", style != CONFIG_STYLE_FIFO,
         collection->size_tiered_max_threshold == 32, "all styles but fifo"},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!keys[i].used && !keys[i].is_default)
            report_warning(
                report, mark_place(marks, keys[i].path, (struct report_mark){1, 1}),
                "collections.%s.%s: has no effect with compaction.style %s (only for %s)",
                collection->name, keys[i].path + sizeof("collections.*.") - 1, style_name(style),
                keys[i].by);
}

static void check_compaction(const struct config_collection *collection,
                             const struct report_mark *marks, struct report_mark name_mark,
                             struct report *report)
{
    if (collection->window_ms == 0)
        check_windowless(collection, marks, name_mark, report);
    else if (collection->compaction_style == CONFIG_STYLE_FIFO && collection->max_bytes == 0)
        report_error(
            report, mark_place(marks, "collections.*.compaction.style", name_mark),
            "collections.%s.compaction.style: fifo drops the oldest window above max_bytes, which "
            "is not set (set it, such as max_bytes: 100GiB, or use time_window)",
            collection->name);
    check_unused(collection, marks, report);
    if (collection->size_tiered_min_threshold > collection->size_tiered_max_threshold)
        report_error(
            report,
            mark_place(
                marks, "collections.*.compaction.size_tiered.min_threshold",
                mark_place(marks, "collections.*.compaction.size_tiered.max_threshold", name_mark)),
            "collections.%s.compaction.size_tiered: min_threshold %u is above max_threshold %u",
            collection->name, collection->size_tiered_min_threshold,
            collection->size_tiered_max_threshold);
}

/* Another type than float32 is that of sealed runs, and packs nothing more. */
static void check_storage(const struct config_collection *collection,
                          const struct report_mark *marks, struct report_mark name_mark,
                          struct report *report)
{
    struct report_mark mark = mark_place(marks, "collections.*.vectors.storage", name_mark);

    if (collection->storage == VECTOR_CODEC_RAW)
        return;
    if (collection->codec != VECTOR_CODEC_RAW)
        report_error(report, mark,
                     "collections.%s.vectors.storage: codec: packed is for float32 vectors (take "
                     "either out)",
                     collection->name);
    if (collection->window_ms == 0)
        report_error(report, mark,
                     "collections.%s.vectors.storage: it is the type of sealed windows, and "
                     "window: ~ has none (set a window, or storage: float32)",
                     collection->name);
}

/* The furthest record that is accepted moves the watermark: it must not close the window that is
 * being written. */
static void check_future(const struct config_collection *collection,
                         const struct report_mark *marks, struct report_mark name_mark,
                         struct report *report)
{
    char future[TEXT_TIME_BYTES];
    char late[TEXT_TIME_BYTES];

    if (collection->max_future_ms <= collection->late_allowed_ms)
        return;
    report_warning(report,
                   mark_place(marks, "collections.*.late.allowed",
                              mark_place(marks, "collections.*.max_future", name_mark)),
                   "collections.%s.late.allowed: %s is shorter than max_future of %s (one record "
                   "from the future would close the window being written)",
                   collection->name, text_format_duration(collection->late_allowed_ms, late),
                   text_format_duration(collection->max_future_ms, future));
}

static void check_times(const struct config_collection *collection, const struct report_mark *marks,
                        struct report_mark name_mark, struct report *report)
{
    struct report_mark window_mark = mark_place(marks, "collections.*.window", name_mark);
    char window[TEXT_TIME_BYTES];
    char other[TEXT_TIME_BYTES];
    int64_t windows_per_ttl;

    if (collection->window_ms == 0)
        return;
    check_future(collection, marks, name_mark, report);
    text_format_duration(collection->window_ms, window);
    text_format_duration(collection->ttl_ms, other);
    if (collection->ttl_ms == 0)
        return;
    if (collection->window_ms > collection->ttl_ms) {
        report_error(report, window_mark,
                     "collections.%s.window: %s is longer than the ttl of %s (20 to 50 windows per "
                     "TTL are good practice)",
                     collection->name, window, other);
        return;
    }
    if (collection->late_allowed_ms > collection->ttl_ms) {
        char late[TEXT_TIME_BYTES];
        report_error(report, mark_place(marks, "collections.*.late.allowed", name_mark),
                     "collections.%s.late.allowed: %s is longer than the ttl of %s (a window must "
                     "close before it expires)",
                     collection->name, text_format_duration(collection->late_allowed_ms, late),
                     other);
    }
    /* Do not warn about the ratio of two defaults. */
    if (!mark_was_given(marks, "collections.*.window") &&
        !mark_was_given(marks, "collections.*.ttl"))
        return;
    windows_per_ttl = (collection->ttl_ms + collection->window_ms - 1) / collection->window_ms;
    if (windows_per_ttl > WINDOWS_PER_TTL_MANY || windows_per_ttl < WINDOWS_PER_TTL_FEW)
        report_warning(report, window_mark,
                       "collections.%s.window: %s with a ttl of %s makes %lld windows per shard "
                       "(20 to 50 are good practice)",
                       collection->name, window, other, (long long)windows_per_ttl);
}

static bool is_loopback_url(const char *url)
{
    return strncmp(url, "http://127.", 11) == 0 || strncmp(url, "http://[::1]", 12) == 0 ||
           strncmp(url, "http://localhost", 16) == 0;
}

static void check_embedder(const struct config_collection *collection,
                           const struct report_mark *marks, struct report_mark name_mark,
                           struct report *report)
{
    const char *url = collection->embedder_url;
    const struct {
        const char *path, *value;
    } others[] = {{"collections.*.embedder.model", collection->embedder_model},
                  {"collections.*.embedder.key_file", collection->embedder_key_file}};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]) && !url; i++)
        if (others[i].value)
            report_error(report, mark_place(marks, others[i].path, name_mark),
                         "collections.%s.%s: has no effect without embedder.url (such as "
                         "http://127.0.0.1:8080/v1/embeddings)",
                         collection->name, others[i].path + sizeof("collections.*.") - 1);
    if (url && collection->embedder_key_file && strncmp(url, "http://", 7) == 0 &&
        !is_loopback_url(url))
        report_warning(report, mark_place(marks, "collections.*.embedder.url", name_mark),
                       "collections.%s.embedder.url: the key goes over the network in plain text "
                       "(use https://)",
                       collection->name);
}

/* Words become vectors of any values, which have no Hamming distance. */
static void check_metric(const struct config_collection *collection,
                         const struct report_mark *marks, struct report_mark name_mark,
                         struct report *report)
{
    struct report_mark mark = mark_place(marks, "collections.*.metric", name_mark);

    if (collection->metric == VECTOR_METRIC_HAMMING && collection->embedder_url)
        report_error(report, mark,
                     "collections.%s.metric: hamming compares bits, and embedder.url gives vectors "
                     "of other values (take either out)",
                     collection->name);
}

static void check_vector_name(const char *key, const char *name,
                              const struct config_collection *collection, struct report_mark mark,
                              struct report *report)
{
    if (*name == '\0' || strlen(name) > VECTOR_NAME_MAX_BYTES)
        report_error(report, mark,
                     "collections.%s.%s: \"%.50s\" is not the name of a vector (use 1 to %d bytes)",
                     collection->name, key, name, VECTOR_NAME_MAX_BYTES);
}

static void check_extra_vectors(const struct config_collection *collection, struct report_mark mark,
                                struct report *report)
{
    for (size_t i = 0; i < collection->extra_vector_count; i++) {
        const char *name = collection->extra_vectors[i].name;
        check_vector_name("extra_vectors", name, collection, mark, report);
        if (config_is_dense_vector(collection, name, strlen(name)) ||
            config_sparse_vector(collection, name, strlen(name)))
            report_error(report, mark,
                         "collections.%s.extra_vectors: \"%.200s\" is another vector as well "
                         "(vector_name, sparse_vectors): give one of them another name",
                         collection->name, name);
    }
}

static void check_vector_names(const struct config_collection *collection,
                               const struct report_mark *marks, struct report_mark name_mark,
                               struct report *report)
{
    struct report_mark mark = mark_place(marks, "collections.*.sparse_vectors", name_mark);

    if (collection->vector_name)
        check_vector_name("vector_name", collection->vector_name, collection,
                          mark_place(marks, "collections.*.vector_name", name_mark), report);
    check_extra_vectors(collection, mark_place(marks, "collections.*.extra_vectors", name_mark),
                        report);
    for (size_t i = 0; i < collection->sparse_vector_count; i++) {
        const char *name = collection->sparse_vectors[i];
        check_vector_name("sparse_vectors", name, collection, mark, report);
        if (config_sparse_vector(collection, name, strlen(name)) != name)
            report_error(report, mark, "collections.%s.sparse_vectors: \"%.200s\" comes twice",
                         collection->name, name);
        if (collection->vector_name && strcmp(name, collection->vector_name) == 0)
            report_error(report, mark,
                         "collections.%s.sparse_vectors: \"%.200s\" is the dense vector "
                         "(vector_name): give one of them another name",
                         collection->name, name);
    }
}

static void check_client_settings(const struct config_collection *collection,
                                  const struct report_mark *marks, struct report_mark name_mark,
                                  struct report *report)
{
    struct arena arena;
    struct doc doc;
    const char *text = collection->client_settings;

    if (!text)
        return;
    arena_create(&arena, 0);
    if (doc_parse_json(&arena, text, strlen(text), NULL, &doc, ERROR_IGNORED) != 0 ||
        doc.type != DOC_MAP)
        report_error(report, mark_place(marks, "collections.*.client_settings", name_mark),
                     "collections.%s.client_settings: not the text of a JSON object (remove the "
                     "key, or write it as PUT /collections does)",
                     collection->name);
    arena_destroy(&arena);
}

static void check_begin_offsets(const struct config_collection *collection,
                                const struct report_mark *marks, struct report_mark name_mark,
                                struct report *report)
{
    if (collection->begin_offset_count > 0 && collection->topic_count > 1)
        report_error(report, mark_place(marks, "collections.*.begin_offsets", name_mark),
                     "collections.%s.begin_offsets: not with several topics (remove one of the "
                     "two keys)",
                     collection->name);
}

void check_collection(const struct loaded_config *loaded, size_t index, struct report *report)
{
    const struct config_collection *collection = &loaded->config.collections[index];
    const struct report_mark *marks = loaded->collection_marks[index];
    struct report_mark name_mark = loaded->collection_name_marks[index];

    check_compaction(collection, marks, name_mark, report);
    check_storage(collection, marks, name_mark, report);
    check_metric(collection, marks, name_mark, report);
    check_times(collection, marks, name_mark, report);
    check_embedder(collection, marks, name_mark, report);
    check_vector_names(collection, marks, name_mark, report);
    check_client_settings(collection, marks, name_mark, report);
    check_begin_offsets(collection, marks, name_mark, report);
    if (!mark_was_given(marks, "collections.*.dim"))
        report_warning(
            report, name_mark,
            "collections.%s.dim: not set, using %u (set it to the dimensions of your vectors)",
            collection->name, collection->dim);
    if (!mark_was_given(marks, "collections.*.event_time.field") &&
        mark_was_given(marks, "collections.*.event_time.unit"))
        report_error(report, mark_place(marks, "collections.*.event_time.unit", name_mark),
                     "collections.%s.event_time.unit: has no effect without event_time.field "
                     "(Kafka timestamps are in ms)",
                     collection->name);
    if (collection->hnsw_ef_construct < collection->hnsw_m)
        report_error(report, mark_place(marks, "collections.*.index.hnsw.ef_construct", name_mark),
                     "collections.%s.index.hnsw: ef_construct %u is below m %u (10 times m is good "
                     "practice)",
                     collection->name, collection->hnsw_ef_construct, collection->hnsw_m);
}

/* The collection before `end` that reads `topic`, or NULL. */
static const struct config_collection *reader_of(const struct config *config, size_t end,
                                                 const char *topic)
{
    for (size_t i = 0; i < end; i++)
        for (size_t j = 0; j < config->collections[i].topic_count; j++)
            if (strcmp(config->collections[i].topics[j], topic) == 0)
                return &config->collections[i];
    return NULL;
}

static void check_topics(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    const char *file = report->file;

    for (size_t i = 0; i < config->collection_count; i++) {
        const struct config_collection *collection = &config->collections[i];
        struct report_mark mark = mark_place(loaded->collection_marks[i], "collections.*.topics",
                                             loaded->collection_name_marks[i]);
        report->file = collection->file;
        report->file_number = collection->file_number;
        for (size_t j = 0; j < collection->topic_count; j++) {
            const char *topic = collection->topics[j];
            const struct config_collection *other = reader_of(config, i, topic);
            if (other)
                report_error(report, mark,
                             "collections.%s.topics: topic %s already feeds collection %s (a topic "
                             "feeds one collection)",
                             collection->name, topic, other->name);
            if (config->kafka_dead_letters && strcmp(topic, config->kafka_dead_letters) == 0)
                report_error(report, mark,
                             "collections.%s.topics: %s is kafka.dead_letters (a rejected record "
                             "would be read again and again)",
                             collection->name, topic);
        }
    }
    report->file = file;
    report->file_number = 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

/* Whoever reaches an address that needs no key may do everything. */
static void check_reach(const struct loaded_config *loaded, struct report *report, const char *key,
                        const char *host)
{
    const struct config *config = &loaded->config;
    struct report_mark mark = mark_place(loaded->marks, key, start_of_file);

    if (config->http_api_key || config->http_tls_client_ca_file || is_loopback(host))
        return;
    if (config->http_insecure == CONFIG_TRUE)
        report_warning(report, mark,
                       "%s: every machine that reaches %s may read and write (set "
                       "http.api_key_file)",
                       key, host);
    else
        report_error(report, mark,
                     "%s: %s is reachable from other machines without an API key (set "
                     "http.api_key_file, or http.insecure: true to allow it)",
                     key, host);
}

/* The others of a cluster reach this process, and it finds them on NATS. */
static void check_cluster(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    const struct {
        const char *key, *value;
    } needing[] = {{"cluster.replica_set", config->cluster_replica_set},
                   {"cluster.advertise", config->cluster_advertise}};
    struct report_mark mark = mark_place(loaded->marks, "cluster.name", start_of_file);

    for (size_t i = 0; i < 2 && !config->cluster_name; i++)
        if (needing[i].value)
            report_error(report, mark_place(loaded->marks, needing[i].key, start_of_file),
                         "%s: has no effect without cluster.name (such as cluster: {name: prod})",
                         needing[i].key);
    if (!config->cluster_name)
        return;
    if (!config->nats_url)
        report_error(report, mark, "cluster.name: needs nats.url (nodes find each other on NATS)");
    if (!config->cluster_advertise &&
        (strcmp(config->http_host, "0.0.0.0") == 0 || strcmp(config->http_host, "::") == 0))
        report_error(report, mark,
                     "cluster.name: http.listen names no address that others reach (set "
                     "cluster.advertise: HOST:PORT)");
}

/* Files that a start would not find, and secrets that every user may read. */
static void check_files(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    const struct config_nats_security *nats = &config->nats_security;
    const struct {
        const char *key, *path;
        bool secret;
    } files[] = {{"http.tls.cert_file", config->http_tls_cert_file, false},
                 {"http.tls.key_file", config->http_tls_key_file, true},
                 {"http.tls.client_ca_file", config->http_tls_client_ca_file, false},
                 {"http.tls.client_crl_file", config->http_tls_client_crl_file, false},
                 {"http.tls.ca_file", config->http_tls_ca_file, false},
                 {"http.tls.crl_file", config->http_tls_crl_file, false},
                 {"nats.creds_file", nats->creds_file, true},
                 {"nats.nkey_seed_file", nats->nkey_seed_file, true},
                 {"nats.tls.ca_file", nats->ca_file, false},
                 {"nats.tls.cert_file", nats->cert_file, false},
                 {"nats.tls.key_file", nats->key_file, true}};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct report_mark mark = mark_place(loaded->marks, files[i].key, start_of_file);
        if (!files[i].path)
            continue;
        if (access(files[i].path, R_OK) != 0)
            report_error(report, mark, "%s: cannot read %.200s: %s", files[i].key, files[i].path,
                         strerror(errno));
        else if (files[i].secret)
            (void)secret_is_private(files[i].key, files[i].path, mark, report);
    }
}

/* Two keys of a section of which one means nothing alone. */
static void check_pair(const struct loaded_config *loaded, const char *first, const char *second,
                       bool has_first, bool has_second, struct report *report)
{
    if (has_first != has_second)
        report_error(
            report,
            mark_place(loaded->marks, first, mark_place(loaded->marks, second, start_of_file)),
            "%s and %s belong together", first, second);
}

static void check_security(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    const struct config_nats_security *nats = &config->nats_security;

    check_files(loaded, report);
    check_pair(loaded, "http.tls.cert_file", "http.tls.key_file",
               config->http_tls_cert_file != NULL, config->http_tls_key_file != NULL, report);
    check_pair(loaded, "nats.tls.cert_file", "nats.tls.key_file", nats->cert_file != NULL,
               nats->key_file != NULL, report);
    check_pair(loaded, "nats.nkey", "nats.nkey_seed_file", nats->nkey != NULL,
               nats->nkey_seed_file != NULL, report);
    if (config->http_tls_client_ca_file && !config->http_tls_cert_file)
        report_error(report, mark_place(loaded->marks, "http.tls.client_ca_file", start_of_file),
                     "http.tls.client_ca_file: clients show certificates over TLS only (set "
                     "http.tls.cert_file)");
    if (config->http_tls_client_crl_file && !config->http_tls_client_ca_file)
        report_error(report, mark_place(loaded->marks, "http.tls.client_crl_file", start_of_file),
                     "http.tls.client_crl_file: needs http.tls.client_ca_file (whose certificates "
                     "it takes back)");
    if (config->http_tls_crl_file && !config->http_tls_ca_file)
        report_error(report, mark_place(loaded->marks, "http.tls.crl_file", start_of_file),
                     "http.tls.crl_file: needs http.tls.ca_file (whose certificates it takes "
                     "back)");
    if (nats->creds_file && nats->nkey)
        report_error(report, mark_place(loaded->marks, "nats.nkey", start_of_file),
                     "nats.nkey: nats.creds_file names the user already (remove one of them)");
    if (nats->cert_file && !nats->ca_file)
        report_error(report, mark_place(loaded->marks, "nats.tls.cert_file", start_of_file),
                     "nats.tls.cert_file: needs nats.tls.ca_file (by which the server is known)");
}

void check_config(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    const struct report_mark *marks = loaded->marks;

    if (!mark_was_given(marks, "kafka.brokers"))
        report_error(report, start_of_file,
                     "kafka.brokers is missing (such as kafka: {brokers: 127.0.0.1:9092})");
    if (config->memory_max_bytes < config->memtable_max_bytes)
        report_error(
            report,
            mark_place(marks, "store.memory_max_bytes",
                       mark_place(marks, "store.memtable_max_bytes", start_of_file)),
            "store.memory_max_bytes is below store.memtable_max_bytes (all memtables share it)");
    if (!mark_was_given(marks, "nats.url") &&
        (mark_was_given(marks, "nats.stream") || mark_was_given(marks, "nats.prefix") ||
         mark_was_given(marks, "nats.replicas") || mark_was_given(marks, "nats.ack_wait")))
        report_error(
            report,
            mark_place(marks, "nats.stream",
                       mark_place(marks, "nats.replicas",
                                  mark_place(marks, "nats.ack_wait", start_of_file))),
            "nats.url is missing (remove the nats section to use the queue inside the process)");
    check_cluster(loaded, report);
    check_security(loaded, report);
    check_reach(loaded, report, "http.listen", config->http_host);
    if (config->http_grpc_host)
        check_reach(loaded, report, "http.grpc_listen", config->http_grpc_host);
    check_topics(loaded, report);
}
