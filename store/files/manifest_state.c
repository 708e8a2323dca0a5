/* Records of an edit: how they are written and what they do to the state.
 *
 * An edit's body is a row of records, each one byte of type (enum manifest_record) and the fields
 * that manifest_format.h draws for it. Numbers are little-endian and unaligned (wire.h). For each
 * type there are two functions here, one that writes and one that applies: they must agree field by
 * field.
 *
 * Applying checks sense, not bytes: checksums were checked before. A record that names a table or
 * log that is not there is ERROR_CORRUPT: no such edit was ever committed.
 *
 * Compatibility. New facts come as new record types behind the old ones (the segment's checksum,
 * the topic fingerprint), never as fields within one: stores of earlier versions stay readable. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/manifest.h"
#include "store/files/manifest_format.h"
#include "store/files/wire.h"

void manifest_edit_destroy(struct manifest_edit *edit)
{
    buffer_destroy(&edit->body);
}

static void put_clock(struct buffer *out, const struct store_clock *clock)
{
    wire_put_i64(out, clock->watermark_ms);
    wire_put_i64(out, clock->last_record_wall_ms);
    wire_put_i64(out, clock->safe_wall_ms);
}

static void read_clock(struct wire_reader *in, struct store_clock *clock)
{
    clock->watermark_ms = wire_read_i64(in);
    clock->last_record_wall_ms = wire_read_i64(in);
    clock->safe_wall_ms = wire_read_i64(in);
}

void manifest_clock_advance(struct store_clock *clock, const struct store_clock *to)
{
    if (to->watermark_ms > clock->watermark_ms)
        clock->watermark_ms = to->watermark_ms;
    if (to->last_record_wall_ms > clock->last_record_wall_ms)
        clock->last_record_wall_ms = to->last_record_wall_ms;
    if (to->safe_wall_ms > clock->safe_wall_ms)
        clock->safe_wall_ms = to->safe_wall_ms;
}

/* A seal brings the clock that it began with: records that were flushed meanwhile brought a later
 * one. */
static void apply_clock(struct manifest_state *state, struct wire_reader *in)
{
    struct store_clock clock = {0};

    read_clock(in, &clock);
    manifest_clock_advance(&state->clock, &clock);
}

enum { SEGMENT_KIND_BYTES = 16 }; /* a name, and zeros behind it */

static void put_segment(struct buffer *out, const struct store_segment_info *segment)
{
    char kind[SEGMENT_KIND_BYTES] = {0};

    wire_put_u64(out, segment->file_number);
    wire_put_u64(out, segment->bytes);
    (void)strncpy(kind, segment_kind_name(segment->kind), sizeof(kind) - 1);
    buffer_append(out, kind, sizeof(kind));
    wire_put_double(out, segment->recall);
}

/* Its checksum follows in a record of its own, or is not known. */
static void read_segment(struct wire_reader *in, struct store_segment_info *segment)
{
    char kind[SEGMENT_KIND_BYTES];

    segment->checksum = 0;
    segment->file_number = wire_read_u64(in);
    segment->bytes = wire_read_u64(in);
    wire_read(in, kind, sizeof(kind));
    kind[sizeof(kind) - 1] = '\0';
    segment->kind = segment_kind_parse(kind);
    segment->recall = wire_read_double(in);
}

static void put_number(struct manifest_edit *edit, enum manifest_record type, uint64_t number)
{
    wire_put_u8(&edit->body, (uint8_t)type);
    wire_put_u64(&edit->body, number);
}

void manifest_edit_identity(struct manifest_edit *edit, uint32_t dim, uint32_t metric)
{
    wire_put_u8(&edit->body, MANIFEST_IDENTITY);
    wire_put_u32(&edit->body, dim);
    wire_put_u32(&edit->body, metric);
}

void manifest_edit_numbers(struct manifest_edit *edit, uint64_t next_file_number,
                           uint64_t next_log_generation)
{
    put_number(edit, MANIFEST_NUMBERS, next_file_number);
    wire_put_u64(&edit->body, next_log_generation);
}

void manifest_edit_progress(struct manifest_edit *edit, int64_t next_offset, int64_t next_sequence,
                            const struct store_clock *clock)
{
    wire_put_u8(&edit->body, MANIFEST_PROGRESS);
    wire_put_i64(&edit->body, next_offset);
    wire_put_i64(&edit->body, next_sequence);
    put_clock(&edit->body, clock);
}

void manifest_edit_topic_fingerprint(struct manifest_edit *edit,
                                     const struct store_topic_fingerprint *topic)
{
    if (topic->hash == 0)
        return;
    wire_put_u8(&edit->body, MANIFEST_TOPIC_FINGERPRINT);
    wire_put_i64(&edit->body, topic->offset);
    wire_put_u64(&edit->body, topic->hash);
}

