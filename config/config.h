/* The configuration: one YAML file and those of its folder, read into one struct.
 *
 * Path: libyaml events -> a tree whose nodes carry marks (config/tree.h) -> one property table
 * (config/properties.c: name, type, bounds, default, secrecy, reloadability, documentation) -> this
 * struct. Parsing, validation, defaults, `check-config --print` and docs/configuration.md all come
 * from the table. All errors are reported at once as "FILE:LINE:COL: message (hint)". */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/logger.h"
#include "base/vector.h"

enum config_role {
    CONFIG_ROLE_INGEST = 1,  /* owns partitions */
    CONFIG_ROLE_INDEXER = 2, /* builds segments */
    CONFIG_ROLE_QUERY = 4    /* neither: answers from other nodes. Every process answers searches */
};
enum config_flag { CONFIG_FALSE, CONFIG_TRUE };
enum config_format {
    CONFIG_FORMAT_AUTO,
    CONFIG_FORMAT_JSON,
    CONFIG_FORMAT_MSGPACK,
    CONFIG_FORMAT_PROTOBUF,
    CONFIG_FORMAT_ARROW,
    CONFIG_FORMAT_RAW
};

/* How the keys of messages are read that do not say what kind of id they are. */
enum config_key_rule {
    CONFIG_KEY_AUTO,
    CONFIG_KEY_TEXT,
    CONFIG_KEY_NUMBER,
    CONFIG_KEY_JSON,
    CONFIG_KEY_LONG,
    CONFIG_KEY_UUID_BYTES
};
enum config_late { CONFIG_LATE_ACCEPT, CONFIG_LATE_DROP, CONFIG_LATE_DEAD_LETTER };
enum config_partial { CONFIG_PARTIAL_ALLOW, CONFIG_PARTIAL_REFUSE };
enum config_durability { CONFIG_DURABILITY_LOG, CONFIG_DURABILITY_KAFKA };
enum config_style {
    CONFIG_STYLE_TIME_WINDOW,
    CONFIG_STYLE_FIFO,
    CONFIG_STYLE_SIZE_TIERED,
    CONFIG_STYLE_LEVELED,
    CONFIG_STYLE_HYBRID
};
enum config_spans { CONFIG_SPANS_OFF, CONFIG_SPANS_AUTO };
enum config_index { CONFIG_INDEX_AUTO, CONFIG_INDEX_FLAT, CONFIG_INDEX_HNSW, CONFIG_INDEX_IVF_PQ };
enum config_time_unit {
    CONFIG_TIME_MS,
    CONFIG_TIME_S,
    CONFIG_TIME_US,
    CONFIG_TIME_NS,
    CONFIG_TIME_RFC3339
};

enum { VECTOR_NAME_MAX_BYTES = 255, CONFIG_DIM_MAX = 65536 };

/* Bounds of index.recall, and of what a search may ask for. */
#define CONFIG_RECALL_MIN 0.5
#define CONFIG_RECALL_MAX 0.999

struct config_pair {
    const char *name;
    const char *value;
};

/* A dense vector that points may have beside the collection's own. No segment has it. */
struct config_vector {
    const char *name; /* of 1 to VECTOR_NAME_MAX_BYTES bytes */
    uint32_t dim;
    enum vector_metric metric;
    bool multiple; /* a point has a list of them, compared by max_sim */
};

