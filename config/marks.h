/* Where values were given, by the path of their property. Private to config/. */
#ifndef CONFIG_MARKS_H
#define CONFIG_MARKS_H

#include <stdbool.h>

#include "config/report.h"

/** Where a value of a collection or of the file was given, or `otherwise`. */
struct report_mark mark_place(const struct report_mark *marks, const char *path,
                              struct report_mark otherwise);
bool mark_was_given(const struct report_mark *marks, const char *path);

#endif
