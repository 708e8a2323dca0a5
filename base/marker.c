#include "base/marker.h"

#include <limits.h>
#include <stdio.h>

static int marker_path(const char *directory, const char *name, char path[PATH_MAX],
                       struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", directory, name);

    return length < PATH_MAX ? 0
                             : error_set(error, ERROR_INVALID, "the path of %s is too long", name);
}

int marker_set(struct io *io, const char *directory, const char *name, bool present,
               struct error *error)
{
    char path[PATH_MAX];
    int file;
    int code = marker_path(directory, name, path, error);

    if (code == 0 && !present)
        code = io_unlink(io, path, error);
    if (code == 0 && present) {
        code = io_open(io, path, IO_WRITE | IO_CREATE, &file, error);
        if (code == 0)
            code = io_close(io, file, path, error);
    }
    return code == 0 ? io_sync_directory(io, directory, error) : code;
}

bool marker_is_set(struct io *io, const char *directory, const char *name)
{
    char path[PATH_MAX];
    int file;

    if (marker_path(directory, name, path, ERROR_IGNORED) != 0 ||
        io_open(io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return false;
    (void)io_close(io, file, path, ERROR_IGNORED);
    return true;
}
