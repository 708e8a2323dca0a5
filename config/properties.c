/* The property table, the checks of single texts that it names, and look-ups in it. A new property
 * is one row here and one field in config.h. */
#include "config/properties.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/load.h"

#define MS_A_DAY 86400000.0
#define KIB      1024.0
#define MIB      (1024 * KIB)
#define TIB      (1024 * 1024 * MIB)

#define CHOICES(table) .choices = table, .choice_count = sizeof(table) / sizeof((table)[0])
#define GLOBAL(field)  .offset = offsetof(struct config, field)
#define LOADED(field)  .offset = offsetof(struct loaded_config, field)
#define OF(field)      .offset = offsetof(struct config_collection, field)

static bool complain(struct property_complaint *complaint, const char *hint, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

static bool complain(struct property_complaint *complaint, const char *hint, const char *format,
                     ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(complaint->text, sizeof(complaint->text), format, arguments);
    va_end(arguments);
    (void)snprintf(complaint->hint, sizeof(complaint->hint), "%s", hint);
    return false;
}

static bool is_made_of(const char *text, const char *punctuation)
{
    for (const char *c = text; *c; c++) {
        bool alphanumeric =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!alphanumeric && !strchr(punctuation, *c))
            return false;
    }
    return true;
}

static bool check_not_empty(const char *text, struct property_complaint *complaint)
{
    if (*text)
        return true;
    return complain(complaint, "give a value or remove the key", "empty text");
}

/* Each collection has a folder of its name in data_dir. These are names of windrow's own files there: such a
 * folder would make the next start fail, or stand for a marker. */
static bool is_reserved_name(const char *text)
{
    static const char *const names[] = {"LOCK", "CLOCK_STANDS", "BACKUP", "RESTORING"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    return false;
}

bool check_collection_name(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length < 1 || length > 100 || !is_made_of(text, "-_"))
        return complain(complaint, "use 1 to 100 letters, digits, - and _",
                        "invalid collection name \"%.110s\"", text);
    if (is_reserved_name(text))
        return complain(
            complaint, "use another name",
            "invalid collection name \"%s\": windrow has a file of this name in data_dir", text);
    return true;
}

static bool check_topic(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length >= 1 && length <= 249 && is_made_of(text, "._-") && strcmp(text, ".") != 0 &&
        strcmp(text, "..") != 0)
        return true;
    return complain(complaint, "use 1 to 249 letters, digits, '.', - and _",
                    "invalid topic name \"%.110s\"", text);
}

static bool check_begin_offset(const char *text, struct property_complaint *complaint)
{
    struct config_begin begin;

    return config_begin_parse(text, &begin) ||
           complain(complaint, "use the offset of a record, such as 1200",
                    "invalid offset \"%.110s\"", text);
}

static bool check_stream(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length >= 1 && length <= 100 && is_made_of(text, "-_"))
        return true;
    return complain(complaint, "use 1 to 100 letters, digits, - and _",
                    "invalid stream name \"%.110s\"", text);
}

bool split_address(const char *text, char *host, size_t host_bytes, uint32_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *end = colon;
    uint64_t number;

    if (!colon || text_parse_u64(colon + 1, strlen(colon + 1), &number) != 0 || number > 65535)
        return false;
    if (*text == '[') {
        if (end == text || end[-1] != ']')
            return false;
        text++;
        end--;
    } else if (memchr(text, ':', (size_t)(end - text))) {
        return false;
    }
    if (end == text || (size_t)(end - text) >= host_bytes)
        return false;
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    *port = (uint32_t)number;
    return true;
}

static bool check_room_level(const char *text, struct property_complaint *complaint)
{
    size_t used = 0;

    if (logger_is_setting(text))
        return true;
    (void)snprintf(complaint->text, sizeof(complaint->text), "expected ROOM=LEVEL, found %.60s",
                   text);
    for (size_t i = 0; logger_rooms[i] && used < sizeof(complaint->hint); i++)
        used += (size_t)snprintf(complaint->hint + used, sizeof(complaint->hint) - used, "%s%s",
                                 i ? ", " : "rooms: ", logger_rooms[i]);
    return false;
}

static bool check_http_url(const char *text, struct property_complaint *complaint)
{
    const char *host = strncmp(text, "http://", 7) == 0    ? text + 7
                       : strncmp(text, "https://", 8) == 0 ? text + 8
                                                           : "";

    if (*host && *host != '/' && !strpbrk(host, " @"))
        return true;
    return complain(complaint, "use http://HOST:PORT/PATH or https://, without a password",
                    "invalid address of a service");
}

static bool check_listen(const char *text, struct property_complaint *complaint)
{
    struct in6_addr address;
    char host[64];
    uint32_t port;

    if (!split_address(text, host, sizeof(host), &port))
        return complain(complaint, "use ADDRESS:PORT, such as 127.0.0.1:6333 or [::1]:6333",
                        "invalid address \"%.110s\"", text);
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return true;
    return complain(complaint, "use 127.0.0.1 for this machine only, 0.0.0.0 for every interface",
                    "\"%.60s\" is not a numeric address", host);
}

static bool is_broker(const char *text)
{
    char with_port[300];
    char host[260];
    uint32_t port;

    if (*text == '\0' || strpbrk(text, " \t/@"))
        return false;
    if (*text != '[' && !strchr(text, ':')) /* librdkafka adds :9092 */
        (void)snprintf(with_port, sizeof(with_port), "%s:9092", text);
    else
        (void)snprintf(with_port, sizeof(with_port), "%s", text);
    return split_address(with_port, host, sizeof(host), &port) && port != 0;
}

/* Calls `accept` for each part between commas, blanks around it left out. */
static bool every_part(const char *text, bool (*accept)(const char *part), char *bad,
                       size_t bad_bytes)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        size_t start = strspn(text, " ");
        size_t end = length;
        char part[300];
        start = start < length ? start : length;
        while (end > start && text[end - 1] == ' ')
            end--;
        (void)snprintf(part, sizeof(part), "%.*s", (int)(end - start), text + start);
        if (end - start >= sizeof(part) || !accept(part)) {
            (void)snprintf(bad, bad_bytes, "%.100s", part);
            return false;
        }
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

static bool check_brokers(const char *text, struct property_complaint *complaint)
{
    char bad[101];

    if (every_part(text, is_broker, bad, sizeof(bad)))
        return true;
    return complain(complaint,
                    "use HOST:PORT, separated by commas, such as 10.0.0.1:9092,10.0.0.2:9092",
                    "invalid broker address \"%s\"", bad);
}