static void edit_needs(struct manifest_edit *edit, uint16_t version)
{
    if (edit->version < version)
        edit->version = version;
}

void manifest_edit_log_clock(struct manifest_edit *edit, const struct store_log_clock *log)
{
    if (!log->known)
        return;
    wire_put_u8(&edit->body, MANIFEST_LOG_CLOCK);
    wire_put_i64(&edit->body, log->time_ms);
    wire_put_i64(&edit->body, log->stamp_ms);
    wire_put_i64(&edit->body, log->watermark_ms);
    edit_needs(edit, MANIFEST_VERSION_LOG_CLOCK);
}

static void apply_log_clock(struct manifest_state *state, struct wire_reader *in)
{
    struct store_log_clock *log = &state->clock.log;

    log->known = true;
    log->time_ms = wire_read_i64(in);
    log->stamp_ms = wire_read_i64(in);
    log->watermark_ms = wire_read_i64(in);
}

void manifest_edit_clock(struct manifest_edit *edit, const struct store_clock *clock)
{
    wire_put_u8(&edit->body, MANIFEST_CLOCK);
    put_clock(&edit->body, clock);
}

static void put_segment_checksum(struct manifest_edit *edit, uint64_t table_number,
                                 const struct store_segment_info *segment)
{
    if (segment->file_number == 0 || segment->checksum == 0)
        return;
    put_number(edit, MANIFEST_SEGMENT_CHECKSUM, table_number);
    wire_put_u64(&edit->body, segment->checksum);
}

void manifest_edit_table(struct manifest_edit *edit, const struct manifest_table *table)
{
    struct buffer *out = &edit->body;
    const struct table_description *description = &table->description;
    const struct table_info *info = &table->info;

    wire_put_u8(out, MANIFEST_TABLE);
    wire_put_u8(out, (uint8_t)description->kind);
    wire_put_u8(out, (uint8_t)description->codec);
    wire_put_u8(out, table->sealed);
    wire_put_u64(out, description->file_number);
    wire_put_u64(out, description->log_file_number);
    wire_put_i64(out, description->window_start_ms);
    wire_put_i64(out, description->window_length_ms);
    wire_put_u64(out, description->generation);
    wire_put_u64(out, info->row_count);
    wire_put_u64(out, info->index_bytes);
    wire_put_u64(out, info->vector_bytes);
    wire_put_u64(out, info->footer_checksum);
    wire_put_i64(out, info->min_event_ms);
    wire_put_i64(out, info->max_event_ms);
    wire_put_i64(out, info->min_offset);
    wire_put_i64(out, info->max_offset);
    wire_put_i64(out, info->max_row_ttl_ms);
    wire_put_u64(out, table->mask_number);
    wire_put_u64(out, table->mask_bytes);
    put_segment(out, &table->segment);
    put_segment_checksum(edit, description->file_number, &table->segment);
    if (table->level != 0)
        manifest_edit_level(edit, description->file_number, table->level);
}

static void read_table(struct wire_reader *in, struct manifest_table *table)
{
    struct table_description *description = &table->description;
    struct table_info *info = &table->info;

    memset(table, 0, sizeof(*table));
    description->kind = (enum table_kind)wire_read_u8(in);
    description->codec = (enum vector_codec)wire_read_u8(in);
    table->sealed = wire_read_u8(in) != 0;
    description->file_number = wire_read_u64(in);
    description->log_file_number = wire_read_u64(in);
    description->window_start_ms = wire_read_i64(in);
    description->window_length_ms = wire_read_i64(in);
    description->generation = wire_read_u64(in);
    info->row_count = wire_read_u64(in);
    info->index_bytes = wire_read_u64(in);
    info->vector_bytes = wire_read_u64(in);
    info->footer_checksum = wire_read_u64(in);
    info->min_event_ms = wire_read_i64(in);
    info->max_event_ms = wire_read_i64(in);
    info->min_offset = wire_read_i64(in);
    info->max_offset = wire_read_i64(in);
    info->max_row_ttl_ms = wire_read_i64(in);
    table->mask_number = wire_read_u64(in);
    table->mask_bytes = wire_read_u64(in);
    read_segment(in, &table->segment);
}

void manifest_edit_table_drop(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_TABLE_DROP, number);
}

void manifest_edit_level(struct manifest_edit *edit, uint64_t table_number, uint8_t level)
{
    put_number(edit, MANIFEST_LEVEL, table_number);
    wire_put_u8(&edit->body, level);
}

