/* A file of a shard that is mapped whole and read: tables, segments, logs, manifests. */
#ifndef STORE_FILES_TABLE_MAP_H
#define STORE_FILES_TABLE_MAP_H

#include <limits.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"

struct table_map {
    const uint8_t *bytes; /* NULL: not mapped */
    uint64_t size_bytes;
    char path[PATH_MAX];
};

/** Maps the file at map->path whole; one shorter than `min_bytes` is ERROR_CORRUPT. */
int table_map_path(struct io *io, uint64_t min_bytes, struct table_map *map, struct error *error);
/** The same for DIR/n.EXTENSION. */
int table_map_open(struct io *io, const char *directory, uint64_t file_number,
                   const char *extension, uint64_t min_bytes, struct table_map *map,
                   struct error *error);
void table_map_close(struct io *io, struct table_map *map);

#endif
