/* One source of a search, scanned where it lies: all of it, or the rows that a filter leaves. */
#include "indexer/query/filter.h"
#include "indexer/query/searcher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_BLOCK_ROWS = 256,
    SCAN_CHECK_BLOCKS = 16, /* between two looks at the clock */
    PENDING_ROWS = 16,
    CACHE_LINE_FLOATS = 16
};

/* Everything but the filter. */
bool search_row_eligible(const struct source_search *source, uint32_t row)
{
    const struct searcher *searcher = source->searcher;
    const struct query_search *search = searcher->search;

    if (!store_row_visible(searcher->view->shards[source->shard].snapshot, source->source, row))
        return false;
    if (searcher->bounded) {
        int64_t time_ms = store_row_event_time_ms(source->source, row);
        if (time_ms < searcher->from_ms || time_ms >= searcher->to_ms)
            return false;
    }
    if (search->exclude_key) {
        size_t key_bytes;
        const uint8_t *key = store_row_key(source->source, row, &key_bytes);
        return query_key_compare(key, key_bytes, search->exclude_key, search->exclude_key_bytes) !=
               0;
    }
    return true;
}

void search_report_damage(struct source_search *source, const struct error *error)
{
    query_view_report(source->searcher->view, source->shard, source->source, error);
    atomic_store_explicit(&source->searcher->partial, true, memory_order_relaxed);
}

/* `bytes` is the row's payload when it was read already, else NULL. A row whose payload is damaged
 * cannot be said to match. */
static bool row_passes_filter(struct source_search *source, uint32_t row, const uint8_t *bytes,
                              size_t size_bytes)
{
    const struct searcher *searcher = source->searcher;
    struct query_row outside = query_view_row(searcher->view, source->shard, source->source, row);
    struct error error; /* a kilobyte: zeroing it for every row would cost more than the filter */
    struct filter_subject subject = {.row = &outside,
                                     .scratch = &source->payloads,
                                     .binding = source->binding,
                                     .bytes = bytes,
                                     .size_bytes = size_bytes,
                                     .meter = &source->meter,
                                     .error = &error};
    bool matches;

    error.text[0] = '\0';
    if (filter_subject_match(searcher->filter, &subject, &matches) == 0)
        return matches;
    if (subject.code == ERROR_TIMEOUT || subject.code == ERROR_CANCELLED)
        atomic_store_explicit(&source->searcher->cut, true, memory_order_relaxed);
    else
        search_report_damage(source, &error);
    return false;
}

bool search_row_accepted(struct source_search *source, uint32_t row)
{
    bool accepted;

    if (!source->searcher->filter)
        return search_row_eligible(source, row);
    if (source->matching)
        return (source->matching[row / 64] >> row % 64 & 1) && search_row_eligible(source, row);
    /* On columns the filter is the cheaper question, on payloads the dearer one. */
    if (!source->binding && !search_row_eligible(source, row))
        return false;
    accepted = row_passes_filter(source, row, NULL, 0) &&
               (!source->binding || search_row_eligible(source, row));
    if (source->payloads.used_bytes > 0)
        arena_reset(&source->payloads);
    return accepted;
}

double search_row_order(const struct source_search *source, uint32_t row, float raw)
{
    double decay =
        source->decay_min == source->decay_max
            ? source->decay_max
            : search_decay(source->searcher, store_row_event_time_ms(source->source, row));

    return search_order(source->searcher, raw, decay);
}

bool search_is_stopped(struct searcher *searcher)
{
    struct error ignored;

    if (stop_check(searcher->view->stop, &ignored) == 0)
        return false;
    atomic_store_explicit(&searcher->cut, true, memory_order_relaxed);
    return true;
}

/* Scan. */

/* Payloads of a block's candidates are read together: each compressed block once. */
static void filter_candidates(struct source_search *source, const uint32_t *rows, uint32_t count,
                              bool *passed)
{
    const uint8_t *payloads[SCAN_BLOCK_ROWS];
    uint32_t payload_bytes[SCAN_BLOCK_ROWS];
    struct error error = {0};

    if (!source->searcher->filter->needs_payload || source->binding ||
        store_rows_payloads(source->source, rows, count, &source->payloads, payloads, payload_bytes,
                            &error) != 0) {
        for (uint32_t i = 0; i < count; i++)
            passed[i] = row_passes_filter(source, rows[i], NULL, 0);
    } else {
        for (uint32_t i = 0; i < count; i++)
            passed[i] = row_passes_filter(source, rows[i], payloads[i], payload_bytes[i]);
    }
    if (source->payloads.used_bytes > 0)
        arena_reset(&source->payloads);
}

