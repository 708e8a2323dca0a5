/* Versions. A change copies the current version, changes the copy and publishes it with one atomic
 * exchange: readers see all of a change or nothing.
 *
 * The race. A reader loads the pointer and then takes a reference. Between the two a writer may
 * publish another version and drop the last reference to this one. So the reader does both inside
 * an epoch section, and the writer hands the old version to the epoch, which releases it only when
 * every reader that was inside has left. */
#include "store/version.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/snapshot.h"

struct version *version_copy(const struct version *from)
{
    struct version *version = memory_new(1, sizeof(*version));
    size_t memtables = from ? from->memtable_count : 0;
    size_t entries = from ? from->entry_count : 0;

    atomic_init(&version->refs, 1);
    atomic_init(&version->notes, NULL);
    /* Room for one more of each; version_add_* grow further. */
    version->memtables = calloc(memtables + 1, sizeof(*version->memtables));
    version->entries = calloc(entries + 1, sizeof(*version->entries));
    if (!version->memtables || !version->entries)
        abort();
    for (size_t i = 0; i < memtables; i++) {
        memtable_ref(from->memtables[i]);
        version->memtables[i] = from->memtables[i];
    }
    for (size_t i = 0; i < entries; i++) {
        version->entries[i] = from->entries[i];
        sstable_ref(version->entries[i].sstable);
        if (version->entries[i].attachment)
            attachment_ref(version->entries[i].attachment);
    }
    version->memtable_count = memtables;
    version->entry_count = entries;
    version->span_count = from ? from->span_count : 0;
    version->spans = memory_new(version->span_count, sizeof(*version->spans));
    for (size_t i = 0; i < version->span_count; i++) {
        version->spans[i].attachment = from->spans[i].attachment;
        attachment_ref(version->spans[i].attachment);
    }
    return version;
}

void version_ref(struct version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
}

static void release_notes(struct version *version)
{
    struct store_note *note = atomic_load_explicit(&version->notes, memory_order_acquire);

    for (struct store_note *next; note; note = next) {
        next = note->next;
        note->release(note);
    }
}

/* Whoever drops the last reference lets go of everything in it. That may be a search thread: what
 * becomes garbage is put on a list (garbage_add), nothing is unmapped or unlinked here. */
void version_unref(struct version *version)
{
    if (!version || atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < version->memtable_count; i++)
        memtable_unref(version->memtables[i]);
    for (size_t i = 0; i < version->entry_count; i++) {
        sstable_unref(version->entries[i].sstable);
        attachment_unref(version->entries[i].attachment);
    }
    for (size_t i = 0; i < version->span_count; i++) {
        attachment_unref(version->spans[i].attachment);
        free(version->spans[i].places);
    }
    release_notes(version);
    free(version->memtables);
    free(version->entries);
    free(version->spans);
    free(version);
}

void version_add_memtable(struct version *version, struct memtable *memtable)
{
    struct memtable **grown =
        realloc(version->memtables, (version->memtable_count + 1) * sizeof(*version->memtables));

    if (!grown)
        abort();
    memmove(grown + 1, grown, version->memtable_count * sizeof(*grown));
    memtable_ref(memtable);
    grown[0] = memtable;
    version->memtables = grown;
    version->memtable_count++;
}

void version_remove_memtable(struct version *version, const struct memtable *memtable)
{
    for (size_t i = 0; i < version->memtable_count; i++) {
        if (version->memtables[i] != memtable)
            continue;
        memtable_unref(version->memtables[i]);
        memmove(&version->memtables[i], &version->memtables[i + 1],
                (version->memtable_count - i - 1) * sizeof(*version->memtables));
        version->memtable_count--;
        return;
    }
    assert(false && "memtable is not in the version");
}

/* The order of entries in a version: windows by time; in a window the sealed run before chunks and
 * unsealed runs; those by their first offset. Readers count on it: store_snapshot_find walks it
 * backwards, from new to old, and version_window expects a window's entries side by side. */
static int compare_sstables(const struct sstable *a, const struct sstable *b)
{
    if (a->description.window_start_ms != b->description.window_start_ms)
        return a->description.window_start_ms < b->description.window_start_ms ? -1 : 1;
    if (a->description.window_length_ms != b->description.window_length_ms)
        return a->description.window_length_ms < b->description.window_length_ms ? -1 : 1;
    if (a->sealed != b->sealed)
        return a->sealed ? -1 : 1;
    if (a->info.min_offset != b->info.min_offset)
        return a->info.min_offset < b->info.min_offset ? -1 : 1;
    return a->description.file_number < b->description.file_number ? -1 : 1;
}

void version_add_sstable(struct version *version, struct sstable *sstable,
                         struct attachment *attachment)
{
    struct version_entry *grown =
        realloc(version->entries, (version->entry_count + 1) * sizeof(*version->entries));
    size_t place = version->entry_count;

    if (!grown)
        abort();
    while (place > 0 && compare_sstables(sstable, grown[place - 1].sstable) < 0)
        place--;
    memmove(&grown[place + 1], &grown[place], (version->entry_count - place) * sizeof(*grown));
    sstable_ref(sstable);
    if (attachment)
        attachment_ref(attachment);
    grown[place] = (struct version_entry){sstable, attachment};
    version->entries = grown;
    version->entry_count++;
}

void version_remove_sstable(struct version *version, const struct sstable *sstable)
{
    for (size_t i = 0; i < version->entry_count; i++) {
        if (version->entries[i].sstable != sstable)
            continue;
        sstable_unref(version->entries[i].sstable);
        attachment_unref(version->entries[i].attachment);
        memmove(&version->entries[i], &version->entries[i + 1],
                (version->entry_count - i - 1) * sizeof(*version->entries));
        version->entry_count--;
        return;
    }
    assert(false && "sstable is not in the version");
}

