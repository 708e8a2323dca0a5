/* filter: Qdrant's filter document as a tree that is cheap to evaluate.
 *
 *     compile.c  groups and conditions    value.c  match, range, values_count, ids
 *     match.c    evaluation               text.c   words of a text
 *     slice.c    shares of all ids        geo.c    places on the globe
 *     time.c     what a filter demands of @time
 *
 * Semantics are Qdrant's without a payload index; tests/indexer/query/filter_cases.json holds what
 * its own engine answers. Text matches compare words (letters and digits, lower case): text wants
 * all of them, text_any one, phrase all in a row; prefix and substring compare bytes. */
#ifndef INDEXER_QUERY_FILTER_FILTER_H
#define INDEXER_QUERY_FILTER_FILTER_H

#include "base/stop.h"
#include "indexer/query/filter/condition.h"
#include "indexer/query/filter/row.h"

enum filter_limits {
    FILTER_DEPTH_MAX = 32,
    FILTER_CONDITIONS_MAX = 4096, /* and words of a text match */
    FILTER_VALUES_MAX = 100000    /* values, ids and words of all conditions together */
};

/* Keys that are no payload. */
enum filter_virtual { FILTER_PAYLOAD, FILTER_TIME, FILTER_WINDOW, FILTER_OFFSET, FILTER_PARTITION };

enum filter_kind {
    FILTER_FIELD,
    FILTER_IS_EMPTY, /* {"is_empty": {"key"}} */
    FILTER_IS_NULL,
    FILTER_HAS_ID,
    FILTER_ID_SLICE,  /* slice.c */
    FILTER_CONSTANT,  /* known when compiled */
    FILTER_HAS_PART,  /* has_vector: `key` is the name of a sparse vector */
    FILTER_HAS_DENSE, /* has_vector of the dense one */
    FILTER_NESTED,
    FILTER_GROUP
};

enum filter_match_kind {
    FILTER_MATCH_NONE,
    FILTER_MATCH_BOOL,
    FILTER_MATCH_INTEGERS, /* value or any */
    FILTER_MATCH_STRINGS,
    FILTER_MATCH_EXCEPT_INTEGERS,
    FILTER_MATCH_EXCEPT_STRINGS,
    FILTER_MATCH_TEXT,
    FILTER_MATCH_TEXT_ANY,
    FILTER_MATCH_PHRASE,
    FILTER_MATCH_PREFIX, /* `values` has the one string */
    FILTER_MATCH_SUBSTRING
};

struct filter_slice {
    const char *bytes;
    size_t size_bytes;
};

struct filter_match {
    enum filter_match_kind kind;
    bool boolean;
    uint32_t count;
    const int64_t *integers;           /* ascending */
    const struct filter_slice *values; /* strings ascending, or words in order */
};

enum filter_bound { FILTER_LT, FILTER_GT, FILTER_LTE, FILTER_GTE, FILTER_BOUND_COUNT };

/* Integers up to here are doubles exactly. */
#define FILTER_EXACT_MAX 9007199254740992.0

enum filter_range_kind { FILTER_RANGE_NONE, FILTER_RANGE_NUMBER, FILTER_RANGE_TIME };

/* Numbers compare exactly: integers as integers, everything else as double. */
struct filter_range {
    enum filter_range_kind kind;
    bool present[FILTER_BOUND_COUNT];
    struct doc bounds[FILTER_BOUND_COUNT]; /* DOC_INT, DOC_UINT or DOC_DOUBLE */
    int64_t times_us[FILTER_BOUND_COUNT];  /* FILTER_RANGE_TIME */
};

enum filter_geo_kind { FILTER_GEO_RADIUS, FILTER_GEO_BOX, FILTER_GEO_POLYGON };

struct filter_point {
    double lon, lat; /* degrees */
};

struct filter_ring {
    const struct filter_point *points;
    uint32_t count; /* without the last one, which is the first */
};

