/* Snapshots that other nodes read from this one. Each is a folder of hard links, so that it costs no
 * space until the shard's own files go. */
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "cluster/snapshot.h"
#include "net/http/http.h"
#include "store/backup.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/store.h"
#include "store/tools/copy.h"

enum { SESSIONS_MAX = 16 };
#define IDLE_NS (INT64_C(600) * 1000000000)

/* One snapshot. Unchanged after it is listed, but for `used_ns` and `users`, which the lock guards. */
struct session {
    struct session *next;
    char id[SNAPSHOT_ID_BYTES];
    char folder[PATH_MAX];
    char path[PATH_MAX]; /* of the shard's files */
    const struct config_collection *collection;
    char shard[300];
    int64_t next_offset;
    int64_t used_ns;
    unsigned users;
    bool ended; /* goes with its last user */
};

struct snapshot_source {
    struct cluster_options options;
    pthread_mutex_t lock;
    struct session *sessions;
    size_t count;
    struct metric *sent_bytes, *made;
};

uint64_t snapshot_checksum(const void *bytes, size_t size_bytes, const char *name, uint64_t offset)
{
    return checksum_block(bytes, size_bytes, XXH3_64bits(name, strlen(name)), offset, 0);
}

struct snapshot_source *snapshot_source_new(const struct cluster_options *options)
{
    const struct metric_label sent[] = {{"direction", "sent"}};
    struct snapshot_source *source = memory_new(1, sizeof(*source));

    source->options = *options;
    pthread_mutex_init(&source->lock, NULL);
    source->sent_bytes = metrics_counter(options->metrics, "windrow_snapshot_bytes_total",
                                         "Bytes of copies of shards between nodes", sent, 1);
    source->made = metrics_counter(options->metrics, "windrow_snapshots_made_total",
                                   "Copies of shards made for other nodes", NULL, 0);
    return source;
}

static void session_delete(struct snapshot_source *source, struct session *session)
{
    struct error error = {0};

    if (store_folder_remove(source->options.io, session->folder, &error) != 0)
        log_warning("cluster", "%s", error.text);
    free(session);
}

/* Takes those out that nobody uses and that are over; they are deleted without the lock. */
static void sweep(struct snapshot_source *source, bool all)
{
    int64_t oldest_ns = io_monotonic_ns(source->options.io) - IDLE_NS;
    struct session *dropped = NULL;

    pthread_mutex_lock(&source->lock);
    for (struct session **place = &source->sessions; *place;) {
        struct session *session = *place;
        if (session->users > 0 || (!all && !session->ended && session->used_ns >= oldest_ns)) {
            place = &session->next;
            continue;
        }
        *place = session->next;
        session->next = dropped;
        dropped = session;
        source->count--;
    }
    pthread_mutex_unlock(&source->lock);
    while (dropped) {
        struct session *next = dropped->next;
        session_delete(source, dropped);
        dropped = next;
    }
}

void snapshot_source_tick(struct snapshot_source *source)
{
    sweep(source, false);
}

