/* From the text of a file to a config. Private. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "base/buffer.h"
#include "config/loaded.h"

/** As config_load, from memory; `path` is only a name in messages. Secrets in files are read. */
int loaded_config_parse(const char *path, const char *text, size_t size_bytes,
                        struct loaded_config **loaded, struct buffer *report);

#endif