struct config_collection {
    const char *name;    /* [A-Za-z0-9_-]{1,100} */
    const char *file;    /* it was read from */
    size_t file_number;  /* 0: the configuration itself, then those of its folder */
    atomic_bool removed; /* while running: nobody finds it any more */
    /* Why nobody reads or writes it while it runs: records were stored under other settings. NULL: it is served. */
    const char *refused;
    const char **topics;
    size_t topic_count;
    enum config_format format;
    enum config_key_rule key;
    uint32_t dim; /* 1 to 65536 */
    enum vector_metric metric;
    const char *event_time_field; /* payload path or record key; NULL: the Kafka timestamp */
    enum config_time_unit event_time_unit;
    int64_t window_ms;
    _Atomic int64_t ttl_ms; /* 0: keep for ever; SIGHUP changes it while the service runs */
    uint64_t max_bytes;     /* 0: no cap */
    int64_t max_future_ms;
    int64_t idle_timeout_ms;
    int64_t late_allowed_ms;
    enum config_late late_policy;
    enum config_durability durability;
    enum vector_codec codec;
    enum vector_codec storage; /* RAW: float32 */
    enum vector_type messages; /* of bytes that do not name theirs */
    enum config_style compaction_style;
    double max_space_amplification;
    uint32_t size_tiered_min_threshold, size_tiered_max_threshold;
    uint64_t leveled_target_file_size_bytes;
    uint32_t leveled_size_ratio;
    enum config_index index_kind;
    uint32_t hnsw_m, hnsw_ef_construct, hnsw_ef;
    uint32_t ivf_pq_lists, ivf_pq_nprobe; /* 0: auto */
    int64_t ivf_pq_after_ms;
    uint64_t flat_below_rows;
    uint64_t chunk_above_rows; /* 0: chunks are scanned */
    enum config_spans spans;
    double recall; /* of a search's whole answer */
    double recall_floor;
    const char **payload_index;
    size_t payload_index_count;
    const char *
        *begin_offsets; /* of the topic's partitions, in their order: see config_begin_find */
    size_t begin_offset_count;
    uint64_t
        begin_identity; /* of them; tells collections of one name and topic apart that followed each other; 0: none */
    const char *vector_name; /* of the dense vector; NULL: it has none. See config_vector_name */
    const char **sparse_vectors; /* names of 1 to VECTOR_NAME_MAX_BYTES bytes */
    size_t sparse_vector_count;
    const struct config_vector *extra_vectors;
    size_t extra_vector_count;
    const char *client_settings; /* JSON; NULL: none. Of a running config: config_client_settings */
    char *client_settings_heap;  /* the same text where it was adopted, else NULL */
    const char *embedder_url;    /* NULL: none */
    const char *embedder_model;  /* NULL: the one that a request names */
    const char *embedder_key_file;
    _Atomic(const char *) embedder_key; /* texts of keys, the first is sent; a reload replaces it */
    int64_t embedder_timeout_ms;
    uint32_t embedder_batch; /* texts of one request */
};

/* Who this process is to NATS, and whom it believes. NULL: not given. */
struct config_nats_security {
    const char *creds_file;            /* JWT and seed of a user */
    const char *nkey, *nkey_seed_file; /* both or none */
    const char *ca_file;               /* any of these three: TLS */
    const char *cert_file, *key_file;
};

struct config {
    const char *path; /* file it was read from */
    const char *node;
    const char *data_dir;
    unsigned roles; /* CONFIG_ROLE_* */

    uint32_t processors; /* 0: as many as the process may run on */

    const char *kafka_brokers;
    const char *kafka_group;
    const char *kafka_dead_letters;             /* topic; NULL: stop the partition instead */
    const struct config_pair *kafka_properties; /* verbatim, secrets included */
    size_t kafka_property_count;

    uint32_t decode_threads; /* 0: one a processor */

    uint32_t build_threads; /* 0: max_background_jobs */
    uint32_t build_nice;    /* of those threads */
    uint64_t build_memory_max_bytes;
    uint64_t column_memory_max_bytes; /* of filters, what is not mapped */

    const char *nats_url; /* NULL: in-process queue */
    const char *nats_stream;
    const char *nats_prefix; /* of all subjects */
    uint32_t nats_replicas;
    int64_t nats_ack_wait_ms; /* how long a silent worker keeps a job */
    struct config_nats_security nats_security;

    const char *cluster_name;        /* NULL: this process is alone */
    const char *cluster_replica_set; /* NULL: none */
    const char *cluster_advertise;   /* HOST:PORT; NULL: where it listens */
    enum config_partial cluster_partial;
    uint32_t cluster_snapshot_records; /* 0: never */
    int64_t cluster_keep_moved_ms;     /* 0: for ever */
    int64_t cluster_fresh_within_ms;   /* how long a copy may lack what another one has */
    uint32_t cluster_fresh_records;    /* and how much of it */
    int64_t cluster_drain_timeout_ms;  /* 0: a stop hands nothing over */

    enum logger_level log_level;
    enum logger_format log_format;
    const char *log_audit_file; /* NULL: none */
    uint64_t log_audit_max_bytes;
    const char **log_levels; /* "ROOM=LEVEL" */
    size_t log_level_count;
    int64_t log_slow_search_ms; /* 0: none is logged */

    const char *trace_otlp_url; /* NULL: spans go nowhere */
    double trace_sample_ratio;  /* of requests that come without a traceparent */

