/* The filter document, as indexer/query/filter/compile.c reads it, and expressions of formulas, which may hold
 * conditions of it, as formula_compile.c does. */
#include "indexer/endpoint/rest/schema_shapes.h"

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
static const struct http_shape moment = {.types = HTTP_STRING, .also = "\"format\":\"date-time\""};
static const struct http_key range_keys[] = {
    {.name = "lt", .shape = &bound},
    {.name = "gt", .shape = &bound},
    {.name = "lte", .shape = &bound},
    {.name = "gte", .shape = &bound},
    {.name = NULL},
};
static const struct http_key number_range_keys[] = {
    {.name = "lt", .shape = &http_number},
    {.name = "gt", .shape = &http_number},
    {.name = "lte", .shape = &http_number},
    {.name = "gte", .shape = &http_number},
    {.name = NULL},
};
static const struct http_shape number_range = {
    .name = "Range", .types = HTTP_OBJECT, .keys = number_range_keys};
static const struct http_key time_range_keys[] = {
    {.name = "lt", .shape = &moment},
    {.name = "gt", .shape = &moment},
    {.name = "lte", .shape = &moment},
    {.name = "gte", .shape = &moment},
    {.name = NULL},
};
static const struct http_shape time_range = {
    .name = "TimeRange", .types = HTTP_OBJECT, .keys = time_range_keys};
static const struct http_shape *const range_forms[] = {&number_range, &time_range, NULL};
static const struct http_shape range = {
    .types = HTTP_OBJECT, .keys = range_keys, .forms = range_forms};

static const struct http_key count_keys[] = {
    {.name = "lt", .shape = &http_natural},
    {.name = "gt", .shape = &http_natural},
    {.name = "lte", .shape = &http_natural},
    {.name = "gte", .shape = &http_natural},
    {.name = NULL},
};
static const struct http_shape values_count = {.types = HTTP_OBJECT, .keys = count_keys};

static const struct http_shape value = {
    .types = HTTP_STRING | HTTP_INTEGER | HTTP_BOOLEAN,
    .written = "{\"anyOf\":[{\"type\":\"boolean\"},{\"type\":\"string\"},{\"type\":\"integer\","
               "\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807}]}"};
static const struct http_shape keyword = {.types = HTTP_STRING | HTTP_INTEGER};
/* All of one type. */
static const struct http_shape keywords = {
    .types = HTTP_ARRAY,
    .items = &keyword,
    .written = "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"string\"}},{\"type\":"
               "\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-9223372036854775808,"
               "\"maximum\":9223372036854775807}}]}"};
static const struct http_key match_keys[] = {
    {.name = "value", .shape = &value, .form = true},
    {.name = "text", .shape = &http_string, .form = true},
    {.name = "text_any", .shape = &http_string, .form = true},
    {.name = "phrase", .shape = &http_string, .form = true},
    {.name = "any", .shape = &keywords, .form = true},
    {.name = "except", .shape = &keywords, .form = true},
    {.name = "prefix", .shape = &http_string, .form = true},
    {.name = "substring", .shape = &http_string, .form = true},
    {.name = NULL},
};
static const struct http_shape match = {
    .name = "Match", .types = HTTP_OBJECT, .keys = match_keys, .needs_form = true};

static const struct http_shape longitude = {.types = HTTP_NUMBER,
                                            .also = "\"minimum\":-180,\"maximum\":180"};
static const struct http_shape latitude = {.types = HTTP_NUMBER,
                                           .also = "\"minimum\":-90,\"maximum\":90"};
static const struct http_key geo_point_keys[] = {
    {.name = "lon", .shape = &longitude, .required = true},
    {.name = "lat", .shape = &latitude, .required = true},
    {.name = NULL},
};
static const struct http_shape geo_point = {
    .name = "GeoPoint", .types = HTTP_OBJECT, .keys = geo_point_keys};
static const struct http_shape metres = {.types = HTTP_NUMBER, .also = "\"minimum\":0"};
static const struct http_key geo_radius_keys[] = {
    {.name = "center", .shape = &geo_point, .required = true},
    {.name = "radius", .shape = &metres, .required = true},
    {.name = NULL},
};
static const struct http_shape geo_radius = {.types = HTTP_OBJECT, .keys = geo_radius_keys};
static const struct http_key geo_box_keys[] = {
    {.name = "top_left", .shape = &geo_point, .required = true},
    {.name = "bottom_right", .shape = &geo_point, .required = true},
    {.name = NULL},
};
static const struct http_shape geo_box = {.types = HTTP_OBJECT, .keys = geo_box_keys};
static const struct http_shape geo_points = {
    .types = HTTP_ARRAY, .items = &geo_point, .also = "\"minItems\":4"};
