/* The builder's side of a build for another machine; remote.h has the order of calls. The run
 * comes in parts into memory, the segment is built in a file of this process's data folder and goes
 * back in parts. Nothing is kept: a builder may be killed at any moment, its job is delivered
 * again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/doc.h"
#include "base/logger.h"
#include "indexer/worker/choice.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/remote.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/state.h"
#include "net/http/http.h"
#include "net/http_client/http_client.h"

enum {
    CONNECT_TIMEOUT_S = 5,
    STALLED_S = 60, /* without a byte */
    ANSWER_BYTES_MAX = 2 * REMOTE_PART_BYTES
};

struct owner {
    struct worker_task *task;
    CURL *curl;
    struct curl_slist *headers;
    struct buffer answer;
    bool gone; /* it said that the window is no longer wanted */
    char reason[CURL_ERROR_SIZE];
};

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct buffer *answer = context;

    if (answer->size + size * count > ANSWER_BYTES_MAX)
        return 0; /* curl fails the transfer */
    buffer_append(answer, bytes, size * count);
    return size * count;
}

static int look_at_cancel(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct worker_task *task = context;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&task->cancel);
}

static int owner_open(struct owner *owner, struct worker_task *task, struct error *error)
{
    *owner = (struct owner){.task = task, .curl = curl_easy_init()};
    if (!owner->curl)
        return error_set(error, ERROR_MEMORY, "cannot initialise libcurl");
    owner->headers = http_client_headers(task->pool->options.config, HTTP_TYPE_BINARY);
    return 0;
}

static void owner_close(struct owner *owner)
{
    curl_slist_free_all(owner->headers);
    if (owner->curl)
        curl_easy_cleanup(owner->curl);
    buffer_destroy(&owner->answer);
}

static int code_of_status(long status)
{
    switch (status) {
    case 400:
        return ERROR_INVALID;
    case 404: /* the shard has moved or the generation is no longer current */
        return ERROR_NOT_FOUND;
    case 408:
    case 429:
    case 503:
        return ERROR_BUSY;
    default:
        return ERROR_PEER;
    }
}

static void set_transfer(struct owner *owner, const char *method, const struct buffer *body)
{
    CURL *curl = owner->curl;

    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, owner->headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, owner->reason);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    http_client_prepare(curl, owner->task->pool->options.config);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &owner->answer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_cancel);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, owner->task);
    if (!body)
        return;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data ? (const void *)body->data : "");
}

/* One request about the job's window; `more` is the end of the query. The answer is in
 * owner->answer. */
static int ask(struct owner *owner, const char *method, const char *path, const char *more,
               const struct buffer *body, struct error *error)
{
    const struct worker_job *job = &owner->task->delivery->job;
    char *collection = curl_easy_escape(owner->curl, job->collection, 0);
    char *shard = curl_easy_escape(owner->curl, job->shard, 0);
    struct buffer url = {0};
    long status = 0;
    char reason[HTTP_CLIENT_REASON_BYTES];
    CURLcode failure;
    bool waits;
    int code = 0;

    buffer_append_format(&url,
                         "%s://%s%s?collection=%s&shard=%s&start_ms=%" PRId64 "&length_ms=%" PRId64
                         "&generation=%" PRIu64 "&file=%" PRIu64 "&span_tier=%u%s",
                         http_client_scheme(owner->task->pool->options.config), job->owner, path,
                         collection ? collection : "", shard ? shard : "", job->window_start_ms,
                         job->window_length_ms, worker_job_generation(job),
                         job->generation > 0 ? 0 : job->run_file_number, job->span_tier, more);
    owner->answer.size = 0;
    owner->reason[0] = '\0';
    curl_easy_reset(owner->curl);
    curl_easy_setopt(owner->curl, CURLOPT_URL, buffer_text(&url));
    set_transfer(owner, method, body);
    waits = thread_pool_wait_begin(owner->task->pool->threads);
    failure = curl_easy_perform(owner->curl);
    if (waits)
        thread_pool_wait_end(owner->task->pool->threads);
    curl_easy_getinfo(owner->curl, CURLINFO_RESPONSE_CODE, &status);
    if (failure == CURLE_ABORTED_BY_CALLBACK)
        code = error_set(error, ERROR_CANCELLED, "cancelled");
    else if (failure != CURLE_OK)
        code = error_set(error, ERROR_PEER, "%s: %s", job->owner,
                         http_client_reason(failure, owner->reason, reason));
    else if (status != 200)
        code = error_set(error, code_of_status(status), "%s %s%s answered %ld: %.200s", method,
                         job->owner, path, status, buffer_text(&owner->answer));
    owner->gone = code == ERROR_NOT_FOUND;
    curl_free(collection);
    curl_free(shard);
    buffer_destroy(&url);
    return code;
}

/* Leftovers. */

