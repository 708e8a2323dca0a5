/* What is refused, where and with which words. */
#include <stdlib.h>

#include "tests/config/config_support.h"

struct refusal {
    const char *yaml;
    const char *report; /* all of it */
};

static void check_refusals(const struct refusal *refusals, size_t count)
{
    struct buffer report = {0};

    for (size_t i = 0; i < count; i++) {
        struct config *config = parse_text(refusals[i].yaml, &report);
        ck_assert_msg(config == NULL, "accepted:\n%s", refusals[i].yaml);
        ck_assert_str_eq(buffer_text(&report), refusals[i].report);
    }
    buffer_destroy(&report);
}

#define CHECK_REFUSALS(table) check_refusals(table, sizeof(table) / sizeof((table)[0]))

START_TEST(unknown_keys_are_errors_with_the_nearest_known_one)
{
    static const struct refusal table[] = {
        {MINIMAL "    windw: 1h\n",
         "w.yaml:5:5: unknown key windw in collections.news (did you mean window?)\n"},
        {MINIMAL "    late: {alowed: 1m}\n",
         "w.yaml:5:12: unknown key alowed in collections.news.late (did you mean allowed?)\n"},
        {MINIMAL "kafak: {}\n", "w.yaml:5:1: unknown key kafak (did you mean kafka?)\n"},
        {MINIMAL "brokers: a:1\n",
         "w.yaml:5:1: unknown key brokers (did you mean kafka.brokers?)\n"},
        {MINIMAL "http: {api_key: x}\n",
         "w.yaml:5:8: unknown key api_key in http (did you mean api_key_file?)\n"},
        {MINIMAL "nats: {zzz: 1, url: 'nats://h:4222'}\n",
         "w.yaml:5:8: unknown key zzz in nats (known keys: url, stream, prefix, replicas, "
         "ack_wait, creds_file, nkey, nkey_seed_file, tls)\n"},
        {MINIMAL "ttl: 7d\n", "w.yaml:5:1: unknown key ttl (did you mean collections.NAME.ttl?)\n"},
        {MINIMAL "kafka.group: x\n", "w.yaml:5:1: unknown key kafka.group (did you mean kafka?)\n"},
        {MINIMAL "    index: {hnsw: {<<: 1}}\n",
         "w.yaml:5:20: unknown key << in collections.news.index.hnsw (known keys: m, ef_construct, "
         "ef)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

#define KAFKA(property)                                                                            \
    "kafka: {brokers: 127.0.0.1:9092, properties: {" property "}}\n"                               \
    "collections: {news: {dim: 4}}\n"

START_TEST(properties_that_librdkafka_lacks_are_errors_with_the_nearest_one)
{
    static const struct refusal table[] = {
        {KAFKA("sesion.timeout.ms: 6000"),
         "w.yaml:1:66: kafka.properties.sesion.timeout.ms: librdkafka "
         "has no such property (did you mean session.timeout.ms?)\n"},
        {KAFKA("sasl.usernam: me"),
         "w.yaml:1:61: kafka.properties.sasl.usernam: librdkafka has no such "
         "property (did you mean sasl.username?)\n"},
        {KAFKA("mesage.timeout.ms: 5"),
         "w.yaml:1:66: kafka.properties.mesage.timeout.ms: librdkafka "
         "has no such property (did you mean message.timeout.ms?)\n"},
        {KAFKA("colour: blue"),
         "w.yaml:1:55: kafka.properties.colour: librdkafka has no such property "
         "(its CONFIGURATION.md lists them)\n"},
        {KAFKA("fetch.min.bytes: few"), "w.yaml:1:64: kafka.properties.fetch.min.bytes: librdkafka "
                                        "refuses the value \"few\"\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(a_property_of_the_environment_that_librdkafka_lacks_is_an_error)
{
    static const struct refusal table[] = {
        {MINIMAL,
         "w.yaml:1:1: the environment sets kafka.properties.fetch.mim.bytes: librdkafka has no "
         "such property (did you mean fetch.min.bytes?)\n"},
    };

    setenv("WINDROW_KAFKA_FETCH_MIM_BYTES", "1", 1);
    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(variables_that_nobody_replaced_are_errors)
{
    static const struct refusal table[] = {
        {"kafka: {brokers: '${BROKERS}'}\ncollections: {news: {dim: 4}}\n",
         "w.yaml:1:18: kafka.brokers: ${BROKERS} is not replaced by a variable (write the value, "
         "or "
         "fill in the template before windrow reads it)\n"},
        {MINIMAL "    topics: [a, 'b-${env}']\n",
         "w.yaml:5:17: collections.news.topics: ${env} is not replaced by a variable (write the "
         "value, or fill in the template before windrow reads it)\n"},
        {KAFKA("sasl.password: 'x${PASS_1}'"),
         "w.yaml:1:62: kafka.properties.sasl.password: ${PASS_1} is not replaced by a variable "
         "(write the value, or fill in the template before windrow reads it)\n"},
    };
    struct buffer report = {0};
    struct config *config;

    CHECK_REFUSALS(table);
    config = parse_text(KAFKA("sasl.password: 'a${b', sasl.username: 'c${}'"), &report);
    ck_assert_msg(config != NULL, "%s", buffer_text(&report));
    config_free(config);
    buffer_destroy(&report);
}
END_TEST

START_TEST(a_tab_is_called_a_tab)
{
    static const struct refusal table[] = {
        {"kafka:\n\tbrokers: a:1\n",
         "w.yaml:2:1: invalid YAML: a tab indents this line (use spaces)\n"},
        {"kafka:\n  brokers: a:1\n  \tgroup: g\n",
         "w.yaml:3:3: invalid YAML: a tab indents this line (use spaces)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(wrong_types_are_errors)
{
    static const struct refusal table[] = {
        {MINIMAL "    window: [1h]\n",
         "w.yaml:5:13: collections.news.window: expected a duration, found a list\n"},
        {MINIMAL "    window: 1x\n",
         "w.yaml:5:13: collections.news.window: invalid duration \"1x\" (use a number and a unit, "
         "such as 10m, 1h or 1h30m)\n"},
        {MINIMAL "    max_future: ~\n",
         "w.yaml:5:17: collections.news.max_future: expected a duration, found nothing\n"},
        {MINIMAL "    max_bytes: 12 parsecs\n",
         "w.yaml:5:16: collections.news.max_bytes: invalid size \"12 parsecs\" (use a number and a "
         "unit, such as 64KiB, 128MiB or 1GB)\n"},
        {MINIMAL "    topics: news\n", "w.yaml:5:13: collections.news.topics: expected a list, "
                                       "found a single value (such as [a, b])\n"},
        {MINIMAL "    topics: [a, {b: c}]\n",
         "w.yaml:5:17: collections.news.topics: expected a text, found a map\n"},
        {MINIMAL "    topics: [a, a]\n",
         "w.yaml:5:17: collections.news.topics: duplicate value a\n"},
        {MINIMAL "    late: accept\n",
         "w.yaml:5:11: collections.news.late: expected a map, found a single value\n"},
        {MINIMAL "    index: {hnsw: {m: many}}\n",
         "w.yaml:5:23: collections.news.index.hnsw.m: \"many\" is not a whole number\n"},
        {MINIMAL "    index: {hnsw: {m: '16'}}\n",
         "w.yaml:5:23: collections.news.index.hnsw.m: expected a whole number, found quoted text "
         "(remove the quotes)\n"},
        {MINIMAL "    index: {hnsw: {m: -1}}\n",
         "w.yaml:5:23: collections.news.index.hnsw.m: \"-1\" is not a whole number\n"},
        {MINIMAL "    index: {recall_floor: nan}\n",
         "w.yaml:5:27: collections.news.index.recall_floor: \"nan\" is not a number\n"},
        {MINIMAL "    metric: euclid\n", "w.yaml:5:13: collections.news.metric: invalid value "
                                         "\"euclid\" (use cosine, dot, l2 or hamming)\n"},
        {MINIMAL "roles: [cook]\n",
         "w.yaml:5:9: roles: invalid role \"cook\" (use ingest, indexer, query)\n"},
        {MINIMAL "roles: []\n", "w.yaml:5:8: roles: empty list (use ingest, indexer, query)\n"},
        {"[]\n", "w.yaml:1:1: the file contains a list, not a map (see docs/configuration.md)\n"},
        {"", "w.yaml:1:1: the file contains nothing, not a map (see docs/configuration.md)\n"},
        {"kafka: {brokers: a:1, properties: [x]}\ncollections: {a: {dim: 1}}\n",
         "w.yaml:1:35: kafka.properties: expected a map, found a list\n"},
        {"kafka: {brokers: a:1, properties: {x: [y]}}\ncollections: {a: {dim: 1}}\n",
         "w.yaml:1:39: kafka.properties.x: expected a single value, found a list\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(values_out_of_bounds_are_errors)
{
    static const struct refusal table[] = {
        {"kafka: {brokers: a:1}\ncollections: {a: {dim: 0}}\n",
         "w.yaml:2:24: collections.a.dim: 0 is out of bounds (1 to 65536)\n"},
        {"kafka: {brokers: a:1}\ncollections: {a: {dim: 65537}}\n",
         "w.yaml:2:24: collections.a.dim: 65537 is out of bounds (1 to 65536)\n"},
        {MINIMAL "    window: 0s\n",
         "w.yaml:5:13: collections.news.window: 0s is out of bounds (1s to 366d)\n"},
        {MINIMAL "store: {memtable_max_bytes: 1KiB}\n",
         "w.yaml:5:29: store.memtable_max_bytes: 1KiB is out of bounds (1.0 MiB to 1.0 TiB)\n"},
        {MINIMAL "    index: {recall_floor: 1.5}\n",
         "w.yaml:5:27: collections.news.index.recall_floor: 1.5 is out of bounds (0 to 1)\n"},
        {MINIMAL "    index: {hnsw: {ef: 18446744073709551615}}\n",
         "w.yaml:5:24: collections.news.index.hnsw.ef: 18446744073709551615 is out of bounds (1 to "
         "100000)\n"},
        {MINIMAL "    index: {hnsw: {ef: 18446744073709551616}}\n",
         "w.yaml:5:24: collections.news.index.hnsw.ef: \"18446744073709551616\" is not a whole "
         "number (or auto)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(styles_that_merge_by_window_need_windows)
{
    static const struct refusal table[] = {
        {MINIMAL "    window: ~\n",
         "w.yaml:5:13: collections.news.window: ~ needs compaction.style size_tiered, leveled or "
         "hybrid (time_window merges by window)\n"},
        {MINIMAL "    compaction: {style: fifo}\n    window: ~\n",
         "w.yaml:6:13: collections.news.window: ~ needs compaction.style size_tiered, leveled or "
         "hybrid (fifo merges by window)\n"},
        {MINIMAL "    compaction: {style: leveled}\n    window: ~\n    max_bytes: 1GiB\n",
         "w.yaml:7:16: collections.news.max_bytes: drops whole windows, and window: ~ has none "
         "(set a window, or bound the collection by ttl)\n"},
        {MINIMAL "    compaction: {style: hybrid}\n    window: ~\n    late: {policy: drop}\n",
         "w.yaml:7:20: collections.news.late.policy: has no effect with window: ~ (without windows "
         "no record is late)\n"},
        {MINIMAL "    compaction: {style: hybrid}\n    window: ~\n    index: {kind: hnsw}\n",
         "w.yaml:7:19: collections.news.index.kind: hnsw segments are built from sealed windows, "
         "and window: ~ has none (set a window, or index.kind: flat)\n"},
        {MINIMAL "    compaction: {style: hybrid}\n    window: ~\n    vectors: {storage: int8}\n",
         "w.yaml:7:24: collections.news.vectors.storage: it is the type of sealed windows, and "
         "window: ~ has none (set a window, or storage: float32)\n"},
        {MINIMAL "    codec: packed\n    vectors: {storage: bfloat16}\n",
         "w.yaml:6:24: collections.news.vectors.storage: codec: packed is for float32 vectors "
         "(take either out)\n"},
        {MINIMAL "    vectors: {storage: float64}\n",
         "w.yaml:5:24: collections.news.vectors.storage: invalid value \"float64\" (use float32, "
         "float16, bfloat16 or int8)\n"},
        {MINIMAL "    compaction: {style: fifo}\n",
         "w.yaml:5:25: collections.news.compaction.style: fifo drops the oldest window above "
         "max_bytes, which is not set (set it, such as max_bytes: 100GiB, or use time_window)\n"},
        {MINIMAL "    compaction: {max_space_amplification: 1}\n",
         "w.yaml:5:43: collections.news.compaction.max_space_amplification: 1 is out of bounds "
         "(1.01 to 100)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(users_of_nats_are_given_once)
{
    static const struct refusal table[] = {
        {MINIMAL "nats: {url: 'tls://h', nkey: UABC}\n",
         "w.yaml:5:30: nats.nkey: invalid NKey \"UABC...\" (the public key of a user has 56 "
         "characters and begins with U)\n"},
        {MINIMAL "nats: {url: 'tls://h', tls: {cert_file: /etc/hosts}}\n",
         "w.yaml:5:41: nats.tls.cert_file and nats.tls.key_file belong together\n"
         "w.yaml:5:41: nats.tls.cert_file: needs nats.tls.ca_file (by which the server is "
         "known)\n"},
        {MINIMAL "nats: {url: 'nats://h', creds_file: /dev/null}\n",
         "w.yaml:5:37: nats.creds_file: every user may read or write /dev/null (mode 0666; such as "
         "chmod 640 /dev/null)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(embedder_needs_an_address_and_a_private_key)
{
    static const struct refusal table[] = {
        {MINIMAL "    embedder: {model: m}\n",
         "w.yaml:5:23: collections.news.embedder.model: has no effect without embedder.url (such "
         "as http://127.0.0.1:8080/v1/embeddings)\n"},
        {MINIMAL "    embedder: {url: '127.0.0.1:8080'}\n",
         "w.yaml:5:21: collections.news.embedder.url: invalid address of a service (use "
         "http://HOST:PORT/PATH or https://, without a password)\n"},
        {MINIMAL "    embedder: {url: 'http://localhost/e', key_file: /dev/null}\n",
         "w.yaml:5:53: collections.news.embedder.key_file: every user may read or write /dev/null "
         "(mode 0666; such as chmod 640 /dev/null)\n"},
        {MINIMAL "    metric: hamming\n    embedder: {url: 'http://localhost/e'}\n",
         "w.yaml:5:13: collections.news.metric: hamming compares bits, and embedder.url gives "
         "vectors of other values (take either out)\n"},
        {MINIMAL "    embedder: {url: 'http://localhost/e', timeout: 1ms, max_batch: 0}\n",
         "w.yaml:5:52: collections.news.embedder.timeout: 1ms is out of bounds (10ms to 10m)\n"
         "w.yaml:5:68: collections.news.embedder.max_batch: 0 is out of bounds (1 to 2048)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(tls_needs_its_files)
{
    static const struct refusal table[] = {
        {MINIMAL "http: {tls: {cert_file: /no/c.pem, key_file: /dev/null}}\n",
         "w.yaml:5:25: http.tls.cert_file: cannot read /no/c.pem: No such file or directory\n"
         "w.yaml:5:46: http.tls.key_file: every user may read or write /dev/null (mode 0666; such "
         "as chmod 640 /dev/null)\n"},
        {MINIMAL "http: {tls: {cert_file: /dev/null}}\n",
         "w.yaml:5:25: http.tls.cert_file and http.tls.key_file belong together\n"},
        {MINIMAL "http: {tls: {client_ca_file: /dev/null}}\n",
         "w.yaml:5:30: http.tls.client_ca_file: clients show certificates over TLS only (set "
         "http.tls.cert_file)\n"},
        {MINIMAL "http: {tls: {client_crl_file: /dev/null}}\n",
         "w.yaml:5:31: http.tls.client_crl_file: needs http.tls.client_ca_file (whose certificates "
         "it takes back)\n"},
        {MINIMAL "http: {tls: {crl_file: /dev/null}}\n",
         "w.yaml:5:24: http.tls.crl_file: needs http.tls.ca_file (whose certificates it takes "
         "back)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(extra_vectors_are_checked)
{
    static const struct refusal table[] = {
        {MINIMAL "    ttl: 2d\n    extra_vectors: {a: {dim: 4}}\n",
         "w.yaml:6:24: collections.news.extra_vectors.a: needs dim and metric\n"},
        {MINIMAL "    ttl: 2d\n    extra_vectors: {a: {dim: 0, metric: dot}}\n",
         "w.yaml:6:30: collections.news.extra_vectors.a: dim must be from 1 to 65536\n"},
        {MINIMAL "    ttl: 2d\n    extra_vectors: {a: {dim: 4, metric: hamming}}\n",
         "w.yaml:6:41: collections.news.extra_vectors.a: metric must be cosine, dot or l2\n"},
        {MINIMAL "    ttl: 2d\n    extra_vectors: {a: {dim: 4, metric: dot, multivector: avg}}\n",
         "w.yaml:6:59: collections.news.extra_vectors.a: expected dim, metric and, for lists, "
         "`multivector: max_sim`\n"},
        {MINIMAL "    ttl: 2d\n    extra_vectors: {a: 4}\n",
         "w.yaml:6:24: collections.news.extra_vectors.a: expected {dim: 8, metric: cosine}\n"},
        {MINIMAL "    ttl: 2d\n    extra_vectors: [a]\n",
         "w.yaml:6:20: collections.news.extra_vectors: expected a map, found a list\n"},
        {MINIMAL "    ttl: 2d\n    vector_name: a\n    extra_vectors: {a: {dim: 4, metric: dot}}\n",
         "w.yaml:7:20: collections.news.extra_vectors: \"a\" is another vector as well "
         "(vector_name, sparse_vectors): give one of them another name\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(impossible_combinations_are_errors)
{
    static const struct refusal table[] = {
        {MINIMAL "    window: 8d\n", "w.yaml:5:13: collections.news.window: 8d is longer than the "
                                     "ttl of 7d (20 to 50 windows per TTL are good practice)\n"},
        {MINIMAL "    window: 1h\n    ttl: 1d\n    late: {allowed: 2d}\n",
         "w.yaml:7:21: collections.news.late.allowed: 2d is longer than the ttl of 1d (a window "
         "must close before it expires)\n"},
        {MINIMAL "    ttl: 2d\n    event_time: {unit: s}\n",
         "w.yaml:6:24: collections.news.event_time.unit: has no effect without event_time.field "
         "(Kafka timestamps are in ms)\n"},
        {MINIMAL "    ttl: 2d\n    compaction: {size_tiered: {min_threshold: 40}}\n",
         "w.yaml:6:47: collections.news.compaction.size_tiered: min_threshold 40 is above "
         "max_threshold 32\n"},
        {MINIMAL "    ttl: 2d\n    topics: [t]\n  olds: {dim: 4, ttl: 2d, topics: [x, t]}\n",
         "w.yaml:7:35: collections.olds.topics: topic t already feeds collection news (a topic "
         "feeds one collection)\n"},
        {MINIMAL "    ttl: 2d\n    topics: [windrow.dead-letters]\n",
         "w.yaml:6:13: collections.news.topics: windrow.dead-letters is kafka.dead_letters (a "
         "rejected record would be read again and again)\n"},
        {MINIMAL "    ttl: 2d\nstore: {memory_max_bytes: 64MiB}\n",
         "w.yaml:6:27: store.memory_max_bytes is below store.memtable_max_bytes (all memtables "
         "share it)\n"},
        {MINIMAL "    ttl: 2d\nnats: {stream: S}\n",
         "w.yaml:6:16: nats.url is missing (remove the nats section to use the queue inside the "
         "process)\n"},
        {"collections: {news: {dim: 4, ttl: 2d}}\n",
         "w.yaml:1:1: kafka.brokers is missing (such as kafka: {brokers: 127.0.0.1:9092})\n"},
        {"kafka: {brokers: a:1}\n",
         "w.yaml:1:1: collections is missing (such as collections: {news: {dim: 384}})\n"},
        {"kafka: {brokers: a:1}\ncollections: {}\n",
         "w.yaml:2:14: collections: empty (define at least one, such as collections: {news: {dim: "
         "384}})\n"},
        {"kafka: {brokers: a:1, properties: {group.id: g}}\ncollections: {a: {dim: 4, ttl: 2d}}\n",
         "w.yaml:1:36: kafka.properties.group.id cannot be set (kafka.group sets it)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(names_and_addresses_are_checked)
{
    static const struct refusal table[] = {
        {"kafka: {brokers: a:1}\ncollections: {a/b: {dim: 4, topics: [t], ttl: 2d}}\n",
         "w.yaml:2:15: collections: invalid collection name \"a/b\" (use 1 to 100 letters, digits, "
         "- and _)\n"},
        {"kafka: {brokers: a:1}\ncollections: {LOCK: {dim: 4, topics: [t], ttl: 2d}}\n",
         "w.yaml:2:15: collections: invalid collection name \"LOCK\": windrow has a file of this "
         "name in data_dir (use another name)\n"},
        {"kafka: {brokers: a:1}\ncollections: {CLOCK_STANDS: {dim: 4, topics: [t], ttl: 2d}}\n",
         "w.yaml:2:15: collections: invalid collection name \"CLOCK_STANDS\": windrow has a file "
         "of this name in data_dir (use another name)\n"},
        {MINIMAL "    topics: ['a b']\n",
         "w.yaml:5:14: collections.news.topics: invalid topic name \"a b\" (use 1 to 249 letters, "
         "digits, '.', - and _)\n"},
        {"kafka: {brokers: 'a:1,:2'}\ncollections: {a: {dim: 4, ttl: 2d}}\n",
         "w.yaml:1:18: kafka.brokers: invalid broker address \":2\" (use HOST:PORT, separated by "
         "commas, such as 10.0.0.1:9092,10.0.0.2:9092)\n"},
        {"kafka: {brokers: 'a:99999'}\ncollections: {a: {dim: 4, ttl: 2d}}\n",
         "w.yaml:1:18: kafka.brokers: invalid broker address \"a:99999\" (use HOST:PORT, separated "
         "by commas, such as 10.0.0.1:9092,10.0.0.2:9092)\n"},
        {MINIMAL "    ttl: 2d\nhttp: {listen: 'localhost:6333'}\n",
         "w.yaml:6:16: http.listen: \"localhost\" is not a numeric address (use 127.0.0.1 for this "
         "machine only, 0.0.0.0 for every interface)\n"},
        {MINIMAL "    ttl: 2d\nhttp: {listen: '0.0.0.0:1'}\n",
         "w.yaml:6:16: http.listen: 0.0.0.0 is reachable from other machines without an API key "
         "(set http.api_key_file, or http.insecure: true to allow it)\n"},
        {MINIMAL "    ttl: 2d\nhttp: {grpc_listen: '0.0.0.0:1'}\n",
         "w.yaml:6:21: http.grpc_listen: 0.0.0.0 is reachable from other machines without an API "
         "key (set http.api_key_file, or http.insecure: true to allow it)\n"},
        {MINIMAL "    ttl: 2d\nhttp: {listen: 6333}\n",
         "w.yaml:6:16: http.listen: invalid address \"6333\" (use ADDRESS:PORT, such as "
         "127.0.0.1:6333 or [::1]:6333)\n"},
        {MINIMAL "    ttl: 2d\nnats: {url: 'http://u:hush@h:4222'}\n",
         "w.yaml:6:13: nats.url: invalid NATS address (use nats://HOST:PORT, separated by commas, "
         "such as nats://127.0.0.1:4222)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(repeated_keys_are_errors)
{
    static const struct refusal table[] = {
        {MINIMAL "    dim: 5\n", "w.yaml:5:5: duplicate key dim (first used in line 4)\n"},
        {MINIMAL "  news: {dim: 5}\n", "w.yaml:5:3: duplicate key news (first used in line 3)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(anchors_aliases_tags_and_second_documents_are_refused)
{
    static const struct refusal table[] = {
        {MINIMAL "    ttl: &t 2d\n    idle_timeout: *t\n",
         "w.yaml:5:10: anchors are not supported: &t (write the value out)\n"
         "w.yaml:6:19: aliases are not supported: *t (write the value out)\n"},
        {MINIMAL "    ttl: !!str 2d\n", "w.yaml:5:10: tags are not supported: "
                                        "tag:yaml.org,2002:str (write the value without it)\n"},
        {MINIMAL "    ttl: 2d\n    late: &l {allowed: 1m}\n",
         "w.yaml:6:11: anchors are not supported: &l (write the value out)\n"},
        {MINIMAL "    ttl: 2d\n---\na: b\n",
         "w.yaml:6:1: second YAML document (a configuration has one)\n"},
        {MINIMAL "    ttl: 2d\n? [a]\n: b\n",
         "w.yaml:6:3: a key must be plain text (such as window: 1h)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(all_errors_come_at_once_in_the_order_of_the_file)
{
    static const struct refusal table[] = {
        {"nodee: x\n"
         "kafka: {broker: a:1}\n"
         "collections:\n"
         "  a: {dim: x, window: 1y, format: xml}\n"
         "  b: {dim: 4, ttl: 2d, nope: 1}\n",
         "w.yaml:1:1: unknown key nodee (did you mean node?)\n"
         "w.yaml:1:1: kafka.brokers is missing (such as kafka: {brokers: 127.0.0.1:9092})\n"
         "w.yaml:2:9: unknown key broker in kafka (did you mean brokers?)\n"
         "w.yaml:4:12: collections.a.dim: \"x\" is not a whole number\n"
         "w.yaml:4:23: collections.a.window: invalid duration \"1y\" (use a number and a unit, "
         "such as 10m, 1h or 1h30m)\n"
         "w.yaml:4:35: collections.a.format: invalid value \"xml\" (use auto, json, msgpack, "
         "protobuf, arrow or raw)\n"
         "w.yaml:5:24: unknown key nope in collections.b (known keys: topics, begin_offsets, "
         "format, key, dim, "
         "metric, "
         "event_time, window, ttl, max_bytes, max_future, idle_timeout, late, durability, codec, "
         "vectors, compaction, index, payload_index, vector_name, sparse_vectors, "
         "extra_vectors, client_settings, embedder)\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

START_TEST(broken_yaml_names_the_place)
{
    struct buffer report = {0};

    ck_assert_ptr_null(parse_text("kafka: {brokers: a\ncollections: [\n", &report));
    ck_assert_msg(strncmp(buffer_text(&report), "w.yaml:2:", 9) == 0, "%s", buffer_text(&report));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "invalid YAML: "));
    ck_assert_ptr_null(parse_text("a: \xff\xfe\n", &report));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "UTF-8"));
    buffer_destroy(&report);
}
END_TEST

START_TEST(depth_size_and_number_of_findings_are_bounded)
{
    struct buffer report = {0};
    struct buffer text = {0};
    size_t lines = 0;

    for (int i = 0; i < 1000; i++)
        buffer_append_text(&text, "[");
    ck_assert_ptr_null(parse_text(buffer_text(&text), &report));
    ck_assert_str_eq(buffer_text(&report), "w.yaml:1:17: nested more than 16 levels deep\n");

    text.size = 0;
    for (int i = 0; i < 1000; i++)
        buffer_append_format(&text, "key%d: 1\n", i);
    ck_assert_ptr_null(parse_text(buffer_text(&text), &report));
    for (const char *at = buffer_text(&report); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines, REPORT_FINDINGS_MAX + 1);
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "w.yaml: and 802 more errors\n"));

    text.size = 0;
    while (text.size <= 1 << 20)
        buffer_append_text(&text, "# filler filler filler filler filler\n");
    ck_assert_ptr_null(parse_text(buffer_text(&text), &report));
    ck_assert_str_eq(buffer_text(&report), "w.yaml:1:1: the file is larger than 1048576 bytes\n");
    buffer_destroy(&text);
    buffer_destroy(&report);
}
END_TEST

START_TEST(control_characters_cannot_forge_a_line_of_the_report)
{
    static const struct refusal table[] = {
        {MINIMAL "    ttl: 2d\n\"a\\nw.yaml:1:1: all good\\e[2J\": 1\n",
         "w.yaml:6:1: unknown key a?w.yaml:1:1: all good?[2J (known keys: node, data_dir, roles, "
         "processors, kafka, ingest, indexer, nats, cluster, log, trace, http, clock, store, "
         "collections)\n"},
        {MINIMAL "    ttl: 2d\nnode: \"a\\0b\"\n", "w.yaml:6:7: text contains a zero byte\n"},
    };

    CHECK_REFUSALS(table);
}
END_TEST

/* "FILE:LINE:COL" of each finding, whichever file it is in. */
START_TEST(files_of_the_folder_define_more_collections)
{
    static const char main_text[] = MINIMAL;
    static const char more[] = "collections:\n  logs: {dim: 8, topics: [logs]}\n";
    static const char bad[] = "collections:\n  logs: {dim: 3}\n  faces: {dim: 0, topics: [news]}\n"
                              "http: {listen: 127.0.0.1:1}\n";
    const struct loaded_source good_sources[] = {{"w.yaml", main_text, sizeof(main_text) - 1},
                                                 {"conf.d/a.yaml", more, sizeof(more) - 1}};
    const struct loaded_source sources[] = {
        good_sources[0], good_sources[1], {"conf.d/b.yaml", bad, sizeof(bad) - 1}};
    struct loaded_config *loaded = NULL;
    struct buffer report = {0};
    struct buffer printed = {0};

    ck_assert_int_eq(loaded_config_parse_all(good_sources, 2, &loaded, &report), 0);
    ck_assert_uint_eq(loaded->config.collection_count, 2);
    ck_assert_uint_eq(config_collection_find(&loaded->config, "logs")->dim, 8);
    config_print(&loaded->config, false, &printed);
    ck_assert_ptr_nonnull(strstr(buffer_text(&printed), "# conf.d/a.yaml:2"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&printed), "# w.yaml:4"));
    config_free(&loaded->config);
    ck_assert_int_eq(loaded_config_parse_all(sources, 3, &loaded, &report), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(buffer_text(&report),
                                 "conf.d/b.yaml:2:3: collections.logs: defined twice (the other "
                                 "one is at conf.d/a.yaml:2:3)"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "conf.d/b.yaml:3:16: "));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "topic news already feeds collection news"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&report), "conf.d/b.yaml:4:1: http: files in conf.d"));
    buffer_destroy(&report);
    buffer_destroy(&printed);
}
END_TEST

START_TEST(collections_may_all_be_in_the_folder_or_be_made_later)
{
    static const char without[] = "kafka: {brokers: x:1}\n";
    static const char empty[] = "kafka: {brokers: x:1}\ncollections: {}\n";
    static const char later[] =
        "kafka: {brokers: x:1}\ncollections: {}\nhttp: {allow_create: true}\n";
    static const char more[] = "collections:\n  logs: {dim: 8, topics: [logs]}\n";
    static const struct loaded_source mains[] = {{"w.yaml", without, sizeof(without) - 1},
                                                 {"w.yaml", empty, sizeof(empty) - 1},
                                                 {"w.yaml", later, sizeof(later) - 1}};

    for (size_t i = 0; i < sizeof(mains) / sizeof(mains[0]); i++) {
        const struct loaded_source sources[] = {mains[i],
                                                {"conf.d/a.yaml", more, sizeof(more) - 1}};
        struct loaded_config *loaded = NULL;
        struct buffer report = {0};
        ck_assert_int_eq(loaded_config_parse_all(sources, 2, &loaded, &report), 0);
        ck_assert_uint_eq(loaded->config.collection_count, 1);
        config_free(&loaded->config);
        ck_assert_int_eq(loaded_config_parse_all(sources, 1, &loaded, &report),
                         i == 2 ? 0 : ERROR_INVALID);
        if (i == 2)
            config_free(&loaded->config);
        buffer_destroy(&report);
    }
}
END_TEST

TEST_TABLE(TEST(files_of_the_folder_define_more_collections),
           TEST(collections_may_all_be_in_the_folder_or_be_made_later),
           TEST(unknown_keys_are_errors_with_the_nearest_known_one), TEST(wrong_types_are_errors),
           TEST(properties_that_librdkafka_lacks_are_errors_with_the_nearest_one),
           TEST(a_property_of_the_environment_that_librdkafka_lacks_is_an_error),
           TEST(variables_that_nobody_replaced_are_errors), TEST(a_tab_is_called_a_tab),
           TEST(values_out_of_bounds_are_errors), TEST(styles_that_merge_by_window_need_windows),
           TEST(tls_needs_its_files), TEST(embedder_needs_an_address_and_a_private_key),
           TEST(users_of_nats_are_given_once), TEST(extra_vectors_are_checked),
           TEST(impossible_combinations_are_errors), TEST(names_and_addresses_are_checked),
           TEST(repeated_keys_are_errors),
           TEST(anchors_aliases_tags_and_second_documents_are_refused),
           TEST(all_errors_come_at_once_in_the_order_of_the_file),
           TEST(broken_yaml_names_the_place), TEST(depth_size_and_number_of_findings_are_bounded),
           TEST(control_characters_cannot_forge_a_line_of_the_report))
