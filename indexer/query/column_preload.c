/* Columns of the fields that payload_index names, made before a filter asks for them. */
#include <string.h>

#include "indexer/query/column.h"

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
        code = query_filter_compile(&doc, arena, filter, error);
    buffer_destroy(&text);
    return code;
}

static size_t preload_shard(const struct query_view *view, size_t shard,
                            const struct query_filter *filter, struct error *error)
{
    const struct view_shard *from = &view->shards[shard];
    size_t made = 0;

    for (size_t i = 0; i < from->source_count; i++) {
        struct column *columns[FILTER_SLOTS_MAX];
        if (!query_columns_have_room() || query_view_check(view, error) != 0)
            break;
        if (!query_columns_missing(view, shard, &from->sources[i], filter))
            continue;
        if (query_columns_acquire(view, shard, &from->sources[i], filter, columns))
            query_columns_release(columns, filter->slot_count);
        made++;
    }
    return made;
}

int query_column_preload(const struct query_view_options *options, size_t *made,
                         struct error *error)
{
    const struct query_filter *filter;
    struct query_view *view;
    struct arena arena;
    int code = 0;

    *made = 0;
    if (options->collection->payload_index_count == 0)
        return 0;
    arena_create(&arena, 0);
    code = compile_fields(options->collection, &arena, &filter, error);
    if (code == 0)
        code = query_view_open(options, &view, error);
    if (code == 0) {
        for (size_t i = 0; i < view->shard_count && error->code == 0; i++)
            *made += preload_shard(view, i, filter, error);
        code = error->code;
        query_view_close(view);
    }
    arena_destroy(&arena);
    return code;
}
