#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/text.h"
#include "ingest/decode/decode.h"
#include "ingest/ingest.h"
#include "store/files/key.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum {
    BAD_LINES_SHOWN = 50,
    WAIT_NOTE_MS = 5000,
    CLOSE_TIMEOUT_MS = 1000,
    PARTITIONS_SHOWN = 1024,
    COUNT_MAX = 100000, /* partitions, replicas */
    BUCKETS = 400       /* of latency: 16 an octave of microseconds */
};

/* What was asked for. */
struct request {
    const char *config_path;
    const char *collection;
    const char *topic;
    double rate; /* 0: as fast as it goes */
    bool delete_ids;
    bool text_ids; /* digits are a text, too */
    bool json;
    uint64_t create_partitions; /* 0: do not */
    uint64_t replication;       /* 0: the broker's default */
};

/* One run of the command. */
struct produce {
    const struct request *request;
    const struct config_collection *collection;
    const char *topic;
    struct ingest_producer *producer;
    struct arena arena;
    struct buffer value;
    int64_t start_ns;
    int64_t progress_ns;
    uint64_t sent, acknowledged, failed, bad_lines;
    uint64_t read_bytes, total_bytes; /* 0: not known */
    bool progress;                    /* standard error is a terminal */
    bool progress_shown;
    int64_t next_offsets[PARTITIONS_SHOWN]; /* 0: nothing written there */
    uint64_t latencies[BUCKETS];
};

