/* Frames of the log: one group of records, built whole in memory and written with one call.
 *
 *     header | records | keys | payloads | gap to 64 bytes | vectors | zeros to 4096 bytes
 *
 * Vectors lie together and aligned because they are never copied again: the memtable points at
 * them, and after the flush the log file is the chunk's vector column. The size is a multiple of
 * 4096 because it is written past the page cache.
 *
 * A frame is told from the remains of an earlier use of the file by its identity (file number, log
 * generation, salt, position), which is in the header and in the checksum. So a frame that is cut
 * short, stale or misplaced fails one check, and reading ends there. */
#include "store/files/log_frame.h"
#include "base/bytes.h"
#include "store/files/wire.h"

#include <assert.h>
#include <string.h>

#include "base/checksum.h"
#include "store/files/key.h"
#include "store/files/record.h"

/* Places the columns once the counts and lengths are known. */
static void layout_place(struct log_frame_layout *layout, uint32_t dim)
{
    uint64_t end = sizeof(struct log_frame_header) +
                   (uint64_t)layout->record_count * sizeof(struct log_frame_record) +
                   layout->keys_bytes + layout->payloads_bytes;

    layout->vectors_at = bytes_align(end, LOG_FRAME_VECTOR_ALIGNMENT);
    layout->used_bytes =
        layout->vectors_at + (uint64_t)layout->vector_count * dim * (uint64_t)sizeof(float);
    layout->frame_bytes = bytes_align(layout->used_bytes, LOG_FRAME_ALIGNMENT);
}

int log_frame_plan(const struct store_group *group, const uint32_t *indices, uint32_t count,
                   uint32_t dim, struct log_frame_layout *layout, struct error *error)
{
    uint64_t keys_bytes = 0;

    *layout = (struct log_frame_layout){.record_count = count};
    for (uint32_t i = 0; i < count; i++) {
        const struct store_record *record = &group->records[indices[i]];
        keys_bytes += record->key_bytes;
        if (!record->is_delete) {
            layout->payloads_bytes += record->payload_bytes;
            layout->vector_count++;
        }
    }
    if (keys_bytes > UINT32_MAX || layout->payloads_bytes > LOG_FRAME_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "a group of %u records is too large", count);
    layout->keys_bytes = (uint32_t)keys_bytes;
    layout_place(layout, dim);
    if (layout->frame_bytes > LOG_FRAME_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "a group of %llu bytes is too large",
                         (unsigned long long)layout->frame_bytes);
    return 0;
}

/* Over everything behind the checksum itself, gaps and padding included: what is on the device is
 * known to the last byte. */
uint64_t log_frame_checksum(const struct log_frame_header *header)
{
    const uint8_t *bytes = (const uint8_t *)header;

    return checksum_block(bytes + sizeof(header->checksum),
                          header->frame_bytes - sizeof(header->checksum), header->file_number,
                          header->log_generation, header->position);
}

/* The version of a frame of that version, once a record with these flags is added. */
static uint16_t version_with(uint16_t version, uint16_t flags)
{
    if (flags & LOG_RECORD_BARE)
        return LOG_FRAME_VERSION_BARE;
    return (flags & LOG_RECORD_PARTS) && version < LOG_FRAME_VERSION_PARTS ? LOG_FRAME_VERSION_PARTS
                                                                           : version;
}

void log_frame_build(const struct store_group *group, const uint32_t *indices, uint32_t dim,
                     const struct log_frame_layout *layout,
                     const struct log_frame_identity *identity, uint64_t sequence, uint16_t flags,
                     uint8_t *bytes)
{
    struct log_frame_header *header = (struct log_frame_header *)bytes;
    struct log_frame_record *records = (struct log_frame_record *)(header + 1);
    uint8_t *keys = (uint8_t *)(records + layout->record_count);
    uint8_t *payloads = keys + layout->keys_bytes;
    uint8_t *vectors = bytes + layout->vectors_at;
    size_t vector_bytes = dim * sizeof(float);

    memset(header, 0, sizeof(*header));
    header->magic = LOG_FRAME_MAGIC;
    header->version = LOG_FRAME_VERSION;
    header->flags = flags;
    header->file_number = identity->file_number;
    header->log_generation = identity->log_generation;
    header->salt = identity->salt;
    header->position = identity->position;
    header->sequence = sequence;
    header->frame_bytes = layout->frame_bytes;
    header->used_bytes = layout->used_bytes;
    header->first_offset =
        layout->record_count > 0 ? group->records[indices[0]].offset : group->next_offset;
    header->next_offset = group->next_offset;
    header->watermark_ms = group->clock.watermark_ms;
    header->last_record_wall_ms = group->clock.last_record_wall_ms;
    header->safe_wall_ms = group->clock.safe_wall_ms;
    if (group->clock.log.known) {
        header->log_time_ms = group->clock.log.time_ms;
        header->log_stamp_ms = group->clock.log.stamp_ms;
        header->log_watermark_ms = group->clock.log.watermark_ms;
        header->log_known = 1;
    }
    header->record_count = layout->record_count;
    header->vector_count = layout->vector_count;
    header->dim = dim;
    header->keys_bytes = layout->keys_bytes;
    header->payloads_bytes = layout->payloads_bytes;
    if (group->topic.hash != 0) {
        header->topic_offset = group->topic.offset;
        header->topic_hash = group->topic.hash;
    }

    for (uint32_t i = 0; i < layout->record_count; i++) {
        const struct store_record *record = &group->records[indices[i]];
        records[i] = (struct log_frame_record){.offset = record->offset,
                                               .event_time_ms = record->event_time_ms,
                                               .ttl_ms = record->ttl_ms,
                                               .key_bytes = record->key_bytes};
        memcpy(keys, record->key, record->key_bytes);
        keys += record->key_bytes;
        if (record->is_delete) {
            records[i].flags = LOG_RECORD_DELETE;
            continue;
        }
        records[i].flags = (uint16_t)((record->has_parts ? LOG_RECORD_PARTS : 0) |
                                      (record->vector ? 0 : LOG_RECORD_BARE));
        header->version = version_with(header->version, records[i].flags);
        records[i].payload_bytes = record->payload_bytes;
        if (record->payload_bytes > 0)
            memcpy(payloads, record->payload, record->payload_bytes);
        payloads += record->payload_bytes;
        if (record->vector)
            memcpy(vectors, record->vector, vector_bytes);
        else
            memset(vectors, 0, vector_bytes);
        vectors += vector_bytes;
    }
    /* A failed write may have left another frame's bytes in the gaps. */
    memset(payloads, 0, (size_t)(bytes + layout->vectors_at - payloads));
    assert(vectors == bytes + layout->used_bytes);
    memset(vectors, 0, layout->frame_bytes - layout->used_bytes);
    header->checksum = log_frame_checksum(header);
}

