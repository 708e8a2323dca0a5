/* A config with what only config/ needs to know about it: where each value came from. Private. */
#ifndef CONFIG_LOADED_H
#define CONFIG_LOADED_H

#include "base/arena.h"
#include "config/config.h"
#include "config/report.h"

/* Where a value came from: line 0 is the default, this line the environment. */
enum { LOADED_FROM_ENVIRONMENT = UINT32_MAX };

struct loaded_config {
    struct config config; /* first: a struct config * is a struct loaded_config * */
    struct arena arena;   /* every string, array and mark */
    const char *api_key_path;
    bool api_key_from_environment;
    struct report_mark *marks;             /* one per property: of the global ones */
    struct report_mark *pair_marks;        /* one per kafka.properties */
    struct report_mark **collection_marks; /* per collection: one per property */
    struct report_mark *collection_name_marks;
};

#endif
