/* What no single value can tell: combinations, things that are missing, two collections in each
 * other's way. Private to config/. */
#ifndef CONFIG_CHECKS_H
#define CONFIG_CHECKS_H

#include "config/loaded.h"
#include "config/report.h"

/** Checks of one collection whose values were all good by themselves. */
void check_collection(const struct loaded_config *loaded, size_t index, struct report *report);

/** Checks of everything else. */
void check_config(const struct loaded_config *loaded, struct report *report);

#endif
