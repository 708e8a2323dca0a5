/* A frame: one group of records in a log file, durable and visible as a whole.
 *
 *     +--------------------------+ 0        struct log_frame_header
 *     | header                   |
 *     +--------------------------+ 192      record_count x struct log_frame_record
 *     | fixed part of records    |
 *     +--------------------------+          keys, one behind the other, in record order
 *     | keys                     |
 *     +--------------------------+          payloads, likewise
 *     | payloads                 |
 *     +--------------------------+          next multiple of 64: vector_count x dim float32;
 *     | vectors                  |          deletes have none, records without a vector have zeros
 *     +--------------------------+ used_bytes
 *     | zeros                    |
 *     +--------------------------+ frame_bytes, a multiple of 4096
 *
 * Frames lie one behind the other from position 0. The checksum covers everything but itself and is
 * seeded with the file number, the log generation and the position. A log file that is used again
 * gets a new generation and a new random salt: what an earlier use left behind does not pass for a
 * frame of this one, and no payload can be made to look like one. */
#ifndef STORE_FILES_LOG_FRAME_H
#define STORE_FILES_LOG_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct store_group;

enum {
    LOG_FRAME_ALIGNMENT = 4096,
    LOG_FRAME_VECTOR_ALIGNMENT = 64,
    LOG_FRAME_VERSION = 1,       /* of frames whose records have a payload and no more */
    LOG_FRAME_VERSION_PARTS = 2, /* of others: builds before them refuse it */
    LOG_FRAME_VERSION_BARE = 3,  /* of frames with records without a vector, with parts or not */
    LOG_FRAME_SYNCED = 1         /* flag: acknowledged only after it was durable */
};

#define LOG_FRAME_MAGIC     UINT32_C(0x474f4c57) /* "WLOG" */
#define LOG_FRAME_MAX_BYTES (UINT64_C(1) << 32)

struct log_frame_header {
    uint64_t checksum; /* XXH3 of bytes [8, frame_bytes), see log_frame_checksum */
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    uint64_t file_number;
    uint64_t log_generation; /* which use of the file; from the manifest */
    uint64_t salt;           /* random, of this use */
    uint64_t position;       /* of this frame in the file */
    uint64_t sequence;       /* counts the frames of the shard without a gap */
    uint64_t frame_bytes;    /* with padding */
    uint64_t used_bytes;     /* without */
    int64_t first_offset;    /* of the first record; next_offset without records */
    int64_t next_offset;     /* where Kafka is to be read on */
    int64_t watermark_ms;    /* struct store_clock */
    int64_t last_record_wall_ms;
    int64_t safe_wall_ms;
    uint32_t record_count;
    uint32_t vector_count;
    uint32_t dim;
    uint32_t keys_bytes;
    uint64_t payloads_bytes;
    int64_t topic_offset; /* struct store_topic_fingerprint */
    uint64_t topic_hash;  /* 0: not known, as in frames from before it was kept */
    int64_t log_time_ms;  /* struct store_log_clock, as the next three */
    int64_t log_stamp_ms;
    int64_t log_watermark_ms;
    uint64_t log_known; /* 1; 0: not known, as in frames from before it was kept */
    uint64_t reserved;  /* zero */
};

struct log_frame_record {
    int64_t offset;
    int64_t event_time_ms;
    int64_t ttl_ms; /* the record's own; 0: none */
    uint32_t payload_bytes;
    uint16_t key_bytes;
    uint16_t flags; /* set of LOG_RECORD_* */
};

/* PARTS: the payload's bytes end with parts (parts.h). BARE: it has no vector, zeros stand in its place. */
enum { LOG_RECORD_DELETE = 1, LOG_RECORD_PARTS = 2, LOG_RECORD_BARE = 4 };

_Static_assert(sizeof(struct log_frame_header) == 192, "on-disk format");
_Static_assert(offsetof(struct log_frame_header, first_offset) == 72, "on-disk format");
_Static_assert(offsetof(struct log_frame_header, record_count) == 112, "on-disk format");
_Static_assert(offsetof(struct log_frame_header, payloads_bytes) == 128, "on-disk format");
_Static_assert(offsetof(struct log_frame_header, topic_offset) == 136, "on-disk format");
_Static_assert(offsetof(struct log_frame_header, log_time_ms) == 152, "on-disk format");
_Static_assert(sizeof(struct log_frame_record) == 32, "on-disk format");

/* Who a frame is: what its checksum is seeded with, apart from what it says itself. */
struct log_frame_identity {
    uint64_t file_number;
    uint64_t log_generation;
    uint64_t salt;
    uint64_t position;
};

/* A frame taken apart; pointers into its bytes. */
struct log_frame {
    const struct log_frame_header *header;
    const struct log_frame_record *records;
    const uint8_t *keys;
    const uint8_t *payloads;
    const float *vectors;
};

/* Sizes of a frame to be built. */
struct log_frame_layout {
    uint32_t record_count;
    uint32_t vector_count;
    uint32_t keys_bytes;
    uint64_t payloads_bytes;
    uint64_t vectors_at; /* byte offset in the frame */
    uint64_t used_bytes;
    uint64_t frame_bytes;
};

/** Lays out a frame of `indices[0..count)` of the group's records. ERROR_INVALID when it would pass
 * LOG_FRAME_MAX_BYTES. */
int log_frame_plan(const struct store_group *group, const uint32_t *indices, uint32_t count,
                   uint32_t dim, struct log_frame_layout *layout, struct error *error);

/** Builds the frame at `bytes` (layout->frame_bytes, aligned to 64), checksum included. */
void log_frame_build(const struct store_group *group, const uint32_t *indices, uint32_t dim,
                     const struct log_frame_layout *layout,
                     const struct log_frame_identity *identity, uint64_t sequence, uint16_t flags,
                     uint8_t *bytes);

uint64_t log_frame_checksum(const struct log_frame_header *header);

/** Pointers into a frame that was just built. */
void log_frame_locate(const uint8_t *bytes, struct log_frame *frame);

/** Takes apart the frame at `bytes`, of which `available` follow. Everything is checked: identity,
 * checksum, sums of lengths. ERROR_CORRUPT says what does not fit. `dim` 0 accepts any. */
int log_frame_parse(const uint8_t *bytes, uint64_t available,
                    const struct log_frame_identity *identity, uint32_t dim,
                    struct log_frame *frame, struct error *error);

#endif
