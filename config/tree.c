/* libyaml's events -> tree.
 *
 * Happy path: one stream, one document, nodes nested at most TREE_DEPTH_MAX deep. A refused node
 * (an alias, a tagged or anchored node, a repeated key, too deep) is reported and read past, so
 * that everything behind it is still checked; a syntax error ends the reading, because nothing
 * behind it can be trusted. */
#include "config/tree.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text; /* the file */
    size_t size_bytes;
    struct arena *arena;
    struct report *report;
    size_t node_count;
    bool failed; /* syntax error or a bound: stop */
};

static struct report_mark mark_of(yaml_mark_t mark)
{
    return (struct report_mark){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

/* The column of a tab in the indentation of a line (counted from 1), or 0. YAML indents with spaces
 * alone, and libyaml's words for a tab name no tab. */
static uint32_t indenting_tab(const struct reader *reader, uint32_t line)
{
    const char *at = reader->text;
    const char *end = at + reader->size_bytes;
    const char *start;

    while (line > 1 && at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        line--;
    }
    for (start = at; at && at < end && (*at == ' ' || *at == '\t'); at++)
        if (*at == '\t')
            return (uint32_t)(at - start) + 1;
    return 0;
}

static void fail_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    struct report_mark mark = mark_of(parser->problem_mark);
    const char *problem = parser->problem ? parser->problem : "unreadable";
    uint32_t tab = indenting_tab(reader, mark.line);

    reader->failed = true;
    if (tab > 0)
        report_error(reader->report, (struct report_mark){mark.line, tab},
                     "invalid YAML: a tab indents this line (use spaces)");
    else if (parser->error == YAML_READER_ERROR)
        report_error(reader->report, mark_of(parser->mark),
                     "invalid YAML: %s (the file must be UTF-8 text)", problem);
    else if (parser->context)
        report_error(reader->report, mark, "invalid YAML: %s, %s, which began in line %zu", problem,
                     parser->context, parser->context_mark.line + 1);
    else
        report_error(reader->report, mark, "invalid YAML: %s", problem);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (reader->failed)
        return false;
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    fail_syntax(reader);
    return false;
}

static struct tree_node *new_node(struct reader *reader, enum tree_kind kind, yaml_mark_t mark)
{
    struct tree_node *node;

    if (++reader->node_count > TREE_NODES_MAX) {
        report_error(reader->report, mark_of(mark), "the file has more than %d values",
                     TREE_NODES_MAX);
        reader->failed = true;
        return NULL;
    }
    node = arena_calloc(reader->arena, 1, sizeof(*node));
    node->kind = kind;
    node->mark = mark_of(mark);
    return node;
}

/* Values of any kind may carry these; they would make two places of the file depend on each other,
 * or mean something that no property has. */
static bool refuse_decoration(struct reader *reader, const yaml_event_t *event,
                              const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        report_error(reader->report, mark_of(event->start_mark),
                     "anchors are not supported: &%.40s (write the value out)",
                     (const char *)anchor);
    if (tag)
        report_error(reader->report, mark_of(event->start_mark),
                     "tags are not supported: %.60s (write the value without it)",
                     (const char *)tag);
    return anchor || tag;
}

static struct tree_node *read_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    struct tree_node *node;

    if (refuse_decoration(reader, event, event->data.scalar.anchor, event->data.scalar.tag))
        return NULL;
    if (memchr(text, 0, length)) {
        report_error(reader->report, mark_of(event->start_mark), "text contains a zero byte");
        return NULL;
    }
    node = new_node(reader, TREE_SCALAR, event->start_mark);
    if (!node)
        return NULL;
    node->text = arena_copy(reader->arena, text, length);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return node;
}

/* Reads on to the end of the list or map that has just begun. */
static void skip_collection(struct reader *reader)
{
    size_t open = 1;

    while (open > 0) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return;
        open += event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
        open -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        yaml_event_delete(&event);
    }
}

static void append(struct tree_node *parent, struct tree_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

static struct tree_node *read_value(struct reader *reader, const yaml_event_t *event, int depth);

static void read_list(struct reader *reader, struct tree_node *list, int depth)
{
    yaml_event_t event;

    while (next_event(reader, &event)) {
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end) {
            struct tree_node *item = read_value(reader, &event, depth);
            if (item)
                append(list, item);
        }
        yaml_event_delete(&event);
        if (end)
            return;
    }
}

/* The key of the next pair: NULL with *end at the end of the map, NULL alone when it cannot be a
 * key (reported, and its value must be read past). */
static struct tree_node *read_key(struct reader *reader, bool *end)
{
    struct tree_node *key = NULL;
    yaml_event_t event;