void snapshot_source_delete(struct snapshot_source *source)
{
    if (!source)
        return;
    sweep(source, true);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

static struct session *borrow(struct snapshot_source *source, const char *id)
{
    struct session *session;

    pthread_mutex_lock(&source->lock);
    for (session = source->sessions; session; session = session->next)
        if (!session->ended && strcmp(session->id, id) == 0)
            break;
    if (session)
        session->users++;
    pthread_mutex_unlock(&source->lock);
    return session;
}

static void give_back(struct snapshot_source *source, struct session *session, bool end)
{
    pthread_mutex_lock(&source->lock);
    session->users--;
    session->ended |= end;
    session->used_ns = io_monotonic_ns(source->options.io);
    pthread_mutex_unlock(&source->lock);
    if (end)
        sweep(source, false);
}

/* Making one. */

static void make_id(struct io *io, char id[SNAPSHOT_ID_BYTES])
{
    uint64_t random[2];

    io_random(io, random, sizeof(random));
    (void)snprintf(id, SNAPSHOT_ID_BYTES, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

static int fill(struct snapshot_source *source, struct session *session,
                const struct store_lease *lease, struct error *error)
{
    struct store_backup_shard done = {0};
    struct io *io = source->options.io;
    int code;

    make_id(io, session->id);
    code = store_copy_outgoing(io, source->options.config->data_dir, session->id, session->folder,
                               error);
    if (code == 0)
        code = store_shard_backup(lease->shard, session->folder, lease->closing, &done, error);
    session->next_offset = done.next_offset;
    (void)snprintf(session->path, sizeof(session->path), "%.3000s/%s/%s", session->folder,
                   session->collection->name, done.folder ? done.folder : session->shard);
    return code;
}

static int add(struct snapshot_source *source, struct session *session, struct error *error)
{
    int code = 0;

    pthread_mutex_lock(&source->lock);
    if (source->count >= SESSIONS_MAX)
        code = error_set(error, ERROR_BUSY, "Too many copies of shards are under way");
    else
        source->count++;
    if (code == 0) {
        session->next = source->sessions;
        session->used_ns = io_monotonic_ns(source->options.io);
        session->users = 1;
        source->sessions = session;
    }
    pthread_mutex_unlock(&source->lock);
    return code;
}

static int begin(struct snapshot_source *source, const struct config_collection *collection,
                 const char *shard, struct session **session, struct error *error)
{
    struct session *fresh;
    struct store_lease lease;
    int code;

    if (!store_registry_acquire_shard(source->options.registry, collection->name, shard, &lease))
        return error_set(error, ERROR_NOT_FOUND, "Shard %.100s is not open here", shard);
    fresh = memory_new(1, sizeof(*fresh));
    fresh->collection = collection;
    (void)snprintf(fresh->shard, sizeof(fresh->shard), "%s", store_shard_name(lease.shard));
    code = fill(source, fresh, &lease, error);
    store_registry_release(source->options.registry, &lease);
    if (code == 0)
        code = add(source, fresh, error);
    if (code != 0) {
        session_delete(source, fresh);
        return code;
    }
    metric_add(source->made, 1);
    log_info("cluster", "%s/%s: another node copies it, up to offset %lld", collection->name,
             fresh->shard, (long long)fresh->next_offset);
    *session = fresh;
    return 0;
}

/* Files. */

static int open_file(struct snapshot_source *source, const struct session *session,
                     const char *name, char path[PATH_MAX], int *file, uint64_t *bytes,
                     struct error *error)
{
    struct io *io = source->options.io;
    int code;

    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= SNAPSHOT_NAME_BYTES)
        return error_set(error, ERROR_INVALID, "file: not a name of the list");
    (void)snprintf(path, PATH_MAX, "%.3900s/%s", session->path, name);
    code = io_open(io, path, IO_READ, file, error);
    if (code == 0 && (code = io_size(io, *file, path, bytes, error)) != 0)
        (void)io_close(io, *file, path, ERROR_IGNORED); /* nothing was written */
    return code;
}

struct listing {
    struct snapshot_source *source;
    const struct session *session;
    struct buffer *out;
    struct error *error;
    size_t count;
};

static int list_file(void *context, const char *name)
{
    struct listing *listing = context;
    char path[PATH_MAX];
    uint64_t bytes;
    int file;

    if (open_file(listing->source, listing->session, name, path, &file, &bytes, listing->error) !=
        0)
        return listing->error->code;
    (void)io_close(listing->source->options.io, file, path,
                   ERROR_IGNORED); /* nothing was written */
    buffer_append_text(listing->out, listing->count++ ? ",{\"name\":" : "{\"name\":");
    doc_write_json_string(listing->out, name, strlen(name));
    buffer_append_format(listing->out, ",\"bytes\":%" PRIu64 "}", bytes);
    return 0;
}

static int describe(struct snapshot_source *source, const struct session *session,
                    struct buffer *out, struct error *error)
{
    struct listing listing = {source, session, out, error, 0};
    int code;

    buffer_append_format(out, "{\"id\":\"%s\",\"collection\":", session->id);
    doc_write_json_string(out, session->collection->name, strlen(session->collection->name));
    buffer_append_text(out, ",\"shard\":");
    doc_write_json_string(out, session->shard, strlen(session->shard));
    buffer_append_format(out, ",\"dim\":%u,\"metric\":%d,\"next_offset\":%" PRId64 ",\"files\":[",
                         session->collection->dim, (int)session->collection->metric,
                         session->next_offset);
    code = io_list(source->options.io, session->path, list_file, &listing, error);
    buffer_append_text(out, "]}");
    return code;
}

/* Routes. */

static int make_or_find(struct http_request *request, struct session **session, struct error *error)
{
    struct snapshot_source *source = request->context;
    const char *id = http_request_argument(request, "id");
    const char *shard = http_request_argument(request, "shard");
    const char *name = http_request_argument(request, "collection");
    const struct config_collection *collection =
        name ? config_collection_find(source->options.config, name) : NULL;
    int code;

    *session = id ? borrow(source, id) : NULL;
    if (*session)
        return 0;
    if (!collection || !shard)
        return error_set(error, ERROR_NOT_FOUND, "There is no such snapshot or shard");
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many requests wait");
    code = begin(source, collection, shard, session, error);
    http_request_wait_end(request);
    return code;
}

static void handle_make(struct http_request *request)
{
    struct session *session = NULL;
    struct error error = {0};
    int code = make_or_find(request, &session, &error);

    if (code == 0) {
        http_reply_begin(request);
        code = describe(request->context, session, &request->reply, &error);
    }
    if (session)
        give_back(request->context, session, code != 0);
    if (code == 0)
        http_reply_end(request, NULL);
    else
        http_reply_from_error(request, &error);
}

static bool get_number(struct http_request *request, const char *name, uint64_t *value)
{
    const char *text = http_request_argument(request, name);

    return text && text_parse_u64(text, strlen(text), value) == 0;
}

static int read_range(struct http_request *request, const struct session *session,
                      struct error *error)
{
    struct snapshot_source *source = request->context;
    const char *name = http_request_argument(request, "file");
    uint64_t offset, length, bytes, checksum;
    char path[PATH_MAX];
    uint8_t *out;
    int file, code;

    if (!name || !get_number(request, "offset", &offset) ||
        !get_number(request, "length", &length) || length > SNAPSHOT_PART_BYTES)
        return error_set(error, ERROR_INVALID, "file, offset and length (to %d) are needed",
                         SNAPSHOT_PART_BYTES);
    code = open_file(source, session, name, path, &file, &bytes, error);
    if (code != 0)
        return code;
    if (offset > bytes || length > bytes - offset)
        code = error_set(error, ERROR_INVALID, "the file has %" PRIu64 " bytes", bytes);
    out = code == 0 ? buffer_reserve(&request->reply, SNAPSHOT_CHECKSUM_BYTES + length) : NULL;
    if (code == 0)
        code = io_read(source->options.io, file, path, out + SNAPSHOT_CHECKSUM_BYTES,
                       (size_t)length, offset, error);
    (void)io_close(source->options.io, file, path, ERROR_IGNORED); /* nothing was written */
    if (code != 0)
        return code;
    checksum = snapshot_checksum(out + SNAPSHOT_CHECKSUM_BYTES, (size_t)length, name, offset);
    memcpy(out, &checksum, sizeof(checksum));
    request->reply.size += SNAPSHOT_CHECKSUM_BYTES + length;
    metric_add(source->sent_bytes, (double)length);
    return 0;
}

static void handle_range(struct http_request *request)
{
    const char *id = http_request_argument(request, "id");
    struct session *session = id ? borrow(request->context, id) : NULL;
    struct error error = {0};
    int code = session ? 0 : error_set(&error, ERROR_NOT_FOUND, "There is no such snapshot");

    if (session) {
        code = read_range(request, session, &error);
        give_back(request->context, session, false);
    }
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    request->status = 200;
    request->content_type = HTTP_TYPE_BINARY;
}

static void handle_end(struct http_request *request)
{
    const char *id = http_request_argument(request, "id");
    struct session *session = id ? borrow(request->context, id) : NULL;

    if (session)
        give_back(request->context, session, true);
    http_reply_begin(request);
    buffer_append_text(&request->reply, "true");
    http_reply_end(request, NULL);
}

static const struct http_key make_parameters[] = {
    {.name = "collection", .shape = &http_string},
    {.name = "shard", .shape = &http_string},
    {.name = "id", .shape = &http_string},
    {.name = NULL},
};
static const struct http_key range_parameters[] = {
    {.name = "id", .shape = &http_string, .required = true},
    {.name = "file", .shape = &http_string, .required = true},
    {.name = "offset", .shape = &http_integer, .required = true},
    {.name = "length", .shape = &http_integer, .required = true},
    {.name = NULL},
};
static const struct http_key end_parameters[] = {
    {.name = "id", .shape = &http_string, .required = true},
    {.name = NULL},
};
static const struct http_schema make_schema = {.parameters = make_parameters},
                                range_schema = {.parameters = range_parameters},
                                end_schema = {.parameters = end_parameters};

static const struct http_route routes[] = {
    {"POST", "/internal/snapshot", handle_make, HTTP_INTERNAL, &make_schema},
    {"GET", "/internal/snapshot", handle_range, HTTP_INTERNAL, &range_schema},
    {"DELETE", "/internal/snapshot", handle_end, HTTP_INTERNAL, &end_schema},
};

void snapshot_source_add_routes(struct snapshot_source *source, struct http_server *server)
{
    http_server_add_routes(server, routes, sizeof(routes) / sizeof(routes[0]), source);
}
