/* Frames of a manifest and the line in CURRENT, to bytes and back; manifest_format.h draws them.
 *
 * Reading ends at the first frame that is not whole. Mostly that is the torn end of the last commit:
 * it was never acknowledged, and the shard opens without it. But when a valid frame follows, edits
 * are missing that were acknowledged: ERROR_CORRUPT. A file that ends too early between two frames
 * cannot be told here; manifest_truncation_check (folder.c) looks for logs that are newer. */
#include "store/files/manifest_format.h"
#include "store/files/wire.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"

enum { CURRENT_MAX_BYTES = 128 };

static uint64_t frame_checksum(const uint8_t *bytes, uint64_t frame_bytes, uint64_t manifest_number,
                               uint64_t sequence, uint64_t position)
{
    return checksum_block(bytes + sizeof(uint64_t), frame_bytes - sizeof(uint64_t), manifest_number,
                          sequence, position);
}

void manifest_frame_encode(struct buffer *out, const struct manifest_state *state,
                           uint64_t manifest_number, uint64_t sequence, uint64_t position,
                           const uint8_t *body, size_t body_bytes)
{
    struct manifest_frame_header header = {.magic = MANIFEST_MAGIC,
                                           .version = state->version,
                                           .key_rule = state->key_rule,
                                           .manifest_number = manifest_number,
                                           .sequence = sequence,
                                           .position = position,
                                           .body_bytes = body_bytes,
                                           .group = state->ownership.group,
                                           .generation = state->ownership.generation};
    uint64_t used = sizeof(header) + body_bytes;
    uint8_t *bytes;

    header.frame_bytes =
        (used + MANIFEST_FRAME_ALIGNMENT - 1) / MANIFEST_FRAME_ALIGNMENT * MANIFEST_FRAME_ALIGNMENT;
    bytes = buffer_reserve(out, header.frame_bytes);
    memset(bytes, 0, header.frame_bytes);
    memcpy(bytes, &header, sizeof(header));
    if (body_bytes > 0) /* an edit may have no records: manifest_keep_key_rule */
        memcpy(bytes + sizeof(header), body, body_bytes);
    header.checksum =
        frame_checksum(bytes, header.frame_bytes, manifest_number, sequence, position);
    memcpy(bytes, &header.checksum, sizeof(header.checksum));
    out->size += header.frame_bytes;
}

const struct manifest_frame_header *manifest_frame_parse(const uint8_t *bytes, uint64_t available,
                                                         uint64_t manifest_number,
                                                         uint64_t sequence, uint64_t position,
                                                         struct error *error)
{
    const struct manifest_frame_header *header = (const struct manifest_frame_header *)bytes;
    const char *problem = NULL;

    if (available < sizeof(*header) || header->magic != MANIFEST_MAGIC)
        problem = "no frame";
    else if (header->manifest_number != manifest_number || header->position != position ||
             header->sequence != sequence)
        problem = "frame of another file or place";
    else if (header->frame_bytes % MANIFEST_FRAME_ALIGNMENT != 0 ||
             header->frame_bytes > available || header->frame_bytes < sizeof(*header) ||
             header->body_bytes > header->frame_bytes - sizeof(*header))
        problem = "impossible length";
    else if (header->checksum !=
             frame_checksum(bytes, header->frame_bytes, manifest_number, sequence, position))
        problem = "checksum does not match";
    else if (header->version > MANIFEST_VERSION_LAST) {
        error_set(error, ERROR_UNSUPPORTED, NEWER_FORMAT, header->version, MANIFEST_VERSION_LAST);
        return NULL;
    } else if (header->version < MANIFEST_VERSION)
        problem = "unknown version";
    if (problem) {
        error_set(error, ERROR_CORRUPT, "%s", problem);
        return NULL;
    }
    return header;
}

uint64_t manifest_segment_checksum(const uint8_t *bytes, uint64_t size_bytes, uint64_t number)
{
    uint64_t checksum = checksum_block(bytes, size_bytes, number, MANIFEST_SEGMENT, 0);

    return checksum ? checksum : 1;
}

int manifest_current_read(struct io *io, const char *directory, uint64_t *number,
                          struct error *error)
{
    char path[PATH_MAX];
    char text[CURRENT_MAX_BYTES] = {0};
    char expected[CURRENT_MAX_BYTES];
    uint64_t size = 0;
    int file;
    int code;

