/* One source of a search, scanned where it lies: all of it, or the rows that a filter leaves. */
#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/query/filter/filter.h"
#include "indexer/query/searcher.h"
#include "store/snapshot.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_BLOCK_ROWS = SEARCH_BLOCK_ROWS,
    TOGETHER_BLOCK_ROWS = 64, /* scored for one query after another: they stay in the cache */
    SCAN_CHECK_BLOCKS = 16,   /* between two looks at the clock */
    PENDING_ROWS = 16,
    DECODED_ROWS = 64, /* of a source that is not float32: they stay in the cache */
    CACHE_LINE = 64,
    SCATTERED_PART = 64 /* with fewer rows than one in so many, pages between them are not wanted */
};

/* Everything but the filter. */
bool search_row_eligible(const struct source_search *source, uint32_t row)
{
    const struct searcher *searcher = source->searcher;
    const struct query_search *search = searcher->search;

    if (source->all_eligible)
        return true;
    if (!store_row_visible(searcher->view->shards[source->shard].snapshot, source->source, row) ||
        (source->source->has_bare && !search->extra && store_row_is_bare(source->source, row)))
        return false;
    if (source->bounded) {
        int64_t time_ms = store_row_event_time_ms(source->source, row);
        if (time_ms < searcher->from_ms || time_ms >= searcher->to_ms)
            return false;
    }
    if (search->exclude_key) {
        size_t key_bytes;
        const uint8_t *key = store_row_key(source->source, row, &key_bytes);
        return bytes_compare(key, key_bytes, search->exclude_key, search->exclude_key_bytes) != 0;
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

    if (source->matching) {
        for (uint32_t i = 0; i < count; i++)
            passed[i] = source->matching[rows[i] / 64] >> rows[i] % 64 & 1;
    } else if (!source->searcher->filter->needs_payload || source->binding ||
               store_rows_payloads(source->source, rows, count, &source->payloads, payloads,
                                   payload_bytes, &error) != 0) {
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

/* The vectors from a row on, as many as lie together; those that are not float32 are decoded, as many
 * as the block has room for. */
struct rows_block {
    const float *vectors;
    uint32_t count;
    float *decoded; /* NULL until it is needed; freed by the caller */
};

static int read_rows(const struct store_source *source, uint32_t row, uint32_t dim,
                     struct rows_block *block, struct error *error)
{
    struct vector_row stored;
    int code = store_row_stored(source, row, &stored, &block->count, error);

    if (code != 0)
        return code;
    if (vector_codec_is_float32(stored.codec)) {
        block->vectors = stored.bytes;
        return 0;
    }
    if (!block->decoded)
        block->decoded = memory_new((size_t)DECODED_ROWS * dim, sizeof(float));
    block->vectors = block->decoded;
    block->count = block->count < DECODED_ROWS ? block->count : DECODED_ROWS;
    vector_rows_decode(stored, block->count, dim, block->decoded);
    return 0;
}

static int scan_rows(struct source_search *source, struct rows_block *block, struct error *error)
{
    struct searcher *searcher = source->searcher;
    uint32_t total = source->source->row_count;
    float scores[SCAN_BLOCK_ROWS];
    uint32_t blocks = 0;

    for (uint32_t row = 0; row < total;) {
        int code = read_rows(source->source, row, searcher->dim, block, error);
        const float *vectors = block->vectors;
        uint32_t span = block->count < total - row ? block->count : total - row;
        if (code != 0)
            return code;
        while (span > 0) {
            uint32_t count = span < SCAN_BLOCK_ROWS ? span : SCAN_BLOCK_ROWS;
            if (search_was_cut(searcher) ||
                (++blocks % SCAN_CHECK_BLOCKS == 0 && search_is_stopped(searcher)))
                return 0;
            search_score_rows(searcher, vectors, count, scores);
            scan_block(source, row, scores, count);
            vectors += (size_t)count * searcher->dim;
            row += count;
            span -= count;
        }
    }
    return 0;
}

static int scan(struct source_search *source, struct error *error)
{
    struct rows_block block = {.vectors = NULL};
    int code = scan_rows(source, &block, error);

    free(block.decoded);
    return code;
}

bool search_source_is_shared(const struct source_search *source)
{
    return source->path == ACCESS_SCAN && source->searcher->scorer.kind == QUERY_NEAREST;
}

/* Sources of one table that still look at it. */
struct scanners {
    struct source_search *sources[SEARCH_TOGETHER_MAX];
    const float *queries[SEARCH_TOGETHER_MAX];
    float *scores[SEARCH_TOGETHER_MAX];
    uint32_t count;
};

static void drop_stopped(struct scanners *scanners, bool look)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < scanners->count; i++) {
        struct source_search *source = scanners->sources[i];
        if (search_was_cut(source->searcher) || (look && search_is_stopped(source->searcher)))
            continue;
        scanners->sources[kept] = source;
        scanners->queries[kept++] = source->searcher->query;
    }
    scanners->count = kept;
}

static int scan_together(struct scanners *scanners, struct rows_block *decoded, struct error *error)
{
    const struct store_source *table = scanners->sources[0]->source;
    const struct searcher *first = scanners->sources[0]->searcher;
    enum vector_metric metric = first->metric;
    uint32_t dim = first->dim, blocks = 0;

    for (uint32_t row = 0, span; row < table->row_count; row += span) {
        int code = read_rows(table, row, dim, decoded, error);
        const float *vectors = decoded->vectors;
        if (code != 0)
            return code;
        span = decoded->count < table->row_count - row ? decoded->count : table->row_count - row;
        for (uint32_t at = 0, count; at < span; at += count) {
            count = span - at < TOGETHER_BLOCK_ROWS ? span - at : TOGETHER_BLOCK_ROWS;
            drop_stopped(scanners, ++blocks % SCAN_CHECK_BLOCKS == 0);
            if (scanners->count == 0)
                return 0;
            index_score_tile(metric, scanners->queries, scanners->count, vectors + (size_t)at * dim,
                             count, dim, scanners->scores);
            for (uint32_t i = 0; i < scanners->count; i++)
                scan_block(scanners->sources[i], row + at, scanners->scores[i], count);
        }
    }
    return 0;
}

int search_sources_run(struct source_search *const *sources, uint32_t count, struct error *error)
{
    struct scanners scanners = {.count = count};
    float *scores = memory_new((size_t)count * TOGETHER_BLOCK_ROWS, sizeof(*scores));
    struct rows_block decoded = {.vectors = NULL};
    struct error local = {0};
    int code = 0;

    assert(count <= SEARCH_TOGETHER_MAX);
    for (uint32_t i = 0; i < count; i++) {
        scanners.sources[i] = sources[i];
        scanners.scores[i] = scores + (size_t)i * TOGETHER_BLOCK_ROWS;
    }
    drop_stopped(&scanners, true);
    if (scanners.count > 0)
        code = scan_together(&scanners, &decoded, &local);
    free(decoded.decoded);
    free(scores);
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        for (uint32_t i = 0; i < count; i++)
            search_report_damage(sources[i], &local);
        return 0;
    }
    if (code != 0)
        *error = local;
    return code;
}