void manifest_edit_mask(struct manifest_edit *edit, uint64_t table_number, uint64_t mask_number,
                        uint64_t mask_bytes)
{
    put_number(edit, MANIFEST_MASK, table_number);
    wire_put_u64(&edit->body, mask_number);
    wire_put_u64(&edit->body, mask_bytes);
}

void manifest_edit_segment(struct manifest_edit *edit, uint64_t table_number,
                           const struct store_segment_info *segment)
{
    put_number(edit, MANIFEST_SEGMENT, table_number);
    put_segment(&edit->body, segment);
    put_segment_checksum(edit, table_number, segment);
}

void manifest_edit_span(struct manifest_edit *edit, const struct span *span)
{
    wire_put_u8(&edit->body, MANIFEST_SPAN);
    put_segment(&edit->body, &span->segment);
    wire_put_u64(&edit->body, span->segment.checksum);
    span_put_parts(&edit->body, span);
    edit_needs(edit, MANIFEST_VERSION_SPANS);
}

void manifest_edit_span_drop(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_SPAN_DROP, number);
}

void manifest_edit_log_use(struct manifest_edit *edit, const struct manifest_log *log)
{
    put_number(edit, MANIFEST_LOG_USE, log->number);
    wire_put_u64(&edit->body, log->log_generation);
    wire_put_u64(&edit->body, log->salt);
    wire_put_i64(&edit->body, log->first_sequence);
    wire_put_u8(&edit->body, log->active);
    wire_put_u8(&edit->body, log->durable);
}

void manifest_edit_log_done(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_LOG_DONE, number);
}

void manifest_edit_log_drop(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_LOG_DROP, number);
}

void manifest_edit_dropped(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_DROPPED, number);
}

void manifest_edit_forget(struct manifest_edit *edit, uint64_t number)
{
    put_number(edit, MANIFEST_FORGET, number);
}

/* Makes room for one more item of an array in the state. */
static void *array_grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    void *grown = items;

    if (count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 16;
        grown = realloc(items, *capacity * item_bytes);
        if (!grown)
            abort();
    }
    return grown;
}

struct manifest_table *manifest_state_table(const struct manifest_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (state->tables[i].description.file_number == number)
            return &state->tables[i];
    return NULL;
}

struct manifest_log *manifest_state_log(const struct manifest_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->log_count; i++)
        if (state->logs[i].number == number)
            return &state->logs[i];
    return NULL;
}

static struct span *find_span(const struct manifest_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->span_count; i++)
        if (state->spans[i].segment.file_number == number)
            return &state->spans[i];
    return NULL;
}

bool manifest_state_refers(const struct manifest_state *state, uint64_t number)
{
    if (manifest_state_log(state, number))
        return true;
    for (size_t i = 0; i < state->table_count; i++) {
        const struct manifest_table *table = &state->tables[i];
        if (table->description.file_number == number || table->mask_number == number ||
            table->segment.file_number == number)
            return true;
    }
    return find_span(state, number) != NULL;
}

static void state_drop(struct manifest_state *state, uint64_t number)
{
    if (number == 0)
        return;
    state->dropped = array_grow(state->dropped, state->dropped_count, &state->dropped_capacity,
                                sizeof(*state->dropped));
    state->dropped[state->dropped_count++] = number;
}

static void state_forget(struct manifest_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->dropped_count; i++)
        if (state->dropped[i] == number) {
            state->dropped[i] = state->dropped[--state->dropped_count];
            return;
        }
}

/* Whether the run of some part belongs to the shard. *agrees: those that do are sealed runs with the
 * rows and the window that the span has for them. */
static bool is_span_live(const struct manifest_state *state, const struct span *span, bool *agrees)
{
    bool live = false;

    *agrees = true;
    for (uint32_t i = 0; i < span->part_count; i++) {
        const struct store_span_part *part = &span->parts[i];
        const struct manifest_table *table = manifest_state_table(state, part->file_number);
        if (!table)
            continue;
        live = true;
        *agrees &= table->sealed && table->info.row_count == part->row_count &&
                   table->description.window_start_ms == part->window_start_ms &&
                   table->description.window_length_ms == span->window_length_ms;
    }
    return live;
}

/* What is known of a run that spans cover may change in its mask and segment only. */
static bool spans_agree(const struct manifest_state *state, uint64_t table_number)
{
    bool agrees = true;

    for (size_t i = 0; i < state->span_count && agrees; i++)
        if (span_covers(&state->spans[i], table_number))
            (void)is_span_live(state, &state->spans[i], &agrees);
    return agrees;
}

