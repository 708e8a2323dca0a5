/* formula: Qdrant's score formulas as trees.
 *
 *     formula_compile.c  documents to trees      formula.c  evaluation, and the page of the best
 *
 * Semantics are those of the in-memory mode of Qdrant's client (tests/clients/test_in_memory_mode.py). An
 * expression is a number, a variable ("$score", "$score[1]", a payload path or a virtual key of filters), an
 * operation or a filter condition, which counts as 1 or 0. */
#ifndef INDEXER_QUERY_FORMULA_H
#define INDEXER_QUERY_FORMULA_H

#include "indexer/query/filter/filter.h"
#include "indexer/query/query.h"

enum formula_limits {
    FORMULA_DEPTH_MAX = 32,
    FORMULA_NODES_MAX = 4096, /* conditions have limits of their own, filter.h */
    FORMULA_DEFAULTS_MAX = 1024
};

enum formula_kind {
    FORMULA_CONSTANT,
    FORMULA_SCORE,
    FORMULA_VARIABLE,
    FORMULA_CONDITION,
    FORMULA_SUM,
    FORMULA_MULT,
    FORMULA_MAX,
    FORMULA_MIN,
    FORMULA_NEG,
    FORMULA_ABS,
    FORMULA_SQRT,
    FORMULA_EXP,
    FORMULA_LOG10,
    FORMULA_LN,
    FORMULA_ACOSH,
    FORMULA_DIV,
    FORMULA_POW,
    FORMULA_GEO_DISTANCE,
    FORMULA_DATETIME,
    FORMULA_DATETIME_KEY,
    FORMULA_EXP_DECAY,
    FORMULA_GAUSS_DECAY,
    FORMULA_LIN_DECAY
};

struct formula_node {
    enum formula_kind kind;
    const struct filter_place *place; /* for errors of data */
    const char *name;                 /* of an operation, as it was written */
    const struct formula_node *operands;
    uint32_t operand_count;
    /* A constant; a score that no search gave; what a division by zero gives. */
    double number;
    bool has_number;
    double midpoint, scale; /* of a decay */
    uint64_t search;        /* whose score, by its place in the prefetch */
    /* What a payload path leads to. */
    const char *key;
    uint32_t key_bytes;
    enum filter_virtual virtual_key;
    const struct doc *fallback; /* from `defaults`; NULL: none */
    struct filter_point origin;
    const struct query_filter *condition;
};

struct query_formula {
    struct formula_node root;
    bool needs_payload;
};

#endif
