/* Brings a copy of a shard from another node.
 *
 * Happy path: ask the freshest owner for a snapshot, check what it says it is, check the room, fetch each file range by
 * range, sync, read it all again and compare every checksum. A range that does not come is asked for
 * again from where it stopped. A copy that is not what was wanted, or whose owner goes away, is left for
 * the next owner; without one the caller reads Kafka. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "cluster/snapshot.h"
#include "net/http/http.h"
#include "net/http_client/http_client.h"
#include "store/install.h"
#include "store/tools/copy.h"

enum {
    OWNERS_MAX = 8,
    ATTEMPTS_MAX = 3, /* at a range */
    FILES_MAX = 200000,
    CONNECT_TIMEOUT_S = 5,
    STALLED_S = 60, /* without a byte */
    LIST_BYTES_MAX = 32 << 20
};

struct snapshot_fetcher {
    struct cluster_options options;
    struct nodes *nodes;
    struct metric *received_bytes, *fetched, *refused, *failed;
};

struct snapshot_fetcher *snapshot_fetcher_new(const struct cluster_options *options,
                                              struct nodes *nodes)
{
    static const char name[] = "windrow_snapshots_total";
    static const char help[] = "Copies of shards asked of other nodes, by what became of them";
    const struct metric_label received[] = {{"direction", "received"}};
    const struct metric_label fetched[] = {{"outcome", "fetched"}};
    const struct metric_label refused[] = {{"outcome", "refused"}};
    const struct metric_label failed[] = {{"outcome", "failed"}};
    struct snapshot_fetcher *fetcher = memory_new(1, sizeof(*fetcher));

    fetcher->options = *options;
    fetcher->nodes = nodes;
    fetcher->received_bytes =
        metrics_counter(options->metrics, "windrow_snapshot_bytes_total",
                        "Bytes of copies of shards between nodes", received, 1);
    fetcher->fetched = metrics_counter(options->metrics, name, help, fetched, 1);
    fetcher->refused = metrics_counter(options->metrics, name, help, refused, 1);
    fetcher->failed = metrics_counter(options->metrics, name, help, failed, 1);
    return fetcher;
}

void snapshot_fetcher_delete(struct snapshot_fetcher *fetcher)
{
    free(fetcher);
}

/* Owners that are heard, and so far ahead that copying is worth it. */
static size_t find_owners(struct snapshot_fetcher *fetcher, const char *collection,
                          const char *shard, int64_t next_offset, struct arena *arena,
                          struct nodes_owner owners[OWNERS_MAX])
{
    int64_t records = fetcher->options.config->cluster_snapshot_records;
    size_t kept = 0, count;

    if (records == 0)
        return 0;
    count = nodes_owners(fetcher->nodes, collection, shard, arena, owners, OWNERS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!owners[i].silent &&
            owners[i].next_offset - (next_offset < 0 ? 0 : next_offset) >= records)
            owners[kept++] = owners[i];
    return kept;
}

int64_t snapshot_fetch_worth(struct snapshot_fetcher *fetcher, const char *collection,
                             const char *shard, int64_t next_offset)
{
    struct nodes_owner owners[OWNERS_MAX];
    struct arena arena;
    int64_t ahead = -1;

    arena_create(&arena, 0);
    if (find_owners(fetcher, collection, shard, next_offset, &arena, owners) > 0)
        ahead = owners[0].next_offset;
    arena_destroy(&arena);
    return ahead;
}

/* One node that is asked. */

struct transfer {
    struct snapshot_fetcher *fetcher;
    const struct cluster_fetch *fetch;
    const struct nodes_owner *owner;
    CURL *curl;
    struct curl_slist *headers;
    struct buffer answer;
    size_t answer_max;
    char reason[CURL_ERROR_SIZE];
    char id[SNAPSHOT_ID_BYTES];
    int64_t next_offset;
    char place[CONFIG_SHARD_NAME_BYTES]; /* the name that the shard's folder has */
    char folder[PATH_MAX];
};

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;

    if (transfer->answer.size + size * count > transfer->answer_max)
        return 0; /* curl fails the transfer */
    buffer_append(&transfer->answer, bytes, size * count);
    return size * count;
}

static int look_at_cancel(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transfer *transfer = context;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(transfer->fetch->cancel);
}

