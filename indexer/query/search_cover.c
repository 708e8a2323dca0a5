/* Which segments a search goes through: spans, where they are cheaper than what they cover, and the
 * sources' own for the rest.
 *
 * Tiers are looked at from below. A span takes the sources of its live parts when it costs less than
 * they do now: by themselves, scanned, or through spans of the tier below. What is dead of a span, or
 * outside of the time range, still has to be met on the way through a graph (search_segment_cost), so
 * one of which little is wanted loses. Of lists it is a slice that nobody reads. A source that another
 * span takes leaves the former one: its rows there are not returned, and every row is looked for in one
 * place.
 *
 * A cover is remembered beside the version (store_note), for searches with no filter and no time range:
 * looking at 672 files for each of them took a tenth of a search through 168 windows of four partitions.
 *
 * Under decay a raw score is worth something else in each window. A span is searched alone then, and
 * wider until nothing behind the last hit can be better in its youngest window: it is used where
 * decay differs little between its windows (bench/notes/search.md). Lists are searched in stretches of
 * such windows, one after the other. */
#include "indexer/query/searcher.h"
#include "store/snapshot.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Decay of the youngest row of a span, over that of the oldest: two fifths of a half-life, 2^0.4. */
static const double SPAN_DECAY_MAX = 1.32;

enum {
    NOTES_MAX = 16, /* beside a version: searches differ in limit, recall and effort */
    NOT_SEARCHED = UINT32_MAX
};
/* Rows in all shards come and go while a version stays; a cover is the cheapest for about so many. */
static const double NOTE_DRIFT_MAX = 1.25;

struct cover {
    struct searcher *searcher;
    struct source_search ***by_place; /* by shard and source; NULL: not searched */
    struct segment_search *segments;
    size_t count;
};

/* The cover of one shard for searches over everything, by numbers of its sources. */
struct cover_note {
    struct store_note note; /* first */
    size_t limit;
    uint32_t ef;
    double recall, effort;
    double accepted; /* rows of all shards */
    size_t segment_count;
    struct noted_segment {
        const struct index_segment *segment;
        const struct store_span_part *spans;
        uint32_t part_count, row_count;
        uint32_t *places; /* by part: its source, or NOT_SEARCHED; behind the segments */
    } segments[];
};

struct source_search *search_segment_source(const struct segment_search *segment, uint32_t *row)
{
    uint32_t first = 0, end = segment->part_count;

    if (!segment->spans)
        return segment->parts[0];
    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (segment->spans[middle].first_row <= *row)
            first = middle;
        else
            end = middle;
    }
    *row -= segment->spans[first].first_row;
    return segment->parts[first];
}

/* Whether its rows may be looked for in some segment. */
static bool is_wanted(const struct source_search *source)
{
    return source->path != ACCESS_NONE && !source->searcher->exact;
}

/* Lists are chosen by their distance to one vector: a score that several examples give is not looked for
 * in them, but in the rows. */
static bool knows_way(const struct searcher *searcher, const struct index_segment *segment)
{
    return searcher->scorer.kind == QUERY_NEAREST || index_segment_kind(segment) == SEGMENT_HNSW;
}

static const struct index_segment *own_segment(const struct source_search *source)
{
    const struct store_segment *own = source->source->segment;

    return own && is_wanted(source) && source->cost > SEARCH_ENTRY_COST &&
                   knows_way(source->searcher, own->object)
               ? own->object
               : NULL;
}

static struct source_search *part_source(const struct cover *cover, size_t shard,
                                         const struct store_span *span, uint32_t part)
{
    struct source_search *source =
        span->places[part] == STORE_SPAN_DEAD
            ? NULL
            : cover->by_place[shard][span->first_source + span->places[part]];

    return source && is_wanted(source) ? source : NULL;
}

/* Parts of a span. */
struct stretch {
    size_t shard;
    const struct store_span *span;
    uint32_t first, end;
};

/* How far from its first part on decay differs little: of lists any parts can be searched, of a graph only all. */
static uint32_t alike_end(const struct cover *cover, const struct stretch *stretch)
{
    double min = INFINITY, max = 0;

    for (uint32_t i = stretch->first; i < stretch->span->part_count; i++) {
        const struct source_search *source = part_source(cover, stretch->shard, stretch->span, i);
        min = source ? fmin(min, source->decay_min) : min;
        max = source ? fmax(max, source->decay_max) : max;
        if (max > min * SPAN_DECAY_MAX)
            return i;
    }
    return stretch->span->part_count;
}

