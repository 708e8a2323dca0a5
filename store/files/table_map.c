#include "store/files/table_map.h"

#include <stdio.h>
#include <string.h>

#include "store/files/table.h"

int table_map_path(struct io *io, uint64_t min_bytes, struct table_map *map, struct error *error)
{
    const void *bytes = NULL;
    uint64_t size_bytes = 0;
    int handle;
    int result = io_open(io, map->path, IO_READ, &handle, error);

    if (result)
        return result;
    result = io_size(io, handle, map->path, &size_bytes, error);
    if (result == 0 && (size_bytes < min_bytes || size_bytes > INT64_MAX))
        result =
            error_set(error, ERROR_CORRUPT, "%s: %llu bytes, at least %llu expected", map->path,
                      (unsigned long long)size_bytes, (unsigned long long)min_bytes);
    if (result == 0 && size_bytes > 0)
        result = io_map(io, handle, map->path, size_bytes, &bytes, error);
    if (result == 0)
        result = io_close(io, handle, map->path, error);
    else
        (void)io_close(io, handle, map->path, ERROR_IGNORED);
    if (result && bytes)
        io_unmap(io, bytes, size_bytes);
    if (result)
        return result;
    map->bytes = bytes;
    map->size_bytes = size_bytes;
    return 0;
}

int table_map_open(struct io *io, const char *directory, uint64_t file_number,
                   const char *extension, uint64_t min_bytes, struct table_map *map,
                   struct error *error)
{
    table_path(directory, file_number, extension, map->path, sizeof(map->path));
    return table_map_path(io, min_bytes, map, error);
}

void table_map_close(struct io *io, struct table_map *map)
{
    if (map->bytes)
        io_unmap(io, map->bytes, map->size_bytes);
    map->bytes = NULL;
}
