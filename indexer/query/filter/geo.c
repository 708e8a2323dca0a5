/* Places on the globe: {"lat", "lon"} in degrees, in a circle, a box or a polygon.
 *
 * A circle is measured along the great circle (haversine), on a sphere with the earth's mean radius. A box
 * whose left side is east of its right side crosses the antimeridian; a polygon lies in the plane of its
 * coordinates and crosses nothing. Borders are outside, those of a polygon's holes too. */
#include <math.h>

#include "indexer/query/filter/filter.h"

static const double EARTH_RADIUS_M = 6371008.8; /* mean, IUGG */

enum { RING_POINTS_MIN = 4 };

/* Compilation. */

static int compile_number(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *map, const char *name, double most, double *number)
{
    struct filter_place at = filter_place_name(place, name);
    const struct doc *doc = filter_get(map, name);

    if (!doc)
        return filter_error(compiler, place, "missing field `%s`", name);
    if (!doc_as_double(doc, number) || !(fabs(*number) <= most))
        return filter_error(compiler, &at, "expected degrees from %g to %g", -most, most);
    return 0;
}

int filter_compile_point(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_point *point)
{
    static const char *const keys[] = {"lon", "lat", NULL};
    int code = filter_check_keys(compiler, place, doc, keys);

    if (code == 0)
        code = compile_number(compiler, place, doc, "lon", 180, &point->lon);
    return code != 0 ? code : compile_number(compiler, place, doc, "lat", 90, &point->lat);
}

static int compile_corner(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *doc, const char *name, struct filter_point *point)
{
    struct filter_place at = filter_place_name(place, name);
    const struct doc *corner = filter_get(doc, name);

    if (!corner)
        return filter_error(compiler, place, "missing field `%s`", name);
    return filter_compile_point(compiler, &at, corner, point);
}

static int compile_radius(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *doc, struct filter_geo *geo)
{
    static const char *const keys[] = {"center", "radius", NULL};
    struct filter_place at = filter_place_name(place, "radius");
    const struct doc *radius;

    if (filter_check_keys(compiler, place, doc, keys) != 0 ||
        compile_corner(compiler, place, doc, "center", &geo->first) != 0)
        return compiler->error->code;
    radius = filter_get(doc, "radius");
    if (!radius)
        return filter_error(compiler, place, "missing field `radius`");
    if (!doc_as_double(radius, &geo->radius_m) || !(geo->radius_m >= 0))
        return filter_error(compiler, &at, "expected metres, 0 or more");
    return 0;
}

static int compile_box(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, struct filter_geo *geo)
{
    static const char *const keys[] = {"top_left", "bottom_right", NULL};

    if (filter_check_keys(compiler, place, doc, keys) != 0 ||
        compile_corner(compiler, place, doc, "top_left", &geo->first) != 0)
        return compiler->error->code;
    return compile_corner(compiler, place, doc, "bottom_right", &geo->second);
}

static int compile_ring(struct filter_compiler *compiler, const struct filter_place *place,
                        const struct doc *doc, struct filter_ring *ring)
{
    static const char *const keys[] = {"points", NULL};
    struct filter_place at = filter_place_name(place, "points");
    struct filter_point *points;
    const struct doc *list;

    if (filter_check_keys(compiler, place, doc, keys) != 0)
        return compiler->error->code;
    list = filter_get(doc, "points");
    if (!list || list->type != DOC_ARRAY || list->count < RING_POINTS_MIN)
        return filter_error(compiler, &at, "expected a list of at least %d points",
                            RING_POINTS_MIN);
    if (filter_count_values(compiler, &at, list->count) != 0)
        return compiler->error->code;
    points = arena_calloc(compiler->arena, list->count, sizeof(*points));
    if (!points)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    for (uint32_t i = 0; i < list->count; i++) {
        struct filter_place item = filter_place_index(&at, i);
        if (filter_compile_point(compiler, &item, &list->items[i], &points[i]) != 0)
            return compiler->error->code;
    }
    ring->points = points;
    ring->count = list->count - 1;
    if (points[0].lon != points[ring->count].lon || points[0].lat != points[ring->count].lat)
        return filter_error(compiler, &at, "the last point must be the first one");
    return 0;
}

static int compile_polygon(struct filter_compiler *compiler, const struct filter_place *place,
                           const struct doc *doc, struct filter_geo *geo)
{
    static const char *const keys[] = {"exterior", "interiors", NULL};
    struct filter_place outer = filter_place_name(place, "exterior");
    struct filter_place inner = filter_place_name(place, "interiors");
    const struct doc *exterior, *interiors;
    struct filter_ring *rings;

    if (filter_check_keys(compiler, place, doc, keys) != 0)
        return compiler->error->code;
    exterior = filter_get(doc, "exterior");
    interiors = filter_get(doc, "interiors");
    if (!exterior)
        return filter_error(compiler, place, "missing field `exterior`");
    if (interiors && interiors->type != DOC_ARRAY)
        return filter_error(compiler, &inner, "expected a list");
    geo->ring_count = 1 + (interiors ? interiors->count : 0);
    if (filter_count_values(compiler, place, geo->ring_count) != 0)
        return compiler->error->code;
    rings = arena_calloc(compiler->arena, geo->ring_count, sizeof(*rings));
    if (!rings)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    geo->rings = rings;
    for (uint32_t i = 1; i < geo->ring_count; i++) {
        struct filter_place at = filter_place_index(&inner, i - 1);
        if (compile_ring(compiler, &at, &interiors->items[i - 1], &rings[i]) != 0)
            return compiler->error->code;
    }
    return compile_ring(compiler, &outer, exterior, &rings[0]);
}

