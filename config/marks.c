#include "config/marks.h"

#include "config/properties.h"

struct report_mark mark_place(const struct report_mark *marks, const char *path,
                              struct report_mark otherwise)
{
    const struct property *property = property_find(path);
    struct report_mark mark = marks[property - properties];

    return mark.line != 0 ? mark : otherwise;
}

bool mark_was_given(const struct report_mark *marks, const char *path)
{
    return marks[property_find(path) - properties].line != 0;
}
