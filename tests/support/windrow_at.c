/* `windrow run` under a wall clock that a test sets: windrow_at FILE run [options]. FILE holds one
 * little-endian int64_t: by how many milliseconds the wall clock differs from the machine's. It may
 * be written while windrow runs. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "windrow/command.h"

static const _Atomic int64_t *offset_ms;

static int64_t read_wall_ms(struct io *io)
{
    return io_posix()->operations->wall_ms(io) + atomic_load(offset_ms);
}

int main(int argc, char **argv)
{
    struct io_operations operations = *io_posix()->operations;
    struct io wall = {&operations};
    const void *bytes;
    int file;

    if (argc < 3)
        return COMMAND_USAGE;
    file = open(argv[1], O_RDONLY);
    bytes = mmap(NULL, sizeof(*offset_ms), PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        perror(argv[1]);
        return COMMAND_FAILED;
    }
    offset_ms = bytes;
    operations.wall_ms = read_wall_ms;
    return command_run_under(&wall, argc - 2, argv + 2);
}
