/* Hostile manifests. The first byte chooses: a whole MANIFEST-n as it is, the body of its first
 * edit under a right header, or CURRENT. A state that was accepted is written again and must read
 * back as the same state: that is what a roll does with it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/manifest.h"
#include "store/files/manifest_format.h"
#include "store/tools/inspect.h"
#include "tests/store/table_memory_io.h"

enum { NUMBER = 1, FILE_WHOLE = 0, FILE_BODY = 1, FILE_CURRENT = 2, FILE_TWO_BODIES = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_roll(const struct manifest_state *state)
{
    struct manifest_state again = {.next_offset = -1};
    struct manifest_edit first = {0};
    struct manifest_edit second = {0};
    int code;

    manifest_state_encode(state, &first);
    code = manifest_state_apply(&again, first.body.data, first.body.size, ERROR_IGNORED);
    assert(code == 0);
    (void)code;
    manifest_state_encode(&again, &second);
    assert(first.body.size == second.body.size &&
           memcmp(first.body.data, second.body.data, first.body.size) == 0);
    manifest_state_destroy(&again);
    manifest_edit_destroy(&first);
    manifest_edit_destroy(&second);
}

static void read_manifest(struct memory_io *memory)
{
    struct manifest_state state;
    struct buffer out = {0};
    uint64_t end, sequence;
    bool clean;

    if (manifest_read(&memory->io, "d", NUMBER, &state, &end, &sequence, &clean, ERROR_IGNORED) ==
        0)
        check_roll(&state);
    manifest_state_destroy(&state);
    (void)store_inspect(&memory->io, "d/MANIFEST-000001", true, &out, ERROR_IGNORED);
    buffer_destroy(&out);
}

static void read_current(struct memory_io *memory)
{
    struct buffer out = {0};
    char line[128];
    uint64_t number;

    if (manifest_current_read(&memory->io, "d", &number, ERROR_IGNORED) == 0) {
        const struct buffer *file = memory_io_file(memory, "d/CURRENT");
        manifest_current_format(number, line, sizeof(line));
        assert(file->size == strlen(line) && memcmp(file->data, line, file->size) == 0);
    }
    (void)store_inspect(&memory->io, "d/CURRENT", false, &out, ERROR_IGNORED);
    buffer_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_io memory;
    struct buffer file = {0};
    struct manifest_state state = {0};
    size_t first;

    if (size < 1)
        return 0;
    memory_io_create(&memory);
    switch (data[0] % 4) {
    case FILE_WHOLE:
        memory_io_put(&memory, "d/MANIFEST-000001", data + 1, size - 1);
        read_manifest(&memory);
        break;
    case FILE_CURRENT:
        memory_io_put(&memory, "d/CURRENT", data + 1, size - 1);
        read_current(&memory);
        break;
    default:
        state.version = (uint16_t)(1 + data[0] / 4 % 2);
        first = data[0] % 4 == FILE_TWO_BODIES ? (size - 1) / 2 : size - 1;
        manifest_frame_encode(&file, &state, NUMBER, 0, 0, data + 1, first);
        if (first < size - 1)
            manifest_frame_encode(&file, &state, NUMBER, 1, file.size, data + 1 + first,
                                  size - 1 - first);
        memory_io_put(&memory, "d/MANIFEST-000001", file.data, file.size);
        read_manifest(&memory);
    }
    buffer_destroy(&file);
    memory_io_destroy(&memory);
    return 0;
}