static bool check_address(const char *text, struct property_complaint *complaint)
{
    char host[260];
    uint32_t port;

    if (!strpbrk(text, " \t/@,") && split_address(text, host, sizeof(host), &port) && port != 0)
        return true;
    return complain(complaint, "use HOST:PORT, such as 10.0.0.5:6333", "invalid address \"%.100s\"",
                    text);
}

/* Fit for a subject of NATS and for a consumer group. */
static bool check_token(const char *text, struct property_complaint *complaint)
{
    enum { TOKEN_MAX = 64 };
    size_t length = strlen(text);

    if (length > 0 && length <= TOKEN_MAX &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == length)
        return true;
    return complain(complaint, "use 1 to 64 letters, digits, - and _", "invalid name \"%.100s\"",
                    text);
}

static bool is_nats_url(const char *text)
{
    const char *host = strstr(text, "://");
    const char *at;

    if (!host || strpbrk(text, " \t"))
        return false;
    if (strncmp(text, "nats://", 7) != 0 && strncmp(text, "tls://", 6) != 0)
        return false;
    host += 3;
    at = strrchr(host, '@');
    return is_broker(at ? at + 1 : host);
}

static bool check_open_route(const char *text, struct property_complaint *complaint)
{
    if (strcmp(text, "dashboard") == 0 || strcmp(text, "metrics") == 0)
        return true;
    return complain(complaint, "use dashboard or metrics", "\"%.60s\" cannot be open", text);
}

static bool check_nkey(const char *text, struct property_complaint *complaint)
{
    enum { NKEY_LENGTH = 56 };

    if (strlen(text) == NKEY_LENGTH && *text == 'U' &&
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == NKEY_LENGTH)
        return true;
    return complain(complaint, "the public key of a user has 56 characters and begins with U",
                    "invalid NKey \"%.8s...\"", text);
}

static bool check_nats_url(const char *text, struct property_complaint *complaint)
{
    char bad[101];

    if (every_part(text, is_nats_url, bad, sizeof(bad)))
        return true;
    /* The text may hold a password: it is not shown. */
    return complain(complaint,
                    "use nats://HOST:PORT, separated by commas, such as nats://127.0.0.1:4222",
                    "invalid NATS address");
}

static const struct property_choice flags[] = {{"false", CONFIG_FALSE, false},
                                               {"true", CONFIG_TRUE, false}};
static const struct property_choice formats[] = {
    {"auto", CONFIG_FORMAT_AUTO, false},       {"json", CONFIG_FORMAT_JSON, false},
    {"msgpack", CONFIG_FORMAT_MSGPACK, false}, {"protobuf", CONFIG_FORMAT_PROTOBUF, false},
    {"arrow", CONFIG_FORMAT_ARROW, false},     {"raw", CONFIG_FORMAT_RAW, false},
};

static const struct property_choice keys[] = {
    {"auto", CONFIG_KEY_AUTO, false},     {"text", CONFIG_KEY_TEXT, false},
    {"number", CONFIG_KEY_NUMBER, false}, {"json", CONFIG_KEY_JSON, false},
    {"long", CONFIG_KEY_LONG, false},     {"uuid_bytes", CONFIG_KEY_UUID_BYTES, false},
};

static const struct property_choice metrics[] = {
    {"cosine", VECTOR_METRIC_COSINE, false},
    {"dot", VECTOR_METRIC_DOT, false},
    {"l2", VECTOR_METRIC_L2, false},
    {"hamming", VECTOR_METRIC_HAMMING, false},
};

static const struct property_choice time_units[] = {
    {"ms", CONFIG_TIME_MS, false},           {"s", CONFIG_TIME_S, false},
    {"us", CONFIG_TIME_US, false},           {"ns", CONFIG_TIME_NS, false},
    {"rfc3339", CONFIG_TIME_RFC3339, false},
};

static const struct property_choice partial_policies[] = {
    {"allow", CONFIG_PARTIAL_ALLOW, false},
    {"refuse", CONFIG_PARTIAL_REFUSE, false},
};

static const struct property_choice log_levels[] = {
    {"error", LOGGER_ERROR, false},
    {"warn", LOGGER_WARNING, false},
    {"info", LOGGER_INFO, false},
    {"debug", LOGGER_DEBUG, false},
};

static const struct property_choice log_formats[] = {
    {"text", LOGGER_TEXT, false},
    {"logfmt", LOGGER_LOGFMT, false},
    {"json", LOGGER_JSON, false},
};

static const struct property_choice late_policies[] = {
    {"accept", CONFIG_LATE_ACCEPT, false},
    {"drop", CONFIG_LATE_DROP, false},
    {"dead_letter", CONFIG_LATE_DEAD_LETTER, false},
};

static const struct property_choice durabilities[] = {
    {"log", CONFIG_DURABILITY_LOG, false},
    {"kafka", CONFIG_DURABILITY_KAFKA, false},
};

static const struct property_choice codecs[] = {
    {"raw", VECTOR_CODEC_RAW, false},
    {"packed", VECTOR_CODEC_PACKED, false},
};

static const struct property_choice storage_types[] = {
    {"float32", VECTOR_CODEC_RAW, false},
    {"float16", VECTOR_CODEC_FLOAT16, false},
    {"bfloat16", VECTOR_CODEC_BFLOAT16, false},
    {"int8", VECTOR_CODEC_INT8, false},
};

static const struct property_choice message_types[] = {
    {"float32", VECTOR_TYPE_FLOAT32, false},   {"float16", VECTOR_TYPE_FLOAT16, false},
    {"bfloat16", VECTOR_TYPE_BFLOAT16, false}, {"int8", VECTOR_TYPE_INT8, false},
    {"binary", VECTOR_TYPE_BINARY, false},
};

static const struct property_choice styles[] = {
    {"time_window", CONFIG_STYLE_TIME_WINDOW, false}, {"fifo", CONFIG_STYLE_FIFO, false},
    {"size_tiered", CONFIG_STYLE_SIZE_TIERED, false}, {"leveled", CONFIG_STYLE_LEVELED, false},
    {"hybrid", CONFIG_STYLE_HYBRID, false},
};

static const struct property_choice index_kinds[] = {
    {"auto", CONFIG_INDEX_AUTO, false},
    {"flat", CONFIG_INDEX_FLAT, false},
    {"hnsw", CONFIG_INDEX_HNSW, false},
    {"ivf_pq", CONFIG_INDEX_IVF_PQ, false},
};