    *end = true;
    if (!next_event(reader, &event))
        return NULL;
    *end = event.type == YAML_MAPPING_END_EVENT;
    if (event.type == YAML_SCALAR_EVENT) {
        key = read_scalar(reader, &event);
    } else if (!*end) {
        report_error(reader->report, mark_of(event.start_mark),
                     "a key must be plain text (such as window: 1h)");
        if (event.type != YAML_ALIAS_EVENT)
            skip_collection(reader);
    }
    yaml_event_delete(&event);
    return key;
}

static bool is_repeated(struct reader *reader, const struct tree_node *map,
                        const struct tree_node *key)
{
    for (const struct tree_node *other = map->first; other; other = other->next) {
        if (strcmp(other->key, key->text) == 0) {
            report_error(reader->report, key->mark, "duplicate key %.60s (first used in line %u)",
                         key->text, other->key_mark.line);
            return true;
        }
    }
    return false;
}

static void read_map(struct reader *reader, struct tree_node *map, int depth)
{
    bool end;

    for (;;) {
        struct tree_node *key = read_key(reader, &end);
        struct tree_node *value;
        yaml_event_t event;
        if (end || !next_event(reader, &event))
            return;
        value = read_value(reader, &event, depth);
        yaml_event_delete(&event);
        if (!key || !value || is_repeated(reader, map, key))
            continue;
        if (map->count == TREE_KEYS_MAX) {
            report_error(reader->report, key->mark, "more than %d keys in one map", TREE_KEYS_MAX);
            reader->failed = true;
            return;
        }
        value->key = key->text;
        value->key_mark = key->mark;
        append(map, value);
    }
}

static struct tree_node *read_nested(struct reader *reader, const yaml_event_t *event, int depth)
{
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    struct tree_node *node;
    bool refused = is_map ? refuse_decoration(reader, event, event->data.mapping_start.anchor,
                                              event->data.mapping_start.tag)
                          : refuse_decoration(reader, event, event->data.sequence_start.anchor,
                                              event->data.sequence_start.tag);

    if (!refused && depth == TREE_DEPTH_MAX) {
        report_error(reader->report, mark_of(event->start_mark), "nested more than %d levels deep",
                     TREE_DEPTH_MAX);
        reader->failed = true; /* libyaml's own work grows with the depth: go no further */
        return NULL;
    }
    if (refused) {
        skip_collection(reader);
        return NULL;
    }
    node = new_node(reader, is_map ? TREE_MAP : TREE_LIST, event->start_mark);
    if (!node)
        return NULL;
    if (is_map)
        read_map(reader, node, depth + 1);
    else
        read_list(reader, node, depth + 1);
    return node;
}

static struct tree_node *read_value(struct reader *reader, const yaml_event_t *event, int depth)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_nested(reader, event, depth);
    case YAML_ALIAS_EVENT:
        report_error(reader->report, mark_of(event->start_mark),
                     "aliases are not supported: *%.40s (write the value out)",
                     (const char *)event->data.alias.anchor);
        return NULL;
    default:
        return NULL;
    }
}

static struct tree_node *read_documents(struct reader *reader)
{
    struct tree_node *root = NULL;
    size_t document_count = 0;
    yaml_event_t event;
    bool end = false;

    while (!end && next_event(reader, &event)) {
        end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && ++document_count > 1) {
            report_error(reader->report, mark_of(event.start_mark),
                         "second YAML document (a configuration has one)");
            end = true;
        } else if (!root) {
            root = read_value(reader, &event, 0);
        }
        yaml_event_delete(&event);
    }
    if (!root && document_count == 0 && !reader->failed) {
        yaml_mark_t start = {0};
        root = new_node(reader, TREE_SCALAR, start);
        root->text = "";
        root->plain = true;
    }
    return root;
}

struct tree_node *tree_parse(struct arena *arena, const char *text, size_t size_bytes,
                             struct report *report)
{
    struct reader reader = {
        .arena = arena, .report = report, .text = text, .size_bytes = size_bytes};
    struct tree_node *root;

    if (size_bytes > TREE_BYTES_MAX) {
        report_error(report, (struct report_mark){1, 1}, "the file is larger than %d bytes",
                     TREE_BYTES_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&reader.parser)) {
        report_error(report, (struct report_mark){1, 1}, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size_bytes);
    root = read_documents(&reader);
    yaml_parser_delete(&reader.parser);
    return reader.failed ? NULL : root;
}

bool tree_is_null(const struct tree_node *node)
{
    static const char *const names[] = {"", "~", "null", "Null", "NULL"};

    if (node->kind != TREE_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(node->text, names[i]) == 0)
            return true;
    return false;
}

const char *tree_kind_name(const struct tree_node *node)
{
    switch (node->kind) {
    case TREE_LIST:
        return "a list";
    case TREE_MAP:
        return "a map";
    default:
        return tree_is_null(node) ? "empty" : "a single value";
    }
}
