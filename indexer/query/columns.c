/* Columns of the chunks and runs of a view: for the filter of an operation, and ahead of filters. */
#include "indexer/query/columns.h"

#include <string.h>

#include "base/buffer.h"
#include "indexer/query/filter/column.h"
#include "indexer/query/filter/filter.h"

static int check_view(const void *view, struct error *error)
{
    return query_view_check(view, error);
}

static struct column_table table_of(const struct query_view *view, size_t shard,
                                    const struct store_source *source)
{
    return (struct column_table){.row = query_view_row(view, shard, source, 0),
                                 .directory =
                                     store_shard_directory(view->shards[shard].lease->shard),
                                 .listed = view->collection->payload_index,
                                 .listed_count = view->collection->payload_index_count,
                                 .io = view->io,
                                 .stop = view->stop,
                                 .check = check_view,
                                 .context = view};
}

struct filter_binding *query_binding_make(const struct query_view *view, size_t shard,
                                          const struct store_source *source,
                                          const struct query_filter *filter, struct arena *arena)
{
    const struct column_table table = table_of(view, shard, source);

    return query_columns_bind(&table, filter, arena);
}

/* A filter that looks at all of them: columns are made for a filter's paths. */
static int compile_fields(const struct config_collection *collection, struct arena *arena,
                          const struct query_filter **filter, struct error *error)
{
    struct buffer text = {0};
    struct doc doc;
    int code;

    buffer_append_text(&text, "{\"should\":[");
    for (size_t i = 0; i < collection->payload_index_count && i < FILTER_SLOTS_MAX; i++) {
        buffer_append_text(&text, i > 0 ? ",{\"key\":" : "{\"key\":");
        doc_write_json_string(&text, collection->payload_index[i],
                              strlen(collection->payload_index[i]));
        buffer_append_text(&text, ",\"match\":{\"value\":0}}");
    }
    buffer_append_text(&text, "]}");
    code = doc_parse_json(arena, buffer_text(&text), text.size, NULL, &doc, error);
    if (code == 0)
        code = query_filter_compile(&doc, "", arena, filter, error);
    buffer_destroy(&text);
    return code;
}

/* Whether a version holds the file still. */
static bool is_live(const void *context, const char *directory, uint64_t file_number)
{
    const struct query_view *view = context;

    for (size_t i = 0; i < view->shard_count; i++) {
        const struct view_shard *from = &view->shards[i];
        if (strcmp(store_shard_directory(from->lease->shard), directory) != 0)
            continue;
        for (size_t j = 0; j < from->source_count; j++)
            if (from->sources[j].kind != STORE_SOURCE_MEMTABLE &&
                from->sources[j].file_number == file_number)
                return true;
    }
    return false;
}

/* Columns of tables that the collection has no more: a mapping would keep a removed file's bytes on
 * the disk. One that was made since the view was opened goes, too, and is made or mapped again. */
static void forget_gone(const struct query_view *view)
{
    const char *directory =
        view->shard_count > 0 ? store_shard_directory(view->shards[0].lease->shard) : "";
    const char *slash = strrchr(directory, '/');
    struct buffer folder = {0};

    if (!slash)
        return;
    buffer_append(&folder, directory, (size_t)(slash - directory) + 1);
    query_columns_forget_below(buffer_text(&folder), is_live, view);
    buffer_destroy(&folder);
}

static size_t preload_shard(const struct query_view *view, size_t shard,
                            const struct query_filter *filter, struct error *error)
{
    const struct view_shard *from = &view->shards[shard];
    size_t made = 0;

    for (size_t i = 0; i < from->source_count; i++) {
        const struct store_source *source = &from->sources[i];
        const struct column_table table = table_of(view, shard, source);
        struct column *columns[FILTER_SLOTS_MAX];
        if (query_view_check(view, error) != 0)
            break;
        if ((source->kind != STORE_SOURCE_RUN && !query_columns_have_room()) ||
            !query_columns_missing(&table, filter))
            continue;
        if (query_columns_acquire(&table, filter, columns))
            query_columns_release(columns, filter->slot_count);
        made++;
    }
    return made;
}

int query_column_preload(const struct query_view_options *options, size_t *made,
                         struct error *error)
{
    bool any = options->collection->payload_index_count > 0;
    const struct query_filter *filter = NULL;
    struct query_view *view;
    struct arena arena;
    int code = 0;

    *made = 0;
    arena_create(&arena, 0);
    if (any)
        code = compile_fields(options->collection, &arena, &filter, error);
    if (code == 0)
        code = query_view_open(options, &view, error);
    if (code == 0) {
        forget_gone(view);
        for (size_t i = 0; i < view->shard_count && any && error->code == 0; i++)
            *made += preload_shard(view, i, filter, error);
        code = error->code;
        query_view_close(view);
    }
    arena_destroy(&arena);
    return any ? code : 0;
}
