/* The nearest known key to one that is not known. Private to config/. */
#ifndef CONFIG_SUGGEST_H
#define CONFIG_SUGGEST_H

#include <stddef.h>

/** Writes a hint for `key`, unknown in `section` ("" for the top, "collections.*.late"): "did you
 * mean allowed?", a full path when the key belongs elsewhere, or the keys that are known here. */
void suggest_key(const char *section, const char *key, char *hint, size_t hint_bytes);

#endif