static const struct http_key geo_ring_keys[] = {
    {.name = "points", .shape = &geo_points, .required = true},
    {.name = NULL},
};
static const struct http_shape geo_ring = {
    .name = "GeoRing", .types = HTTP_OBJECT, .keys = geo_ring_keys};
static const struct http_shape geo_rings = {.types = HTTP_ARRAY, .items = &geo_ring};
static const struct http_key geo_polygon_keys[] = {
    {.name = "exterior", .shape = &geo_ring, .required = true},
    {.name = "interiors", .shape = &geo_rings},
    {.name = NULL},
};
static const struct http_shape geo_polygon = {.types = HTTP_OBJECT, .keys = geo_polygon_keys};

static const struct http_key path_keys[] = {
    {.name = "key", .shape = &rest_path, .required = true},
    {.name = NULL},
};
static const struct http_shape path_only = {
    .name = "PathOnly", .types = HTTP_OBJECT, .keys = path_keys};
/* A flag beside `key`, or {"key"} alone. */
static const struct http_shape presence = {.types = HTTP_BOOLEAN | HTTP_OBJECT, .keys = path_keys};

static const struct http_key nested_keys[] = {
    {.name = "key", .shape = &rest_path, .required = true},
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

/* Qdrant tells 0 from an index beyond it by the status: slice.c. */
static const struct http_shape slice_total = {.types = HTTP_INTEGER, .also = "\"minimum\":1"};
static const struct http_key slice_keys[] = {
    {.name = "total", .shape = &slice_total, .required = true},
    {.name = "index", .shape = &http_natural, .required = true},
    {.name = NULL},
};
static const struct http_shape slice = {.name = "Slice", .types = HTTP_OBJECT, .keys = slice_keys};

/* The forms of a condition. */
static const struct http_key field_keys[] = {
    {.name = "key", .shape = &rest_path, .required = true},
    {.name = "match", .shape = &match, .form = true},
    {.name = "range", .shape = &range, .form = true},
    {.name = "values_count", .shape = &values_count, .form = true},
    {.name = "is_empty", .shape = &http_boolean, .form = true},
    {.name = "is_null", .shape = &http_boolean, .form = true},
    {.name = "geo_bounding_box", .shape = &geo_box, .form = true},
    {.name = "geo_radius", .shape = &geo_radius, .form = true},
    {.name = "geo_polygon", .shape = &geo_polygon, .form = true},
    {.name = NULL},
};
static const struct http_shape field = {
    .name = "FieldCondition", .types = HTTP_OBJECT, .keys = field_keys, .needs_form = true};
static const struct http_key other_keys[] = {
    {.name = "is_empty", .shape = &path_only, .form = true},
    {.name = "is_null", .shape = &path_only, .form = true},
    {.name = "has_id", .shape = &rest_ids, .form = true},
    {.name = "has_vector", .shape = &http_string, .form = true},
    {.name = "nested", .shape = &nested, .form = true},
    {.name = "slice", .shape = &slice, .form = true},
    {.name = NULL},
};
static const struct http_shape other = {
    .name = "OtherCondition", .types = HTTP_OBJECT, .keys = other_keys, .needs_form = true};
static const struct http_shape *const condition_forms[] = {&field, &other, &rest_filter, NULL};

#define CONDITION_KEYS                                                                             \
    {.name = "key", .shape = &rest_path}, {.name = "match", .shape = &match},                      \
        {.name = "range", .shape = &range}, {.name = "values_count", .shape = &values_count},      \
        {.name = "is_empty", .shape = &presence}, {.name = "is_null", .shape = &presence},         \
        {.name = "geo_bounding_box", .shape = &geo_box},                                           \
        {.name = "geo_radius", .shape = &geo_radius},                                              \
        {.name = "geo_polygon", .shape = &geo_polygon}, {.name = "has_id", .shape = &rest_ids},    \
        {.name = "has_vector", .shape = &http_string}, {.name = "slice", .shape = &slice},         \
        {.name = "nested", .shape = &nested}, GROUP_KEYS

static const struct http_key condition_keys[] = {CONDITION_KEYS, {.name = NULL}};
static const struct http_shape condition = {
    .name = "Condition", .types = HTTP_OBJECT, .keys = condition_keys, .forms = condition_forms};
/* One condition may stand for a list of it. */
static const struct http_shape one_or_more = {.name = "Conditions",
                                              .types = HTTP_ARRAY | HTTP_OBJECT,
                                              .keys = condition_keys,
                                              .forms = condition_forms,
                                              .items = &condition};

/* Expressions of formulas. */

static const struct http_shape expressions = {.types = HTTP_ARRAY, .items = &rest_expression};
static const struct http_shape some_expressions = {
    .types = HTTP_ARRAY, .items = &rest_expression, .also = "\"minItems\":1"};

static const struct http_key div_keys[] = {
    {.name = "left", .shape = &rest_expression, .required = true},
    {.name = "right", .shape = &rest_expression, .required = true},
    {.name = "by_zero_default", .shape = &http_number},
    {.name = NULL},
};
static const struct http_shape div_shape = {.types = HTTP_OBJECT, .keys = div_keys};
static const struct http_key pow_keys[] = {
    {.name = "base", .shape = &rest_expression, .required = true},
    {.name = "exponent", .shape = &rest_expression, .required = true},
    {.name = NULL},
};
static const struct http_shape pow_shape = {.types = HTTP_OBJECT, .keys = pow_keys};
static const struct http_key distance_keys[] = {
    {.name = "origin", .shape = &geo_point, .required = true},
    {.name = "to", .shape = &rest_path, .required = true},
    {.name = NULL},
};
static const struct http_shape distance = {.types = HTTP_OBJECT, .keys = distance_keys};

static const struct http_shape scale = {.types = HTTP_NUMBER, .also = "\"exclusiveMinimum\":0"};
static const struct http_shape share = {.types = HTTP_NUMBER,
                                        .also = "\"minimum\":0,\"maximum\":1"};
static const struct http_shape inner_share = {
    .types = HTTP_NUMBER, .also = "\"exclusiveMinimum\":0,\"exclusiveMaximum\":1"};

#define DECAY_KEYS                                                                                 \
    {.name = "x", .shape = &rest_expression, .required = true},                                    \
        {.name = "target", .shape = &rest_expression},                                             \
    {                                                                                              \
        .name = "scale", .shape = &scale                                                           \
    }

static const struct http_key decay_keys[] = {
    DECAY_KEYS,
    {.name = "midpoint", .shape = &inner_share},
    {.name = NULL},
};
static const struct http_shape decay = {.name = "Decay", .types = HTTP_OBJECT, .keys = decay_keys};
static const struct http_key lin_decay_keys[] = {
    DECAY_KEYS,
    {.name = "midpoint", .shape = &share},
    {.name = NULL},
};
static const struct http_shape lin_decay = {
    .name = "LinearDecay", .types = HTTP_OBJECT, .keys = lin_decay_keys};

#define OPERATION_KEYS                                                                             \
    {.name = "sum", .shape = &expressions, .form = true},                                          \
        {.name = "mult", .shape = &expressions, .form = true},                                     \
        {.name = "max", .shape = &some_expressions, .form = true},                                 \
        {.name = "min", .shape = &some_expressions, .form = true},                                 \
        {.name = "neg", .shape = &rest_expression, .form = true},                                  \
        {.name = "abs", .shape = &rest_expression, .form = true},                                  \
        {.name = "div", .shape = &div_shape, .form = true},                                        \
        {.name = "sqrt", .shape = &rest_expression, .form = true},                                 \
        {.name = "pow", .shape = &pow_shape, .form = true},                                        \
        {.name = "exp", .shape = &rest_expression, .form = true},                                  \
        {.name = "log10", .shape = &rest_expression, .form = true},                                \
        {.name = "ln", .shape = &rest_expression, .form = true},                                   \
        {.name = "acosh", .shape = &rest_expression, .form = true},                                \
        {.name = "geo_distance", .shape = &distance, .form = true},                                \
        {.name = "datetime", .shape = &moment, .form = true},                                      \
        {.name = "datetime_key", .shape = &rest_path, .form = true},                               \
        {.name = "exp_decay", .shape = &decay, .form = true},                                      \
        {.name = "gauss_decay", .shape = &decay, .form = true},                                    \
    {                                                                                              \
        .name = "lin_decay", .shape = &lin_decay, .form = true                                     \
    }

static const struct http_key operation_keys[] = {OPERATION_KEYS, {.name = NULL}};
static const struct http_shape operation = {
    .name = "Operation", .types = HTTP_OBJECT, .keys = operation_keys, .needs_form = true};
static const struct http_shape *const expression_forms[] = {&operation, &condition, NULL};
static const struct http_key expression_keys[] = {OPERATION_KEYS, CONDITION_KEYS, {.name = NULL}};
/* A number, a variable ("$score", "$score[1]" or a path), an operation or a condition. */
const struct http_shape rest_expression = {.name = "Expression",
                                           .types = HTTP_NUMBER | HTTP_STRING | HTTP_OBJECT,
                                           .keys = expression_keys,
                                           .forms = expression_forms,
                                           .also = rest_path_pattern};