static const struct property_choice spans_choices[] = {
    {"auto", CONFIG_SPANS_AUTO, false},
    {"off", CONFIG_SPANS_OFF, false},
};

/* clang-format off */
const struct property properties[] = {
    {"node", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(node), .default_yaml = "~",
     .default_words = "host name", .check = check_not_empty,
     .documentation = "Name of this node in logs, `/status` and Kafka's client id."},
    {"data_dir", PROPERTY_TEXT, 0, GLOBAL(data_dir), .default_yaml = "/var/lib/windrow",
     .check = check_not_empty,
     .documentation = "Folder for everything windrow stores. One process at a time may use it."},
    {"roles", PROPERTY_ROLES, 0, GLOBAL(roles), .default_yaml = "[ingest, indexer]",
     .documentation = "What this process does: `ingest` consumes and stores, `indexer` builds segments, `query` alone only answers, from the other processes of its cluster. `windrow run --role` overrides it."},
    {"processors", PROPERTY_INTEGER, PROPERTY_AUTO, GLOBAL(processors), .minimum = 1,
     .maximum = 4096, .default_yaml = "auto",
     .documentation = "Processors this process plans with: search and decoding threads come from it, and flushes, compaction and builds take extra threads only while searches and ingestion leave processors free. `auto`: as many as the process may run on."},

    {"kafka.brokers", PROPERTY_TEXT, 0, GLOBAL(kafka_brokers), .default_yaml = "~",
     .default_words = "required", .check = check_brokers,
     .documentation = "Bootstrap brokers, `HOST:PORT`, separated by commas."},
    {"kafka.group", PROPERTY_TEXT, 0, GLOBAL(kafka_group), .default_yaml = "windrow",
     .check = check_not_empty,
     .documentation = "Consumer group. Processes of one group share the partitions; offsets are stored with the data; the commit to Kafka is only a hint for lag tools."},
    {"kafka.dead_letters", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(kafka_dead_letters),
     .default_yaml = "windrow.dead-letters", .check = check_topic,
     .documentation = "Topic for records that cannot be stored, with the reason in their headers. `~`: the first bad record stops its partition instead."},
    {"kafka.properties", PROPERTY_PAIRS, 0, GLOBAL(kafka_properties),
     .extra_offset = offsetof(struct config, kafka_property_count), .default_yaml = "{}",
     .documentation = "Settings handed to librdkafka verbatim (security, timeouts, fetch sizes). See [secrets](#secrets)."},

    {"ingest.decode_threads", PROPERTY_INTEGER, PROPERTY_AUTO, GLOBAL(decode_threads),
     .minimum = 1, .maximum = 64, .default_yaml = "auto",
     .documentation = "Threads that decode records; `auto`: one per processor (`processors`). The order of a partition is preserved."},

    {"indexer.build_threads", PROPERTY_INTEGER, PROPERTY_AUTO, GLOBAL(build_threads),
     .minimum = 1, .maximum = 256, .default_yaml = "auto",
     .documentation = "Threads that build segments, shared by all builds. `auto`: as many as `store.max_background_jobs`."},
    {"indexer.build_nice", PROPERTY_INTEGER, 0, GLOBAL(build_nice), .maximum = 19,
     .default_yaml = "10",
     .documentation = "Nice value of these threads: higher values yield more to searches and ingestion."},
    {"indexer.build_memory_max_bytes", PROPERTY_SIZE, 0, GLOBAL(build_memory_max_bytes),
     .minimum = 16 * MIB, .maximum = 16 * TIB, .default_yaml = "4GiB",
     .documentation = "Memory for all builds of this process together, without mapped vectors. A build waits until its share is free. A build too large for all of it uses fewer threads, then IVF-PQ instead of HNSW; if that is too large as well, the window gets no segment and searches scan its rows."},
    {"indexer.column_memory_max_bytes", PROPERTY_SIZE, 0, GLOBAL(column_memory_max_bytes),
     .minimum = MIB, .maximum = 16 * TIB, .default_yaml = "256MiB",
     .documentation = "Memory for columns of payload fields that filters use: fields outside of `payload_index`, and those of windows that are not sealed. Past it the longest unused go and are made again, which reads payloads. Fields of `payload_index` lie in files beside sealed windows, are mapped, and take none of it."},

    {"nats.url", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_URL_SECRET, GLOBAL(nats_url),
     .default_yaml = "~", .check = check_nats_url,
     .documentation = "NATS servers with JetStream that distribute index builds. `~`: a queue inside the process."},
    {"nats.stream", PROPERTY_TEXT, 0, GLOBAL(nats_stream), .default_yaml = "WINDROW",
     .check = check_stream,
     .documentation = "JetStream work-queue stream, created if missing. Jobs that keep failing go to the stream of this name plus `_DEAD`."},
    {"nats.prefix", PROPERTY_TEXT, 0, GLOBAL(nats_prefix), .default_yaml = "windrow",
     .check = check_token,
     .documentation = "First word of every subject that windrow uses on NATS. Deployments with different values share the servers without hearing each other; each needs a `nats.stream` of its own, too."},
    {"nats.replicas", PROPERTY_INTEGER, 0, GLOBAL(nats_replicas), .minimum = 1, .maximum = 5,
     .default_yaml = "1", .documentation = "Replicas of a stream that windrow creates."},
    {"nats.ack_wait", PROPERTY_DURATION, 0, GLOBAL(nats_ack_wait_ms), .minimum = 1000,
     .maximum = 3600 * INT64_C(1000), .default_yaml = "30s",
     .documentation = "How long a silent builder keeps its job before another one gets it. Working builders report six times in this time, and at least every five seconds. Raise it for slow links. Use the same value in all processes of a stream: the last one to start sets it."},

    {"nats.creds_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.creds_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Credentials of a NATS user (JWT and seed, as `nsc` writes them). Not readable by every user. Read at each connection."},
    {"nats.nkey", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.nkey),
     .default_yaml = "~", .check = check_nkey,
     .documentation = "Public NKey of a NATS user, `U...`, in place of `nats.creds_file`. Needs `nats.nkey_seed_file`."},
    {"nats.nkey_seed_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.nkey_seed_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "File with the seed of `nats.nkey`, `SU...`. Not readable by every user. Read at each connection."},
    {"nats.tls.ca_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.ca_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Certificates of authorities, PEM, that the certificate of the NATS server must be signed by. Connections without TLS are refused then. Needed for `tls://` URLs; `/etc/ssl/certs/ca-certificates.crt` has the system's authorities."},
    {"nats.tls.cert_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.cert_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Certificate, PEM, that this process shows to a NATS server that asks for one."},
    {"nats.tls.key_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(nats_security.key_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Private key of that certificate, PEM. Not readable by every user."},

    {"cluster.name", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(cluster_name), .default_yaml = "~",
     .check = check_token,
     .documentation = "Processes of one name find each other on NATS (needs `nats.url`), and each answers for all of them. Membership of the consumer group is then dynamic: a clean stop hands the partitions over at once. `~`: this process answers for its own partitions only."},
    {"cluster.replica_set", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(cluster_replica_set),
     .default_yaml = "~", .check = check_token,
     .documentation = "Suffix of `kafka.group`: the processes of each replica set share all partitions among them, so that two sets hold two copies. `~`: one copy."},
    {"cluster.advertise", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(cluster_advertise),
     .default_yaml = "~", .default_words = "`http.listen`", .check = check_address,
     .documentation = "`HOST:PORT` at which the other processes of the cluster reach this one. Needed when `http.listen` is 0.0.0.0."},
    {"cluster.partial", PROPERTY_CHOICE, 0, GLOBAL(cluster_partial), .default_yaml = "allow",
     CHOICES(partial_policies),
     .documentation = "What a read gets when partitions of its collection are served by no process that can be asked: `allow` answers from the others and says so (`partial`, `missing`), `refuse` answers 503, in a cluster after [some seconds](scaling.md#requests-that-want-everything). A request asks for the same with `require: complete`."},
    {"cluster.snapshot_records", PROPERTY_INTEGER, 0, GLOBAL(cluster_snapshot_records),
     .maximum = 2000000000, .default_yaml = "100000",
     .documentation = "A process that gets a partition first copies the shard from another process of the cluster when that one has at least this many records more, then reads Kafka from where the copy ends. 0: it always reads Kafka."},
    {"cluster.fresh_within", PROPERTY_DURATION, 0, GLOBAL(cluster_fresh_within_ms),
     .minimum = 1000, .maximum = 3600 * INT64_C(1000), .default_yaml = "5s",
     .documentation = "How long a copy of a partition may lack records that another live process has and still count as fresh. One that lacks them for longer, or [is held or stopped](scaling.md#copies-that-are-late), is asked last, and answers from it are `partial`."},
    {"cluster.fresh_records", PROPERTY_INTEGER, 0, GLOBAL(cluster_fresh_records),
     .maximum = 2000000000, .default_yaml = "10000",
     .documentation = "The same bound as a number of records: a copy that is further behind another live process's is late at once."},
    {"cluster.keep_moved", PROPERTY_DURATION, 0, GLOBAL(cluster_keep_moved_ms),
     .maximum = 366 * 24 * 3600 * INT64_C(1000), .default_yaml = "1h",
     .documentation = "How long the folder of a shard stays that moved to another process of the replica set, from when that one has all of it. Without such a process it stays. 0s: it always stays."},
    {"cluster.drain_timeout", PROPERTY_DURATION, 0, GLOBAL(cluster_drain_timeout_ms),
     .maximum = 3600 * INT64_C(1000), .default_yaml = "10s",
     .documentation = "How long a stop (SIGTERM) waits until other nodes of the replica set serve this one's partitions, which it answers for meanwhile, as `windrow drain` does. A second signal stops at once, as does `0s`."},

    {"log.level", PROPERTY_CHOICE, PROPERTY_RELOADABLE, GLOBAL(log_level), .default_yaml = "info",
     CHOICES(log_levels),
     .documentation = "Lines below this level are not logged. `windrow run --verbose` starts with `debug`."},
    {"log.format", PROPERTY_CHOICE, PROPERTY_RELOADABLE, GLOBAL(log_format), .default_yaml = "text",
     CHOICES(log_formats),
     .documentation = "`text` for people; `logfmt` and `json` have the keys `time`, `level`, `room`, `event` (a name that stays, where the line has one), `trace_id` (of the request that the line belongs to) and `message`. Under systemd lines begin with their priority (`<6>`), which the journal takes off, and have no `time`."},
    {"log.levels", PROPERTY_TEXT_LIST, PROPERTY_RELOADABLE, GLOBAL(log_levels),
     .extra_offset = offsetof(struct config, log_level_count), .default_yaml = "[]",
     .check = check_room_level,
     .documentation = "Levels of single rooms: `[store=debug, http=error]`. `windrow log-level` changes them until the next start or reload."},
    {"log.slow_search", PROPERTY_DURATION, PROPERTY_NULLABLE | PROPERTY_RELOADABLE,
     GLOBAL(log_slow_search_ms), .default_yaml = "1s",
     .documentation = "Searches that take longer are logged with where the time went; one line a second at most. `~`: none."},

    {"log.audit_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(log_audit_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "File that gets a line of JSON for each write and each command to the service: when, who (the name of the API key, never the key), from where, what, with which outcome. Reads are not in it. SIGHUP opens the file again."},
    {"log.audit_max_bytes", PROPERTY_SIZE, 0, GLOBAL(log_audit_max_bytes), .minimum = 64 * KIB,
     .maximum = TIB, .default_yaml = "64MiB",
     .documentation = "Past this the audit file becomes FILE.1 in place of the former one, and a new one begins."},

    {"trace.otlp_url", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(trace_otlp_url),
     .default_yaml = "~", .check = check_http_url,
     .documentation = "Where spans of sampled requests go, as OTLP/HTTP with JSON: `http://127.0.0.1:4318/v1/traces`. `~`: nowhere."},
    {"trace.sample_ratio", PROPERTY_NUMBER, 0, GLOBAL(trace_sample_ratio), .maximum = 1,
     .default_yaml = "0.01",
     .documentation = "Share of requests without a `traceparent` that begin a sampled trace, with `trace.otlp_url`. A request with one is sampled if its sender says so."},

    {"http.listen", PROPERTY_LISTEN, 0, GLOBAL(http_host),
     .extra_offset = offsetof(struct config, http_port), .default_yaml = "127.0.0.1:6333",
     .check = check_listen,
     .documentation = "Numeric address and port of search, metrics and dashboard. Port 0 takes a free port. Commands such as `windrow search` and `windrow status` connect here."},
    {"http.grpc_listen", PROPERTY_LISTEN, PROPERTY_NULLABLE, GLOBAL(http_grpc_host),
     .extra_offset = offsetof(struct config, http_grpc_port), .default_yaml = "~",
     .check = check_listen,
     .documentation = "Numeric address and port for Qdrant's gRPC clients, which expect 127.0.0.1:6334. The same routes, keys and limits as over HTTP. `~`: no gRPC."},
    {"http.api_key_file", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, LOADED(api_key_path),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "File of keys that may do everything, one a line (`KEY`, or `KEY # NAME`), of which clients send one as `api-key`. Not readable by every user. `WINDROW_HTTP_API_KEY` overrides it. `~`: no key is required."},
    {"http.read_only_key_file", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, LOADED(read_only_key_path),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "File of keys that may read: searches, status, metrics, but no writes and no commands to the service. Needs `http.api_key_file`."},
    {"http.internal_key_file", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, LOADED(internal_key_path),
     .default_yaml = "~", .check = check_not_empty, .default_words = "`http.api_key_file`",
     .documentation = "File of keys for other nodes, remote builders and commands to the service (backup, compact, pause, resume, rebuild): they may read, but not write points. This process sends the first one to other nodes. Needs `http.api_key_file`."},
    {"http.open_routes", PROPERTY_TEXT_LIST, 0, GLOBAL(http_open_routes),
     .extra_offset = offsetof(struct config, http_open_route_count), .default_yaml = "[dashboard]",
     .check = check_open_route,
     .documentation = "What needs no API key: `dashboard` is the page itself, which holds no data and asks its user for a key; `metrics` is `/metrics`, which tells names of collections, topics and routes."},
    {"http.insecure", PROPERTY_CHOICE, 0, GLOBAL(http_insecure), .default_yaml = "false",
     CHOICES(flags),
     .documentation = "`true` allows `http.listen` on an address that other machines reach without an API key, and any `Host` unless `http.allowed_hosts` lists names. Without it windrow refuses to start so."},
    {"http.allow_create", PROPERTY_CHOICE, 0, GLOBAL(http_allow_create), .default_yaml = "false",
     CHOICES(flags),
     .documentation = "`true`: `PUT`, `PATCH` and `DELETE /collections/NAME` define collections, in files `conf.d/NAME.yaml` of `data_dir`. Then no collection has to be defined here. In a cluster every node follows: set it on all of them."},
    {"http.allowed_hosts", PROPERTY_TEXT_LIST, 0, GLOBAL(http_allowed_hosts),
     .extra_offset = offsetof(struct config, http_allowed_host_count), .default_yaml = "[]",
     .check = check_not_empty,
     .documentation = "More names of this service, with or without a port. Without an API key a request's `Host` must be the listen address, `localhost` or one of these: a web page whose name someone points to this address is refused."},
    {"http.cors_origins", PROPERTY_TEXT_LIST, 0, GLOBAL(http_cors_origins),
     .extra_offset = offsetof(struct config, http_cors_origin_count), .default_yaml = "[]",
     .check = check_not_empty,
     .documentation = "Origins, such as `https://app.example.org`, whose web pages may use the service. Requests of other pages are refused."},
    {"http.tls.cert_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_cert_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Certificate of the service with its intermediate ones, PEM. windrow then listens over TLS (1.2 or newer) only, and commands and other nodes ask over TLS. SIGHUP reads the file again; connections stay open."},
    {"http.tls.key_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_key_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Private key of the certificate, PEM, without a password. Not readable by every user. SIGHUP reads it again."},
    {"http.tls.client_ca_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_client_ca_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Certificates of authorities, PEM. Every client but a probe then needs a certificate that one of them has signed, beside its API key. Other nodes, builders and commands show `http.tls.cert_file`, which must be valid for clients, too. SIGHUP reads the file again."},
    {"http.tls.client_crl_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_client_crl_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Revocation lists (CRLs), PEM, one of each authority in `http.tls.client_ca_file`: a client certificate that is in them is refused, and so is one whose authority has no list here or one that is too old. SIGHUP reads the file again, also for connections that are open."},
    {"http.tls.ca_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_ca_file),
     .default_yaml = "~", .default_words = "the system's authorities", .check = check_not_empty,
     .documentation = "Certificates of authorities, PEM, that certificates of other nodes must be signed by, and the service's when commands ask it. A process without a certificate of its own (a builder that nobody asks) calls over TLS when this is set."},
    {"http.tls.crl_file", PROPERTY_TEXT, PROPERTY_NULLABLE, GLOBAL(http_tls_crl_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Revocation lists (CRLs), PEM, one of each authority in `http.tls.ca_file`: other nodes, and the service that commands ask, are refused when their certificate is in them, or when the list of its authority is missing or too old. Read at each new connection; one that is open is used for at most a minute."},

    {"clock.max_downtime", PROPERTY_DURATION, 0, GLOBAL(clock_max_downtime_ms),
     .minimum = MS_A_DAY, .maximum = 366 * MS_A_DAY, .default_yaml = "4d",
     .documentation = "At startup windrow trusts the system clock if it is at most this far ahead of the last stored time. Choose a value longer than an ordinary outage and shorter than the TTL. Otherwise [the clock is frozen](operations.md#the-clock-is-frozen) until `windrow trust-clock` confirms the time."},

    {"store.memtable_max_bytes", PROPERTY_SIZE, 0, GLOBAL(memtable_max_bytes),
     .minimum = MIB, .maximum = TIB, .default_yaml = "128MiB",
     .documentation = "A shard's memtable with its log buffer is flushed past this."},
    {"store.memory_max_bytes", PROPERTY_SIZE, 0, GLOBAL(memory_max_bytes),
     .minimum = 4 * MIB, .maximum = 16 * TIB, .default_yaml = "2GiB",
     .documentation = "Memory for memtables, log buffers and caches of all shards together. Ingestion waits while all of it is in use."},
    {"store.max_background_jobs", PROPERTY_INTEGER, 0, GLOBAL(max_background_jobs),
     .minimum = 1, .maximum = 256, .default_yaml = "2",
     .documentation = "Threads for seals and merges, and for index builds unless `indexer.build_threads` is set."},

    {"collections.*.topics", PROPERTY_TEXT_LIST, 0, OF(topics),
     .extra_offset = offsetof(struct config_collection, topic_count), .default_yaml = "[]",
     .default_words = "the collection's name", .check = check_topic,
     .documentation = "Kafka topics that feed the collection; a topic feeds one collection. Partition 3 of the first topic is shard `3`, of a later one `TOPIC-3`. The order may change: each topic [keeps its shards](operations.md#changing-topics)."},
    {"collections.*.begin_offsets", PROPERTY_TEXT_LIST, 0, OF(begin_offsets),
     .extra_offset = offsetof(struct config_collection, begin_offset_count), .default_yaml = "[]", .default_words = "from the start", .check = check_begin_offset,
     .documentation = "Where partitions 0, 1, 2 ... of the topic begin: records at lower offsets are as if they were not there. windrow writes it for a collection that was [deleted over HTTP and made again](http.md#a-collection-that-is-made-again), as `OFFSET/RECORD/HASH`. Changes nothing of what is stored. Only with one topic."},
    {"collections.*.format", PROPERTY_CHOICE, 0, OF(format), .default_yaml = "auto",
     CHOICES(formats), .documentation = "Encoding of the records' values; `auto` goes by the `content-type` header, then by the first byte."},
    {"collections.*.key", PROPERTY_CHOICE, 0, OF(key), .default_yaml = "auto", CHOICES(keys),
     .documentation = "How the Kafka key of a message is read that does not say what kind of id it is (header `windrow-id`). `text`: UTF-8, digits too. `number`: decimal digits. `json`: `42`, `\"a\"` or `{\"id\": ...}`. `long`: 8 bytes, big-endian. `uuid_bytes`: 16 bytes. `auto`: digits are a number, other UTF-8 a text; a delete goes to the id that exists. See [keys](ingest.md#keys). Cannot change once data is stored."},
    {"collections.*.dim", PROPERTY_INTEGER, 0, OF(dim), .minimum = 1, .maximum = 65536,
     .default_yaml = "384", .documentation = "Dimensions of the vectors. Cannot change once data is stored. Set it: the default comes with a warning."},
    {"collections.*.metric", PROPERTY_CHOICE, 0, OF(metric), .default_yaml = "cosine",
     CHOICES(metrics), .documentation = "Similarity. Cannot change once data is stored. Under `cosine` vectors are stored at unit length. `hamming` is for binary embeddings: `dim` is the number of bits, values are 0 or 1, others are bad records, and the score is the number of bits that differ. See [binary embeddings](http.md#binary-embeddings)."},
    {"collections.*.event_time.field", PROPERTY_TEXT, PROPERTY_NULLABLE, OF(event_time_field),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Key of the record, or path in its payload, that holds the event time. `~`: the Kafka timestamp."},
    {"collections.*.event_time.unit", PROPERTY_CHOICE, 0, OF(event_time_unit),
     .default_yaml = "ms", CHOICES(time_units),
     .documentation = "Unit of that field; `rfc3339` for texts."},
    {"collections.*.window", PROPERTY_DURATION, PROPERTY_NULLABLE, OF(window_ms), .minimum = 1000,
     .maximum = 366 * MS_A_DAY, .default_yaml = "1h",
     .documentation = "Length of a window: the unit of sealing, indexing, expiry and pruning. 20 to 50 windows per TTL are good practice. Windows that exist keep their length. `~`: no windows: one store of levels, where large files get segments (`index.chunk_above`) and searches scan the rest; `compaction.style` must be `size_tiered`, `leveled` or `hybrid`."},
    {"collections.*.ttl", PROPERTY_DURATION, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, OF(ttl_ms),
     .minimum = 1000, .maximum = 36525 * MS_A_DAY, .default_yaml = "7d",
     .documentation = "A record is never returned after event time + TTL. Files are deleted by whole windows. `~`: keep forever."},
    {"collections.*.max_bytes", PROPERTY_SIZE, PROPERTY_NULLABLE, OF(max_bytes), .minimum = MIB,
     .maximum = 1024 * TIB, .default_yaml = "~",
     .documentation = "Cap on everything the collection has on disk; above it the oldest whole window is dropped and the log says so."},
    {"collections.*.max_future", PROPERTY_DURATION, 0, OF(max_future_ms),
     .maximum = 366 * MS_A_DAY, .default_yaml = "5m",
     .documentation = "A record whose event time is further ahead of its Kafka timestamp becomes a dead letter, so that it cannot advance the watermark ([ingest](ingest.md#late-expired-from-the-future))."},
    {"collections.*.idle_timeout", PROPERTY_DURATION, 0, OF(idle_timeout_ms), .minimum = 100,
     .maximum = 366 * MS_A_DAY, .default_yaml = "1m",
     .documentation = "After this time without records, a partition's windows close by the system clock. It makes no record late. A conditional record should reach Kafka within this time."},
    {"collections.*.late.allowed", PROPERTY_DURATION, 0, OF(late_allowed_ms),
     .maximum = 366 * MS_A_DAY, .default_yaml = "10m",
     .documentation = "How long a window stays open behind the watermark."},
    {"collections.*.late.policy", PROPERTY_CHOICE, 0, OF(late_policy), .default_yaml = "accept",
     CHOICES(late_policies), .documentation = "What happens to a record whose window ended more than `late.allowed` before the latest event time so far."},
    {"collections.*.durability", PROPERTY_CHOICE, 0, OF(durability), .default_yaml = "log",
     CHOICES(durabilities), .documentation = "`log`: synced to the local log before it is searchable. `kafka`: Kafka is the log; after a crash windrow replays from the last flushed offset."},
    {"collections.*.codec", PROPERTY_CHOICE, 0, OF(codec), .default_yaml = "raw", CHOICES(codecs),
     .documentation = "Encoding of the vectors of sealed windows."},
    {"collections.*.vectors.storage", PROPERTY_CHOICE, 0, OF(storage), .default_yaml = "float32",
     CHOICES(storage_types),
     .documentation = "Type in which windows that seal from now on store their vectors, and in which searches score their rows: `float16` and `bfloat16` take half of the bytes on disk and in mapped memory, `int8` (a scale for each row) about a quarter. Open windows and late rows stay float32 until the window seals. At each seal a sample of the rows is searched in both types: when the type keeps less than `index.recall` of the true neighbours, or cannot hold a value, that window stays float32 and the log says so; `GET /windows` shows type and recall. A value is rounded once: later merges keep it. Windrow 0.1 refuses such a store by its format version. Not with `codec: packed` or `window: ~`."},
    {"collections.*.vectors.messages", PROPERTY_CHOICE, 0, OF(messages), .default_yaml = "float32",
     CHOICES(message_types),
     .documentation = "Type of a vector that comes as bytes (raw messages, `bin` of MessagePack, base64 text, `vector_bytes`, binary columns of Arrow) and does not name its own. `binary` are packed bits, the first one highest. The Kafka header `windrow-vector-type` says it for one message. Values are widened to float32 as they are read. See [vectors as bytes](ingest.md#vectors-as-bytes)."},
    {"collections.*.compaction.style", PROPERTY_CHOICE, 0, OF(compaction_style),
     .default_yaml = "time_window", CHOICES(styles),
     .documentation = "Which runs merge. `time_window`: one major merge per window, when it seals, and size-tiered ones before. `fifo`: the major only, and `max_bytes` is required. `size_tiered`, `leveled` (level 0 and sorted levels below) and `hybrid` (tiers in levels 0 to 2, sorted levels below): inside a window until it seals, or forever with `window: ~`."},
    {"collections.*.compaction.max_space_amplification", PROPERTY_NUMBER, 0,
     OF(max_space_amplification), .minimum = 1.01, .maximum = 100, .default_yaml = "1.5",
     .documentation = "Bound on bytes stored over bytes of living rows, for `size_tiered`, `leveled` and `hybrid`: above it the runs with the most dead rows merge."},
    {"collections.*.compaction.size_tiered.min_threshold", PROPERTY_INTEGER, 0,
     OF(size_tiered_min_threshold), .minimum = 2, .maximum = 1000, .default_yaml = "4",
     .documentation = "Merge once an open window has this many chunks of similar size."},
    {"collections.*.compaction.size_tiered.max_threshold", PROPERTY_INTEGER, 0,
     OF(size_tiered_max_threshold), .minimum = 2, .maximum = 1000, .default_yaml = "32",
     .documentation = "Merge at most this many chunks at once."},
    {"collections.*.compaction.leveled.target_file_size", PROPERTY_SIZE, 0,
     OF(leveled_target_file_size_bytes), .minimum = MIB, .maximum = TIB, .default_yaml = "64MiB",
     .documentation = "Size of a file in the sorted levels of `leveled` and `hybrid`."},
    {"collections.*.compaction.leveled.size_ratio", PROPERTY_INTEGER, 0, OF(leveled_size_ratio),
     .minimum = 2, .maximum = 100, .default_yaml = "10",
     .documentation = "Size of a sorted level over that of the level above."},
    {"collections.*.index.kind", PROPERTY_CHOICE, 0, OF(index_kind), .default_yaml = "auto",
     CHOICES(index_kinds), .documentation = "Segment of a sealed window. `auto`: a scan below `flat_below` rows; above, HNSW or IVF-PQ (a sixth of the size, several times faster to build), whichever searches faster at `recall`: measured in segments of about as many rows, or on a sample of the rows where there are none. `GET /windows` shows the choice, its reason and the rates. IVF-PQ for windows older than `ivf_pq_after` or of ten million rows and more. `flat`: always a scan."},
    {"collections.*.index.hnsw.m", PROPERTY_INTEGER, 0, OF(hnsw_m), .minimum = 4, .maximum = 128,
     .default_yaml = "16", .documentation = "Links per node; twice as many on the lowest layer."},
    {"collections.*.index.hnsw.ef_construct", PROPERTY_INTEGER, 0, OF(hnsw_ef_construct),
     .minimum = 8, .maximum = 10000, .default_yaml = "200",
     .documentation = "Candidates examined for each node while building."},
    {"collections.*.index.hnsw.ef", PROPERTY_INTEGER, PROPERTY_AUTO, OF(hnsw_ef), .minimum = 1,
     .maximum = 100000, .default_yaml = "auto",
     .documentation = "Candidates kept while searching, unless the query sets `hnsw_ef`. `auto`: 64, or more where `recall` needs them."},
    {"collections.*.index.ivf_pq.lists", PROPERTY_INTEGER, PROPERTY_AUTO, OF(ivf_pq_lists),
     .minimum = 1, .maximum = 1 << 24, .default_yaml = "auto",
     .documentation = "Inverted lists of an IVF-PQ segment. `auto`: the square root of the rows."},
    {"collections.*.index.ivf_pq.nprobe", PROPERTY_INTEGER, PROPERTY_AUTO, OF(ivf_pq_nprobe),
     .minimum = 1, .maximum = 1 << 24, .default_yaml = "auto",
     .documentation = "Lists read by every search in segments built from now on. `auto`: at build time, as many as contain nearly all neighbours of a sample. A search whose `hnsw_ef` is above (below) 64 reads more (fewer)."},
    {"collections.*.index.ivf_pq_after", PROPERTY_DURATION, PROPERTY_NULLABLE,
     OF(ivf_pq_after_ms), .minimum = 1000, .maximum = 36525 * MS_A_DAY, .default_yaml = "2d",
     .documentation = "With `kind: auto`, windows older than this become IVF-PQ. `~`: age does not matter."},
    {"collections.*.index.flat_below", PROPERTY_ROWS, 0, OF(flat_below_rows), .maximum = 1e12,
     .default_yaml = "2000", .documentation = "With `kind: auto`, windows with fewer rows get no segment: scanning them is as fast. With `spans`, an eighth of it: up to eight windows wait for their span, and a search meets all of them."},
    {"collections.*.index.chunk_above", PROPERTY_ROWS, 0, OF(chunk_above_rows), .maximum = 1e12,
     .default_yaml = "20000", .documentation = "Unsealed files (chunks of open windows, late runs, levels) with at least this many rows get their own segment, of the kind that `index.kind` names. The segment is deleted with its file. Searches scan smaller files; 0: all of them."},
    {"collections.*.index.recall", PROPERTY_NUMBER, 0, OF(recall), .minimum = CONFIG_RECALL_MIN,
     .maximum = CONFIG_RECALL_MAX, .default_yaml = "0.95",
     .documentation = "Share of the true nearest rows that searches shall find, over all segments together, on average. How far a search goes in each follows from what was measured when the segment was built, times what the latest 256 searches over everything were found to need: in the background they are compared with exact answers, for a twentieth of a processor. A query that sets `hnsw_ef` or `exact` overrides it."},
    {"collections.*.index.spans", PROPERTY_CHOICE, 0, OF(spans), .default_yaml = "auto",
     CHOICES(spans_choices),
     .documentation = "`auto`: also build segments over many sealed windows, so that searches over all of them go through few. Under `kind: ivf_pq`, and `auto` from 16 windows on, these are lists: a base over all windows, and a tail over the newest. A row is coded once for them. Then its codes are copied, and segments take up to twice the bytes. Else they are graphs over 8 and 64 windows: a row is indexed up to three times, and segments take up to three times the bytes. All bytes count for `max_bytes`. Not in collections without windows. Windrow 0.1 refuses a store with spans by its format version. `off`: none, and those that exist are dropped."},
    {"collections.*.index.recall_floor", PROPERTY_NUMBER, 0, OF(recall_floor), .maximum = 1,
     .default_yaml = "0.95", .documentation = "A new segment must find this share of the true neighbours of a sample. Otherwise it is rebuilt with stronger parameters; if that fails as well, it is not served."},
    {"collections.*.payload_index", PROPERTY_TEXT_LIST, 0, OF(payload_index),
     .extra_offset = offsetof(struct config_collection, payload_index_count), .default_yaml = "[]",
     .check = check_not_empty,
     .documentation = "Payload fields whose values and postings are made within seconds after a chunk or run is written: those of a run are written beside it and mapped, so that a restart reads no payload for filters on them. A changed list makes them again. A filter on another field scans the payloads of a file the first time, then caches its values while `indexer.column_memory_max_bytes` lasts."},
    {"collections.*.vector_name", PROPERTY_TEXT, PROPERTY_NULLABLE, OF(vector_name),
     .default_yaml = "~", .default_words = "it has none", .documentation = "Name of the dense vector, where clients call it by one: points have `{\"vector\": {\"NAME\": [...]}}`, and queries say `using: NAME`. Messages may have the vector without its name as well. Another name changes only what it is called."},
    {"collections.*.sparse_vectors", PROPERTY_TEXT_LIST, 0, OF(sparse_vectors),
     .extra_offset = offsetof(struct config_collection, sparse_vector_count), .default_yaml = "[]",
     .documentation = "Names of sparse vectors that points may have beside their vector: `{\"vector\": {\"\": [...], \"NAME\": {\"indices\": [...], \"values\": [...]}}}`. They are stored, returned and updated with their points; no search ranks by them. A name that is taken out makes messages that have it bad records; what is stored stays. A windrow that does not know them refuses the store by its format version."},
    {"collections.*.extra_vectors", PROPERTY_VECTORS, 0, OF(extra_vectors),
     .extra_offset = offsetof(struct config_collection, extra_vector_count), .default_yaml = "{}", .documentation = "More dense vectors that points may have, by name: `{NAME: {dim: 8, metric: cosine}}`. With `multivector: max_sim` a point has a list of vectors under that name. They are stored, returned and updated with their points; no segment has them: see [more vectors](http.md#more-vectors). A name that is taken out makes messages that have it bad records; what is stored stays. A windrow that does not know them refuses the configuration by this key."},
    {"collections.*.client_settings", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, OF(client_settings),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "Settings of Qdrant's that a client sent when it made the collection over HTTP and that change nothing here, as JSON text: `GET /collections/NAME` shows them as they were sent, `PATCH` changes them."},
    {"collections.*.embedder.url", PROPERTY_TEXT, PROPERTY_NULLABLE, OF(embedder_url),
     .default_yaml = "~", .check = check_http_url,
     .documentation = "Endpoint of OpenAI's embeddings API that turns the words of a query into a vector: `http://127.0.0.1:8080/v1/embeddings`. It must run the model that made the stored vectors. See [words as queries](http.md#words-as-queries). `~`: queries bring vectors."},
    {"collections.*.embedder.model", PROPERTY_TEXT, PROPERTY_NULLABLE, OF(embedder_model),
     .default_yaml = "~", .default_words = "the one that a query names", .check = check_not_empty,
     .documentation = "Name of the model, sent with each request. A query that names another one is refused: vectors of different models cannot be compared."},
    {"collections.*.embedder.key_file", PROPERTY_TEXT, PROPERTY_NULLABLE | PROPERTY_RELOADABLE, OF(embedder_key_file),
     .default_yaml = "~", .check = check_not_empty,
     .documentation = "File with the key of the endpoint, sent as `Authorization: Bearer KEY`. Not readable by every user. SIGHUP reads it again."},
    {"collections.*.embedder.timeout", PROPERTY_DURATION, 0, OF(embedder_timeout_ms),
     .minimum = 10, .maximum = 600 * INT64_C(1000), .default_yaml = "10s",
     .documentation = "How long a query waits for its vectors before it is answered 504. A shorter timeout of the request ends the wait earlier."},
    {"collections.*.embedder.max_batch", PROPERTY_INTEGER, 0, OF(embedder_batch),
     .minimum = 1, .maximum = 2048, .default_yaml = "32",
     .documentation = "Texts that one request to the endpoint has at most. Queries that wait at the same time share a request; a batch with more texts takes several."},
};
/* clang-format on */

const size_t property_count = sizeof(properties) / sizeof(properties[0]);

const struct property *property_find(const char *path)
{
    for (size_t i = 0; i < property_count; i++)
        if (strcmp(properties[i].path, path) == 0)
            return &properties[i];
    return NULL;
}

bool property_is_section(const char *path)
{
    size_t length = strlen(path);

    for (size_t i = 0; i < property_count; i++)
        if (strncmp(properties[i].path, path, length) == 0 && properties[i].path[length] == '.')
            return true;
    return false;
}

bool property_is_collection(const struct property *property)
{
    return strncmp(property->path, "collections.*.", 14) == 0;
}

const char *property_choice_name(const struct property *property, int value)
{
    for (size_t i = 0; i < property->choice_count; i++)
        if (property->choices[i].value == value)
            return property->choices[i].name;
    return NULL;
}

const char *property_type_name(const struct property *property)
{
    switch (property->type) {
    case PROPERTY_INTEGER:
    case PROPERTY_ROWS:
        return "a whole number";
    case PROPERTY_NUMBER:
        return "a number";
    case PROPERTY_DURATION:
        return "a duration";
    case PROPERTY_SIZE:
        return "a size";
    case PROPERTY_TEXT_LIST:
    case PROPERTY_ROLES:
        return "a list";
    case PROPERTY_PAIRS:
    case PROPERTY_VECTORS:
        return "a map";
    case PROPERTY_LISTEN:
        return "an address";
    default:
        return "a text";
    }
}