void log_frame_locate(const uint8_t *bytes, struct log_frame *frame)
{
    const struct log_frame_header *header = (const struct log_frame_header *)bytes;
    uint64_t columns;

    frame->header = header;
    frame->records = (const struct log_frame_record *)(header + 1);
    frame->keys = (const uint8_t *)(frame->records + header->record_count);
    frame->payloads = frame->keys + header->keys_bytes;
    columns = (uint64_t)(frame->payloads - bytes) + header->payloads_bytes;
    frame->vectors = (const float *)(bytes + bytes_align(columns, LOG_FRAME_VECTOR_ALIGNMENT));
}

static int parse_header(const struct log_frame_header *header, uint64_t available,
                        const struct log_frame_identity *identity, uint32_t dim,
                        struct error *error)
{
    if (available < sizeof(*header) || header->magic != LOG_FRAME_MAGIC)
        return error_set(error, ERROR_CORRUPT, "no frame");
    if (header->file_number != identity->file_number ||
        header->log_generation != identity->log_generation || header->salt != identity->salt ||
        header->position != identity->position)
        return error_set(error, ERROR_CORRUPT,
                         "the frame belongs to another file, use or position");
    if (header->frame_bytes % LOG_FRAME_ALIGNMENT != 0 || header->frame_bytes > available ||
        header->used_bytes > header->frame_bytes || header->frame_bytes < sizeof(*header))
        return error_set(error, ERROR_CORRUPT, "invalid frame length");
    if (header->checksum != log_frame_checksum(header))
        return error_set(error, ERROR_CORRUPT, "checksum of the frame does not match");
    /* It is whole: who looks for the end of the log must not take it for that. */
    if (header->version > LOG_FRAME_VERSION_BARE)
        return error_set(error, ERROR_UNSUPPORTED, NEWER_FORMAT, header->version,
                         LOG_FRAME_VERSION_BARE);
    if (header->version < LOG_FRAME_VERSION)
        return error_set(error, ERROR_CORRUPT, "frame of version %u", header->version);
    if (dim != 0 && header->dim != dim)
        return error_set(error, ERROR_CORRUPT, "frame of dimension %u, expected %u", header->dim,
                         dim);
    return 0;
}

int log_frame_parse(const uint8_t *bytes, uint64_t available,
                    const struct log_frame_identity *identity, uint32_t dim,
                    struct log_frame *frame, struct error *error)
{
    const struct log_frame_header *header = (const struct log_frame_header *)bytes;
    struct log_frame_layout layout;
    uint64_t keys_bytes = 0;
    uint64_t payloads_bytes = 0;
    uint32_t vector_count = 0;
    int code = parse_header(header, available, identity, dim, error);

    if (code != 0)
        return code;
    layout = (struct log_frame_layout){.record_count = header->record_count,
                                       .vector_count = header->vector_count,
                                       .keys_bytes = header->keys_bytes,
                                       .payloads_bytes = header->payloads_bytes};
    /* The columns must fill the frame exactly; no product overflows 64 bits with these bounds. */
    if (header->payloads_bytes > available || header->dim > UINT32_C(1) << 24 ||
        (layout_place(&layout, header->dim), layout.used_bytes != header->used_bytes) ||
        layout.frame_bytes != header->frame_bytes)
        return error_set(error, ERROR_CORRUPT, "the frame's columns do not add up to its size");
    if (header->topic_hash != 0 &&
        (header->topic_offset < 0 || header->topic_offset >= header->next_offset))
        return error_set(error, ERROR_CORRUPT,
                         "the topic fingerprint of the frame is out of range");

    log_frame_locate(bytes, frame);
    for (uint32_t i = 0; i < header->record_count; i++) {
        const struct log_frame_record *record = &frame->records[i];
        keys_bytes += record->key_bytes;
        payloads_bytes += record->payload_bytes;
        vector_count += (record->flags & LOG_RECORD_DELETE) == 0;
        if (record->key_bytes == 0 || record->key_bytes > STORE_KEY_MAX_BYTES ||
            record->offset >= header->next_offset || record->offset < header->first_offset)
            return error_set(error, ERROR_CORRUPT, "record %u of the frame is invalid", i);
    }
    if (keys_bytes != header->keys_bytes || payloads_bytes != header->payloads_bytes ||
        vector_count != header->vector_count)
        return error_set(error, ERROR_CORRUPT, "lengths in the frame do not add up");
    return 0;
}