static bool apply_table(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_table table;
    struct manifest_table *slot;

    read_table(in, &table);
    table.description.dim = state->dim;
    if (in->failed || table.description.file_number == 0 ||
        !table_window_valid(&table.description) ||
        (table.description.kind != TABLE_CHUNK && table.description.kind != TABLE_RUN))
        return false;
    slot = manifest_state_table(state, table.description.file_number);
    if (!slot) {
        state->tables = array_grow(state->tables, state->table_count, &state->table_capacity,
                                   sizeof(*state->tables));
        slot = &state->tables[state->table_count++];
    }
    *slot = table;
    return spans_agree(state, table.description.file_number);
}

static bool apply_span_drop(struct manifest_state *state, uint64_t number)
{
    struct span *span = find_span(state, number);

    if (!span)
        return false;
    state_drop(state, number);
    span_destroy(span);
    *span = state->spans[--state->span_count];
    return true;
}

static bool apply_span(struct manifest_state *state, struct wire_reader *in)
{
    struct span span = {0};
    bool agrees;

    read_segment(in, &span.segment);
    span.segment.checksum = wire_read_u64(in);
    if (span.segment.file_number == 0 || find_span(state, span.segment.file_number) ||
        !span_read_parts(in, &span))
        return false;
    if (!is_span_live(state, &span, &agrees) || !agrees) {
        span_destroy(&span);
        return false;
    }
    state->spans =
        array_grow(state->spans, state->span_count, &state->span_capacity, sizeof(*state->spans));
    state->spans[state->span_count++] = span;
    return true;
}

/* A span goes with the last of its parts. */
static void drop_dead_spans(struct manifest_state *state, uint64_t table_number)
{
    for (size_t i = state->span_count; i-- > 0;) {
        bool agrees;
        if (span_covers(&state->spans[i], table_number) &&
            !is_span_live(state, &state->spans[i], &agrees))
            (void)apply_span_drop(state, state->spans[i].segment.file_number);
    }
}

static bool apply_table_drop(struct manifest_state *state, uint64_t number)
{
    struct manifest_table *table = manifest_state_table(state, number);

    if (!table)
        return false;
    state_drop(state, number);
    state_drop(state, table->mask_number);
    state_drop(state, table->segment.file_number);
    /* Order is kept: tables of a window stay oldest first. */
    memmove(table, table + 1,
            (size_t)(state->tables + --state->table_count - table) * sizeof(*table));
    drop_dead_spans(state, number);
    return true;
}

static bool apply_mask(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_table *table = manifest_state_table(state, wire_read_u64(in));

    if (!table)
        return false;
    state_drop(state, table->mask_number);
    table->mask_number = wire_read_u64(in);
    table->mask_bytes = wire_read_u64(in);
    return true;
}

static bool apply_level(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_table *table = manifest_state_table(state, wire_read_u64(in));
    uint8_t level = wire_read_u8(in);

    if (!table || level >= STORE_LEVELS || (table->sealed && level > 0))
        return false;
    table->level = level;
    return true;
}

static bool apply_segment(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_table *table = manifest_state_table(state, wire_read_u64(in));

    if (!table)
        return false;
    state_drop(state, table->segment.file_number);
    read_segment(in, &table->segment);
    return true;
}

static bool apply_segment_checksum(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_table *table = manifest_state_table(state, wire_read_u64(in));

    if (!table || table->segment.file_number == 0)
        return false;
    table->segment.checksum = wire_read_u64(in);
    return true;
}

static bool apply_log_use(struct manifest_state *state, struct wire_reader *in)
{
    struct manifest_log log = {0};
    struct manifest_log *slot;

    log.number = wire_read_u64(in);
    log.log_generation = wire_read_u64(in);
    log.salt = wire_read_u64(in);
    log.first_sequence = wire_read_i64(in);
    log.active = wire_read_u8(in);
    log.durable = wire_read_u8(in);
    if (log.number == 0 || log.log_generation == UINT64_MAX)
        return false;
    slot = manifest_state_log(state, log.number);
    if (!slot) {
        state->logs =
            array_grow(state->logs, state->log_count, &state->log_capacity, sizeof(*state->logs));
        slot = &state->logs[state->log_count++];
    }
    *slot = log;
    if (state->next_log_generation <= log.log_generation)
        state->next_log_generation = log.log_generation + 1;
    return true;
}

static bool apply_log_end(struct manifest_state *state, uint64_t number, bool drop)
{
    struct manifest_log *log = manifest_state_log(state, number);

    if (!log)
        return false;
    log->active = 0;
    if (drop) {
        state_drop(state, number);
        *log = state->logs[--state->log_count];
    }
    return true;
}

