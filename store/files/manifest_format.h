/* Bytes of MANIFEST-n and CURRENT.
 *
 * MANIFEST-n is a sequence of frames, each padded to 4096 bytes so that writing one never touches a
 * sector of an older one:
 *
 *     | struct manifest_frame_header (64) | records | zeros |
 *
 * The first frame holds the whole state at the time the file was started. A record is one type byte
 * and the fields listed with the type, little-endian, without padding. The file ends with its last
 * valid frame; a frame that is damaged while a later one is valid is damage of the manifest.
 *
 * CURRENT is one line: "MANIFEST-<number> <checksum of the name, 16 hex digits>\n". */
#ifndef STORE_FILES_MANIFEST_FORMAT_H
#define STORE_FILES_MANIFEST_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "store/files/manifest.h"

#define MANIFEST_MAGIC UINT32_C(0x4e414d57) /* "WMAN" */

/* Every frame of a file has the version of the file: the least one that its state needs, so that an
 * earlier windrow reads what it can understand and refuses the rest by name. Each version may have
 * what the ones before it have. */
enum {
    MANIFEST_FRAME_ALIGNMENT = 4096,
    MANIFEST_VERSION = 1,
    MANIFEST_VERSION_SPANS = 2,
    MANIFEST_VERSION_LOG_CLOCK = 3,
    MANIFEST_VERSION_LAST = MANIFEST_VERSION_LOG_CLOCK
};

struct manifest_frame_header {
    uint64_t checksum; /* XXH3 of bytes [8, frame_bytes) seeded with number, sequence, position */
    uint32_t magic;
    uint16_t version;
    uint16_t key_rule; /* struct manifest_state; 0: not known, as in stores of 0.2.0 */
    uint64_t manifest_number;
    uint64_t sequence; /* 0, 1, 2 ... in each file */
    uint64_t position;
    uint64_t frame_bytes;
    uint64_t body_bytes;
    /* The ownership under which the frame was written (struct store_ownership); zeros: not known. Versions of
     * windrow that do not know it leave it alone. */
    uint32_t group;
    int32_t generation;
};

_Static_assert(sizeof(struct manifest_frame_header) == 64, "on-disk format");
_Static_assert(offsetof(struct manifest_frame_header, generation) == 60, "on-disk format");

enum manifest_record {
    MANIFEST_IDENTITY = 1,   /* u32 dim, u32 metric */
    MANIFEST_NUMBERS = 2,    /* u64 next file number (prepare), u64 next log generation */
    MANIFEST_PROGRESS = 3,   /* i64 next offset, i64 next sequence, clock (3 x i64) */
    MANIFEST_CLOCK = 4,      /* clock (3 x i64) */
    MANIFEST_TABLE = 5,      /* description, info, sealed, mask, segment: see manifest_state.c */
    MANIFEST_TABLE_DROP = 6, /* u64 number */
    MANIFEST_MASK = 7,       /* u64 table, u64 mask, u64 bytes */
    MANIFEST_SEGMENT = 8,    /* u64 table, u64 number, u64 bytes, 16 bytes kind, f64 recall */
    MANIFEST_LOG_USE = 9,    /* u64 number, u64 generation, u64 salt, i64 first sequence, u8 active,
                                u8 durable */
    MANIFEST_LOG_DONE = 10,  /* u64 number: its frames are flushed */
    MANIFEST_LOG_DROP = 11,  /* u64 number */
    MANIFEST_DROPPED = 12,   /* u64 number: dropped before, may still exist */
    MANIFEST_FORGET = 13,    /* u64 number: unlinked */
    MANIFEST_LEVEL = 14,     /* u64 table, u8 level; a table without one is in level 0 */
    MANIFEST_SEGMENT_CHECKSUM = 15, /* u64 table, u64 checksum of the segment's whole file */
    /* i64 offset, u64 hash; of the progress before it, which without one has none */
    MANIFEST_TOPIC_FINGERPRINT = 16,
    /* u64 number, u64 bytes, 16 bytes kind, f64 recall, u64 checksum, u8 tier, i64 window length,
     * u32 parts; for each: i64 window start, u64 run, u32 rows */
    MANIFEST_SPAN = 17,
    MANIFEST_SPAN_DROP = 18, /* u64 number */
    /* i64 time, i64 stamp, i64 watermark; of the progress before it, which without one has none */
    MANIFEST_LOG_CLOCK = 19
};

/** Appends a whole frame around `body` to `out`, with the version and ownership of the state. */
void manifest_frame_encode(struct buffer *out, const struct manifest_state *state,
                           uint64_t manifest_number, uint64_t sequence, uint64_t position,
                           const uint8_t *body, size_t body_bytes);

/** Checks the frame at `bytes` (8-byte aligned); NULL and ERROR_CORRUPT when it is none. */
const struct manifest_frame_header *manifest_frame_parse(const uint8_t *bytes, uint64_t available,
                                                         uint64_t manifest_number,
                                                         uint64_t sequence, uint64_t position,
                                                         struct error *error);

/** Checksum of a segment file as the manifest keeps it: the store knows nothing of what is inside.
 * Never 0. */
uint64_t manifest_segment_checksum(const uint8_t *bytes, uint64_t size_bytes, uint64_t number);

/** The line that CURRENT holds. */
void manifest_current_format(uint64_t number, char *out, size_t out_bytes);
/** Number of the current manifest. ERROR_NOT_FOUND without CURRENT, ERROR_CORRUPT when it is
 * damaged. */
int manifest_current_read(struct io *io, const char *directory, uint64_t *number,
                          struct error *error);
/** Reads MANIFEST-number into a state. `*end` is where its last valid frame ends, `*sequence` how
 * many there are, `*clean` whether nothing lies behind it. */
int manifest_read(struct io *io, const char *directory, uint64_t number,
                  struct manifest_state *state, uint64_t *end, uint64_t *sequence, bool *clean,
                  struct error *error);
/** Reads the manifest that CURRENT names into a state, which the caller destroys. */
int manifest_read_current(struct io *io, const char *directory, struct manifest_state *state,
                          struct error *error);

#endif
