/* `windrow run` under a wall clock that a test sets: windrow_at FILE run [options]. FILE holds one
 * little-endian int64_t: by how many milliseconds the wall clock differs from the machine's. It may
 * be written while windrow runs. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "windrow/cli/cli.h"
#include "windrow/daemon/daemon.h"

static const _Atomic int64_t *offset_ms;

static int64_t read_wall_ms(struct io *io)
{
    return io_posix()->operations->wall_ms(io) + atomic_load(offset_ms);
}

int main(int argc, char **argv)
{
    struct io_operations operations = *io_posix()->operations;
    struct io wall = {&operations};
    struct command_run_options options;
    struct error error = {0};
    const void *bytes;
    int status;
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
    status = command_run_parse(argc - 2, argv + 2, &options);
    if (status != -1)
        return status;
    if (daemon_run(&(struct daemon_options){.config = options.config,
                                            .roles = options.roles,
                                            .trust_clock = options.trust_clock,
                                            .wall = &wall},
                   &error) == 0)
        return COMMAND_OK;
    fprintf(stderr, "windrow: %s\n", error.text);
    return COMMAND_FAILED;
}
