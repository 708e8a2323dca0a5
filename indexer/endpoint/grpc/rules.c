/* How fields of qdrant.proto become keys of the REST dialect, where that is not under their own names. A rule for a
 * field of one message stands before one for that field in any message. */
#include <string.h>

#include "indexer/endpoint/grpc/catalog.h"

enum { ALWAYS = 1, FLOATS = 2, VERBATIM = 4, TYPED = 8, WORD = 16 };

static const struct rule {
    const char *message; /* NULL: any */
    const char *field;   /* NULL: all of the message */
    enum grpc_form form;
    const char *key; /* NULL: the field's name */
    unsigned flags;
} rules[] = {
    /* Values that are messages on the wire only. */
    {"Value", NULL, GRPC_BARE, NULL, 0},
    {"Struct", NULL, GRPC_BARE, NULL, 0},
    {"ListValue", NULL, GRPC_BARE, NULL, 0},
    {"PointId", NULL, GRPC_BARE, NULL, 0},
    {"GroupId", NULL, GRPC_BARE, NULL, 0},
    {"FacetValue", NULL, GRPC_BARE, NULL, 0},
    {"StartFrom", NULL, GRPC_BARE, NULL, 0},
    {"ShardKey", NULL, GRPC_BARE, NULL, 0},
    {"ShardKeySelector", NULL, GRPC_BARE, NULL, 0},
    {"WriteOrdering", NULL, GRPC_BARE, NULL, ALWAYS},
    {"ReadConsistency", NULL, GRPC_BARE, NULL, 0},
    {"RepeatedStrings", NULL, GRPC_BARE, NULL, 0},
    {"RepeatedIntegers", NULL, GRPC_BARE, NULL, 0},
    {"ContextInput", NULL, GRPC_BARE, NULL, 0},
    {"VectorExample", NULL, GRPC_BARE, NULL, 0},
    {"TargetVector", NULL, GRPC_BARE, NULL, 0},
    {"OrderValue", NULL, GRPC_BARE, NULL, 0},

    {"DenseVector", NULL, GRPC_BARE, NULL, FLOATS},
    {"MultiDenseVector", NULL, GRPC_BARE, NULL, 0},
    {"Vector", "data", GRPC_BARE, NULL, FLOATS},
    {"Vector", NULL, GRPC_BARE, NULL, 0},
    {"NamedVectors", NULL, GRPC_BARE, NULL, 0},
    {"Vectors", NULL, GRPC_BARE, NULL, 0},
    {"VectorOutput", NULL, GRPC_BARE, NULL, 0},
    {"NamedVectorOutput", NULL, GRPC_BARE, NULL, 0},
    {"NamedVectorsOutput", NULL, GRPC_BARE, NULL, 0},
    {"VectorsOutput", NULL, GRPC_BARE, NULL, 0},
    {"VectorInput", NULL, GRPC_BARE, NULL, 0},
    {"SparseVector", NULL, GRPC_KEY, NULL, ALWAYS},
    {NULL, "vectors", GRPC_KEY, "vector", 0},

    /* Selectors. */
    {"WithPayloadSelector", "enable", GRPC_BARE, NULL, 0},
    {"PayloadIncludeSelector", NULL, GRPC_BARE, NULL, 0},
    {"PayloadExcludeSelector", NULL, GRPC_BARE, NULL, 0},
    {"WithVectorsSelector", NULL, GRPC_BARE, NULL, 0},
    {"VectorsSelector", NULL, GRPC_BARE, NULL, 0},
    {"PointsIdsList", NULL, GRPC_BARE, NULL, 0},
    {"DeletePoints", "points", GRPC_FLAT, NULL, 0},
    {"ClearPayloadPoints", "points", GRPC_FLAT, NULL, 0},
    {"SelectedPoints", "points", GRPC_FLAT, NULL, 0},
    {NULL, "points_selector", GRPC_FLAT, NULL, 0},

    /* Filters. */
    {"Condition", "field", GRPC_FLAT, NULL, 0},
    {"Condition", "has_id", GRPC_FLAT, NULL, 0},
    {"Condition", "filter", GRPC_FLAT, NULL, 0},
    {"Condition", "has_vector", GRPC_FLAT, NULL, 0},
    {"HasIdCondition", NULL, GRPC_KEY, NULL, ALWAYS},
    {"HasVectorCondition", NULL, GRPC_KEY, NULL, ALWAYS},
    {"SliceCondition", NULL, GRPC_KEY, NULL, ALWAYS},
    {"MinShould", NULL, GRPC_KEY, NULL, ALWAYS},
    {"GeoPoint", NULL, GRPC_KEY, NULL, ALWAYS},
    {"GeoRadius", "radius", GRPC_KEY, NULL, ALWAYS},
    {"FieldCondition", "datetime_range", GRPC_KEY, "range", 0},
    {"Match", "keyword", GRPC_KEY, "value", 0},
    {"Match", "integer", GRPC_KEY, "value", 0},
    {"Match", "boolean", GRPC_KEY, "value", 0},
    {"Match", "keywords", GRPC_KEY, "any", 0},
    {"Match", "integers", GRPC_KEY, "any", 0},
    {"Match", "except_keywords", GRPC_KEY, "except", 0},
    {"Match", "except_integers", GRPC_KEY, "except", 0},

    /* Formulas: expressions are what they hold. */
    {"Query", "formula", GRPC_FLAT, NULL, 0},
    {"Formula", "expression", GRPC_KEY, "formula", 0},
    {"Expression", "constant", GRPC_BARE, NULL, 0},
    {"Expression", "variable", GRPC_BARE, NULL, 0},
    {"Expression", "condition", GRPC_BARE, NULL, 0},
    {"PowExpression", "power_base", GRPC_KEY, "base", 0},
    {"MultExpression", NULL, GRPC_BARE, NULL, ALWAYS},
    {"SumExpression", NULL, GRPC_BARE, NULL, ALWAYS},
    {"MaxExpression", NULL, GRPC_BARE, NULL, ALWAYS},
    {"MinExpression", NULL, GRPC_BARE, NULL, ALWAYS},

    {"RelevanceFeedbackInput", "feedback", GRPC_KEY, NULL, ALWAYS},
    {"FeedbackItem", "score", GRPC_KEY, NULL, ALWAYS},
    {"NaiveFeedbackStrategy", NULL, GRPC_KEY, NULL, ALWAYS},

    /* Calls. The older searches are queries. */
    {NULL, "collection_name", GRPC_PART, NULL, 0},
    {"DeleteFieldIndexCollection", "field_name", GRPC_PART, NULL, 0},
    {NULL, "wait", GRPC_ARGUMENT, NULL, 0},
    {NULL, "ordering", GRPC_ARGUMENT, NULL, 0},
    {NULL, "timeout", GRPC_ARGUMENT, NULL, 0},
    {NULL, "read_consistency", GRPC_ARGUMENT, "consistency", 0},
    {NULL, "shard_key_selector", GRPC_KEY, "shard_key", 0},
    {"Query", "nearest_with_mmr", GRPC_FLAT, NULL, 0},
    {"QueryBatchPoints", "query_points", GRPC_KEY, "searches", ALWAYS},
    {"SearchBatchPoints", "search_points", GRPC_KEY, "searches", ALWAYS},
    {NULL, "vector", GRPC_KEY, "query", ALWAYS | FLOATS},
    {NULL, "vector_name", GRPC_KEY, "using", 0},
    {"SearchPoints", "limit", GRPC_KEY, NULL, ALWAYS},
    {"SearchPointGroups", "limit", GRPC_KEY, NULL, ALWAYS},
    {"SearchPointGroups", "group_size", GRPC_KEY, NULL, ALWAYS},
    {NULL, "positive_vectors", GRPC_KEY, "positive", 0},
    {NULL, "negative_vectors", GRPC_KEY, "negative", 0},
    {"RecommendPoints", "limit", GRPC_KEY, NULL, ALWAYS},
    {"RecommendPointGroups", "limit", GRPC_KEY, NULL, ALWAYS},
    {"RecommendPointGroups", "group_size", GRPC_KEY, NULL, ALWAYS},
    {"RecommendBatchPoints", "recommend_points", GRPC_KEY, "searches", ALWAYS},
    {"DiscoverPoints", "limit", GRPC_KEY, NULL, ALWAYS},
    {"DiscoverBatchPoints", "discover_points", GRPC_KEY, "searches", ALWAYS},
    {"GetPoints", "ids", GRPC_KEY, NULL, ALWAYS},
    {"UpsertPoints", "points", GRPC_KEY, NULL, ALWAYS},
    {"PointStructList", "points", GRPC_KEY, NULL, ALWAYS},
    {"UpdatePointVectors", "points", GRPC_KEY, NULL, ALWAYS},
    {"UpdateVectors", "points", GRPC_KEY, NULL, ALWAYS},
    {"UpdateBatchPoints", "operations", GRPC_KEY, NULL, ALWAYS},
    {"PointsUpdateOperation", "delete_points", GRPC_KEY, "delete", 0},
    {"PointsUpdateOperation", "delete_deprecated", GRPC_KEY, "delete", 0},
    {"PointsUpdateOperation", "clear_payload_deprecated", GRPC_KEY, "clear_payload", 0},
    {"SetPayloadPoints", "payload", GRPC_KEY, NULL, ALWAYS},
    {"SetPayload", "payload", GRPC_KEY, NULL, ALWAYS},
    {NULL, "keys", GRPC_KEY, NULL, ALWAYS},
    {"CreateFieldIndexCollection", "field_type", GRPC_KEY, "field_schema", 0},
    {"CreateFieldIndexCollection", "field_index_params", GRPC_KEY, "field_schema", 0},
    {"PayloadIndexParams", NULL, GRPC_BARE, NULL, TYPED},

    /* Replies. */
    {"QueryResponse", "result", GRPC_KEY, "points", 0},
    {"ScrollResponse", "result", GRPC_KEY, "points", 0},
    {"BatchResult", "result", GRPC_KEY, "points", 0},
    {"PointsList", "result", GRPC_BARE, NULL, 0},

    /* Collections. */
    {NULL, "vectors_config", GRPC_KEY, "vectors", 0},
    {NULL, "sparse_vectors_config", GRPC_KEY, "sparse_vectors", 0},
    {"SparseVectorConfig", NULL, GRPC_BARE, NULL, 0},
    {"VectorsConfig", NULL, GRPC_BARE, NULL, 0},
    {"VectorParamsMap", NULL, GRPC_BARE, NULL, 0},
    {"VectorsConfigDiff", NULL, GRPC_BARE, NULL, 0},
    {"VectorParamsDiffMap", NULL, GRPC_BARE, NULL, 0},
    {"QuantizationConfigDiff", "disabled", GRPC_BARE, "Disabled", WORD},
    {"MultiVectorConfig", "comparator", GRPC_KEY, NULL, ALWAYS},
    {"VectorParams", "size", GRPC_KEY, NULL, ALWAYS},
    {"VectorParams", "distance", GRPC_KEY, NULL, VERBATIM},
};

static bool fits(const struct rule *rule, const char *message, const char *field)
{
    return (!rule->message || strcmp(rule->message, message) == 0) &&
           (!rule->field || strcmp(rule->field, field) == 0);
}

struct doc grpc_field_type(const struct grpc_field *field)
{
    const char *name = field->wire->name;

    return (struct doc){.type = DOC_STRING, .count = (uint32_t)strcspn(name, "_"), .string = name};
}

void grpc_rule_apply(const char *message, struct grpc_field *field)
{
    const struct rule *found = NULL;

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (fits(&rules[i], message, field->wire->name) &&
            (!found || (!found->message && rules[i].message)))
            found = &rules[i];
    field->key = found && found->key ? found->key : field->wire->name;
    if (!found)
        return;
    field->form = found->form;
    field->always = found->flags & ALWAYS;
    field->floats = found->flags & FLOATS;
    field->verbatim = found->flags & VERBATIM;
    field->typed = found->flags & TYPED;
    field->word = found->flags & WORD;
}
