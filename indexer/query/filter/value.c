/* Filter values: what follows match, range, values_count and has_id. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "indexer/query/filter/filter.h"
#include "store/files/key.h"

int filter_slice_compare(const void *a, const void *b)
{
    const struct filter_slice *left = a;
    const struct filter_slice *right = b;

    return bytes_compare(left->bytes, left->size_bytes, right->bytes, right->size_bytes);
}

static int integer_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static int too_large(const struct filter_compiler *compiler)
{
    return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
}

/* Qdrant keeps microseconds; text_parse_time_ms cuts the fraction at milliseconds. */
bool filter_parse_time_us(const char *text, size_t length, int64_t *time_us)
{
    const char *dot = memchr(text, '.', length);
    int64_t time_ms;
    int64_t below_us = 0;

    if (text_parse_time_ms(text, length, &time_ms, ERROR_IGNORED) != 0)
        return false;
    if (dot) {
        const char *end = text + length;
        int64_t scale = 100;
        for (const char *digit = dot + 1; digit < end && *digit >= '0' && *digit <= '9'; digit++) {
            if (digit - dot <= 3)
                continue;
            below_us += (*digit - '0') * scale;
            scale /= 10;
        }
    }
    *time_us = time_ms * 1000 + below_us;
    return true;
}

int filter_count_values(struct filter_compiler *compiler, const struct filter_place *place,
                        uint32_t count)
{
    if (count > FILTER_VALUES_MAX - compiler->value_count)
        return filter_error(compiler, place, "more than %d values, ids and words in one filter",
                            FILTER_VALUES_MAX);
    compiler->value_count += count;
    return 0;
}

/* Match. */

static bool is_time_key(enum filter_virtual virtual_key)
{
    return virtual_key == FILTER_TIME || virtual_key == FILTER_WINDOW;
}

static int compile_integers(struct filter_compiler *compiler, const struct filter_place *place,
                            const struct doc *items, uint32_t count, enum filter_virtual key,
                            struct filter_match *match)
{
    int64_t *integers = arena_calloc(compiler->arena, count, sizeof(*integers));

    if (!integers)
        return too_large(compiler);
    for (uint32_t i = 0; i < count; i++) {
        const struct doc *item = &items[i];
        if (item->type == DOC_INT)
            integers[i] = item->integer;
        else if (item->type == DOC_STRING && is_time_key(key) &&
                 filter_parse_time_us(item->string, item->count, &integers[i]))
            integers[i] /= 1000;
        else
            return filter_error(compiler, place,
                                is_time_key(key) ? "expected milliseconds or RFC 3339 times"
                                                 : "expected 64-bit integers only");
    }
    qsort(integers, count, sizeof(*integers), integer_compare);
    match->integers = integers;
    match->count = count;
    return 0;
}

static int compile_strings(struct filter_compiler *compiler, const struct filter_place *place,
                           const struct doc *items, uint32_t count, struct filter_match *match)
{
    struct filter_slice *values = arena_calloc(compiler->arena, count, sizeof(*values));

    if (!values)
        return too_large(compiler);
    for (uint32_t i = 0; i < count; i++) {
        char *copy;
        if (items[i].type != DOC_STRING)
            return filter_error(compiler, place, "expected strings only");
        copy = arena_copy(compiler->arena, items[i].string, items[i].count);
        if (!copy)
            return too_large(compiler);
        values[i] = (struct filter_slice){copy, items[i].count};
    }
    qsort(values, count, sizeof(*values), filter_slice_compare);
    match->values = values;
    match->count = count;
    return 0;
}

/* `value` is the same as `any` with one value. */
static int compile_values(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *items, uint32_t count, bool except,
                          enum filter_virtual key, struct filter_match *match)
{
    if (filter_count_values(compiler, place, count) != 0)
        return compiler->error->code;
    if (count > 0 && (items[0].type != DOC_STRING || is_time_key(key))) {
        match->kind = except ? FILTER_MATCH_EXCEPT_INTEGERS : FILTER_MATCH_INTEGERS;
        return compile_integers(compiler, place, items, count, key, match);
    }
    match->kind = except ? FILTER_MATCH_EXCEPT_STRINGS : FILTER_MATCH_STRINGS;
    return count ? compile_strings(compiler, place, items, count, match) : 0;
}

static int compile_text(struct filter_compiler *compiler, const struct filter_place *place,
                        const struct doc *text, enum filter_match_kind kind,
                        struct filter_match *match)
{
    struct filter_slice word;
    struct filter_slice *words;
    const char *at, *end;

    if (text->type != DOC_STRING)
        return filter_error(compiler, place, "expected a string");
    match->kind = kind;
    at = text->string;
    end = at + text->count;
    while (match->count <= FILTER_CONDITIONS_MAX &&
           filter_next_word(&at, end, compiler->arena, &word))
        match->count++;
    if (match->count > FILTER_CONDITIONS_MAX)
        return filter_error(compiler, place, "more than %d words", FILTER_CONDITIONS_MAX);
    if (filter_count_values(compiler, place, match->count) != 0)
        return compiler->error->code;
    words = arena_calloc(compiler->arena, (size_t)match->count + 1, sizeof(*words));
    if (!words)
        return too_large(compiler);
    at = text->string;
    for (uint32_t i = 0; filter_next_word(&at, end, compiler->arena, &word); i++)
        words[i] = word;
    match->values = words;
    return 0;
}

