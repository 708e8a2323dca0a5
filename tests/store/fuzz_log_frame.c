/* Hostile log frames. The first byte says whether identity, lengths and checksum are made right
 * before parsing, so that the structure behind them is reached. What parses is walked as replay
 * walks it: nothing lies outside the frame. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/key.h"
#include "store/files/log_frame.h"
#include "store/tools/inspect.h"
#include "tests/store/table_memory_io.h"

enum { FILE_NUMBER = 7, SIGN = 1, KEEP_LENGTHS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sign(uint8_t *bytes, size_t size, const struct log_frame_identity *identity,
                 bool keep_lengths)
{
    struct log_frame_header *header = (struct log_frame_header *)bytes;

    header->magic = LOG_FRAME_MAGIC;
    header->version = LOG_FRAME_VERSION;
    header->file_number = identity->file_number;
    header->log_generation = identity->log_generation;
    header->salt = identity->salt;
    header->position = identity->position;
    if (!keep_lengths)
        header->frame_bytes = size;
    if (header->frame_bytes <= size && header->frame_bytes >= sizeof(*header))
        header->checksum = log_frame_checksum(header);
}

static volatile uint64_t bytes_read; /* so that a sanitizer sees each of them being read */

static uint64_t sum(const uint8_t *bytes, uint64_t size)
{
    uint64_t total = 0;

    for (uint64_t i = 0; i < size; i++)
        total += bytes[i];
    return total;
}

static void walk(const uint8_t *bytes, const struct log_frame *frame)
{
    const struct log_frame_header *header = frame->header;
    const uint8_t *key = frame->keys;
    const uint8_t *payload = frame->payloads;
    const float *vector = frame->vectors;

    for (uint32_t i = 0; i < header->record_count; i++) {
        const struct log_frame_record *record = &frame->records[i];
        assert(record->key_bytes > 0 && record->key_bytes <= STORE_KEY_MAX_BYTES);
        assert(record->offset >= header->first_offset && record->offset < header->next_offset);
        bytes_read += sum(key, record->key_bytes) + sum(payload, record->payload_bytes);
        key += record->key_bytes;
        payload += record->payload_bytes;
        if (record->flags & LOG_RECORD_DELETE)
            continue;
        bytes_read += sum((const uint8_t *)vector, (uint64_t)header->dim * sizeof(float));
        vector += header->dim;
    }
    assert(key == frame->payloads && payload <= (const uint8_t *)frame->vectors);
    assert((const uint8_t *)vector == bytes + header->used_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_io memory;
    const struct log_frame_identity identity = {FILE_NUMBER, 3, 0x5a17, 0};
    struct buffer out = {0};
    struct log_frame frame;
    size_t padded;
    uint8_t *bytes;

    if (size < 1)
        return 0;
    padded = (size - 1 + LOG_FRAME_ALIGNMENT - 1) / LOG_FRAME_ALIGNMENT * LOG_FRAME_ALIGNMENT;
    if (padded == 0)
        padded = LOG_FRAME_ALIGNMENT;
    bytes = aligned_alloc(LOG_FRAME_ALIGNMENT, padded);
    assert(bytes);
    memset(bytes, 0, padded);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & SIGN)
        sign(bytes, padded, &identity, data[0] & KEEP_LENGTHS);
    if (log_frame_parse(bytes, padded, &identity, 0, &frame, ERROR_IGNORED) == 0)
        walk(bytes, &frame);
    memory_io_create(&memory);
    memory_io_put(&memory, "d/000007.log", bytes, padded);
    (void)store_inspect(&memory.io, "d/000007.log", true, &out, ERROR_IGNORED);
    memory_io_destroy(&memory);
    buffer_destroy(&out);
    free(bytes);
    return 0;
}
