/* What no single value can tell: combinations, things that are missing, two collections in each
 * other's way. Private to config/. */
#ifndef CONFIG_CHECKS_H
#define CONFIG_CHECKS_H

#include "config/loaded.h"
#include "config/report.h"

/** Checks of one collection whose values were all good by themselves. */
void check_collection(const struct loaded_config *loaded, size_t index, struct report *report);

/** Of its windows, its style of compaction and what bounds it. */
void check_compaction(const struct config_collection *collection, const struct report_mark *marks,
                      struct report_mark name_mark, struct report *report);

/** Where a value of a collection or of the file was given, or `otherwise`. */
struct report_mark check_place(const struct report_mark *marks, const char *path,
                               struct report_mark otherwise);
bool check_was_given(const struct report_mark *marks, const char *path);

/** Checks of everything else. */
void check_config(const struct loaded_config *loaded, struct report *report);

#endif