/* The flags are set before the reference goes: whoever drops the last one, here or in a search,
 * sees that the files are to be unlinked. */
void version_drop_sstable(struct version *version, struct sstable *sstable)
{
    struct version_entry *entry = version_find(version, sstable->description.file_number);

    atomic_store(&sstable->dropped, true);
    if (entry && entry->attachment)
        atomic_store(&entry->attachment->dropped, true);
    version_remove_sstable(version, sstable);
}

struct version_entry *version_find(struct version *version, uint64_t file_number)
{
    for (size_t i = 0; i < version->entry_count; i++)
        if (version->entries[i].sstable->description.file_number == file_number)
            return &version->entries[i];
    return NULL;
}

void version_add_span(struct version *version, struct attachment *attachment)
{
    version->spans =
        memory_resize(version->spans, version->span_count + 1, sizeof(*version->spans));
    version->spans[version->span_count++] = (struct version_span){.attachment = attachment};
}

struct version_span *version_find_span(const struct version *version, uint64_t file_number)
{
    for (size_t i = 0; i < version->span_count; i++)
        if (version->spans[i].attachment->segment.info.file_number == file_number)
            return &version->spans[i];
    return NULL;
}

void version_remove_span(struct version *version, struct version_span *span, bool drop)
{
    if (drop)
        atomic_store(&span->attachment->dropped, true);
    attachment_unref(span->attachment);
    free(span->places);
    *span = version->spans[--version->span_count];
}

/* Parts and entries are both in the order of time: one walk over each. */
static void place_parts(const struct version *version, struct version_span *span)
{
    const struct span *covers = span->attachment->span;
    size_t entry = 0;

    free(span->places);
    span->places = memory_new(covers->part_count, sizeof(*span->places));
    for (uint32_t i = 0; i < covers->part_count; i++) {
        const struct store_span_part *part = &covers->parts[i];
        span->places[i] = STORE_SPAN_DEAD;
        for (; entry < version->entry_count; entry++) {
            const struct table_description *at = &version->entries[entry].sstable->description;
            if (at->window_start_ms > part->window_start_ms)
                break;
            if (at->file_number == part->file_number)
                span->places[i] = (uint32_t)entry;
        }
    }
}

size_t version_window(const struct version *version, int64_t start_ms, int64_t length_ms,
                      size_t *first)
{
    size_t count = 0;

    *first = version->entry_count;
    for (size_t i = 0; i < version->entry_count; i++) {
        const struct table_description *description = &version->entries[i].sstable->description;
        if (description->window_start_ms != start_ms || description->window_length_ms != length_ms)
            continue;
        if (count++ == 0)
            *first = i;
    }
    return count;
}

/* The reference is taken inside the epoch section: see the race at the top. `current` is never NULL
 * while the shard is open, and a shard that closes waits for its snapshots first. */
struct version *versions_acquire(struct shard_versions *versions)
{
    unsigned slot = epoch_enter(versions->epoch);
    struct version *version = atomic_load(&versions->current);

    version_ref(version);
    epoch_leave(versions->epoch, slot);
    return version;
}

void versions_create(struct shard_versions *versions)
{
    versions->epoch = epoch_new();
}

void versions_destroy(struct shard_versions *versions)
{
    epoch_delete(versions->epoch);
}

void versions_collect(struct shard_versions *versions)
{
    epoch_collect(versions->epoch);
}

/* Files in level 0 of the window without bounds. */
static uint32_t version_level0_files(const struct version *version)
{
    uint32_t count = 0;

    for (size_t i = 0; i < version->entry_count; i++) {
        const struct sstable *sstable = version->entries[i].sstable;
        count += sstable->description.window_length_ms == 0 &&
                 atomic_load_explicit(&sstable->level, memory_order_relaxed) == 0;
    }
    return count;
}

static void release_version(void *version)
{
    version_unref(version);
}

/* The exchange is sequentially consistent: a reader that sees an offset published after it also
 * sees the version (snapshot.c relies on this). */
void versions_publish(struct shard_versions *versions, struct version *version)
{
    struct version *old;

    if (version)
        atomic_store(&versions->level0_files, version_level0_files(version));
    for (size_t i = 0; version && i < version->span_count; i++)
        place_parts(version, &version->spans[i]);
    old = atomic_exchange(&versions->current, version);

    if (old)
        epoch_retire(versions->epoch, old, release_version);
}

struct attachment *attachment_new(struct garbage *collector, const struct store_segment *segment,
                                  const struct span *span)
{
    struct attachment *attachment = memory_new(1, sizeof(*attachment));

    atomic_init(&attachment->refs, 1);
    attachment->garbage.kind = GARBAGE_ATTACHMENT;
    attachment->collector = collector;
    attachment->segment = *segment;
    attachment->span = span ? span_new(span) : NULL;
    return attachment;
}

void attachment_ref(struct attachment *attachment)
{
    atomic_fetch_add_explicit(&attachment->refs, 1, memory_order_relaxed);
}

/* As with sstables, the last reader only puts it on the garbage list: a search never pays for
 * unmapping or unlinking a segment. */
void attachment_unref(struct attachment *attachment)
{
    if (attachment && atomic_fetch_sub_explicit(&attachment->refs, 1, memory_order_acq_rel) == 1)
        garbage_add(attachment->collector, &attachment->garbage);
}

void attachment_delete(struct attachment *attachment)
{
    if (attachment->segment.object && attachment->segment.release)
        attachment->segment.release(attachment->segment.object);
    span_delete(attachment->span);
    free(attachment);
}
