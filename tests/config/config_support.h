/* A config from a text in the test. */
#ifndef TESTS_CONFIG_CONFIG_SUPPORT_H
#define TESTS_CONFIG_CONFIG_SUPPORT_H

#include <string.h>

#include "config/load.h"
#include "tests/support/test_main.h"

/* What a file needs at least; a test appends to it. Lines 1 to 4. */
#define MINIMAL                                                                                    \
    "kafka: {brokers: 127.0.0.1:9092}\n"                                                           \
    "collections:\n"                                                                               \
    "  news:\n"                                                                                    \
    "    dim: 4\n"

/* `report` is emptied first. NULL when the text was refused. */
static inline struct config *parse_text(const char *text, struct buffer *report)
{
    struct loaded_config *loaded = NULL;

    buffer_destroy(report);
    *report = (struct buffer){0};
    (void)loaded_config_parse("w.yaml", text, strlen(text), &loaded, report);
    return loaded ? &loaded->config : NULL;
}

#endif