/* Few rows match. */

/* Accepted rows on their way to being scored: a row on its own is a walk through memory, so that
 * several are asked for before the first is used. */
struct pending {
    uint32_t rows[PENDING_ROWS];
    struct vector_row stored[PENDING_ROWS];
    uint32_t count;
};

static void pending_score(struct source_search *source, struct pending *pending)
{
    struct searcher *searcher = source->searcher;

    for (uint32_t i = 0; i < pending->count; i++) {
        float raw = search_score_row(searcher, pending->stored[i]);
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
    struct vector_row *stored = &pending->stored[pending->count];
    bool scattered = source->matching_rows < source->source->row_count / SCATTERED_PART;
    uint32_t span;
    int code = scattered ? store_row_alone(source->source, row, stored, error)
                         : store_row_stored(source->source, row, stored, &span, error);

    if (code != 0)
        return code;
    for (size_t i = 0; i < vector_row_bytes(stored->codec, source->searcher->dim); i += CACHE_LINE)
        __builtin_prefetch((const char *)stored->bytes + i);
    pending->rows[pending->count++] = row;
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

/* Extra vectors lie with the payloads. */

static void score_extra(struct source_search *source, uint32_t row, const uint8_t *bytes,
                        size_t size_bytes)
{
    struct searcher *searcher = source->searcher;
    const struct query_row outside =
        query_view_row(searcher->view, source->shard, source->source, row);
    struct doc payload, parts;
    struct error error = {0};
    const float *values;
    uint32_t rows;
    double order;

    if (query_body_decode(&outside, bytes, size_bytes, &source->payloads, &payload, &parts,
                          &error) != 0) {
        search_report_damage(source, &error);
        return;
    }
    search_extra_values(searcher->search->extra, &parts, &values, &rows);
    if (!values)
        return;
    order = search_row_order(source, row, search_score_values(searcher, values, rows));
    if (order >= search_floor(searcher))
        search_offer(source, row, order);
}

/* Each compressed block once; where one is damaged, the rows are read one by one to find those that are not. */
static void score_extras(struct source_search *source, const uint32_t *rows, uint32_t count)
{
    const uint8_t *payloads[SCAN_BLOCK_ROWS];
    uint32_t payload_bytes[SCAN_BLOCK_ROWS];
    struct error error = {0};
    bool read = count > 0 && store_rows_payloads(source->source, rows, count, &source->payloads,
                                                 payloads, payload_bytes, &error) == 0;

    for (uint32_t i = 0; i < count; i++) {
        size_t size_bytes = read ? payload_bytes[i] : 0;
        if (!read && store_row_payload(source->source, rows[i], &source->payloads, &payloads[i],
                                       &size_bytes, &error) != 0)
            search_report_damage(source, &error);
        else
            score_extra(source, rows[i], payloads[i], size_bytes);
    }
    if (source->payloads.used_bytes > 0)
        arena_reset(&source->payloads);
}

static void scan_extra(struct source_search *source)
{
    const uint32_t total = source->source->row_count;
    uint32_t rows[SCAN_BLOCK_ROWS];
    bool passed[SCAN_BLOCK_ROWS];

    for (uint32_t row = 0; row < total && !search_is_stopped(source->searcher);) {
        uint32_t count = 0, kept = 0;
        for (; row < total && count < SCAN_BLOCK_ROWS; row++)
            if (search_row_eligible(source, row))
                rows[count++] = row;
        if (source->searcher->filter)
            filter_candidates(source, rows, count, passed);
        for (uint32_t i = 0; i < count; i++)
            if (!source->searcher->filter || passed[i])
                rows[kept++] = rows[i];
        score_extras(source, rows, kept);
    }
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
    else if (source->path == ACCESS_EXTRA)
        scan_extra(source);
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
