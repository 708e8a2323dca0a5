/* Attaching a span, and taking one away: one edit, then one version, as for the segment of one file
 * (attach.c). What becomes of spans when windows change is told in span.h. */
#include <string.h>

#include "store/attach.h"
#include "store/operations.h"

void version_drop_dead_spans(struct store_shard *shard, struct version *version)
{
    for (size_t i = version->span_count; i-- > 0;) {
        struct version_span *span = &version->spans[i];
        if (!manifest_has_span(shard->manifest, span->attachment->segment.info.file_number))
            version_remove_span(version, span, true);
    }
}

/* Parts may have died while the span was built; of half of the rows a search has little. */
static int check_live(struct version *version, const struct span *span, struct error *error)
{
    uint64_t live_rows = 0;

    for (uint32_t i = 0; i < span->part_count; i++) {
        const struct store_span_part *part = &span->parts[i];
        const struct version_entry *entry = version_find(version, part->file_number);
        const struct sstable *run = entry ? entry->sstable : NULL;
        if (!run)
            continue;
        if (!run->sealed || run->row_count != part->row_count ||
            run->description.window_start_ms != part->window_start_ms ||
            run->description.window_length_ms != span->window_length_ms)
            return error_set(error, ERROR_INVALID, "file %llu is not what the span was built over",
                             (unsigned long long)part->file_number);
        live_rows += part->row_count;
    }
    if (live_rows * 2 < span->row_count)
        return error_set(error, ERROR_NOT_FOUND,
                         "most of what the span was built over is no longer part of the shard");
    return 0;
}

static bool is_replaced(const struct version_span *old, const struct span *span)
{
    return old->attachment->span->tier == span->tier && span_overlaps(old->attachment->span, span);
}

/* The edit: those that it replaces, and it. Under the commit lock. */
static int commit(struct store_shard *shard, const struct version *version, const struct span *span,
                  struct error *error)
{
    struct manifest_edit edit = {0};
    int code;

    for (size_t i = 0; i < version->span_count; i++)
        if (is_replaced(&version->spans[i], span))
            manifest_edit_span_drop(&edit, version->spans[i].attachment->segment.info.file_number);
    manifest_edit_span(&edit, span);
    code = manifest_commit(shard->manifest, &edit, error);
    manifest_edit_destroy(&edit);
    return code;
}

static void publish(struct store_shard *shard, struct attachment *attachment)
{
    struct version *next;

    shard_publish_lock(shard);
    next = version_copy(atomic_load(&shard->versions.current));
    version_drop_dead_spans(shard, next);
    version_add_span(next, attachment);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->writer.lock);
}

static int attach(struct store_shard *shard, const struct store_segment *segment,
                  const struct span *span, struct error *error)
{
    struct version *version = version_acquire(shard);
    int code = shard_check_running(shard, error);

    if (code == 0)
        code = check_live(version, span, error);
    if (code == 0)
        code = shard_check_stop(shard, commit(shard, version, span, error), error);
    if (code == 0) {
        struct store_segment attached = *segment;
        attached.info = span->segment;
        publish(shard, attachment_new(&shard->garbage, &attached, span));
        windows_pending_done(&shard->windows, span->segment.file_number);
    }
    version_unref(version);
    return code;
}

static int finish(struct store_shard *shard, int code, const char *verb, struct error *error)
{
    garbage_collect_behind(shard);
    if (code == 0)
        shard_windows_changed(shard);
    else
        error_wrap(error, "%s/%s: %s span", shard->collection, shard->name, verb);
    return code;
}

int store_shard_attach_span(struct store_shard *shard, const struct store_segment *segment,
                            uint8_t tier, int64_t window_length_ms,
                            const struct store_span_part *parts, uint32_t part_count,
                            struct error *error)
{
    struct span given = {.segment = segment->info,
                         .tier = tier,
                         .window_length_ms = window_length_ms,
                         .part_count = part_count,
                         .parts = (struct store_span_part *)(uintptr_t)parts};
    struct span *span = span_new(&given);
    int code = span_check(span, error);

    garbage_collect_behind(shard);
    if (code == 0)
        code = segment_read_checksum(shard, &span->segment, error);
    if (code == 0) {
        pthread_mutex_lock(&shard->commit.lock);
        code = attach(shard, segment, span, error);
        pthread_mutex_unlock(&shard->commit.lock);
    }
    span_delete(span);
    return finish(shard, code, "attach", error);
}

static int drop(struct store_shard *shard, uint64_t file_number, struct error *error)
{
    struct manifest_edit edit = {0};
    int code = shard_check_running(shard, error);

    manifest_edit_span_drop(&edit, file_number);
    if (code == 0)
        code = shard_check_stop(shard, manifest_commit(shard->manifest, &edit, error), error);
    manifest_edit_destroy(&edit);
    return code;
}

/* Puts the same span with another object into a version, or none. Under the commit lock. */
static void replace(struct store_shard *shard, uint64_t file_number,
                    const struct store_segment *segment)
{
    struct version *next;
    struct version_span *span;
    struct attachment *attachment = NULL;

    shard_publish_lock(shard);
    next = version_copy(atomic_load(&shard->versions.current));
    span = version_find_span(next, file_number);
    if (segment->object)
        attachment = attachment_new(&shard->garbage, segment, span->attachment->span);
    version_remove_span(next, span, !attachment);
    if (attachment)
        version_add_span(next, attachment);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->writer.lock);
}

int store_shard_load_span(struct store_shard *shard, uint64_t file_number, void *object,
                          void (*release)(void *object), struct error *error)
{
    struct store_segment segment = {.object = object, .release = release};
    struct version_span *span;
    struct version *version;
    int code = 0;

    pthread_mutex_lock(&shard->commit.lock);
    version = version_acquire(shard);
    span = version_find_span(version, file_number);
    if (!span)
        code = error_set(error, ERROR_NOT_FOUND, "span %llu is no longer part of the shard",
                         (unsigned long long)file_number);
    else
        segment.info = span->attachment->segment.info;
    if (code == 0 && !object)
        code = drop(shard, file_number, error);
    if (code == 0)
        replace(shard, file_number, &segment);
    version_unref(version);
    pthread_mutex_unlock(&shard->commit.lock);
    return finish(shard, code, object ? "load" : "drop", error);
}
