/* Making the image of a column: the dictionary is found by the encoded values of each row, then its
 * codes are put into the order of the values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"
#include "indexer/query/filter/column_image.h"

enum {
    ENTRY_BYTES_MAX = 4096, /* of one row's values */
    /* Allowed for values: so much a row, and so much for any table. */
    BYTES_A_ROW = 48,
    BYTES_FREE = 256 * 1024
};

/* A value of the dictionary. */
struct entry {
    uint64_t hash;
    const uint8_t *encoded;
    uint32_t encoded_bytes;
    int kind; /* 0 a number, 1 a string, 2 everything else */
    double number;
    struct filter_slice string;
    uint32_t code;  /* as it was met */
    uint32_t count; /* rows */
};

struct column_making {
    const struct filter_slot *slot;
    uint32_t row_count, rows; /* of the table; added so far */
    uint32_t *codes;          /* by row; NULL: the path turned out not to be fit */
    struct entry *entries;    /* by code */
    uint32_t count, room;
    uint32_t *places;     /* code + 1 by hash */
    uint32_t place_count; /* a power of two */
    struct arena arena;   /* of encoded values */
    struct buffer encoded;
    struct doc *found; /* what the path leads to in one row */
    uint32_t found_count, found_room;
};

struct column_making *column_making_new(uint32_t row_count, const struct filter_slot *slot)
{
    struct column_making *making = memory_new(1, sizeof(*making));

    making->slot = slot;
    making->row_count = row_count;
    making->codes = memory_new((size_t)row_count + 1, sizeof(*making->codes));
    arena_create(&making->arena, 0);
    return making;
}

void column_making_delete(struct column_making *making)
{
    if (!making)
        return;
    arena_destroy(&making->arena);
    buffer_destroy(&making->encoded);
    free(making->codes);
    free(making->entries);
    free(making->places);
    free(making->found);
    free(making);
}

static bool visit_found(void *context, const struct doc *value)
{
    struct column_making *making = context;

    if (making->found_count == making->found_room) {
        making->found_room = making->found_room ? making->found_room * 2 : 16;
        making->found = memory_resize(making->found, making->found_room, sizeof(*making->found));
    }
    making->found[making->found_count++] = *value;
    return false;
}

static void dictionary_grow(struct column_making *making)
{
    making->room = making->room ? making->room * 2 : 64;
    making->entries = memory_resize(making->entries, making->room, sizeof(*making->entries));
    making->place_count = making->room * 2;
    free(making->places);
    making->places = memory_new(making->place_count, sizeof(*making->places));
    for (uint32_t code = 0; code < making->count; code++) {
        uint32_t at = (uint32_t)making->entries[code].hash & (making->place_count - 1);
        while (making->places[at])
            at = (at + 1) & (making->place_count - 1);
        making->places[at] = code + 1;
    }
}

/* Where the values belong in the order of codes. */
static void tell_kind(struct entry *entry, const struct doc *values)
{
    const struct doc *value = values->items;

    entry->kind = 2;
    if (values->count != 1)
        return;
    if (value->type == DOC_STRING) {
        entry->kind = 1;
    } else if (doc_as_double(value, &entry->number) && entry->number == entry->number &&
               (value->type == DOC_DOUBLE || fabs(entry->number) < FILTER_EXACT_MAX)) {
        entry->kind = 0;
    }
}

/* The code of the row's values, new or known; false when the column gets too large. */
static bool dictionary_code(struct column_making *making, const struct doc *values, uint32_t *code)
{
    const struct buffer *encoded = &making->encoded;
    uint64_t hash = XXH3_64bits(encoded->data, encoded->size);
    struct entry *entry;
    uint32_t at;

    if (making->count == making->room)
        dictionary_grow(making);
    at = (uint32_t)hash & (making->place_count - 1);
    for (; making->places[at]; at = (at + 1) & (making->place_count - 1)) {
        *code = making->places[at] - 1;
        entry = &making->entries[*code];
        if (entry->hash == hash && entry->encoded_bytes == encoded->size &&
            memcmp(entry->encoded, encoded->data, encoded->size) == 0)
            return true;
    }
    *code = making->count;
    entry = &making->entries[*code];
    *entry = (struct entry){.hash = hash,
                            .code = *code,
                            .encoded =
                                (uint8_t *)arena_copy(&making->arena, encoded->data, encoded->size),
                            .encoded_bytes = (uint32_t)encoded->size};
    tell_kind(entry, values);
    if (entry->kind == 1) {
        uint32_t length = values->items->count;
        entry->string.bytes = (const char *)entry->encoded + entry->encoded_bytes - length;
        entry->string.size_bytes = length;
    }
    making->places[at] = ++making->count;
    return making->arena.used_bytes + making->count * sizeof(uint64_t) <=
           (size_t)making->row_count * BYTES_A_ROW + BYTES_FREE;
}