/* A message under way. */
struct sent {
    struct produce *run;
    const char *file;
    uint64_t line;
    int64_t sent_ns;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static int bucket_of(int64_t latency_us)
{
    int octave;

    if (latency_us < 16)
        return (int)(latency_us < 0 ? 0 : latency_us);
    octave = 63 - __builtin_clzll((unsigned long long)latency_us);
    octave = octave > 24 ? 24 : octave;
    return (octave - 3) * 16 + (int)(latency_us >> (octave - 4) & 15);
}

static double bucket_ms(int bucket)
{
    int octave = bucket / 16 + 3;

    if (bucket < 16)
        return (double)bucket / 1e3;
    return (double)((int64_t)(16 + bucket % 16) << (octave - 4)) / 1e3;
}

static double latency_ms(const struct produce *run, double quantile)
{
    uint64_t wanted = (uint64_t)(quantile * (double)run->acknowledged);
    uint64_t seen = 0;

    for (int i = 0; i < BUCKETS; i++) {
        seen += run->latencies[i];
        if (seen > wanted)
            return bucket_ms(i);
    }
    return 0;
}

static void clear_progress(struct produce *run)
{
    if (run->progress_shown)
        fputs("\r\033[K", stderr);
    run->progress_shown = false;
}

static void show_progress(struct produce *run)
{
    int64_t now_ns = io_monotonic_ns(io_posix());
    double seconds = (double)(now_ns - run->start_ns) / 1e9;

    if (!run->progress || now_ns - run->progress_ns < 200000000)
        return;
    run->progress_ns = now_ns;
    run->progress_shown = true;
    fprintf(stderr, "\r\033[K%llu sent, %llu acknowledged, %.0f/s", (unsigned long long)run->sent,
            (unsigned long long)run->acknowledged, (double)run->acknowledged / (seconds + 1e-9));
    if (run->total_bytes > 0) {
        int percent = (int)(100.0 * (double)run->read_bytes / (double)run->total_bytes);
        char bar[21] = "....................";
        memset(bar, '#', (size_t)(percent > 100 ? 100 : percent) / 5);
        fprintf(stderr, "  [%s] %d %%", bar, percent);
    }
}

static void report_json(const struct produce *run, double seconds)
{
    struct buffer out = {0};
    bool first = true;

    buffer_append_text(&out, "{\"collection\":");
    doc_write_json_string(&out, run->collection->name, strlen(run->collection->name));
    buffer_append_text(&out, ",\"topic\":");
    doc_write_json_string(&out, run->topic, strlen(run->topic));
    buffer_append_format(
        &out,
        ",\"sent\":%llu,\"acknowledged\":%llu,\"failed\":%llu,\"bad_lines\":%llu,"
        "\"seconds\":%.3f,\"latency_ms\":{\"p50\":%.3f,\"p99\":%.3f},\"offsets\":{",
        (unsigned long long)run->sent, (unsigned long long)run->acknowledged,
        (unsigned long long)run->failed, (unsigned long long)run->bad_lines, seconds,
        latency_ms(run, 0.5), latency_ms(run, 0.99));
    for (int i = 0; i < PARTITIONS_SHOWN; i++) {
        if (run->next_offsets[i] == 0)
            continue;
        buffer_append_format(&out, "%s\"%d\":%lld", first ? "" : ",", i,
                             (long long)run->next_offsets[i]);
        first = false;
    }
    buffer_append_text(&out, "}}\n");
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
}

static void report(struct produce *run)
{
    double seconds = (double)(io_monotonic_ns(io_posix()) - run->start_ns) / 1e9;

    clear_progress(run);
    if (run->bad_lines > BAD_LINES_SHOWN)
        fprintf(stderr, "windrow: %llu more bad lines\n",
                (unsigned long long)(run->bad_lines - BAD_LINES_SHOWN));
    fprintf(stderr,
            "windrow: topic %s: %llu of %llu %s acknowledged in %.1f s (%.0f/s, p50 %.1f ms, p99 "
            "%.1f ms), %llu failed, %llu bad lines%s\n",
            run->topic, (unsigned long long)run->acknowledged, (unsigned long long)run->sent,
            run->request->delete_ids ? "deletes" : "points", seconds,
            (double)run->acknowledged / (seconds + 1e-9), latency_ms(run, 0.5),
            latency_ms(run, 0.99), (unsigned long long)run->failed,
            (unsigned long long)run->bad_lines, interrupted ? " (interrupted)" : "");
    if (run->request->json)
        report_json(run, seconds);
}

static void complain(struct produce *run, const char *file, uint64_t line, const char *text)
{
    unsigned column = 0;
    const char *byte = strstr(text, "byte ");

    clear_progress(run);
    if (byte)
        (void)sscanf(byte, "byte %u", &column);
    if (line > 0)
        fprintf(stderr, "%s:%llu:%u: %s\n", file, (unsigned long long)line, column + 1, text);
    else
        fprintf(stderr, "windrow: %s: %s\n", file, text);
}

static void bad_line(struct produce *run, const char *file, uint64_t line, const char *text)
{
    if (++run->bad_lines <= BAD_LINES_SHOWN)
        complain(run, file, line, text);
}

static void delivered(void *context, const struct ingest_produced *result)
{
    struct sent *sent = context;
    struct produce *run = sent->run;

    if (result->code == 0) {
        int64_t now_ns = io_monotonic_ns(io_posix());
        int bucket = bucket_of((now_ns - sent->sent_ns) / 1000);
        run->acknowledged++;
        run->latencies[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
        if (result->partition >= 0 && result->partition < PARTITIONS_SHOWN &&
            result->offset >= run->next_offsets[result->partition])
            run->next_offsets[result->partition] = result->offset + 1;
    } else if (++run->failed <= BAD_LINES_SHOWN) {
        complain(run, sent->file, sent->line, result->text);
        if (result->code == ERROR_NOT_FOUND)
            fprintf(stderr, "windrow: --create-topic N creates the topic\n");
    }
    free(sent);
}

/* Sleeps off what is ahead of --rate, serving acknowledgements meanwhile. */
static void keep_rate(struct produce *run)
{
    (void)ingest_producer_poll(run->producer, 0);
    show_progress(run);
    while (run->request->rate > 0 && !interrupted) {
        double due_s = (double)run->sent / run->request->rate;
        int64_t ahead_ns = run->start_ns + (int64_t)(due_s * 1e9) - io_monotonic_ns(io_posix());
        if (ahead_ns <= 0)
            return;
        if (ahead_ns > 2000000)
            (void)ingest_producer_poll(run->producer,
                                       (int)(ahead_ns / 1000000 > 100 ? 100 : ahead_ns / 1000000));
        else
            usleep((useconds_t)(ahead_ns / 1000) + 1);
        show_progress(run);
    }
}

/* `id` is a store_key's bytes. */
static void send_value(struct produce *run, const char *file, uint64_t line, const uint8_t *id,
                       size_t id_bytes, const void *value, size_t value_bytes, int64_t timestamp_ms)
{
    struct ingest_outgoing message;
    struct store_message_key key;
    struct error error = {0};
    struct sent *sent = malloc(sizeof(*sent));
    int code;

    if (!sent)
        abort();
    store_key_to_message(id, id_bytes, &key);
    keep_rate(run);
    *sent = (struct sent){run, file, line, io_monotonic_ns(io_posix())};
    message = (struct ingest_outgoing){.topic = run->topic,
                                       .partition = INGEST_PARTITION_BY_KEY,
                                       .key = key.bytes,
                                       .key_bytes = key.size_bytes,
                                       .id_kind = key.kind,
                                       .value = value,
                                       .value_bytes = value_bytes,
                                       .timestamp_ms = timestamp_ms};
    do
        code = ingest_producer_send(run->producer, &message, delivered, sent, &error);
    while (code == ERROR_BUSY && !interrupted);
    run->sent++;
    if (code == 0)
        return;
    free(sent);
    if (++run->failed <= BAD_LINES_SHOWN)
        complain(run, file, line, error.text);
}

/* A collection without an event time field takes Kafka's timestamp: then the line's time goes
 * there.
 */
static int64_t kafka_timestamp(const struct produce *run, const struct doc *point)
{
    const struct doc *time = doc_get(point, "time_ms");
    int64_t time_ms;

    if (run->collection->event_time_field || !time || !doc_as_i64(time, &time_ms) || time_ms <= 0)
        return -1;
    return time_ms;
}

/* Checks one line as the service will, and sends it. */
static void send_line(struct produce *run, const char *file, uint64_t line, const char *text,
                      size_t length)
{
    struct config_collection collection = *run->collection;
    struct decode_message message = {.topic = run->topic,
                                     .timestamp_ms = io_wall_ms(io_posix()),
                                     .value = (const uint8_t *)text,
                                     .value_bytes = length};
    struct decode_result decoded;
    const char *complaint;
    const struct store_record *record;
    struct doc point;

    collection.format = CONFIG_FORMAT_JSON;
    arena_reset(&run->arena);
    complaint =
        decode_complaint(&collection, &message, message.timestamp_ms, &run->arena, &decoded);
    if (complaint) {
        bad_line(run, file, line, complaint);
        return;
    }
    if (decoded.record_count != 1 || decoded.sources[0].value_bytes != length) {
        bad_line(run, file, line, "expected one point (a batch has no key of its own)");
        return;
    }
    record = &decoded.records[0];
    (void)doc_parse_json(&run->arena, text, length, NULL, &point, ERROR_IGNORED);
    if (run->collection->format == CONFIG_FORMAT_MSGPACK) {
        run->value.size = 0;
        doc_write_msgpack(&run->value, &point);
        text = (const char *)run->value.data;
        length = run->value.size;
    }
    send_value(run, file, line, record->key, record->key_bytes, text, length,
               kafka_timestamp(run, &point));
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && strchr(" \t\r\n", (*text)[*length - 1]))
        (*length)--;
    while (*length > 0 && strchr(" \t", (*text)[0])) {
        (*text)++;
        (*length)--;
    }
}

static int send_lines(struct produce *run, FILE *input, const char *name)
{
    char *line = NULL;
    size_t capacity = 0;
    uint64_t number = 0;
    ssize_t got;
    int code = 0;

    while (!interrupted && (got = getline(&line, &capacity, input)) >= 0) {
        const char *text = line;
        size_t length = (size_t)got;
        number++;
        run->read_bytes += length;
        trim(&text, &length);
        if (length > 0)
            send_line(run, name, number, text, length);
    }
    if (ferror(input))
        code = command_fail("%s: %s", name, strerror(errno));
    free(line);
    return code;
}

/* A row of an .fbin file in the collection's format. */
static void encode_row(struct produce *run, uint32_t row, const float *vector)
{
    const struct config_collection *collection = run->collection;
    struct doc *items = doc_items(&run->arena, 6);
    struct doc point = {.type = DOC_MAP, .count = 2, .items = items};
    struct doc *values;

    run->value.size = 0;
    if (collection->format == CONFIG_FORMAT_RAW) {
        buffer_append(&run->value, vector, collection->dim * sizeof(float));
        return;
    }
    items[0] = doc_string(&run->arena, "id");
    items[1] = doc_integer(row);
    items[2] = doc_string(&run->arena, "vector");
    items[3] = vector_to_message(&run->arena, vector, collection->dim, collection->messages);
    if (collection->format == CONFIG_FORMAT_JSON) {
        values = doc_items(&run->arena, collection->dim);
        for (uint32_t i = 0; i < collection->dim; i++)
            values[i] = doc_number((double)vector[i]);
        items[3] = (struct doc){.type = DOC_ARRAY, .count = collection->dim, .items = values};
    }
    if (collection->event_time_field) {
        static const int64_t per_ms[] = {[CONFIG_TIME_US] = 1000, [CONFIG_TIME_NS] = 1000000};
        int64_t now_ms = io_wall_ms(io_posix());
        char text[TEXT_TIME_BYTES];
        point.count = 3;
        items[4] = doc_string(&run->arena, collection->event_time_field);
        if (collection->event_time_unit == CONFIG_TIME_RFC3339)
            items[5] = doc_string(&run->arena, text_format_time(now_ms, text));
        else if (collection->event_time_unit == CONFIG_TIME_S)
            items[5] = doc_number((double)now_ms / 1e3);
        else
            items[5] = doc_integer(collection->event_time_unit == CONFIG_TIME_MS
                                       ? now_ms
                                       : now_ms * per_ms[collection->event_time_unit]);
    }
    if (collection->format == CONFIG_FORMAT_JSON)
        doc_write_json(&run->value, &point);
    else
        doc_write_msgpack(&run->value, &point);
}

/* uint32 rows, uint32 dim, then rows x dim float32, little-endian. */
static int send_fbin(struct produce *run, FILE *input, const char *name)
{
    uint32_t header[2];
    float *vector;
    int code = 0;

    if (fread(header, sizeof(header), 1, input) != 1)
        return command_fail("%s: too short for an .fbin file", name);
    if (header[1] != run->collection->dim)
        return command_fail("%s: dimension %u, collection %s has %u", name, header[1],
                            run->collection->name, run->collection->dim);
    vector = memory_checked(malloc(header[1] * sizeof(float)));
    for (uint32_t row = 0; row < header[0] && !interrupted; row++) {
        struct store_key id;
        if (fread(vector, sizeof(float), header[1], input) != header[1]) {
            code = command_fail("%s: the file ends in row %u of %u", name, row, header[0]);
            break;
        }
        run->read_bytes += header[1] * sizeof(float);
        arena_reset(&run->arena);
        encode_row(run, row, vector);
        store_key_from_u64(row, &id);
        send_value(run, name, 0, id.bytes, id.size_bytes, run->value.data, run->value.size, -1);
    }
    free(vector);
    return code;
}

static bool is_fbin(const char *name)
{
    size_t length = strlen(name);

    return length > 5 && strcmp(name + length - 5, ".fbin") == 0;
}

static int send_file(struct produce *run, const char *name)
{
    FILE *input = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    int code;

    if (!input)
        return command_fail("%s: %s", name, strerror(errno));
    if (is_fbin(name) && run->collection->format == CONFIG_FORMAT_RAW &&
        run->collection->messages != VECTOR_TYPE_FLOAT32)
        code = command_fail("collection %s: its raw messages are %s, .fbin files have float32",
                            run->collection->name, vector_type_name(run->collection->messages));
    else if (is_fbin(name))
        code = send_fbin(run, input, name);
    else if (run->collection->format == CONFIG_FORMAT_RAW)
        code = command_fail("collection %s has format raw, so it takes .fbin files, not JSON lines",
                            run->collection->name);
    else
        code = send_lines(run, input, input == stdin ? "<stdin>" : name);
    if (input != stdin)
        (void)fclose(input);
    return code;
}

static void send_deletes(struct produce *run, char **ids, int count)
{
    for (int i = 0; i < count && !interrupted; i++) {
        struct error error = {0};
        struct store_key key;
        if (store_key_from_text(ids[i], strlen(ids[i]), !run->request->text_ids, &key, &error) !=
            0) {
            bad_line(run, ids[i], 0, error.text);
            continue;
        }
        send_value(run, ids[i], 0, key.bytes, key.size_bytes, NULL, 0, -1);
    }
}

/* Until Kafka has answered for every message: it does so, with an error at the latest when the
 * message's time is up. */
static void wait_for_acknowledgements(struct produce *run, const struct config *config)
{
    int64_t said_ns = io_monotonic_ns(io_posix());
    int left;

    while ((left = ingest_producer_poll(run->producer, 50)) > 0) {
        int64_t now_ns = io_monotonic_ns(io_posix());
        show_progress(run);
        if (interrupted && now_ns - said_ns >= (int64_t)WAIT_NOTE_MS * 1000000)
            return;
        if (run->acknowledged + run->failed > 0 && run->progress)
            continue;
        if (now_ns - said_ns < (int64_t)WAIT_NOTE_MS * 1000000)
            continue;
        said_ns = now_ns;
        clear_progress(run);
        fprintf(stderr, "windrow: waiting for %d acknowledgements from Kafka at %s\n", left,
                config->kafka_brokers);
    }
}

static uint64_t size_of(char **files, int count)
{
    uint64_t total = 0;
    struct stat info;

    for (int i = 0; i < count; i++) {
        if (stat(files[i], &info) != 0 || !S_ISREG(info.st_mode))
            return 0;
        total += (uint64_t)info.st_size;
    }
    return total;
}

static int send_all(struct produce *run, char **arguments, int count)
{
    char standard_input[] = "-";
    char *none[] = {standard_input};
    int status = COMMAND_OK;

    if (run->request->delete_ids) {
        send_deletes(run, arguments, count);
        return status;
    }
    if (count == 0) {
        /* Only the topic was wanted. */
        if (run->request->create_partitions > 0 && isatty(STDIN_FILENO))
            return status;
        arguments = none;
        count = 1;
    }
    run->total_bytes = size_of(arguments, count);
    for (int i = 0; i < count && !interrupted; i++)
        if (send_file(run, arguments[i]) != 0)
            status = COMMAND_FAILED;
    return status;
}

static int run_produce(struct produce *run, const struct config *config, char **arguments,
                       int count)
{
    const struct request *request = run->request;
    struct sigaction action = {.sa_handler = interrupt};
    struct error error = {0};
    int status;

    if (ingest_producer_new(config, NULL, &run->producer, &error) != 0)
        return command_fail("%s", error.text);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    run->progress = isatty(STDERR_FILENO) != 0;
    if (request->create_partitions > 0 &&
        ingest_producer_create_topic(run->producer, run->topic, (int)request->create_partitions,
                                     (int)request->replication, NULL, &error) != 0) {
        (void)ingest_producer_delete(run->producer, 0, ERROR_IGNORED);
        return command_fail("%s", error.text);
    }
    run->start_ns = io_monotonic_ns(io_posix());
    status = send_all(run, arguments, count);
    wait_for_acknowledgements(run, config);
    (void)ingest_producer_delete(run->producer, CLOSE_TIMEOUT_MS, ERROR_IGNORED);
    report(run);
    if (run->failed > 0 || run->bad_lines > 0 || interrupted)
        status = COMMAND_FAILED;
    return status;
}

/* The topic that was asked for, or NULL. */
static const char *choose_topic(const struct config_collection *collection, const char *wanted)
{
    if (!wanted)
        return collection->topics[0];
    for (size_t i = 0; i < collection->topic_count; i++)
        if (strcmp(collection->topics[i], wanted) == 0)
            return collection->topics[i];
    return NULL;
}

static int produce(const struct request *request, const struct config *config, char **arguments,
                   int count)
{
    struct produce *run;
    int status;

    run = memory_new(1, sizeof(*run));
    run->request = request;
    run->collection = config_collection_find(config, request->collection);
    run->topic = run->collection ? choose_topic(run->collection, request->topic) : NULL;
    arena_create(&run->arena, 0);
    if (!run->collection)
        status = command_no_collection(config, "produce", request->collection);
    else if (!run->topic)
        status = command_fail("collection %s has no topic %s", request->collection, request->topic);
    else if (run->collection->format == CONFIG_FORMAT_ARROW ||
             run->collection->format == CONFIG_FORMAT_PROTOBUF)
        status = command_fail("collection %s: windrow produce writes only json, msgpack and raw",
                              request->collection);
    else
        status = run_produce(run, config, arguments, count);
    arena_destroy(&run->arena);
    buffer_destroy(&run->value);
    free(run);
    return status;
}

int command_produce(int argc, char **argv)
{
    struct request request = {0};
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(request.config_path),
        OPTION_ROW_COLLECTION(request.collection, "the collection"),
        {"topic", 0, OPTION_TEXT, "NAME", "one of the collection's topics (default: its first)",
         &request.topic, 0},
        {"rate", 0, OPTION_RATE, "N", "send at most N points a second", &request.rate, 0},
        {"delete", 0, OPTION_FLAG, NULL, "the arguments are ids to delete; digits are a number",
         &request.delete_ids, 0},
        {"text-ids", 0, OPTION_FLAG, NULL, "with --delete: digits are a text, too",
         &request.text_ids, 0},
        {"create-topic", 0, OPTION_COUNT, "N",
         "create the topic with N partitions if it is missing", &request.create_partitions,
         COUNT_MAX},
        {"replication", 0, OPTION_COUNT, "N",
         "replicas of a topic that is created (default: the broker's)", &request.replication,
         COUNT_MAX},
        {"json", 0, OPTION_FLAG, NULL, "print the report as JSON on standard output", &request.json,
         0},
    };
    const struct command_line line = {
        .usage = "-C COLLECTION [options] [FILE...]\n-C COLLECTION --delete [--text-ids] ID...",
        .about = "Sends points to the collection's topic: idempotent, acknowledged by a quorum, "
                 "keyed by id. FILE "
                 "contains JSON lines, one point per line, or is an .fbin file (ids are row "
                 "numbers). Without FILE, or "
                 "with -, the command reads standard input. It reports lines that the service "
                 "would refuse as "
                 "FILE:LINE:COL, sends the others, and then exits 1.\n\n"
                 "A collection with event_time reads the time from the point's field, and Kafka's "
                 "timestamp is the time of "
                 "sending. In other collections a point's time_ms becomes the Kafka timestamp.",
        .examples = "echo '{\"id\": 1, \"vector\": [0.1, 0.9], \"payload\": {\"text\": "
                    "\"hello\"}}' | windrow "
                    "produce -C news\n"
                    "windrow produce -C news --create-topic 3 points.jsonl\n"
                    "windrow produce -C news --delete 17 18",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands_max = -1,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (!request.collection)
        return command_usage_error("produce", "name a collection with -C NAME");
    if (request.delete_ids && optind == argc)
        return command_usage_error("produce", "--delete needs ids");
    if (request.text_ids && !request.delete_ids)
        return command_usage_error("produce", "--text-ids belongs to --delete");
    status = command_load_config(request.config_path, &config);
    if (status == COMMAND_OK)
        status = produce(&request, config, argv + optind, argc - optind);
    config_free(config);
    return status;
}
