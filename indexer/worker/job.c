/* The job on the wire: one flat JSON object. Unknown keys are skipped, so that a newer publisher
 * can add some; everything known is checked, because anybody who reaches NATS can write here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "indexer/worker/queue.h"
#include "store/files/segment.h"

enum { JOB_BYTES_MAX = 16 * 1024 };

static void put_text(struct buffer *out, const char *key, const char *text)
{
    buffer_append_format(out, "\"%s\":", key);
    doc_write_json_string(out, text, strlen(text));
    buffer_append_byte(out, ',');
}

static void put_optional_text(struct buffer *out, const char *key, const char *text)
{
    if (!text[0])
        return;
    buffer_append_format(out, ",\"%s\":", key);
    doc_write_json_string(out, text, strlen(text));
}

static const char *const choice_names[] = {"", "measure", "known", "compare"};

/* Builders that do not know it build what `kind` says. */
static void put_choice(struct buffer *out, const struct worker_job *job)
{
    if (job->choice.how == INDEX_CHOICE_NONE)
        return;
    put_optional_text(out, "choice", choice_names[job->choice.how]);
    put_optional_text(out, "chosen", segment_kind_name(job->chosen));
    if (job->chosen != SEGMENT_NONE)
        buffer_append_format(out, ",\"graph_cost\":%.9g,\"lists_cost\":%.9g",
                             (double)job->choice.graph_cost, (double)job->choice.lists_cost);
}

void worker_job_encode(const struct worker_job *job, struct buffer *out)
{
    buffer_append_byte(out, '{');
    put_text(out, "collection", job->collection);
    put_text(out, "shard", job->shard);
    buffer_append_format(
        out,
        "\"window_start_ms\":%" PRId64 ",\"window_length_ms\":%" PRId64 ",\"generation\":%" PRIu64
        ",\"run_file_number\":%" PRIu64 ",\"run_checksum\":%" PRIu64 ",\"rows\":%" PRIu64
        ",\"bytes\":%" PRIu64 ",\"min_offset\":%" PRId64 ",\"max_offset\":%" PRId64,
        job->window_start_ms, job->window_length_ms, job->generation, job->run_file_number,
        job->run_checksum, job->rows, job->bytes, job->min_offset, job->max_offset);
    if (job->span_tier > 0)
        buffer_append_format(out, ",\"span_tier\":%u", job->span_tier);
    put_optional_text(out, "kind", segment_kind_name(job->kind));
    put_choice(out, job);
    put_optional_text(out, "group", job->group);
    put_optional_text(out, "owner", job->owner);
    if (job->attempts_before > 0 || job->passes > 0)
        buffer_append_format(out, ",\"attempts_before\":%u,\"passes\":%u", job->attempts_before,
                             job->passes);
    buffer_append_byte(out, '}');
}

static int get_text(const struct doc *map, const char *key, char *out, size_t out_bytes,
                    struct error *error)
{
    const struct doc *value = doc_get(map, key);

    if (!value || value->type != DOC_STRING || value->count == 0 || value->count >= out_bytes ||
        memchr(value->string, 0, value->count))
        return error_set(error, ERROR_INVALID, "%s: expected a text of 1 to %zu bytes", key,
                         out_bytes - 1);
    memcpy(out, value->string, value->count);
    out[value->count] = '\0';
    return 0;
}

static int get_i64(const struct doc *map, const char *key, int64_t *out, struct error *error)
{
    const struct doc *value = doc_get(map, key);

    if (!value || !doc_as_i64(value, out))
        return error_set(error, ERROR_INVALID, "%s: expected a whole number", key);
    return 0;
}

static int get_u64(const struct doc *map, const char *key, uint64_t *out, struct error *error)
{
    const struct doc *value = doc_get(map, key);

    if (!value || !doc_as_u64(value, out))
        return error_set(error, ERROR_INVALID, "%s: expected a whole number of at least 0", key);
    return 0;
}

static int get_counter(const struct doc *map, const char *key, uint32_t *out, struct error *error)
{
    uint64_t number = 0;

    if (doc_get(map, key) && (get_u64(map, key, &number, error) != 0 || number > UINT16_MAX))
        return error_set(error, ERROR_INVALID, "%s: expected a small whole number", key);
    *out = (uint32_t)number;
    return 0;
}

/* Goes into a URL: nothing but a host and a port. */
static int get_owner(const struct doc *map, struct worker_job *job, struct error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-._:[]";

    if (!doc_get(map, "owner"))
        return 0;
    if (get_text(map, "owner", job->owner, sizeof(job->owner), error) != 0)
        return error->code;
    if (job->owner[strspn(job->owner, allowed)] != '\0')
        return error_set(error, ERROR_INVALID, "owner: expected a host and a port");
    return 0;
}

static int get_group(const struct doc *map, struct worker_job *job, struct error *error)
{
    return doc_get(map, "group") ? get_text(map, "group", job->group, sizeof(job->group), error)
                                 : 0;
}

static int get_kind(const struct doc *map, const char *key, enum segment_kind *kind,
                    struct error *error)
{
    char name[16];

    if (!doc_get(map, key))
        return 0;
    if (get_text(map, key, name, sizeof(name), error) != 0)
        return error->code;
    *kind = segment_kind_parse(name);
    if (!worker_is_kind(*kind))
        return error_set(error, ERROR_INVALID, "%s: expected hnsw or ivf_pq", key);
    return 0;
}

static int get_cost(const struct doc *map, const char *key, float *cost, struct error *error)
{
    const struct doc *value = doc_get(map, key);
    double number;

    if (!value || !doc_as_double(value, &number))
        return error_set(error, ERROR_INVALID, "%s: expected a number", key);
    *cost = (float)number;
    return 0;
}

