/* Batches with as many items as a message may have. */
#include "tests/support/test_main.h"

#include <string.h>

#include "ingest/decode/decode.h"

/* Two bytes each: what is kept of an item must not be a long text. An object among them makes it a batch: numbers
 * alone are one bad value. */
START_TEST(many_bad_items_take_little_memory)
{
    enum { ITEMS = 300000, BYTES_AN_ITEM = 128 };
    static const struct config_collection collection = {.name = "news", .dim = 4};
    static char text[2 * ITEMS + 2];
    static const char start[] = "[{}";
    struct decode_message message = {.topic = "news",
                                     .timestamp_ms = 1,
                                     .value = (const uint8_t *)text,
                                     .value_bytes = sizeof(text)};
    struct decode_result out;
    struct arena documents, kept;

    memcpy(text, start, sizeof(start) - 1);
    for (size_t i = 1; i < ITEMS; i++) {
        text[2 * i + 1] = ',';
        text[2 * i + 2] = '7';
    }
    text[2 * ITEMS + 1] = ']';
    arena_create(&documents, 0);
    arena_create(&kept, 0);
    decode_message(&collection, &message, &documents, &kept, &out);
    ck_assert_uint_eq(out.record_count, 0);
    ck_assert_uint_eq(out.reject_count, ITEMS);
    for (size_t i = 1; i < ITEMS; i++) {
        ck_assert_ptr_eq(out.rejects[i].value, text + 2 * i + 2);
        ck_assert_uint_eq(out.rejects[i].value_bytes, 1);
        ck_assert_str_eq(out.rejects[i].reason, out.rejects[1].reason);
    }
    ck_assert_ptr_nonnull(strstr(out.rejects[1000].text, "$[1000]"));
    ck_assert_ptr_nonnull(strstr(out.rejects[ITEMS - 1].text, "one of many bad items"));
    ck_assert_uint_lt(kept.reserved_bytes, (size_t)ITEMS * BYTES_AN_ITEM);
    arena_destroy(&kept);
    arena_destroy(&documents);
}
END_TEST

TEST_TABLE(TEST(many_bad_items_take_little_memory))
