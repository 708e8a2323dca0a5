/* What somebody may have meant by a name that does not exist. Private to config/. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

struct nearest {
    const char *name;
    size_t best; /* edits to the nearest so far; more of them are no slip of the pen */
    bool found;
};

struct nearest nearest_to(const char *name);
/** Whether `known` is nearer than all before it. */
bool nearest_try(struct nearest *nearest, const char *known);

#endif