/* Takes the sources when that is cheaper than what they cost now. */
static void try_stretch(struct cover *cover, const struct stretch *stretch)
{
    struct searcher *searcher = cover->searcher;
    const struct store_span *span = stretch->span;
    struct segment_search *segment = &cover->segments[cover->count];
    double before = 0, rows = 0, cost;

    for (uint32_t i = stretch->first; i < stretch->end; i++) {
        const struct source_search *source = part_source(cover, stretch->shard, span, i);
        before += source ? source->cover_cost : 0;
        rows += source ? source->source->row_count : 0;
    }
    /* Of lists only what is wanted is met. */
    cost = search_segment_cost(searcher, span->segment->object,
                               span->segment->info.kind == SEGMENT_IVF_PQ ? (uint64_t)rows
                                                                          : span->row_count);
    if (before <= cost)
        return;
    cover->count++;
    *segment = (struct segment_search){.segment = span->segment->object,
                                       .shard = stretch->shard,
                                       .spans = span->parts,
                                       .part_count = span->part_count,
                                       .row_count = span->row_count};
    segment->parts =
        arena_calloc(searcher->search->arena, span->part_count, sizeof(struct source_search *));
    for (uint32_t i = stretch->first; i < stretch->end; i++) {
        struct source_search *source = part_source(cover, stretch->shard, span, i);
        if (!source)
            continue;
        source->through = segment;
        source->cover_cost = cost * source->source->row_count / rows;
        segment->parts[i] = source;
    }
}

static void try_span(struct cover *cover, size_t shard, const struct store_span *span)
{
    struct stretch stretch = {.shard = shard, .span = span};

    if (!knows_way(cover->searcher, span->segment->object))
        return;
    for (; stretch.first < span->part_count; stretch.first = stretch.end) {
        stretch.end = alike_end(cover, &stretch);
        if (stretch.end == stretch.first) /* one window, which is searched by itself */
            stretch.end++;
        else if (stretch.end - stretch.first == span->part_count ||
                 span->segment->info.kind == SEGMENT_IVF_PQ)
            try_stretch(cover, &stretch);
        else
            return;
    }
}

static void try_spans(struct cover *cover)
{
    const struct query_view *view = cover->searcher->view;

    for (int tier = 1; tier <= STORE_SPAN_TIERS; tier++) {
        for (size_t shard = 0; shard < view->shard_count; shard++) {
            size_t count;
            const struct store_span *spans =
                store_snapshot_spans(view->shards[shard].snapshot, &count);
            for (size_t i = 0; i < count; i++)
                if (spans[i].tier == tier)
                    try_span(cover, shard, &spans[i]);
        }
    }
}

static void start(struct cover *cover, struct source_search *sources, size_t count)
{
    const struct query_view *view = cover->searcher->view;
    struct arena *arena = cover->searcher->search->arena;

    cover->by_place = arena_calloc(arena, view->shard_count + 1, sizeof(struct source_search **));
    for (size_t i = 0; i < view->shard_count; i++)
        cover->by_place[i] =
            arena_calloc(arena, view->shards[i].source_count + 1, sizeof(struct source_search *));
    for (size_t i = 0; i < count; i++) {
        struct source_search *source = &sources[i];
        cover->by_place[source->shard][source->source - view->shards[source->shard].sources] =
            source;
        source->through = NULL;
        if (is_wanted(source))
            cover->searcher->segment_accepted += source->matching_rows;
    }
}

/* Room for a segment of each source and for each span, in stretches of a window at least under decay. */
static void make_room(struct cover *cover, size_t count)
{
    const struct searcher *searcher = cover->searcher;
    size_t most = count + 1;

    for (size_t i = 0; i < searcher->view->shard_count; i++) {
        size_t spans;
        (void)store_snapshot_spans(searcher->view->shards[i].snapshot, &spans);
        most += spans;
    }
    if (searcher->search->half_life_ms > 0)
        most += count * STORE_SPAN_TIERS;
    cover->segments = arena_calloc(searcher->search->arena, most, sizeof(*cover->segments));
}

/* What each source costs by itself, which needs to be known of how many rows the answer is. */
static void find_costs(const struct cover *cover, struct source_search *sources, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct source_search *source = &sources[i];
        double cost = own_segment(source)
                          ? search_segment_cost(cover->searcher, own_segment(source),
                                                source->source->row_count)
                          : source->cost;
        source->cover_cost = cost < source->cost ? cost : source->cost;
    }
}