static bool apply_numbers(struct manifest_state *state, struct wire_reader *in)
{
    uint64_t next_file_number = wire_read_u64(in);
    uint64_t next_log_generation = wire_read_u64(in);

    if (next_file_number < state->next_file_number)
        return false;
    state->next_file_number = next_file_number;
    if (next_log_generation > state->next_log_generation)
        state->next_log_generation = next_log_generation;
    return true;
}

static bool apply_topic_fingerprint(struct manifest_state *state, struct wire_reader *in)
{
    struct store_topic_fingerprint topic;

    topic.offset = wire_read_i64(in);
    topic.hash = wire_read_u64(in);
    if (topic.offset < 0 || topic.offset >= state->next_offset || topic.hash == 0)
        return false;
    state->topic = topic;
    return true;
}

/* One record; false when it makes no sense in this state. */
static bool apply_record(struct manifest_state *state, struct wire_reader *in)
{
    switch (wire_read_u8(in)) {
    case MANIFEST_IDENTITY:
        state->dim = wire_read_u32(in);
        state->metric = wire_read_u32(in);
        return true;
    case MANIFEST_NUMBERS:
        return apply_numbers(state, in);
    case MANIFEST_PROGRESS:
        state->next_offset = wire_read_i64(in);
        state->next_sequence = wire_read_i64(in);
        state->topic = (struct store_topic_fingerprint){0};
        state->clock.log = (struct store_log_clock){0};
        apply_clock(state, in);
        return true;
    case MANIFEST_LOG_CLOCK:
        apply_log_clock(state, in);
        return true;
    case MANIFEST_TOPIC_FINGERPRINT:
        return apply_topic_fingerprint(state, in);
    case MANIFEST_CLOCK:
        apply_clock(state, in);
        return true;
    case MANIFEST_TABLE:
        return apply_table(state, in);
    case MANIFEST_TABLE_DROP:
        return apply_table_drop(state, wire_read_u64(in));
    case MANIFEST_MASK:
        return apply_mask(state, in);
    case MANIFEST_LEVEL:
        return apply_level(state, in);
    case MANIFEST_SEGMENT_CHECKSUM:
        return apply_segment_checksum(state, in);
    case MANIFEST_SEGMENT:
        return apply_segment(state, in);
    case MANIFEST_SPAN:
        return apply_span(state, in);
    case MANIFEST_SPAN_DROP:
        return apply_span_drop(state, wire_read_u64(in));
    case MANIFEST_LOG_USE:
        return apply_log_use(state, in);
    case MANIFEST_LOG_DONE:
        return apply_log_end(state, wire_read_u64(in), false);
    case MANIFEST_LOG_DROP:
        return apply_log_end(state, wire_read_u64(in), true);
    case MANIFEST_DROPPED:
        state_drop(state, wire_read_u64(in));
        return true;
    case MANIFEST_FORGET:
        state_forget(state, wire_read_u64(in));
        return true;
    default:
        return false;
    }
}

int manifest_state_apply(struct manifest_state *state, const uint8_t *body, size_t body_bytes,
                         struct error *error)
{
    struct wire_reader in = {body, body + body_bytes, false};

    while (in.cursor < in.end) {
        size_t at = (size_t)(in.cursor - body);
        if (!apply_record(state, &in) || in.failed)
            return error_set(error, ERROR_CORRUPT, "invalid record at byte %zu", at);
    }
    return 0;
}

void manifest_state_encode(const struct manifest_state *state, struct manifest_edit *edit)
{
    manifest_edit_identity(edit, state->dim, state->metric);
    manifest_edit_numbers(edit, state->next_file_number, state->next_log_generation);
    manifest_edit_progress(edit, state->next_offset, state->next_sequence, &state->clock);
    manifest_edit_topic_fingerprint(edit, &state->topic);
    manifest_edit_log_clock(edit, &state->clock.log);
    for (size_t i = 0; i < state->log_count; i++)
        manifest_edit_log_use(edit, &state->logs[i]);
    for (size_t i = 0; i < state->table_count; i++)
        manifest_edit_table(edit, &state->tables[i]);
    for (size_t i = 0; i < state->span_count; i++) /* behind the tables that they are over */
        manifest_edit_span(edit, &state->spans[i]);
    for (size_t i = 0; i < state->dropped_count; i++)
        manifest_edit_dropped(edit, state->dropped[i]);
}

void manifest_state_destroy(struct manifest_state *state)
{
    for (size_t i = 0; i < state->span_count; i++)
        span_destroy(&state->spans[i]);
    free(state->spans);
    free(state->tables);
    free(state->logs);
    free(state->dropped);
    *state = (struct manifest_state){0};
}
