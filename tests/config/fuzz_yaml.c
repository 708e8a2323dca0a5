/* Any bytes as a configuration: refused with at least one error, or printed and read back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loaded_config *loaded = NULL;
    struct loaded_config *again = NULL;
    struct buffer report = {0};
    struct buffer out = {0};

    /* The input may name files: none must be opened here. */
    if (memmem(data, size, "file", 4))
        return 0;
    if (loaded_config_parse("f", (const char *)data, size, &loaded, &report) != 0) {
        if (report.size == 0)
            abort();
        buffer_destroy(&report);
        return 0;
    }
    config_print(&loaded->config, true, &out);
    out.size = 0;
    config_print(&loaded->config, false, &out);
    /* Hidden values do not read back. */
    if (!memmem(out.data, out.size, "(hidden)", 8)) {
        if (loaded_config_parse("f", (const char *)out.data, out.size, &again, &report) != 0)
            abort();
        if (config_compare(&loaded->config, &again->config, NULL, &report))
            abort();
        config_free(&again->config);
    }
    config_free(&loaded->config);
    buffer_destroy(&report);
    buffer_destroy(&out);
    return 0;
}
