/* The filter document, as indexer/query/filter_compile.c reads it. */
#include "indexer/rest/schema_shapes.h"

#define GEO "geo conditions are not implemented"

/* A condition may hold conditions. */
static const struct http_shape condition, one_or_more;

static const struct http_shape conditions = {.types = HTTP_ARRAY, .items = &condition};

static const struct http_key min_should_keys[] = {
    {.name = "conditions", .shape = &conditions, .required = true},
    {.name = "min_count", .shape = &http_positive, .required = true},
    {.name = NULL},
};
static const struct http_shape min_should = {.types = HTTP_OBJECT, .keys = min_should_keys};

static const struct http_shape bound = {.types = HTTP_NUMBER | HTTP_STRING};
static const struct http_key range_keys[] = {
    {.name = "lt", .shape = &bound},
    {.name = "gt", .shape = &bound},
    {.name = "lte", .shape = &bound},
    {.name = "gte", .shape = &bound},
    {.name = NULL},
};
static const struct http_shape range = {.types = HTTP_OBJECT, .keys = range_keys};

static const struct http_key count_keys[] = {
    {.name = "lt", .shape = &http_natural},
    {.name = "gt", .shape = &http_natural},
    {.name = "lte", .shape = &http_natural},
    {.name = "gte", .shape = &http_natural},
    {.name = NULL},
};
static const struct http_shape values_count = {.types = HTTP_OBJECT, .keys = count_keys};

static const struct http_shape value = {.types = HTTP_STRING | HTTP_INTEGER | HTTP_BOOLEAN};
static const struct http_shape keyword = {.types = HTTP_STRING | HTTP_INTEGER};
static const struct http_shape keywords = {.types = HTTP_ARRAY, .items = &keyword};
static const struct http_key match_keys[] = {
    {.name = "value", .shape = &value, .form = true},
    {.name = "text", .shape = &http_string, .form = true},
    {.name = "text_any", .shape = &http_string, .form = true},
    {.name = "phrase", .shape = &http_string, .form = true},
    {.name = "any", .shape = &keywords, .form = true},
    {.name = "except", .shape = &keywords, .form = true},
    {.name = "prefix", .refused = "strings are compared as a whole or, with `text`, by words"},
    {.name = "substring", .refused = "strings are compared as a whole or, with `text`, by words"},
    {.name = NULL},
};
static const struct http_shape match = {.types = HTTP_OBJECT, .keys = match_keys};

static const struct http_key path_keys[] = {
    {.name = "key", .shape = &http_string, .required = true},
    {.name = NULL},
};
/* A flag beside `key`, or {"key"} alone. */
static const struct http_shape presence = {.types = HTTP_BOOLEAN | HTTP_OBJECT, .keys = path_keys};

static const struct http_key nested_keys[] = {
    {.name = "key", .shape = &http_string, .required = true},
    {.name = "filter", .shape = &rest_filter, .required = true},
    {.name = NULL},
};
static const struct http_shape nested = {.types = HTTP_OBJECT, .keys = nested_keys};

#define GROUP_KEYS                                                                                 \
    {.name = "must", .shape = &one_or_more}, {.name = "should", .shape = &one_or_more},            \
        {.name = "must_not", .shape = &one_or_more},                                               \
    {                                                                                              \
        .name = "min_should", .shape = &min_should                                                 \
    }

static const struct http_key filter_keys[] = {GROUP_KEYS, {.name = NULL}};
const struct http_shape rest_filter = {.name = "Filter", .types = HTTP_OBJECT, .keys = filter_keys};

static const struct http_key condition_keys[] = {
    {.name = "key", .shape = &http_string},
    {.name = "match", .shape = &match},
    {.name = "range", .shape = &range},
    {.name = "values_count", .shape = &values_count},
    {.name = "is_empty", .shape = &presence},
    {.name = "is_null", .shape = &presence},
    {.name = "geo_bounding_box", .refused = GEO},
    {.name = "geo_radius", .refused = GEO},
    {.name = "geo_polygon", .refused = GEO},
    {.name = "has_id", .shape = &rest_ids},
    {.name = "has_vector", .shape = &http_string},
    {.name = "slice", .refused = "scroll pages through points; `@partition` splits them"},
    {.name = "nested", .shape = &nested},
    GROUP_KEYS,
    {.name = NULL},
};
static const struct http_shape condition = {
    .name = "Condition", .types = HTTP_OBJECT, .keys = condition_keys};
/* One condition may stand for a list of it. */
static const struct http_shape one_or_more = {.name = "Conditions",
                                              .types = HTTP_ARRAY | HTTP_OBJECT,
                                              .keys = condition_keys,
                                              .items = &condition};