static void scan_block(struct source_search *source, uint32_t first, const float *scores,
                       uint32_t count)
{
    struct searcher *searcher = source->searcher;
    double floor = search_floor(searcher);
    float raw_floor = search_raw_floor(source, floor);
    uint32_t rows[SCAN_BLOCK_ROWS];
    double orders[SCAN_BLOCK_ROWS];
    bool passed[SCAN_BLOCK_ROWS];
    uint32_t candidates = 0;

    for (uint32_t i = 0; i < count; i++) {
        double order;
        if (scores[i] < raw_floor)
            continue;
        order = search_row_order(source, first + i, scores[i]);
        if (order < floor || !search_row_eligible(source, first + i))
            continue;
        if (searcher->filter) {
            rows[candidates] = first + i;
            orders[candidates++] = order;
            continue;
        }
        search_offer(source, first + i, order);
        floor = search_floor(searcher);
        raw_floor = search_raw_floor(source, floor);
    }
    if (candidates == 0)
        return;
    filter_candidates(source, rows, candidates, passed);
    for (uint32_t i = 0; i < candidates; i++)
        if (passed[i] && orders[i] >= search_floor(searcher))
            search_offer(source, rows[i], orders[i]);
}

static int scan(struct source_search *source, struct error *error)
{
    struct searcher *searcher = source->searcher;
    uint32_t total = source->source->row_count;
    float scores[SCAN_BLOCK_ROWS];
    uint32_t blocks = 0;

    for (uint32_t row = 0; row < total;) {
        const float *vectors;
        uint32_t span;
        int code = store_row_vectors(source->source, row, &vectors, &span, error);
        if (code != 0)
            return code;
        if (span > total - row)
            span = total - row;
        while (span > 0) {
            uint32_t count = span < SCAN_BLOCK_ROWS ? span : SCAN_BLOCK_ROWS;
            if (search_was_cut(searcher) ||
                (++blocks % SCAN_CHECK_BLOCKS == 0 && search_is_stopped(searcher)))
                return 0;
            index_score_block(searcher->metric, searcher->query, vectors, count, searcher->dim,
                              scores);
            scan_block(source, row, scores, count);
            vectors += (size_t)count * searcher->dim;
            row += count;
            span -= count;
        }
    }
    return 0;
}

/* Few rows match. */

/* Accepted rows on their way to being scored: a row on its own is a walk through memory, so that
 * several are asked for before the first is used. */
struct pending {
    uint32_t rows[PENDING_ROWS];
    const float *vectors[PENDING_ROWS];
    uint32_t count;
};

static void pending_score(struct source_search *source, struct pending *pending)
{
    struct searcher *searcher = source->searcher;

    for (uint32_t i = 0; i < pending->count; i++) {
        float raw =
            index_score(searcher->metric, searcher->query, pending->vectors[i], searcher->dim);
        double order = search_row_order(source, pending->rows[i], raw);
        if (order >= search_floor(searcher))
            search_offer(source, pending->rows[i], order);
    }
    pending->count = 0;
}

/* Takes an accepted row. */
static int take_row(struct source_search *source, struct pending *pending, uint32_t row,
                    struct error *error)
{
    const float *vector;
    uint32_t span;
    int code = store_row_vectors(source->source, row, &vector, &span, error);

    if (code != 0)
        return code;
    for (uint32_t i = 0; i < source->searcher->dim; i += CACHE_LINE_FLOATS)
        __builtin_prefetch(vector + i);
    pending->rows[pending->count] = row;
    pending->vectors[pending->count++] = vector;
    if (pending->count == PENDING_ROWS)
        pending_score(source, pending);
    return 0;
}

static int scan_listed(struct source_search *source, struct error *error)
{
    struct pending pending = {.count = 0};
    uint32_t rows = source->source->row_count;
    int code = 0;

    for (uint32_t first = 0; first < rows && code == 0; first += 64) {
        if (first % (SCAN_BLOCK_ROWS * SCAN_CHECK_BLOCKS) == 0 &&
            search_is_stopped(source->searcher))
            break;
        for (uint64_t left = source->matching[first / 64]; left != 0 && code == 0;
             left &= left - 1) {
            uint32_t row = first + (uint32_t)__builtin_ctzll(left);
            if (search_row_eligible(source, row))
                code = take_row(source, &pending, row, error);
        }
    }
    pending_score(source, &pending);
    return code;
}

static int scan_sparse(struct source_search *source, struct error *error)
{
    struct pending pending = {.count = 0};
    int code = 0;

    for (uint32_t row = 0;
         row < source->source->row_count && code == 0 && !search_was_cut(source->searcher); row++) {
        if (row % (SCAN_BLOCK_ROWS * SCAN_CHECK_BLOCKS) == 0 && search_is_stopped(source->searcher))
            break;
        if (search_row_accepted(source, row))
            code = take_row(source, &pending, row, error);
    }
    pending_score(source, &pending);
    return code;
}

int search_source_run(struct source_search *source, struct error *error)
{
    struct error local = {0};
    int code = 0;

    if (search_is_stopped(source->searcher))
        return 0;
    if (source->path == ACCESS_ROW_LIST)
        code = scan_listed(source, &local);
    else if (source->path == ACCESS_FILTER_FIRST)
        code = scan_sparse(source, &local);
    else
        code = scan(source, &local);
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        search_report_damage(source, &local);
        return 0;
    }
    if (code != 0)
        *error = local;
    return code;
}