struct filter_geo {
    enum filter_geo_kind kind;
    struct filter_point first, second; /* centre; or top left and bottom right */
    double radius_m;
    const struct filter_ring *rings; /* the exterior, then the holes */
    uint32_t ring_count;
};

struct filter_field {
    const struct filter_geo *geo; /* NULL: none */
    struct filter_match match;
    struct filter_range range;
    struct filter_range count; /* values_count: FILTER_RANGE_NUMBER when given */
    bool simple;               /* nothing but a range of numbers that doubles hold exactly */
    double limits[FILTER_BOUND_COUNT]; /* of a simple range: infinite where there is none */
    bool has_empty, empty;             /* {"key", "is_empty": bool} */
    bool has_null, null;
};

struct filter_condition {
    enum filter_kind kind;
    enum filter_virtual virtual_key;
    bool needs_payload;
    bool constant;
    int32_t slot;    /* place in a binding; -1: not bound */
    const char *key; /* payload path; of FILTER_NESTED with "[]" at the end */
    size_t key_bytes;
    uint32_t id_count;
    uint32_t slice_total, slice_index;
    const struct filter_field *field;
    const struct filter_slice *ids;   /* store keys, ascending by bytes */
    const struct query_filter *group; /* of FILTER_GROUP and FILTER_NESTED */
};

struct filter_list {
    const struct filter_condition *items; /* those that need no payload first */
    uint32_t count;
    bool present;
};

/* A condition whose answer depends on nothing but the values at its path. */
struct filter_slot {
    const char *path;
    size_t path_bytes;
};

struct query_filter {
    struct filter_list must, should, must_not, min_should;
    uint64_t min_count;
    bool needs_payload;
    bool accepts_all; /* no condition at all */
    /* Of the whole filter, in its root only. */
    const struct filter_slot *slots;
    uint32_t slot_count;
    bool bindable;       /* every condition that needs the payload has a slot */
    bool recent;         /* has conditions that older nodes of a cluster do not know */
    struct doc document; /* what it was compiled from; DOC_NULL: nothing */
};

struct column;

/* Columns of one table for the slots of a filter: a condition is evaluated once for each distinct
 * value. One thread. */
struct filter_binding {
    struct column **columns;
    uint8_t **answers; /* by slot and code: 0 not known yet, 1 no, 2 yes */
};

/* What a filter is evaluated on; the payload is decoded on first use. */
struct filter_subject {
    const struct query_row *row; /* NULL: only `payload` and the fields below are there */
    struct arena *scratch;
    const struct filter_binding *binding; /* or NULL */
    const uint8_t *bytes;                 /* the payload as it is stored, or NULL: to be read */
    size_t size_bytes;
    const struct doc *payload; /* NULL: not decoded yet */
    struct doc decoded;
    struct stop_meter *meter; /* NULL: no row takes long */
    int code; /* 0, why the payload could not be read, or why the meter says to stop */
    struct error *error;
};

/** Whether evaluation may go on after so many more steps; else `subject->code` says why not. */
static inline bool filter_may_go_on(struct filter_subject *subject, size_t steps)
{
    if (subject->code == 0 && subject->meter)
        subject->code = stop_meter_add(
            subject->meter, (uint32_t)(steps < UINT32_MAX ? steps : UINT32_MAX), subject->error);
    return subject->code == 0;
}

/** Evaluates; `subject->code` is not 0 when there is no answer. */
bool filter_group_match(const struct query_filter *filter, struct filter_subject *subject);

/** Whether the row matches; reads the payload only if the filter needs it. The caller prepares `subject`: row
 * and scratch at least, which it resets. A damaged payload block is an error. */
int filter_subject_match(const struct query_filter *filter, struct filter_subject *subject,
                         bool *matches);

/** Whether the values of a code pass a bound condition; remembered in the binding, unless
 * `subject->code` says that there is no answer. */
bool filter_code_match(const struct filter_condition *condition, struct filter_subject *subject,
                       uint32_t code);