static void set_transfer(struct transfer *transfer, const char *method, const char *url)
{
    CURL *curl = transfer->curl;

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    http_client_prepare(curl, transfer->fetcher->options.config);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_cancel);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
}

/* `query` is what follows the path. */
static int ask(struct transfer *transfer, const char *method, const char *query, size_t answer_max,
               struct error *error)
{
    char why[HTTP_CLIENT_REASON_BYTES];
    struct buffer url = {0};
    long status = 0;
    CURLcode failure;

    buffer_append_format(&url, "%s://%s/internal/snapshot?%s",
                         http_client_scheme(transfer->fetcher->options.config),
                         transfer->owner->address, query);
    transfer->answer.size = 0;
    transfer->answer_max = answer_max;
    set_transfer(transfer, method, buffer_text(&url));
    failure = curl_easy_perform(transfer->curl);
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    buffer_destroy(&url);
    if (failure == CURLE_ABORTED_BY_CALLBACK)
        return error_set(error, ERROR_CANCELLED, "cancelled");
    if (failure != CURLE_OK)
        return error_set(error, ERROR_PEER, "%s",
                         http_client_reason(failure, transfer->reason, why));
    if (status != 200)
        return error_set(error, status == 404 ? ERROR_NOT_FOUND : ERROR_PEER,
                         "it answered %ld: %.200s", status, buffer_text(&transfer->answer));
    return 0;
}

/* The list. */

struct remote_file {
    char name[SNAPSHOT_NAME_BYTES];
    uint64_t bytes;
};

static int read_file_entry(const struct doc *entry, struct remote_file *file, struct error *error)
{
    const struct doc *name = doc_get(entry, "name");
    const struct doc *bytes = doc_get(entry, "bytes");

    if (entry->type != DOC_MAP || !name || name->type != DOC_STRING || name->count == 0 ||
        name->count >= sizeof(file->name) || !bytes || !doc_as_u64(bytes, &file->bytes))
        return error_set(error, ERROR_INVALID, "its list of files cannot be read");
    memcpy(file->name, name->string, name->count);
    file->name[name->count] = '\0';
    if (file->name[0] == '.' || strspn(file->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
                                                   "UVWXYZ0123456789.-") != name->count)
        return error_set(error, ERROR_INVALID, "\"%s\" is no name of a file of a shard",
                         file->name);
    return 0;
}

static bool number_is(const struct doc *map, const char *key, int64_t wanted)
{
    int64_t number;

    return doc_get(map, key) && doc_as_i64(doc_get(map, key), &number) && number == wanted;
}

/* Whatever a node says, only a copy of this shard as this process has it configured is taken. */
static int check_list(struct transfer *transfer, const struct doc *list, struct error *error)
{
    const struct config_collection *collection = transfer->fetch->collection;
    const struct doc *id = doc_get(list, "id"), *files = doc_get(list, "files");
    const struct doc *next_offset = doc_get(list, "next_offset");

    if (!id || id->type != DOC_STRING || id->count != SNAPSHOT_ID_BYTES - 1 || !files ||
        files->type != DOC_ARRAY || files->count > FILES_MAX || !next_offset ||
        !doc_as_i64(next_offset, &transfer->next_offset))
        return error_set(error, ERROR_INVALID, "its answer is no list of a shard's files");
    memcpy(transfer->id, id->string, id->count);
    transfer->id[id->count] = '\0';
    if (transfer->id[strspn(transfer->id, "0123456789abcdef")] != '\0')
        return error_set(error, ERROR_INVALID, "its answer has no identity");
    if (!doc_string_equals(doc_get(list, "collection"), collection->name) ||
        !doc_string_equals(doc_get(list, "shard"), transfer->fetch->shard))
        return error_set(error, ERROR_INVALID, "it offers another collection's shard");
    if (!number_is(list, "dim", collection->dim))
        return error_set(error, ERROR_INVALID, "its dimension is not %u", collection->dim);
    if (!number_is(list, "metric", (int64_t)collection->metric))
        return error_set(error, ERROR_INVALID, "its vectors are of another metric");
    if (transfer->next_offset <= transfer->fetch->next_offset)
        return error_set(error, ERROR_INVALID,
                         "its copy ends at offset %" PRId64 ", which is not ahead of what is here",
                         transfer->next_offset);
    return 0;
}

