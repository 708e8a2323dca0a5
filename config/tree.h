/* A YAML text as a small tree whose nodes remember where they stood.
 *
 * Plain data only: anchors, aliases, tags and a second document are refused, keys are scalars and
 * unique, depth, size and node count are bounded. Private to config/. */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "config/report.h"

enum {
    TREE_BYTES_MAX = 1 << 20,
    TREE_DEPTH_MAX = 16,
    TREE_NODES_MAX = 20000,
    TREE_KEYS_MAX = 2000
};

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node {
    enum tree_kind kind;
    bool plain;       /* a scalar without quotes: only these can be null or a number */
    const char *text; /* of a scalar, zero-terminated, without inner zero bytes */
    struct report_mark mark;
    const char *key; /* in the map above; NULL elsewhere */
    struct report_mark key_mark;
    struct tree_node *first, *last; /* items of a list, values of a map */
    struct tree_node *next;         /* sibling */
    size_t count;
};

/** Parses one document. Problems go to `report`. NULL when the text cannot be read as YAML at all;
 * refused or repeated parts are left out of the tree that comes back. An empty text is a null
 * scalar. All memory is the arena's. */
struct tree_node *tree_parse(struct arena *arena, const char *text, size_t size_bytes,
                             struct report *report);

/** "~", "null" or nothing at all, unquoted. */
bool tree_is_null(const struct tree_node *node);

/** "a text", "a list", "a map", for messages. */
const char *tree_kind_name(const struct tree_node *node);

#endif