    const char *http_host;      /* numeric address */
    uint16_t http_port;         /* 0: any free port */
    const char *http_grpc_host; /* numeric address; NULL: no gRPC */
    uint16_t http_grpc_port;
    /* Texts of keys (config_key_next), or NULL. A reload replaces them. */
    _Atomic(const char *) http_api_key, http_read_only_key, http_internal_key;
    enum config_flag http_insecure; /* listens beyond loopback without a key */
    const char **http_allowed_hosts;
    size_t http_allowed_host_count;
    const char **http_open_routes; /* "dashboard", "metrics": need no key */
    size_t http_open_route_count;
    const char **http_cors_origins;
    size_t http_cors_origin_count;
    const char *http_tls_cert_file, *http_tls_key_file; /* NULL: plain HTTP */
    const char *http_tls_client_ca_file;                /* NULL: clients need no certificate */
    const char *http_tls_client_crl_file;               /* NULL: none is revoked */
    const char *http_tls_ca_file;  /* of calls to other nodes; NULL: the system's */
    const char *http_tls_crl_file; /* of calls to other nodes; NULL: none is revoked */

    int64_t clock_max_downtime_ms;

    uint64_t memtable_max_bytes;
    uint64_t memory_max_bytes;
    uint32_t max_background_jobs;

    enum config_flag http_allow_create; /* collections come and go over HTTP */

    /* While running more may come behind those that there are, up to the room; none ever moves, and
     * those that are removed stay with their mark. */
    struct config_collection *collections;
    _Atomic size_t collection_count;
    size_t collection_room;
};

/* How many collections may be added to a running service. */
enum { CONFIG_COLLECTIONS_ADDED_MAX = 256 };

/* Files beside the configuration, and then below data_dir, in the order of their names, define more collections. */
#define CONFIG_FOLDER "conf.d"
/** The folder of such files, for the configuration at `path`. */
void config_folder(const char *path, char folder[PATH_MAX]);
/** That of what is made at run time: the service may write there, wherever its configuration is. */
void config_state_folder(const struct config *config, char folder[PATH_MAX]);

/** Reads and checks a file and those of its folder. On failure every problem found is appended to `report`, one
 * "FILE:LINE:COL: message (hint)" a line, and the return is ERROR_INVALID (or ERROR_NOT_FOUND when
 * the file is not there). Warnings (too many windows a TTL) are lines that start with the place and
 * "warning:" and do not fail. The config owns all strings. */
int config_load(const char *path, struct config **config, struct buffer *report);
/** The same as if `file` of one of the folders, with its path, had this text. */
int config_load_with(const char *path, const char *file, const char *text, struct config **config,
                     struct buffer *report);
/** Puts the collection of a fresh config behind those of the running one, which owns the fresh one
 * from then on. One thread at a time; others may read. NULL, and nothing changes, without room. */
struct config_collection *config_adopt_collection(struct config *running, struct config *fresh,
                                                  const char *name);
void config_free(struct config *config);

/** Which file `windrow` uses: `given`, or ./windrow.yaml, or /etc/windrow/windrow.yaml. */
const char *config_default_path(const char *given);

/** Every effective value with its origin ("default" or FILE:LINE), secrets as "(hidden)". */
void config_print(const struct config *config, bool json, struct buffer *out);

/** The values at `key`, or below it when it is a section (NULL: all), one a line: whole path, value,
 * origin, and whether a reload applies a change. JSON: an object of objects. False when there is no
 * such key: `out` then holds the nearest one, or nothing. */
bool config_show(const struct config *config, const char *key, bool json, struct buffer *out);
/** Whether the folder `data_dir` can be one that somebody writes to, without touching it. Appends
 * what is wrong to `report`, as config_load; returns 0 or ERROR_INVALID. */
int config_check_data_dir(const struct config *config, struct buffer *report);

/** docs/configuration.md, from the property table. */
void config_write_documentation(struct buffer *out);
/** A JSON Schema (draft 07) of the file, from the same table, for editors. */
void config_write_schema(struct buffer *out);

enum { CONFIG_SPAN_WINDOWS = 8 }; /* in the smallest span: TWCS_SPAN_FANOUT */

/** Whether segments over several windows are built. */
bool config_has_spans(const struct config_collection *collection);
/** Sealed windows with fewer rows have no segment under `kind: auto`: index.flat_below, or an eighth of it where the
 * collection has spans. Some eight windows wait for their span at any time, and a search meets all of them. */
uint64_t config_flat_below_rows(const struct config_collection *collection);

/** By name, or NULL. */
const struct config_collection *config_collection_find(const struct config *config,
                                                       const char *name);

/** The name of the dense vector that every point has; "" without one, as the dialect has it. */
const char *config_vector_name(const struct config_collection *collection);
/** Whether it is called so. */
bool config_is_dense_vector(const struct config_collection *collection, const char *name,
                            size_t name_bytes);
/** The declared name of a sparse vector, or NULL. */
const char *config_sparse_vector(const struct config_collection *collection, const char *name,
                                 size_t name_bytes);