static int read_list(struct transfer *transfer, struct arena *arena, struct remote_file **files,
                     size_t *count, struct error *error)
{
    const struct doc *list, *entries;
    uint64_t bytes = 0;
    struct doc answer;
    int code = doc_parse_json(arena, (const char *)transfer->answer.data, transfer->answer.size,
                              NULL, &answer, error);

    list = code == 0 && answer.type == DOC_MAP ? doc_get(&answer, "result") : NULL;
    if (!list || list->type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "its answer cannot be read");
    code = check_list(transfer, list, error);
    if (code != 0)
        return code;
    entries = doc_get(list, "files");
    *count = entries->count;
    *files = memory_checked(arena_calloc(arena, entries->count + 1, sizeof(**files)));
    for (uint32_t i = 0; i < entries->count && code == 0; i++) {
        code = read_file_entry(&entries->items[i], &(*files)[i], error);
        if (code == 0 && __builtin_add_overflow(bytes, (*files)[i].bytes, &bytes))
            code = error_set(error, ERROR_INVALID, "its list of files cannot be read");
    }
    return code == 0
               ? store_copy_check_room(transfer->fetcher->options.config->data_dir, bytes, error)
               : code;
}

static int make_snapshot(struct transfer *transfer, struct error *error)
{
    const struct cluster_fetch *fetch = transfer->fetch;
    char *collection = curl_easy_escape(transfer->curl, fetch->collection->name, 0);
    char *shard = curl_easy_escape(transfer->curl, fetch->shard, 0);
    char query[2048];
    int code;

    (void)snprintf(query, sizeof(query), "collection=%s&shard=%s", collection ? collection : "",
                   shard ? shard : "");
    curl_free(collection);
    curl_free(shard);
    code = ask(transfer, "POST", query, LIST_BYTES_MAX, error);
    return code;
}

/* The files. */

static int ask_range(struct transfer *transfer, const struct remote_file *file, uint64_t offset,
                     size_t length, struct error *error)
{
    char query[256];
    uint64_t checksum;

    (void)snprintf(query, sizeof(query), "id=%s&file=%s&offset=%" PRIu64 "&length=%zu",
                   transfer->id, file->name, offset, length);
    if (ask(transfer, "GET", query, SNAPSHOT_CHECKSUM_BYTES + length, error) != 0)
        return error->code;
    if (transfer->answer.size != SNAPSHOT_CHECKSUM_BYTES + length)
        return error_set(error, ERROR_PEER, "%s: it sent %zu bytes of %zu", file->name,
                         transfer->answer.size, SNAPSHOT_CHECKSUM_BYTES + length);
    memcpy(&checksum, transfer->answer.data, sizeof(checksum));
    if (checksum != snapshot_checksum(transfer->answer.data + SNAPSHOT_CHECKSUM_BYTES, length,
                                      file->name, offset))
        return error_set(error, ERROR_PEER, "%s: bytes from %" PRIu64 " on were damaged on the way",
                         file->name, offset);
    return 0;
}

static int fetch_range(struct transfer *transfer, const struct remote_file *file, uint64_t offset,
                       size_t length, struct error *error)
{
    int code = ERROR_PEER;

    for (int attempt = 0; code == ERROR_PEER && attempt < ATTEMPTS_MAX; attempt++)
        code = ask_range(transfer, file, offset, length, error);
    if (code == 0)
        metric_add(transfer->fetcher->received_bytes, (double)length);
    return code;
}

static int fetch_file(struct transfer *transfer, const struct remote_file *wanted,
                      struct error *error)
{
    struct io *io = transfer->fetcher->options.io;
    char path[PATH_MAX];
    int file, code;