static void copy_bits(uint64_t *to, uint32_t at, const uint64_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 64) {
        uint64_t bits = from[i / 64];
        uint32_t place = at + i;
        if (count - i < 64)
            bits &= (UINT64_C(1) << (count - i)) - 1;
        to[place / 64] |= bits << place % 64;
        if (place % 64 != 0)
            to[place / 64 + 1] |= bits >> (64 - place % 64);
    }
}

/* The rows that match, when that is known of all parts. */
static void collect_matching(const struct searcher *searcher, struct segment_search *segment)
{
    bool known = searcher->filter != NULL;

    for (uint32_t i = 0; i < segment->part_count; i++) {
        segment->matching_rows += segment->parts[i] ? segment->parts[i]->matching_rows : 0;
        known = known && (!segment->parts[i] || segment->parts[i]->matching);
    }
    if (!known)
        return;
    if (!segment->spans) {
        segment->matching = segment->parts[0]->matching;
        return;
    }
    segment->matching = arena_calloc(searcher->search->arena, segment->row_count / 64 + 2,
                                     sizeof(*segment->matching));
    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i])
            copy_bits(segment->matching, segment->spans[i].first_row, segment->parts[i]->matching,
                      segment->spans[i].row_count);
}

/* Takes out of a span what another one has taken; false when nothing is left of it. */
static bool settle(struct segment_search *segment)
{
    bool any = false;

    for (uint32_t i = 0; i < segment->part_count; i++) {
        if (segment->parts[i] && segment->parts[i]->through != segment)
            segment->parts[i] = NULL;
        any |= segment->parts[i] != NULL;
    }
    return any;
}

static void add_own(struct cover *cover, struct source_search *source)
{
    struct segment_search *segment = &cover->segments[cover->count++];

    *segment = (struct segment_search){.segment = own_segment(source),
                                       .shard = source->shard,
                                       .part_count = 1,
                                       .row_count = source->source->row_count};
    segment->parts =
        arena_calloc(cover->searcher->search->arena, 1, sizeof(struct source_search *));
    segment->parts[0] = source;
    source->through = segment;
}