    snprintf(path, sizeof(path), "%s/CURRENT", directory);
    code = io_open(io, path, IO_READ, &file, error);
    if (code != 0)
        return code;
    code = io_size(io, file, path, &size, error);
    if (code == 0 && size >= sizeof(text))
        code = error_set(error, ERROR_CORRUPT, "%s: %" PRIu64 " bytes", path, size);
    if (code == 0)
        code = io_read(io, file, path, text, (size_t)size, 0, error);
    if (io_close(io, file, path, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
        code = ERROR_IO;
    if (code != 0)
        return code;
    if (sscanf(text, "MANIFEST-%" SCNu64, number) != 1)
        return error_set(error, ERROR_CORRUPT, "%s does not name a manifest", path);
    manifest_current_format(*number, expected, sizeof(expected));
    if (size != strlen(expected) || memcmp(text, expected, (size_t)size) != 0)
        return error_set(error, ERROR_CORRUPT, "%s is damaged", path);
    return 0;
}

void manifest_current_format(uint64_t number, char *out, size_t out_bytes)
{
    int length = snprintf(out, out_bytes, "MANIFEST-%06" PRIu64, number);

    snprintf(out + length, out_bytes - (size_t)length, " %016" PRIx64 "\n",
             checksum_block(out, (size_t)length, number, 0, 0));
}

/* Whether some valid frame of this manifest lies at or after `from`: then what is in front of it is
 * damage and not the torn end. */
static bool later_frame_exists(const uint8_t *bytes, uint64_t size, uint64_t number, uint64_t from,
                               uint64_t sequence)
{
    for (uint64_t at = from; at + sizeof(struct manifest_frame_header) <= size;
         at += MANIFEST_FRAME_ALIGNMENT) {
        const struct manifest_frame_header *header =
            (const struct manifest_frame_header *)(bytes + at);
        if (header->magic == MANIFEST_MAGIC && header->sequence >= sequence &&
            manifest_frame_parse(bytes + at, size - at, number, header->sequence, at,
                                 ERROR_IGNORED))
            return true;
    }
    return false;
}

static int apply_frames(const uint8_t *bytes, uint64_t size, uint64_t number,
                        struct manifest_state *state, uint64_t *end, uint64_t *sequence,
                        struct error *error)
{
    struct error local;
    int code;

    *end = 0;
    *sequence = 0;
    for (;;) {
        const struct manifest_frame_header *header =
            manifest_frame_parse(bytes + *end, size - *end, number, *sequence, *end, &local);
        if (!header) {
            if (local.code == ERROR_UNSUPPORTED)
                return error_set(error, local.code, "byte %" PRIu64 ": %s", *end, local.text);
            /* The first frame was synced before CURRENT named the file. */
            if (*sequence == 0 || later_frame_exists(bytes, size, number, *end, *sequence))
                return error_set(error, ERROR_CORRUPT, "byte %" PRIu64 ": %s", *end, local.text);
            return 0;
        }
        state->version = header->version;
        state->key_rule = header->key_rule;
        state->ownership = (struct store_ownership){header->group, header->generation};
        code =
            manifest_state_apply(state, bytes + *end + sizeof(*header), header->body_bytes, error);
        if (code != 0)
            return error_wrap(error, "edit %" PRIu64 " at byte %" PRIu64, *sequence, *end);
        *end += header->frame_bytes;
        *sequence += 1;
    }
}

int manifest_read(struct io *io, const char *directory, uint64_t number,
                  struct manifest_state *state, uint64_t *end, uint64_t *sequence, bool *clean,
                  struct error *error)
{
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    int file;
    int code;

    *state = (struct manifest_state){.next_offset = -1};
    snprintf(path, sizeof(path), "%s/MANIFEST-%06" PRIu64, directory, number);
    code = io_open(io, path, IO_READ, &file, error);
    if (code != 0)
        return code;
    code = io_size(io, file, path, &size, error);
    if (code == 0) {
        bytes = memory_checked(malloc(size > 0 ? (size_t)size : 1));
        code = io_read(io, file, path, bytes, (size_t)size, 0, error);
    }
    if (code == 0) {
        code = apply_frames(bytes, size, number, state, end, sequence, error);
        if (code != 0)
            error_wrap(error, "%s", path);
        *clean = *end == size;
    }
    if (io_close(io, file, path, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
        code = ERROR_IO;
    free(bytes);
    return code;
}

int manifest_read_current(struct io *io, const char *directory, struct manifest_state *state,
                          struct error *error)
{
    uint64_t number, end, edits;
    bool clean;
    int code = manifest_current_read(io, directory, &number, error);

    return code == 0 ? manifest_read(io, directory, number, state, &end, &edits, &clean, error)
                     : code;
}