static int remove_leftover(void *context, const char *name)
{
    static const char ending[] = ".building";
    const struct worker_pool *pool = context;
    size_t length = strlen(name);
    struct error error = {0};
    char path[BUILD_PATH_BYTES];

    if (length < sizeof(ending) || strcmp(name + length - sizeof(ending) + 1, ending) != 0)
        return 0;
    (void)snprintf(path, sizeof(path), "%s/%s", pool->options.config->data_dir, name);
    if (io_unlink(pool->options.io, path, &error) != 0)
        log_warning("indexer", "%s", error.text);
    return 0;
}

void worker_remote_clean(struct worker_pool *pool)
{
    struct error error = {0};

    if (io_list(pool->options.io, pool->options.config->data_dir, remove_leftover, pool, &error) !=
        0)
        log_debug("indexer", "%s", error.text);
}

/* The run comes. */

static int fetch_part(struct owner *owner, struct build *build, uint32_t first, uint32_t count,
                      struct error *error)
{
    const struct worker_job *job = &owner->task->delivery->job;
    size_t row_bytes = owner->task->collection->dim * sizeof(float);
    const uint8_t *bytes;
    uint64_t checksum;
    char more[64];

    (void)snprintf(more, sizeof(more), "&first=%u&count=%u", first, count);
    if (ask(owner, "GET", "/internal/run", more, NULL, error) != 0)
        return error->code;
    if (owner->answer.size != REMOTE_CHECKSUM_BYTES + count * row_bytes)
        return error_set(error, ERROR_PEER, "%s sent %zu bytes for %u rows", job->owner,
                         owner->answer.size, count);
    memcpy(&checksum, owner->answer.data, sizeof(checksum));
    bytes = owner->answer.data + REMOTE_CHECKSUM_BYTES;
    if (checksum != worker_remote_checksum(bytes, count * row_bytes, worker_job_generation(job),
                                           build->row_count, first))
        return error_set(error, ERROR_CORRUPT, "rows %u to %u from %s are damaged", first,
                         first + count, job->owner);
    memcpy((uint8_t *)build->copy + first * row_bytes, bytes, count * row_bytes);
    return 0;
}

static int fetch_run(struct owner *owner, struct build *build, struct error *error)
{
    size_t row_bytes = owner->task->collection->dim * sizeof(float);
    uint32_t rows_a_part = (uint32_t)(REMOTE_PART_BYTES / row_bytes);

    rows_a_part = rows_a_part ? rows_a_part : 1;
    build->copy = malloc(build->row_count * row_bytes);
    if (!build->copy)
        return error_set(error, ERROR_MEMORY, "no memory for %u vectors", build->row_count);
    build->vectors = build->copy;
    for (uint32_t first = 0; first < build->row_count;) {
        uint32_t left = build->row_count - first;
        uint32_t count = left < rows_a_part ? left : rows_a_part;
        int code = fetch_part(owner, build, first, count, error);
        if (code != 0)
            return code;
        first += count;
    }
    return 0;
}

/* The codebook comes. */

static int fetch_codebook_part(struct owner *owner, struct buffer *codebook, uint64_t *total_bytes,
                               struct error *error)
{
    char more[64];

    (void)snprintf(more, sizeof(more), "&offset=%zu", codebook->size);
    if (ask(owner, "GET", "/internal/epoch", more, NULL, error) != 0)
        return error->code;
    if (owner->answer.size <= REMOTE_TOTAL_BYTES)
        return error_set(error, ERROR_PEER, "%s did not send a codebook",
                         owner->task->delivery->job.owner);
    memcpy(total_bytes, owner->answer.data, sizeof(*total_bytes));
    buffer_append(codebook, owner->answer.data + REMOTE_TOTAL_BYTES,
                  owner->answer.size - REMOTE_TOTAL_BYTES);
    return 0;
}

/* Without one, or with one that changes on the way, the window gets a codebook of its own: it is
 * searched as well, only not together with others. */
static int fetch_codebook(struct build *build, struct error *error)
{
    struct owner *owner = build->reserve_context;
    struct buffer bytes = {0};
    uint64_t total_bytes = 0;
    int code = 0;

    do
        code = fetch_codebook_part(owner, &bytes, &total_bytes, error);
    while (code == 0 && bytes.size < total_bytes);
    if (code == 0)
        code = index_codebook_unpack(bytes.data, bytes.size, &build->codebook, error);
    buffer_destroy(&bytes);
    if (code == 0 || code == ERROR_CANCELLED)
        return code;
    log_debug("indexer", "lists of window %" PRId64 " of %s/%s get their own codebook: %s",
              build->window_start_ms, build->collection->name, build->shard, error->text);
    owner->gone = false;
    *error = (struct error){0};
    return 0;
}

/* The segment goes. */