/* A choice of a version to come is left out: `kind` is always right. */
static int get_choice(const struct doc *map, struct worker_job *job, struct error *error)
{
    char name[16];

    if (!doc_get(map, "choice"))
        return 0;
    if (get_text(map, "choice", name, sizeof(name), error) != 0 ||
        get_kind(map, "chosen", &job->chosen, error) != 0)
        return error->code;
    for (uint32_t how = INDEX_CHOICE_TRIAL; how <= INDEX_CHOICE_COMPARE; how++)
        if (strcmp(name, choice_names[how]) == 0)
            job->choice.how = how;
    if (job->choice.how <= INDEX_CHOICE_TRIAL) {
        job->chosen = SEGMENT_NONE;
        return 0;
    }
    if (get_cost(map, "graph_cost", &job->choice.graph_cost, error) != 0 ||
        get_cost(map, "lists_cost", &job->choice.lists_cost, error) != 0)
        return error->code;
    if (job->chosen == SEGMENT_NONE || !index_choice_is_valid(&job->choice))
        return error_set(error, ERROR_INVALID, "choice: expected a kind and costs");
    return 0;
}

static int get_span_tier(const struct doc *map, struct worker_job *job, struct error *error)
{
    uint32_t tier;

    if (get_counter(map, "span_tier", &tier, error) != 0)
        return error->code;
    if (tier > STORE_SPAN_TIERS || (tier > 0 && job->generation > 0))
        return error_set(error, ERROR_INVALID, "span_tier: expected at most %d, and no generation",
                         STORE_SPAN_TIERS);
    job->span_tier = (uint8_t)tier;
    return 0;
}

static int decode_map(const struct doc *map, struct worker_job *job, struct error *error)
{
    int64_t end_ms;

    if (map->type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "expected a map");
    if (get_text(map, "collection", job->collection, sizeof(job->collection), error) != 0 ||
        get_text(map, "shard", job->shard, sizeof(job->shard), error) != 0 ||
        get_i64(map, "window_start_ms", &job->window_start_ms, error) != 0 ||
        get_i64(map, "window_length_ms", &job->window_length_ms, error) != 0 ||
        get_u64(map, "generation", &job->generation, error) != 0 ||
        get_u64(map, "run_file_number", &job->run_file_number, error) != 0 ||
        get_u64(map, "run_checksum", &job->run_checksum, error) != 0 ||
        get_u64(map, "rows", &job->rows, error) != 0 ||
        get_u64(map, "bytes", &job->bytes, error) != 0 ||
        get_i64(map, "min_offset", &job->min_offset, error) != 0 ||
        get_i64(map, "max_offset", &job->max_offset, error) != 0 ||
        get_counter(map, "attempts_before", &job->attempts_before, error) != 0 ||
        get_counter(map, "passes", &job->passes, error) != 0 ||
        get_kind(map, "kind", &job->kind, error) != 0 || get_choice(map, job, error) != 0 ||
        get_group(map, job, error) != 0 || get_owner(map, job, error) != 0 ||
        get_span_tier(map, job, error) != 0)
        return ERROR_INVALID;
    /* Only a shard without windows, whose files are never sealed, has a window without length. */
    if (job->window_length_ms < 0 || (job->window_length_ms == 0 && job->generation > 0) ||
        __builtin_add_overflow(job->window_start_ms, job->window_length_ms, &end_ms))
        return error_set(error, ERROR_INVALID, "window_length_ms: not a window");
    return 0;
}

int worker_job_decode(const void *bytes, size_t size_bytes, struct worker_job *job,
                      struct error *error)
{
    const struct doc_limits limits = {.max_bytes = JOB_BYTES_MAX, .max_depth = 8};
    struct arena arena;
    struct doc map;
    int code;

    memset(job, 0, sizeof(*job));
    arena_create(&arena, 0);
    code = doc_parse_json(&arena, bytes, size_bytes, &limits, &map, error);
    if (code == 0)
        code = decode_map(&map, job, error);
    arena_destroy(&arena);
    return code == 0 ? 0 : error_wrap(error, "job");
}

bool worker_is_kind(enum segment_kind kind)
{
    return kind == SEGMENT_HNSW || kind == SEGMENT_IVF_PQ;
}

uint64_t worker_job_generation(const struct worker_job *job)
{
    return job->span_tier > 0 ? job->run_checksum : job->generation;
}

void worker_job_file(const struct worker_job *job, char *out, size_t out_bytes)
{
    const char *slash = job->group[0] ? "/" : "";

    if (job->span_tier > 0) {
        (void)snprintf(out, out_bytes, "%s%s%s/%s/%" PRId64 "/span-%u-%016" PRIx64, job->group,
                       slash, job->collection, job->shard, job->window_start_ms, job->span_tier,
                       job->run_checksum);
        return;
    }
    (void)snprintf(out, out_bytes, "%s%s%s/%s/%" PRId64 "/%s%" PRIu64, job->group, slash,
                   job->collection, job->shard, job->window_start_ms,
                   job->generation > 0 ? "" : "chunk-",
                   job->generation > 0 ? job->generation : job->run_file_number);
}

void worker_job_id(const struct worker_job *job, char *out, size_t out_bytes)
{
    size_t length;

    worker_job_file(job, out, out_bytes);
    length = strlen(out);
    if (job->kind != SEGMENT_NONE)
        (void)snprintf(out + length, out_bytes - length, "/%s", segment_kind_name(job->kind));
}

struct metric *worker_queue_dead(struct metrics *metrics, const char *collection)
{
    struct metric_label labels[] = {{"collection", collection}};

    return metrics_counter(metrics, "windrow_index_dead_letters_total",
                           "Index jobs given up after their last attempt", labels, 1);
}