static int compare_shards(const void *a, const void *b)
{
    const struct segment_search *left = a, *right = b;

    if (left->shard != right->shard)
        return left->shard < right->shard ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

/* Segments of which nothing is left go, the others follow shard after shard, as notes have them: sources point
 * to where theirs is now. */
static void keep_used(struct cover *cover)
{
    size_t kept = 0;

    for (size_t i = 0; i < cover->count; i++) {
        if (!settle(&cover->segments[i]))
            continue;
        cover->segments[kept] = cover->segments[i];
        cover->segments[kept].number = kept;
        kept++;
    }
    cover->count = kept;
    qsort(cover->segments, kept, sizeof(*cover->segments), compare_shards);
    for (size_t i = 0; i < kept; i++)
        for (uint32_t part = 0; part < cover->segments[i].part_count; part++)
            if (cover->segments[i].parts[part])
                cover->segments[i].parts[part]->through = &cover->segments[i];
}

/* Notes. */

/* Asked for so often that it is worth a note, and alike for all that ask for it. */
static bool is_common(const struct searcher *searcher)
{
    return !searcher->filter && !searcher->bounded && !searcher->exact &&
           !searcher->search->has_threshold && searcher->search->half_life_ms == 0 &&
           searcher->search->effort == 0 && searcher->scorer.kind == QUERY_NEAREST;
}

static const struct cover_note *find_note(const struct cover *cover, size_t shard, size_t *count)
{
    const struct searcher *searcher = cover->searcher;
    const struct store_note *note =
        store_snapshot_notes(cover->searcher->view->shards[shard].snapshot);
    double accepted = (double)searcher->segment_accepted;

    *count = 0;
    for (; note; note = note->next, ++*count) {
        const struct cover_note *of = (const void *)note;
        if (of->limit == searcher->top.limit && of->ef == searcher->ef &&
            of->recall == searcher->recall && of->effort == searcher->effort &&
            accepted <= of->accepted * NOTE_DRIFT_MAX && of->accepted <= accepted * NOTE_DRIFT_MAX)
            return of;
    }
    return NULL;
}

static void read_note(struct cover *cover, size_t shard, const struct cover_note *note)
{
    for (size_t i = 0; i < note->segment_count; i++) {
        const struct noted_segment *noted = &note->segments[i];
        struct segment_search *segment = &cover->segments[cover->count++];
        *segment = (struct segment_search){.segment = noted->segment,
                                           .shard = shard,
                                           .spans = noted->spans,
                                           .part_count = noted->part_count,
                                           .row_count = noted->row_count};
        segment->parts = arena_calloc(cover->searcher->search->arena, noted->part_count,
                                      sizeof(struct source_search *));
        for (uint32_t part = 0; part < noted->part_count; part++) {
            struct source_search *source;
            if (noted->places[part] == NOT_SEARCHED)
                continue;
            source = cover->by_place[shard][noted->places[part]];
            assert(source);
            source->through = segment;
            segment->parts[part] = source;
        }
    }
}

/* True when every shard has one. */
static bool read_notes(struct cover *cover)
{
    const struct query_view *view = cover->searcher->view;
    struct arena *arena = cover->searcher->search->arena;
    const struct cover_note **notes =
        arena_calloc(arena, view->shard_count + 1, sizeof(struct cover_note *));
    size_t segments = 1;

    for (size_t i = 0; i < view->shard_count; i++) {
        size_t count;
        notes[i] = find_note(cover, i, &count);
        if (!notes[i])
            return false;
        segments += notes[i]->segment_count;
    }
    cover->segments = arena_calloc(arena, segments, sizeof(*cover->segments));
    for (size_t i = 0; i < view->shard_count; i++)
        read_note(cover, i, notes[i]);
    return true;
}

static void release_note(struct store_note *note)
{
    free(note);
}

/* Of segments [first, end), which are the shard's. */
static void write_note(const struct cover *cover, size_t shard, size_t first, size_t end)
{
    const struct searcher *searcher = cover->searcher;
    const struct store_source *sources = searcher->view->shards[shard].sources;
    size_t parts = 0, count = end - first;
    struct cover_note *note;
    uint32_t *places;

    for (size_t i = first; i < end; i++)
        parts += cover->segments[i].part_count;
    note = memory_checked(
        malloc(sizeof(*note) + count * sizeof(note->segments[0]) + parts * sizeof(uint32_t)));
    places = (uint32_t *)&note->segments[count];
    *note = (struct cover_note){.note = {.release = release_note},
                                .limit = searcher->top.limit,
                                .ef = searcher->ef,
                                .recall = searcher->recall,
                                .effort = searcher->effort,
                                .accepted = (double)searcher->segment_accepted,
                                .segment_count = count};
    for (size_t i = first; i < end; i++) {
        const struct segment_search *segment = &cover->segments[i];
        note->segments[i - first] = (struct noted_segment){.segment = segment->segment,
                                                           .spans = segment->spans,
                                                           .part_count = segment->part_count,
                                                           .row_count = segment->row_count,
                                                           .places = places};
        for (uint32_t part = 0; part < segment->part_count; part++)
            *places++ = segment->parts[part] ? (uint32_t)(segment->parts[part]->source - sources)
                                             : NOT_SEARCHED;
    }
    store_snapshot_add_note(searcher->view->shards[shard].snapshot, &note->note);
}

static void write_notes(const struct cover *cover)
{
    const struct query_view *view = cover->searcher->view;
    size_t first = 0;

    for (size_t shard = 0; shard < view->shard_count; shard++) {
        size_t end = first, count;
        while (end < cover->count && cover->segments[end].shard == shard)
            end++;
        if (!find_note(cover, shard, &count) && count < NOTES_MAX)
            write_note(cover, shard, first, end);
        first = end;
    }
}

struct segment_search *search_cover(struct searcher *searcher, struct source_search *sources,
                                    size_t count, size_t *segment_count)
{
    struct cover cover = {.searcher = searcher};

    searcher->segment_accepted = 0;
    start(&cover, sources, count);
    if (!is_common(searcher) || !read_notes(&cover)) {
        make_room(&cover, count);
        find_costs(&cover, sources, count);
        if (!searcher->exact)
            try_spans(&cover);
        for (size_t i = 0; i < count; i++)
            if (!sources[i].through && own_segment(&sources[i]))
                add_own(&cover, &sources[i]);
        keep_used(&cover);
        if (is_common(searcher))
            write_notes(&cover);
    }
    for (size_t i = 0; i < cover.count; i++)
        collect_matching(searcher, &cover.segments[i]);
    *segment_count = cover.count;
    return cover.segments;
}
