#include "base/flatbuffer.h"

#include <assert.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");

/* Reading. */

static bool is_inside(struct flatbuffer *buffer, size_t place, size_t size)
{
    bool inside = place <= buffer->size && size <= buffer->size - place;

    buffer->broken |= !inside;
    return inside;
}

int64_t flatbuffer_number(const struct flatbuffer *buffer, size_t place, size_t size)
{
    const uint8_t *at = buffer->data + place;
    int64_t value = 0;

    assert(size <= sizeof(value) && place + size <= buffer->size);
    memcpy(&value, at, size);
    if (size < sizeof(value)) { /* the sign */
        unsigned shift = (unsigned)(64 - 8 * size);
        value = (int64_t)((uint64_t)value << shift) >> shift;
    }
    return value;
}

static size_t unsigned_at(const struct flatbuffer *buffer, size_t place, size_t size)
{
    return (size_t)((uint64_t)flatbuffer_number(buffer, place, size) &
                    (size == 2 ? UINT16_MAX : UINT32_MAX));
}

/* Where the offset at `place` leads. */
static size_t follow(struct flatbuffer *buffer, size_t place)
{
    size_t offset;

    if (!is_inside(buffer, place, 4))
        return 0;
    offset = unsigned_at(buffer, place, 4);
    if (offset == 0 || !is_inside(buffer, place + offset, 4)) {
        buffer->broken = true;
        return 0;
    }
    return place + offset;
}

size_t flatbuffer_root(struct flatbuffer *buffer)
{
    return follow(buffer, 0);
}

size_t flatbuffer_field(struct flatbuffer *buffer, size_t table, unsigned slot, size_t size)
{
    int64_t vtable;
    size_t vtable_bytes, offset;

    if (table == 0 || !is_inside(buffer, table, 4))
        return 0;
    vtable = (int64_t)table - flatbuffer_number(buffer, table, 4);
    if (vtable < 0 || !is_inside(buffer, (size_t)vtable, 4)) {
        buffer->broken = true;
        return 0;
    }
    vtable_bytes = unsigned_at(buffer, (size_t)vtable, 2);
    if (4 + 2 * (size_t)slot + 2 > vtable_bytes)
        return 0; /* written by somebody who did not know the field */
    if (!is_inside(buffer, (size_t)vtable, vtable_bytes))
        return 0;
    offset = unsigned_at(buffer, (size_t)vtable + 4 + 2 * (size_t)slot, 2);
    return offset > 0 && is_inside(buffer, table + offset, size) ? table + offset : 0;
}

int64_t flatbuffer_integer(struct flatbuffer *buffer, size_t table, unsigned slot, size_t size,
                           int64_t otherwise)
{
    size_t place = flatbuffer_field(buffer, table, slot, size);

    return place > 0 ? flatbuffer_number(buffer, place, size) : otherwise;
}

size_t flatbuffer_table(struct flatbuffer *buffer, size_t table, unsigned slot)
{
    size_t place = flatbuffer_field(buffer, table, slot, 4);

    return place > 0 ? follow(buffer, place) : 0;
}

struct flatbuffer_vector flatbuffer_vector(struct flatbuffer *buffer, size_t table, unsigned slot,
                                           size_t item_size)
{
    struct flatbuffer_vector vector = {0};
    size_t place = flatbuffer_table(buffer, table, slot);
    size_t count;

    if (place == 0)
        return vector;
    count = unsigned_at(buffer, place, 4);
    if (count > buffer->size || !is_inside(buffer, place + 4, count * item_size)) {
        buffer->broken = true;
        return vector;
    }
    return (struct flatbuffer_vector){place + 4, (uint32_t)count};
}

size_t flatbuffer_table_at(struct flatbuffer *buffer, const struct flatbuffer_vector *vector,
                           uint32_t index)
{
    assert(index < vector->count);
    return follow(buffer, vector->items + 4 * (size_t)index);
}

/* Writing. */

static void align(struct buffer *out, size_t size)
{
    while (out->size % size != 0)
        buffer_append_byte(out, 0);
}

void flatbuffer_begin(struct buffer *out)
{
    out->size = 0;
    buffer_append(out, &(uint32_t){0}, 4);
}

/* Places of the values behind the table's start, the large ones first, so that none needs padding
 * but the first. Returns the table's bytes. */
static size_t lay_out(const struct flatbuffer_value *values, size_t count, size_t table,
                      uint16_t offsets[FLATBUFFER_SLOTS_MAX])
{
    size_t used = 4;

    for (size_t size = 8; size > 0; size /= 2) {
        for (size_t i = 0; i < count; i++) {
            if (values[i].size != size)
                continue;
            used += (size - (table + used) % size) % size;
            offsets[values[i].slot] = (uint16_t)used;
            used += size;
        }
    }
    return used;
}

size_t flatbuffer_write_table(struct buffer *out, const struct flatbuffer_value *values,
                              size_t count, size_t places[FLATBUFFER_SLOTS_MAX])
{
    uint16_t vtable[2 + FLATBUFFER_SLOTS_MAX] = {0};
    uint16_t vtable_bytes = 4;
    size_t start, table, bytes;
    int32_t distance;

    for (size_t i = 0; i < count; i++) {
        uint16_t needed = (uint16_t)(4 + 2 * (values[i].slot + 1));
        assert(values[i].slot < FLATBUFFER_SLOTS_MAX);
        vtable_bytes = needed > vtable_bytes ? needed : vtable_bytes;
    }
    align(out, 2);
    start = out->size;
    table = (start + vtable_bytes + 3) / 4 * 4;
    bytes = lay_out(values, count, table, vtable + 2);
    vtable[0] = vtable_bytes;
    vtable[1] = (uint16_t)bytes;
    buffer_append(out, vtable, vtable_bytes);
    align(out, 4);
    distance = (int32_t)(table - start);
    memset(buffer_reserve(out, bytes), 0, bytes);
    memcpy(out->data + table, &distance, sizeof(distance));
    for (size_t i = 0; i < count; i++) {
        size_t place = table + vtable[2 + values[i].slot];
        memcpy(out->data + place, &values[i].value, values[i].size);
        if (places)
            places[values[i].slot] = place;
    }
    out->size += bytes;
    return table;
}

size_t flatbuffer_write_vector(struct buffer *out, const void *items, uint32_t count,
                               size_t item_size)
{
    size_t bytes = count * item_size;
    size_t place;

    align(out, 4);
    if (item_size > 4 && (out->size + 4) % 8 != 0)
        buffer_append(out, &(uint32_t){0}, 4); /* the items stand at a multiple of 8 */
    place = out->size;
    buffer_append(out, &count, 4);
    memset(buffer_reserve(out, bytes), 0, bytes);
    if (items && bytes > 0)
        memcpy(out->data + out->size, items, bytes);
    out->size += bytes;
    return place;
}

size_t flatbuffer_write_string(struct buffer *out, const char *text, size_t length)
{
    size_t place = flatbuffer_write_vector(out, text, (uint32_t)length, 1);

    buffer_append_byte(out, 0);
    return place;
}

void flatbuffer_link(struct buffer *out, size_t place, size_t target)
{
    uint32_t offset = (uint32_t)(target - place);

    assert(target > place && target < out->size);
    memcpy(out->data + place, &offset, sizeof(offset));
}
