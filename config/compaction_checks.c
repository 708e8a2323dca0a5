#include "config/compaction_checks.h"

#include "base/text.h"
#include "config/marks.h"

static const char *style_name(enum config_style style)
{
    static const char *const names[] = {
        [CONFIG_STYLE_TIME_WINDOW] = "time_window", [CONFIG_STYLE_FIFO] = "fifo",
        [CONFIG_STYLE_SIZE_TIERED] = "size_tiered", [CONFIG_STYLE_LEVELED] = "leveled",
        [CONFIG_STYLE_HYBRID] = "hybrid",
    };

    return names[style];
}

/* Only styles that go on merging can do without windows, and what is about windows means nothing
 * then. */
static void check_windowless(const struct config_collection *collection,
                             const struct report_mark *marks, struct report_mark name_mark,
                             struct report *report)
{
    static const char *const of_windows[] = {"collections.*.late.allowed",
                                             "collections.*.late.policy"};

    if (collection->compaction_style == CONFIG_STYLE_TIME_WINDOW ||
        collection->compaction_style == CONFIG_STYLE_FIFO)
        report_error(report, mark_place(marks, "collections.*.window", name_mark),
                     "collections.%s.window: ~ needs compaction.style size_tiered, leveled or "
                     "hybrid (%s merges by window)",
                     collection->name, style_name(collection->compaction_style));
    if (collection->max_bytes > 0)
        report_error(report, mark_place(marks, "collections.*.max_bytes", name_mark),
                     "collections.%s.max_bytes: there is no window to drop with window: ~ (set a "
                     "window, or bound the collection by ttl)",
                     collection->name);
    for (size_t i = 0; i < sizeof(of_windows) / sizeof(of_windows[0]); i++)
        if (mark_was_given(marks, of_windows[i]))
            report_error(report, mark_place(marks, of_windows[i], name_mark),
                         "collections.%s.%s: means nothing with window: ~ (a window that never "
                         "closes is never late)",
                         collection->name, of_windows[i] + sizeof("collections.*.") - 1);
    if (collection->index_kind == CONFIG_INDEX_HNSW)
        report_error(report, mark_place(marks, "collections.*.index.kind", name_mark),
                     "collections.%s.index.kind: hnsw segments are built from sealed windows, and "
                     "window: ~ has none (set a window, or index.kind: flat)",
                     collection->name);
}

/* A key of another style is read and has no effect: said, because it looks as if it had. */
static void check_unused(const struct config_collection *collection,
                         const struct report_mark *marks, struct report *report)
{
    enum config_style style = collection->compaction_style;
    bool levels = style == CONFIG_STYLE_LEVELED || style == CONFIG_STYLE_HYBRID;
    const uint64_t file_bytes = UINT64_C(64) << 20;
    const struct {
        const char *path;
        bool used;
        bool is_default; /* defaults that are written out raise no doubt */
        const char *by;
    } keys[] = {
        {"collections.*.compaction.max_space_amplification",
         levels || style == CONFIG_STYLE_SIZE_TIERED, collection->max_space_amplification == 1.5,
         "size_tiered, leveled and hybrid"},
        {"collections.*.compaction.leveled.target_file_size", levels,
         collection->leveled_target_file_size_bytes == file_bytes, "leveled and hybrid"},
        {"collections.*.compaction.leveled.size_ratio", levels,
         collection->leveled_size_ratio == 10, "leveled and hybrid"},
        {"collections.*.compaction.size_tiered.min_threshold", style != CONFIG_STYLE_FIFO,
         collection->size_tiered_min_threshold == 4, "all styles but fifo"},
        {"collections.*.compaction.size_tiered.max_threshold", style != CONFIG_STYLE_FIFO,
         collection->size_tiered_max_threshold == 32, "all styles but fifo"},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!keys[i].used && !keys[i].is_default)
            report_warning(report, mark_place(marks, keys[i].path, (struct report_mark){1, 1}),
                           "collections.%s.%s: has no effect with compaction.style %s (it is for "
                           "%s)",
                           collection->name, keys[i].path + sizeof("collections.*.") - 1,
                           style_name(style), keys[i].by);
}

void check_compaction(const struct config_collection *collection, const struct report_mark *marks,
                      struct report_mark name_mark, struct report *report)
{
    if (collection->window_ms == 0)
        check_windowless(collection, marks, name_mark, report);
    else if (collection->compaction_style == CONFIG_STYLE_FIFO && collection->max_bytes == 0)
        report_error(report, mark_place(marks, "collections.*.compaction.style", name_mark),
                     "collections.%s.compaction.style: fifo drops the oldest window by bytes, and "
                     "there is no max_bytes (set it, as in max_bytes: 100GiB, or take "
                     "time_window)",
                     collection->name);
    check_unused(collection, marks, report);
    if (collection->size_tiered_min_threshold > collection->size_tiered_max_threshold)
        report_error(
            report,
            mark_place(
                marks, "collections.*.compaction.size_tiered.min_threshold",
                mark_place(marks, "collections.*.compaction.size_tiered.max_threshold", name_mark)),
            "collections.%s.compaction.size_tiered: min_threshold %u is above "
            "max_threshold %u",
            collection->name, collection->size_tiered_min_threshold,
            collection->size_tiered_max_threshold);
}
