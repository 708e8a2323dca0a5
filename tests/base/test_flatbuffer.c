/* FlatBuffers: what is written is read, and hostile bytes lead nowhere. */
#include "tests/support/test_main.h"

#include <stdlib.h>
#include <string.h>

#include "base/flatbuffer.h"

enum { BYTE, SHORT, LONG, NAME, CHILDREN, ABSENT };

static size_t write_node(struct buffer *out, const char *name, int depth)
{
    const struct flatbuffer_value values[] = {
        {BYTE, 1, depth}, {LONG, 8, -5000000000}, {SHORT, 2, -2}, {NAME, 4, 0}, {CHILDREN, 4, 0}};
    size_t places[FLATBUFFER_SLOTS_MAX];
    size_t table = flatbuffer_write_table(out, values, 5, places);
    size_t children;

    flatbuffer_link(out, places[NAME], flatbuffer_write_string(out, name, strlen(name)));
    children = flatbuffer_write_vector(out, NULL, (uint32_t)depth, 4);
    flatbuffer_link(out, places[CHILDREN], children);
    for (int i = 0; i < depth; i++)
        flatbuffer_link(out, children + 4 + 4 * (size_t)i, write_node(out, "child", depth - 1));
    return table;
}

static struct buffer written(void)
{
    struct buffer out = {0};

    flatbuffer_begin(&out);
    flatbuffer_link(&out, 0, write_node(&out, "root", 3));
    return out;
}

/* How many tables there are; in a broken buffer as many as can be reached within the depth. */
static size_t walk(struct flatbuffer *buffer, size_t table, int depth, int64_t *sum)
{
    struct flatbuffer_vector name = flatbuffer_vector(buffer, table, NAME, 1);
    struct flatbuffer_vector children = flatbuffer_vector(buffer, table, CHILDREN, 4);
    size_t count = 1;

    for (uint32_t i = 0; i < name.count; i++)
        *sum += buffer->data[name.items + i];
    *sum += flatbuffer_integer(buffer, table, LONG, 8, 0);
    for (uint32_t i = 0; i < children.count && depth > 0 && i < 4; i++)
        count += walk(buffer, flatbuffer_table_at(buffer, &children, i), depth - 1, sum);
    return count;
}

START_TEST(what_is_written_is_read)
{
    struct buffer bytes = written();
    struct flatbuffer buffer = {bytes.data, bytes.size, false};
    size_t root = flatbuffer_root(&buffer);
    size_t number = flatbuffer_field(&buffer, root, LONG, 8);
    struct flatbuffer_vector name = flatbuffer_vector(&buffer, root, NAME, 1);
    int64_t sum = 0;

    ck_assert_int_eq(flatbuffer_integer(&buffer, root, BYTE, 1, 9), 3);
    ck_assert_int_eq(flatbuffer_integer(&buffer, root, SHORT, 2, 9), -2);
    ck_assert_int_eq(flatbuffer_integer(&buffer, root, LONG, 8, 9), -5000000000);
    ck_assert_int_eq(flatbuffer_integer(&buffer, root, ABSENT, 8, 9), 9);
    ck_assert_uint_eq(number % 8, 0);
    ck_assert_uint_eq(name.count, 4);
    ck_assert_mem_eq(bytes.data + name.items, "root", 5);
    ck_assert_uint_eq(walk(&buffer, root, 9, &sum), 1 + 3 + 3 * 2 + 3 * 2 * 1);
    ck_assert(!buffer.broken);
    buffer_destroy(&bytes);
}
END_TEST

/* In memory of just that size, so that the sanitizers see each byte that is read beyond. */
static void walk_copy(const struct buffer *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    struct flatbuffer buffer = {copy, size, false};
    int64_t sum = 0;

    memcpy(copy, bytes->data, size);
    (void)walk(&buffer, flatbuffer_root(&buffer), 4, &sum);
    if (size < bytes->size)
        ck_assert(buffer.broken);
    free(copy);
}

START_TEST(cut_and_changed_buffers_are_not_left)
{
    struct buffer bytes = written();

    for (size_t size = 0; size < bytes.size; size++)
        walk_copy(&bytes, size);
    for (size_t i = 0; i < bytes.size; i++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t k = 0; k < sizeof(masks); k++) {
            bytes.data[i] ^= masks[k];
            walk_copy(&bytes, bytes.size);
            bytes.data[i] ^= masks[k];
        }
    }
    buffer_destroy(&bytes);
}
END_TEST

TEST_TABLE(TEST(what_is_written_is_read), TEST(cut_and_changed_buffers_are_not_left))