static int reserve_there(struct build *build, struct error *error)
{
    struct owner *owner = build->reserve_context;
    struct arena arena;
    struct doc answer;
    const struct doc *number;
    int code = ask(owner, "POST", "/internal/segment", "", &(struct buffer){0}, error);

    if (code != 0)
        return code;
    arena_create(&arena, 0);
    code = doc_parse_json(&arena, (const char *)owner->answer.data, owner->answer.size, NULL,
                          &answer, error);
    number = code == 0 && answer.type == DOC_MAP ? doc_get(&answer, "result") : NULL;
    number = number && number->type == DOC_MAP ? doc_get(number, "file_number") : NULL;
    if (!number || !doc_as_u64(number, &build->file_number))
        code = error_set(error, ERROR_PEER, "%s does not name a file number",
                         owner->task->delivery->job.owner);
    arena_destroy(&arena);
    (void)snprintf(build->path, sizeof(build->path), "%s/%s.%s.%" PRIu64 ".building",
                   owner->task->pool->options.config->data_dir, build->collection->name,
                   build->shard, build->file_number);
    return code;
}

static int send_part(struct owner *owner, const struct build *build, int file, uint64_t offset,
                     struct buffer *body, struct error *error)
{
    const struct worker_job *job = &owner->task->delivery->job;
    uint64_t left = build->segment_bytes - offset;
    size_t size = left < REMOTE_PART_BYTES ? (size_t)left : REMOTE_PART_BYTES;
    uint64_t checksum;
    char more[128];

    body->size = 0;
    (void)buffer_reserve(body, REMOTE_CHECKSUM_BYTES + size);
    body->size = REMOTE_CHECKSUM_BYTES + size;
    if (io_read(owner->task->pool->options.io, file, build->path,
                body->data + REMOTE_CHECKSUM_BYTES, size, offset, error) != 0)
        return error->code;
    checksum = worker_remote_checksum(body->data + REMOTE_CHECKSUM_BYTES, size,
                                      worker_job_generation(job), build->file_number, offset);
    memcpy(body->data, &checksum, sizeof(checksum));
    (void)snprintf(more, sizeof(more), "&file_number=%" PRIu64 "&offset=%" PRIu64 "&total=%" PRIu64,
                   build->file_number, offset, build->segment_bytes);
    return ask(owner, "PUT", "/internal/segment", more, body, error);
}

static int send_segment(struct owner *owner, const struct build *build, struct error *error)
{
    struct io *io = owner->task->pool->options.io;
    struct buffer body = {0};
    struct error ignored = {0};
    int file;
    int code = io_open(io, build->path, IO_READ, &file, error);

    if (code != 0)
        return code;
    for (uint64_t offset = 0; code == 0 && offset < build->segment_bytes;
         offset += REMOTE_PART_BYTES)
        code = send_part(owner, build, file, offset, &body, error);
    (void)io_close(io, file, build->path, &ignored); /* was only read */
    buffer_destroy(&body);
    return code;
}

static int give_up(struct owner *owner, enum segment_kind kind, struct error *error)
{
    char arguments[32];

    (void)snprintf(arguments, sizeof(arguments), "&give_up=%s", segment_kind_name(kind));
    return ask(owner, "POST", "/internal/segment", arguments, &(struct buffer){0}, error);
}

/* The owner's clock says how old the window is; the memory is ours. */
static enum segment_kind asked_kind(const struct worker_task *task)
{
    const struct worker_job *job = &task->delivery->job;
    const struct config *config = task->pool->options.config;

    if (job->kind != SEGMENT_NONE)
        return worker_fitting_kind(config, task->collection, job->kind, job->rows, true);
    return worker_job_kind(config, task->collection, job, io_wall_ms(task->pool->options.io));
}

int worker_build_remote(struct worker_task *task, bool *low_recall, struct error *error)
{
    const struct worker_job *job = &task->delivery->job;
    struct owner owner;
    enum segment_kind kind = asked_kind(task);
    struct worker_job wanted = *job;
    struct build build = worker_task_build(task);
    int code = owner_open(&owner, task, error);

    wanted.kind = kind;
    if (kind != SEGMENT_HNSW) { /* ours, by memory */
        wanted.chosen = SEGMENT_NONE;
        wanted.choice = (struct index_choice){0};
    }
    worker_build_choose(&build, &wanted);
    build.fetch_codebook = fetch_codebook;
    build.row_count = (uint32_t)job->rows;
    build.copies = true;
    build.reserve = reserve_there;
    build.reserve_context = &owner;
    *low_recall = false;
    if (code == 0 && (job->rows == 0 || job->rows > INT32_MAX))
        code = error_set(error, ERROR_INVALID, "a run of %" PRIu64 " rows", job->rows);
    if (code == 0)
        code = worker_build_begin(&build, error);
    if (code == 0)
        code = fetch_run(&owner, &build, error);
    if (code == 0)
        code = worker_build_chosen(&build, low_recall, error);
    if (code == 0)
        code = *low_recall ? give_up(&owner, build.lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW, error)
                           : send_segment(&owner, &build, error);
    /* Without room here for what was asked for, the owner is not to ask again and again. A span it
     * has now, of whatever kind. */
    if (code == 0 && !*low_recall && job->span_tier == 0 && job->kind != SEGMENT_NONE &&
        kind != job->kind)
        code = give_up(&owner, job->kind, error);
    /* A folder of our own that is not there says nothing about the window. */
    if (code == ERROR_NOT_FOUND && !owner.gone)
        code = ERROR_IO;
    worker_build_end(&build);
    owner_close(&owner);
    return code;
}