void column_making_add(struct column_making *making, const struct doc *payload)
{
    struct doc values;
    uint32_t code;

    if (!making->codes)
        return;
    making->found_count = 0;
    (void)doc_visit_path(payload, making->slot->path, making->slot->path_bytes, visit_found,
                         making);
    values = (struct doc){.type = DOC_ARRAY, .count = making->found_count, .items = making->found};
    making->encoded.size = 0;
    doc_write_msgpack(&making->encoded, &values);
    if (making->encoded.size > ENTRY_BYTES_MAX || !dictionary_code(making, &values, &code)) {
        free(making->codes);
        making->codes = NULL;
        return;
    }
    making->entries[code].count++;
    making->codes[making->rows++] = code;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = left->kind - right->kind;

    if (order == 0 && left->kind == 0)
        order = (left->number > right->number) - (left->number < right->number);
    if (order == 0 && left->kind == 1)
        order = filter_slice_compare(&left->string, &right->string);
    return order != 0 ? order : (left->code > right->code) - (left->code < right->code);
}

/* What of an entry stands in the image. */
static struct filter_slice entry_bytes(const struct entry *entry)
{
    return entry->kind == 1
               ? entry->string
               : (struct filter_slice){(const char *)entry->encoded, entry->encoded_bytes};
}

static struct column_head head_of(const struct column_making *making)
{
    struct column_head head = {.path_bytes = (uint32_t)making->slot->path_bytes};

    if (making->codes) {
        head.row_count = making->row_count;
        head.value_count = making->count;
        head.code_bytes = making->count <= 1 << 8 ? 1 : making->count <= 1 << 16 ? 2 : 4;
    }
    for (uint32_t i = 0; i < head.value_count; i++) {
        head.number_count += making->entries[i].kind == 0;
        head.string_count += making->entries[i].kind == 1;
        head.value_bytes += entry_bytes(&making->entries[i]).size_bytes;
    }
    head.size_bytes = column_image_bytes(&head);
    return head;
}

static void put_code(const struct column_image *image, uint32_t row, uint32_t code)
{
    void *codes = (void *)(uintptr_t)image->codes;

    if (image->head->code_bytes == 1)
        ((uint8_t *)codes)[row] = (uint8_t)code;
    else if (image->head->code_bytes == 2)
        ((uint16_t *)codes)[row] = (uint16_t)code;
    else
        ((uint32_t *)codes)[row] = code;
}

/* With entries in the order of their codes: everything that has one for each. */
static void put_entries(const struct column_making *making, const struct column_image *image)
{
    double *numbers = (double *)(uintptr_t)image->numbers;
    uint64_t *ends = (uint64_t *)(uintptr_t)image->ends;
    uint32_t *starts = (uint32_t *)(uintptr_t)image->starts;
    uint8_t *values = (uint8_t *)(uintptr_t)image->values;
    uint64_t end = 0;

    for (uint32_t code = 0; code < making->count; code++) {
        const struct entry *entry = &making->entries[code];
        struct filter_slice bytes = entry_bytes(entry);
        if (entry->kind == 0)
            numbers[code] = entry->number;
        memcpy(values + end, bytes.bytes, bytes.size_bytes);
        end += bytes.size_bytes;
        ends[code] = end;
        starts[code + 1] = starts[code] + entry->count;
    }
}

/* Rows by code: a counting sort. */
static void put_rows(const struct column_making *making, const struct column_image *image)
{
    uint32_t *rows = (uint32_t *)(uintptr_t)image->rows;
    uint32_t *codes = memory_new((size_t)making->count + 1, sizeof(*codes)); /* by former code */
    uint32_t *next = memory_new((size_t)making->count + 1, sizeof(*next));

    for (uint32_t code = 0; code < making->count; code++)
        codes[making->entries[code].code] = code;
    memcpy(next, image->starts, making->count * sizeof(*next));
    for (uint32_t row = 0; row < making->row_count; row++) {
        uint32_t code = codes[making->codes[row]];
        put_code(image, row, code);
        rows[next[code]++] = row;
    }
    free(codes);
    free(next);
}

void column_making_finish(struct column_making *making, struct buffer *image)
{
    struct column_head head;
    struct column_image view;

    assert(image->size == 0 && (!making->codes || making->rows == making->row_count));
    if (making->codes && making->count > 0)
        qsort(making->entries, making->count, sizeof(*making->entries), entry_compare);
    head = head_of(making);
    memset(buffer_reserve(image, (size_t)head.size_bytes), 0, (size_t)head.size_bytes);
    image->size = (size_t)head.size_bytes;
    memcpy(image->data, &head, sizeof(head));
    column_image_view(image->data, &view);
    memcpy((char *)(uintptr_t)view.path, making->slot->path, making->slot->path_bytes);
    if (!making->codes)
        return;
    put_entries(making, &view);
    put_rows(making, &view);
}