int filter_compile_geo(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *condition, const struct filter_geo **compiled)
{
    static const char *const names[] = {
        [FILTER_GEO_RADIUS] = "geo_radius",
        [FILTER_GEO_BOX] = "geo_bounding_box",
        [FILTER_GEO_POLYGON] = "geo_polygon",
    };
    struct filter_geo *geo = NULL;

    for (int kind = FILTER_GEO_RADIUS; kind <= FILTER_GEO_POLYGON; kind++) {
        struct filter_place at = filter_place_name(place, names[kind]);
        const struct doc *doc = filter_get(condition, names[kind]);
        int code;
        if (!doc)
            continue;
        if (geo)
            return filter_error(compiler, &at, "expected one geo condition of a key");
        geo = arena_calloc(compiler->arena, 1, sizeof(*geo));
        if (!geo)
            return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
        geo->kind = (enum filter_geo_kind)kind;
        code = kind == FILTER_GEO_RADIUS ? compile_radius(compiler, &at, doc, geo)
               : kind == FILTER_GEO_BOX  ? compile_box(compiler, &at, doc, geo)
                                         : compile_polygon(compiler, &at, doc, geo);
        if (code != 0)
            return code;
    }
    *compiled = geo;
    return 0;
}

/* Evaluation. */

static double radians(double degrees)
{
    return degrees * (M_PI / 180);
}

double filter_distance_m(const struct filter_point *a, const struct filter_point *b)
{
    double across = sin(radians(b->lat - a->lat) / 2), along = sin(radians(b->lon - a->lon) / 2);
    double half = across * across + cos(radians(a->lat)) * cos(radians(b->lat)) * along * along;

    return 2 * EARTH_RADIUS_M * asin(sqrt(fmin(half, 1)));
}

static bool is_in_box(const struct filter_geo *geo, const struct filter_point *point)
{
    double west = geo->first.lon, east = geo->second.lon;
    bool between = west > east ? point->lon > west || point->lon < east
                               : west < point->lon && point->lon < east;

    return between && geo->first.lat > point->lat && point->lat > geo->second.lat;
}

static bool is_on_edge(const struct filter_point *point, const struct filter_point *a,
                       const struct filter_point *b)
{
    return point->lon * (a->lat - b->lat) + a->lon * (b->lat - point->lat) +
                   b->lon * (point->lat - a->lat) ==
               0 &&
           (a->lat - point->lat) * (b->lat - point->lat) <= 0 &&
           (a->lon - point->lon) * (b->lon - point->lon) <= 0;
}

/* Edges that a way to the pole crosses: an odd number from inside. */
static bool is_in_ring(const struct filter_ring *ring, const struct filter_point *point,
                       bool on_edge)
{
    bool inside = false;

    for (uint32_t i = 0; i < ring->count; i++) {
        const struct filter_point *a = &ring->points[i];
        const struct filter_point *b = &ring->points[i > 0 ? i - 1 : ring->count - 1];
        if (is_on_edge(point, a, b))
            return on_edge;
        if ((a->lon > point->lon) != (b->lon > point->lon) &&
            point->lat < (b->lat - a->lat) * (point->lon - a->lon) / (b->lon - a->lon) + a->lat)
            inside = !inside;
    }
    return inside;
}

static bool is_in_polygon(const struct filter_geo *geo, const struct filter_point *point,
                          struct filter_subject *subject)
{
    for (uint32_t i = 0; i < geo->ring_count; i++) {
        if (!filter_may_go_on(subject, geo->rings[i].count))
            return false;
        if (is_in_ring(&geo->rings[i], point, i > 0) != (i == 0))
            return false;
    }
    return true;
}

bool filter_read_point(const struct doc *value, struct filter_point *point)
{
    const struct doc *lon = doc_get(value, "lon"), *lat = doc_get(value, "lat");

    return lon && lat && doc_as_double(lon, &point->lon) && doc_as_double(lat, &point->lat) &&
           isfinite(point->lon) && isfinite(point->lat);
}

bool filter_geo_match(const struct filter_geo *geo, const struct doc *value,
                      struct filter_subject *subject)
{
    struct filter_point point;

    if (!filter_read_point(value, &point))
        return false;
    switch (geo->kind) {
    case FILTER_GEO_RADIUS:
        return filter_distance_m(&point, &geo->first) < geo->radius_m;
    case FILTER_GEO_BOX:
        return is_in_box(geo, &point);
    case FILTER_GEO_POLYGON:
        return is_in_polygon(geo, &point, subject);
    }
    return false;
}