static int compile_part(struct filter_compiler *compiler, const struct filter_place *place,
                        const struct doc *part, enum filter_match_kind kind,
                        struct filter_match *match)
{
    if (part->type != DOC_STRING)
        return filter_error(compiler, place, "expected a string");
    match->kind = kind;
    compiler->recent = true;
    return compile_strings(compiler, place, part, 1, match);
}

int filter_compile_match(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, enum filter_virtual virtual_key,
                         struct filter_match *match)
{
    static const char *const keys[] = {"value",     "text", "text_any", "phrase", "prefix",
                                       "substring", "any",  "except",   NULL};
    static const enum filter_match_kind text_kinds[] = {FILTER_MATCH_TEXT, FILTER_MATCH_TEXT_ANY,
                                                        FILTER_MATCH_PHRASE};
    struct filter_place at;
    const struct doc *value = NULL;
    size_t kind = 0;
    int code = filter_check_keys(compiler, place, doc, keys);

    if (code != 0)
        return code;
    if (doc->count != 1)
        return filter_error(compiler, place,
                            "expected one of `value`, `any`, `except`, `text`, "
                            "`text_any`, `phrase`, `prefix` and `substring`");
    while (!value && keys[kind])
        value = doc_get(doc, keys[kind++]);
    at = filter_place_name(place, keys[--kind]);
    if (kind >= 1 && kind <= 3)
        return compile_text(compiler, &at, value, text_kinds[kind - 1], match);
    if (kind >= 4 && kind <= 5)
        return compile_part(compiler, &at, value,
                            kind == 4 ? FILTER_MATCH_PREFIX : FILTER_MATCH_SUBSTRING, match);
    if (kind >= 6) {
        if (value->type != DOC_ARRAY)
            return filter_error(compiler, &at, "expected a list");
        return compile_values(compiler, &at, value->items, value->count, kind == 7, virtual_key,
                              match);
    }
    if (value->type == DOC_BOOL) {
        match->kind = FILTER_MATCH_BOOL;
        match->boolean = value->boolean;
        return 0;
    }
    if (value->type != DOC_INT && value->type != DOC_STRING)
        return filter_error(compiler, &at, "expected a string, a 64-bit integer or a boolean");
    return compile_values(compiler, &at, value, 1, false, virtual_key, match);
}

/* Range. */

static const char *const bound_keys[] = {"lt", "gt", "lte", "gte", NULL};

int filter_compile_range(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_range *range)
{
    int code = filter_check_keys(compiler, place, doc, bound_keys);

    if (code != 0)
        return code;
    for (size_t i = 0; i < FILTER_BOUND_COUNT; i++) {
        const struct doc *bound = filter_get(doc, bound_keys[i]);
        struct filter_place at = filter_place_name(place, bound_keys[i]);
        enum filter_range_kind kind;
        double number;
        if (!bound)
            continue;
        kind = bound->type == DOC_STRING ? FILTER_RANGE_TIME : FILTER_RANGE_NUMBER;
        if (kind == FILTER_RANGE_NUMBER && !doc_as_double(bound, &number))
            return filter_error(compiler, &at, "expected a number or an RFC 3339 time");
        if (kind == FILTER_RANGE_TIME &&
            !filter_parse_time_us(bound->string, bound->count, &range->times_us[i]))
            return filter_error(compiler, &at, "'%.*s' is no RFC 3339 time",
                                (int)(bound->count < 40 ? bound->count : 40), bound->string);
        if (range->kind != FILTER_RANGE_NONE && range->kind != kind)
            return filter_error(compiler, place, "numbers and times do not mix in one range");
        range->kind = kind;
        range->present[i] = true;
        range->bounds[i] = *bound;
    }
    if (range->kind == FILTER_RANGE_NONE)
        range->kind = FILTER_RANGE_NUMBER; /* no bound: every number, as in Qdrant */
    return 0;
}

int filter_compile_count(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_range *range)
{
    int code = filter_check_keys(compiler, place, doc, bound_keys);

    for (size_t i = 0; code == 0 && i < FILTER_BOUND_COUNT; i++) {
        const struct doc *bound = filter_get(doc, bound_keys[i]);
        struct filter_place at = filter_place_name(place, bound_keys[i]);
        if (bound && (bound->type != DOC_INT || bound->integer < 0))
            return filter_error(compiler, &at, "expected an unsigned integer");
    }
    return code ? code : filter_compile_range(compiler, place, doc, range);
}

/* Ids. */

int filter_compile_ids(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, struct filter_condition *condition)
{
    struct filter_slice *ids;
    struct store_key key;

    if (doc->type != DOC_ARRAY)
        return filter_error(compiler, place, "expected a list of ids");
    if (filter_count_values(compiler, place, doc->count) != 0)
        return compiler->error->code;
    ids = arena_calloc(compiler->arena, (size_t)doc->count + 1, sizeof(*ids));
    if (!ids)
        return too_large(compiler);
    for (uint32_t i = 0; i < doc->count; i++) {
        struct filter_place at = filter_place_index(place, i);
        struct error why = {0};
        if (store_key_from_doc(&doc->items[i], &key, &why) != 0)
            return filter_error(compiler, &at, "%.200s", why.text);
        ids[i].bytes = arena_copy(compiler->arena, key.bytes, key.size_bytes);
        ids[i].size_bytes = key.size_bytes;
        if (!ids[i].bytes)
            return too_large(compiler);
    }
    qsort(ids, doc->count, sizeof(*ids), filter_slice_compare);
    condition->ids = ids;
    condition->id_count = doc->count;
    return 0;
}