/** The vector of that name beside the collection's own, or NULL. */
const struct config_vector *config_extra_vector(const struct config_collection *collection,
                                                const char *name, size_t name_bytes);
/** The declared name of what a point may have beside the collection's own vector, a sparse or an extra one, or NULL. */
const char *config_part(const struct config_collection *collection, const char *name,
                        size_t name_bytes);
/** The collection's own vector in the same shape. */
struct config_vector config_own_vector(const struct config_collection *collection);
/** Whether it declares any. */
bool config_has_parts(const struct config_collection *collection);

/* Where a collection that was made again begins to read a partition of its topic: what lies below belongs to the
 * collection of that name that was deleted. Text: "OFFSET", or "OFFSET/RECORD/HASH", which names the last record below
 * by its offset and its fingerprint (ingest/topic_fingerprint.h). A topic that has another record there, or ends
 * below OFFSET, was deleted and made anew, and is read from its start. */
struct config_begin {
    int64_t offset;
    int64_t record_offset; /* -1: no record is known */
    uint64_t record_hash;
};
enum { CONFIG_BEGIN_BYTES = 64 };
bool config_begin_parse(const char *text, struct config_begin *begin);
void config_begin_format(const struct config_begin *begin, char text[CONFIG_BEGIN_BYTES]);
/** That of a partition of the collection's topic. False: it is read from its start. */
bool config_begin_find(const struct config_collection *collection, int32_t partition,
                       struct config_begin *begin);
/** The name of the collection that somebody may have meant by `name`, which does not exist; NULL when
 * none is near. */
const char *config_collection_nearest(const struct config *config, const char *name);

/** "auto", "text", ...: as the file writes it. */
const char *config_key_rule_name(enum config_key_rule rule);

enum { CONFIG_SHARD_NAME_BYTES = 300 };

/** The shard that stores a partition of the collection's topic number `topic`: "3" for the first
 * topic, "clicks-3" for another one. */
void config_shard_name(const struct config_collection *collection, size_t topic, int32_t partition,
                       char name[CONFIG_SHARD_NAME_BYTES]);
/** The partition that a shard's name stands for; false when it is of no topic of the collection. */
bool config_shard_partition(const struct config_collection *collection, const char *name,
                            const char **topic, int32_t *partition);

/** The folder of that shard: "clicks-3", whichever place its topic has in the list. A dot at the beginning, which
 * no folder of a shard has, becomes a '%', which no topic has. A shard of no topic of the collection keeps its name. */
void config_shard_folder(const struct config_collection *collection, const char *shard,
                         char folder[CONFIG_SHARD_NAME_BYTES]);
/** The name of the shard with this folder; false when it is of no topic of the collection. */
bool config_shard_of_folder(const struct config_collection *collection, const char *folder,
                            char shard[CONFIG_SHARD_NAME_BYTES]);

/** The text of a collection's client_settings as of now, in the arena; NULL: none. Any thread. */
const char *config_client_settings(const struct config_collection *collection, struct arena *arena);
/** Replaces that text, also by NULL. Any thread. */
void config_adopt_client_settings(struct config *running, const char *collection, const char *text);

/** Refuses the collection until the process ends, or its name is adopted again. Before others use the config. */
void config_refuse_collection(struct config *config, size_t index, const char *why);

/** Takes over what is logged, in which format, of a config read later. */
void config_adopt_log(struct config *running, const struct config *fresh);

/** What a reload (SIGHUP) would make of `fresh`, one change a line as "PATH (OLD -> NEW)", secrets
 * hidden: those that it applies, and those that need a restart. Both may be NULL. Returns whether
 * anything changed at all. */
bool config_compare(const struct config *running, const struct config *fresh,
                    struct buffer *applied, struct buffer *restart_needed);

/* An API key, and its name ("" when it has none). Not terminated. */
struct config_key {
    const char *text, *name;
    size_t length, name_length;
};
/** Takes the next key off a text of keys (which may be NULL); false when there is none. */
bool config_key_next(const char **rest, struct config_key *key);
/** The key that this process sends to others: the first internal one, or the first one of
 * api_key_file. False when there is none. Any thread. */
bool config_key_sent(const struct config *config, struct config_key *key);
/** Takes the keys of a fresh config over, while other threads read them. False, and nothing changes,
 * when that would leave the service without any. */
bool config_adopt_keys(struct config *running, const struct config *fresh);

enum { CONFIG_GROUP_BYTES = 512 };
/** The consumer group of this process: kafka.group, with the suffix of its replica set. */
void config_consumer_group(const struct config *config, char out[CONFIG_GROUP_BYTES]);

#endif
