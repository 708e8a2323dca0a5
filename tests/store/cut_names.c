#include "tests/store/cut_names.h"

#include <errno.h>

static struct io_operations operations;
static struct io cut = {&operations};
static unsigned left;

static int take(void)
{
    if (left == 0)
        return -EIO;
    left--;
    return 0;
}

static int cut_open(struct io *io, const char *path, unsigned flags)
{
    if ((flags & IO_CREATE) != 0 && take() != 0)
        return -EIO;
    return io_posix()->operations->open(io, path, flags);
}

static int cut_rename(struct io *io, const char *from, const char *to)
{
    return take() != 0 ? -EIO : io_posix()->operations->rename(io, from, to);
}

static int cut_unlink(struct io *io, const char *path)
{
    return take() != 0 ? -EIO : io_posix()->operations->unlink(io, path);
}

static int cut_make_directory(struct io *io, const char *path)
{
    return take() != 0 ? -EIO : io_posix()->operations->make_directory(io, path);
}

static int cut_remove_directory(struct io *io, const char *path)
{
    return take() != 0 ? -EIO : io_posix()->operations->remove_directory(io, path);
}

static int cut_sync_directory(struct io *io, const char *path)
{
    return take() != 0 ? -EIO : io_posix()->operations->sync_directory(io, path);
}

struct io *cut_names_io(unsigned count)
{
    operations = *io_posix()->operations;
    operations.open = cut_open;
    operations.rename = cut_rename;
    operations.unlink = cut_unlink;
    operations.make_directory = cut_make_directory;
    operations.remove_directory = cut_remove_directory;
    operations.sync_directory = cut_sync_directory;
    left = count;
    return &cut;
}