    (void)snprintf(path, sizeof(path), "%.3000s/%s/%s/%s", transfer->folder,
                   transfer->fetch->collection->name, transfer->place, wanted->name);
    code = io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, error);
    if (code != 0)
        return code;
    for (uint64_t offset = 0; code == 0 && offset < wanted->bytes;) {
        uint64_t left = wanted->bytes - offset;
        size_t length = left < SNAPSHOT_PART_BYTES ? (size_t)left : SNAPSHOT_PART_BYTES;
        code = fetch_range(transfer, wanted, offset, length, error);
        if (code == 0)
            code = io_write(io, file, path, transfer->answer.data + SNAPSHOT_CHECKSUM_BYTES, length,
                            offset, error);
        offset += length;
    }
    if (code == 0)
        code = io_datasync(io, file, path, error);
    if (io_close(io, file, path, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
        code = error->code;
    return code;
}

static int fetch_files(struct transfer *transfer, const struct remote_file *files, size_t count,
                       struct error *error)
{
    const struct cluster_fetch *fetch = transfer->fetch;
    const struct store_copy_wanted wanted = {.collection = fetch->collection->name,
                                             .name = transfer->place,
                                             .dim = fetch->collection->dim,
                                             .metric = fetch->collection->metric,
                                             .next_offset = transfer->next_offset};
    struct io *io = transfer->fetcher->options.io;
    char path[PATH_MAX];
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++)
        code = fetch_file(transfer, &files[i], error);
    (void)snprintf(path, sizeof(path), "%.3000s/%s/%s", transfer->folder, wanted.collection,
                   wanted.name);
    if (code == 0)
        code = io_sync_directory(io, path, error);
    return code == 0 ? store_copy_verify(io, transfer->folder, &wanted, error) : code;
}

static int fetch_all(struct transfer *transfer, struct error *error)
{
    const struct cluster_fetch *fetch = transfer->fetch;
    const struct cluster_options *options = &transfer->fetcher->options;
    struct remote_file *files = NULL;
    struct arena arena;
    size_t count = 0;
    char query[64];
    int code;

    arena_create(&arena, 0);
    config_shard_folder(fetch->collection, fetch->shard, transfer->place);
    code = store_copy_incoming(options->io, options->config->data_dir, fetch->collection->name,
                               transfer->place, transfer->folder, error);
    if (code == 0)
        code = make_snapshot(transfer, error);
    if (code == 0)
        code = read_list(transfer, &arena, &files, &count, error);
    if (code == 0)
        code = fetch_files(transfer, files, count, error);
    if (transfer->id[0]) {
        (void)snprintf(query, sizeof(query), "id=%s", transfer->id);
        (void)ask(transfer, "DELETE", query, LIST_BYTES_MAX, ERROR_IGNORED); /* it goes by itself */
    }
    if (code != 0)
        (void)store_folder_remove(options->io, transfer->folder, ERROR_IGNORED);
    arena_destroy(&arena);
    return code;
}

static int fetch_from(struct snapshot_fetcher *fetcher, const struct cluster_fetch *fetch,
                      const struct nodes_owner *owner, char *folder, struct error *error)
{
    struct transfer transfer = {.fetcher = fetcher, .fetch = fetch, .owner = owner};
    int code;

    transfer.curl = memory_checked(curl_easy_init());
    transfer.headers = http_client_headers(fetcher->options.config, HTTP_TYPE_BINARY);
    code = fetch_all(&transfer, error);
    if (code == 0)
        (void)snprintf(folder, PATH_MAX, "%s", transfer.folder);
    curl_easy_cleanup(transfer.curl);
    curl_slist_free_all(transfer.headers);
    buffer_destroy(&transfer.answer);
    return code;
}

int snapshot_fetch(struct snapshot_fetcher *fetcher, const struct cluster_fetch *fetch,
                   char *folder, struct error *error)
{
    const char *collection = fetch->collection->name;
    struct nodes_owner owners[OWNERS_MAX];
    struct arena arena;
    size_t count;
    int code = ERROR_NOT_FOUND;

    arena_create(&arena, 0);
    count = find_owners(fetcher, collection, fetch->shard, fetch->next_offset, &arena, owners);
    for (size_t i = 0; i < count && code != 0 && code != ERROR_CANCELLED; i++) {
        struct error reason = {0};
        code = fetch_from(fetcher, fetch, &owners[i], folder, &reason);
        if (code == 0)
            log_info("cluster", "%s/%s: copied from node %s", collection, fetch->shard,
                     owners[i].node);
        else
            log_warning("cluster", "%s/%s: no copy from node %s: %s", collection, fetch->shard,
                        owners[i].node, reason.text);
        metric_add(code == 0                                        ? fetcher->fetched
                   : code == ERROR_CORRUPT || code == ERROR_INVALID ? fetcher->refused
                                                                    : fetcher->failed,
                   1);
    }
    arena_destroy(&arena);
    return code == 0 ? 0
                     : error_set(error, code, "no node has a copy of %s/%s that can be used",
                                 collection, fetch->shard);
}