/** Decodes the payload if that was not done yet; false: `subject->code` says why there is none. */
bool filter_subject_payload(struct filter_subject *subject);
/** What the row has under a virtual key: an integer, or null for a partition without a number. */
struct doc filter_virtual_value(enum filter_virtual virtual_key, const struct query_row *row);

/* Where in the request the compiler stands, for error texts. */
struct filter_place {
    const struct filter_place *parent;
    const char *name; /* NULL: an index */
    size_t name_bytes;
    uint32_t index;
};

enum { FILTER_SLOTS_MAX = 64 };

struct filter_compiler {
    struct arena *arena;
    const char *vector_name; /* of the dense vector; "": it has none */
    struct filter_slot slots[FILTER_SLOTS_MAX];
    uint32_t slot_count;
    uint32_t nested; /* depth of nested conditions around */
    bool impure;     /* a nested condition looked at more than the payload */
    bool not_bindable;
    uint32_t condition_count;
    uint32_t value_count;
    bool recent;
    struct error *error;
};

/** Returns ERROR_INVALID with "filter.must[1].range: " in front. */
int filter_error(const struct filter_compiler *compiler, const struct filter_place *place,
                 const char *format, ...) __attribute__((format(printf, 3, 4)));
/** ERROR_INVALID unless `doc` is a map with only the keys in `known` (NULL-terminated). */
int filter_check_keys(const struct filter_compiler *compiler, const struct filter_place *place,
                      const struct doc *doc, const char *const *known);
/** ERROR_INVALID when the filter has more values with these. */
int filter_count_values(struct filter_compiler *compiler, const struct filter_place *place,
                        uint32_t count);
struct filter_place filter_place_name(const struct filter_place *parent, const char *name);
struct filter_place filter_place_index(const struct filter_place *parent, uint32_t index);
/** A value that is there and not null. */
const struct doc *filter_get(const struct doc *map, const char *key);

/** FILTER_PAYLOAD: the key is none of the virtual ones. */
enum filter_virtual filter_virtual_key(const struct doc *key);
/** One condition by itself, under the limits of the compiler. It has no binding. */
int filter_compile_condition(struct filter_compiler *compiler, const struct filter_place *place,
                             const struct doc *doc, const struct query_filter **compiled);

int filter_compile_match(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, enum filter_virtual virtual_key,
                         struct filter_match *match);
int filter_compile_range(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_range *range);
int filter_compile_count(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_range *range);
int filter_compile_ids(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, struct filter_condition *condition);

int filter_compile_slice(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_condition *condition);
bool filter_slice_match(const struct filter_condition *condition, struct filter_subject *subject);

/** Of the geo conditions of a field the one that is there; NULL: none. */
int filter_compile_geo(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *condition, const struct filter_geo **compiled);
/** {"lon", "lat"} in degrees. */
int filter_compile_point(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_point *point);
/** Whether a value of a payload is a point. */
bool filter_read_point(const struct doc *value, struct filter_point *point);
/** Along the great circle, in metres. */
double filter_distance_m(const struct filter_point *a, const struct filter_point *b);
/** Whether a value is a place there. */
bool filter_geo_match(const struct filter_geo *geo, const struct doc *value,
                      struct filter_subject *subject);

/** Order of bytes, the shorter first when one begins the other. */
int filter_slice_compare(const void *a, const void *b);

/** Microseconds since the epoch of an RFC 3339 text; false when it is none. */
bool filter_parse_time_us(const char *text, size_t length, int64_t *time_us);

/** The next word at or behind *at: letters and digits, lower case, into `word` (grown in
 * `arena`). False at the end. */
bool filter_next_word(const char **at, const char *end, struct arena *arena,
                      struct filter_slice *word);
/** Whether the words of `text` satisfy a text match of the subject. */
bool filter_match_words(const struct filter_match *match, const char *text, size_t length,
                        struct filter_subject *subject);

#endif
