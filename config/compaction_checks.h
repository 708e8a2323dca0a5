/* Whether a style of compaction, the windows and what bounds the collection go together. Private to
 * config/. */
#ifndef CONFIG_COMPACTION_CHECKS_H
#define CONFIG_COMPACTION_CHECKS_H

#include "config/config.h"
#include "config/report.h"

/** Of its windows, its style of compaction and what bounds it. */
void check_compaction(const struct config_collection *collection, const struct report_mark *marks,
                      struct report_mark name_mark, struct report *report);

#endif
