/* Settings that a config may not change under stored records. */
#include <stdio.h>
#include <string.h>

#include "store/files/manifest_format.h"
#include "store/settings.h"
#include "store/store.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

static char collection_name[] = "news";

static const struct store_shard_options written = {.collection = collection_name,
                                                   .name = "0",
                                                   .dim = FIXTURE_DIM,
                                                   .metric = VECTOR_METRIC_L2,
                                                   .key_rule = CONFIG_KEY_TEXT + 1,
                                                   .window_ms = 1000};

/* Opens the shard and closes it. */
static int open_with(const struct store_shard_options *options, struct error *error)
{
    struct store *store = fixture_store(fixture_io(NULL), test_directory(), 64 * 1024);
    struct store_shard *shard;
    int code = store_shard_open(store, options, &shard, error);

    if (code == 0)
        code = store_shard_close(shard, true, error);
    store_close(store);
    return code;
}

static void write_shard(const struct store_shard_options *options)
{
    struct error error = {0};

    ck_assert_msg(open_with(options, &error) == 0, "%s", error.text);
}

static const struct contradiction {
    uint32_t dim;
    enum vector_metric metric;
    enum config_key_rule key;
    const char *said; /* NULL: it may be opened */
} contradictions[] = {
    {FIXTURE_DIM, VECTOR_METRIC_L2, CONFIG_KEY_TEXT, NULL},
    {FIXTURE_DIM + 1, VECTOR_METRIC_L2, CONFIG_KEY_TEXT,
     "dimension is 6 on disk and 7 in the config"},
    {FIXTURE_DIM, VECTOR_METRIC_COSINE, CONFIG_KEY_TEXT,
     "metric is l2 on disk and cosine in the config"},
    {FIXTURE_DIM, VECTOR_METRIC_L2, CONFIG_KEY_JSON, "key is text on disk and json in the config"},
    {FIXTURE_DIM, VECTOR_METRIC_DOT, CONFIG_KEY_AUTO,
     "metric is l2 on disk and dot in the config; key is text on disk and auto in the config"},
};

enum { CONTRADICTIONS = sizeof(contradictions) / sizeof(contradictions[0]) };

static void check_open(const struct contradiction *row)
{
    struct store_shard_options options = written;
    struct error error = {0};
    int code;

    write_shard(&written);
    options.dim = row->dim;
    options.metric = row->metric;
    options.key_rule = (uint16_t)(row->key + 1);
    code = open_with(&options, &error);
    if (!row->said) {
        ck_assert_msg(code == 0, "%s", error.text);
    } else {
        ck_assert_int_eq(code, ERROR_INVALID);
        ck_assert_msg(strstr(error.text, row->said) != NULL, "%s", error.text);
    }
    write_shard(&written); /* and it is as it was */
}

START_TEST(shard_is_not_opened_with_settings_that_contradict_it)
{
    for (size_t i = 0; i < CONTRADICTIONS; i++)
        check_open(&contradictions[i]);
}
END_TEST

static void check_compare(const struct contradiction *row)
{
    struct config_collection collections[] = {
        {.name = collection_name, .dim = row->dim, .metric = row->metric, .key = row->key},
        {.name = "empty", .dim = 7}};
    const struct config config = {.collections = collections, .collection_count = 2};
    struct store *store;
    struct buffer report = {0};

    write_shard(&written);
    store = fixture_store(fixture_io(NULL), test_directory(), 64 * 1024);
    ck_assert_uint_eq(store_settings_compare(io_posix(), test_directory(), &config, &report),
                      row->said ? 1 : 0);
    if (row->said) {
        ck_assert_msg(strncmp(buffer_text(&report), "collections.news: shard 0: ", 27) == 0, "%s",
                      buffer_text(&report));
        ck_assert_msg(strstr(buffer_text(&report), row->said) != NULL, "%s", buffer_text(&report));
    }
    buffer_destroy(&report);
    store_close(store);
}

START_TEST(data_folder_is_compared_with_a_config_while_a_service_has_it)
{
    for (size_t i = 0; i < CONTRADICTIONS; i++)
        check_compare(&contradictions[i]);
}
END_TEST

START_TEST(shard_of_before_the_key_rule_was_kept_takes_over_the_one_it_is_opened_with)
{
    struct store_shard_options options = written;
    struct manifest_state state = {0};
    struct error error = {0};
    char folder[512];
    struct store *store;
    struct store_shard *shard;

    options.key_rule = 0;
    write_shard(&options);
    store = fixture_store(fixture_io(NULL), test_directory(), 64 * 1024);
    ck_assert_int_eq(store_shard_open(store, &written, &shard, &error), 0);
    snprintf(folder, sizeof(folder), "%s", store_shard_directory(shard));
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
    ck_assert_int_eq(manifest_read_current(io_posix(), folder, &state, &error), 0);
    ck_assert_uint_eq(state.key_rule, CONFIG_KEY_TEXT + 1);
    manifest_state_destroy(&state);
    options.key_rule = CONFIG_KEY_JSON + 1;
    ck_assert_int_eq(open_with(&options, &error), ERROR_INVALID);
}
END_TEST

TEST_TABLE(TEST(shard_is_not_opened_with_settings_that_contradict_it),
           TEST(data_folder_is_compared_with_a_config_while_a_service_has_it),
           TEST(shard_of_before_the_key_rule_was_kept_takes_over_the_one_it_is_opened_with))
