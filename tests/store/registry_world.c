#include "tests/store/registry_world.h"

#include <errno.h>
#include <string.h>

#include "tests/support/test_main.h"

const struct config_collection collection = {.name = "news", .dim = 2, .window_ms = 1000};

int64_t world_paused_ns, world_slept_ms;

static int64_t read_monotonic_ns(struct io *io)
{
    (void)io;
    return 1000000000 + world_paused_ns;
}

static int64_t read_wall_ms(struct io *io)
{
    return INT64_C(1700000000000) + read_monotonic_ns(io) / 1000000 + world_slept_ms;
}

char world_unreadable[PATH_MAX];
int world_refusals, world_rename_refusals;

static int open_or_refuse(struct io *io, const char *path, unsigned flags)
{
    (void)io;
    if (world_refusals == 0 || strncmp(path, world_unreadable, strlen(world_unreadable)) != 0)
        return io_posix()->operations->open(io_posix(), path, flags);
    world_refusals--;
    return -EIO;
}

/* The folder itself, and not its files. */
static int rename_or_refuse(struct io *io, const char *from, const char *to)
{
    const size_t length = strlen(to);

    (void)io;
    if (world_rename_refusals == 0 || strncmp(to, world_unreadable, length) != 0 ||
        strcmp(world_unreadable + length, "/") != 0)
        return io_posix()->operations->rename(io_posix(), from, to);
    world_rename_refusals--;
    return -EIO;
}

struct io *world_clock_io(void)
{
    static struct io_operations operations;
    static struct io io = {&operations};

    operations = *io_posix()->operations;
    operations.monotonic_ns = read_monotonic_ns;
    operations.wall_ms = read_wall_ms;
    operations.open = open_or_refuse;
    operations.rename = rename_or_refuse;
    return &io;
}

void world_open(struct world *world, bool expects_shards)
{
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = 64 << 20,
                                    .memtable_max_bytes = 1 << 20,
                                    .io = world_clock_io()};

    memset(world, 0, sizeof(*world));
    arena_create(&world->arena, 0);
    ck_assert_int_eq(store_open(&options, &world->store, &world->error), 0);
    world->registry = store_registry_new(
        &(struct store_registry_options){.store = world->store, .expects_shards = expects_shards});
}

void world_close(struct world *world)
{
    store_registry_close_all(world->registry, false);
    store_registry_delete(world->registry);
    store_close(world->store);
    arena_destroy(&world->arena);
}

struct store_shard *world_claim(struct world *world, const char *name)
{
    struct store_shard *shard;

    ck_assert_int_eq(
        store_registry_claim(world->registry, &collection, name, &shard, &world->error), 0);
    return shard;
}

bool world_is_behind(struct world *world)
{
    struct store_lease lease;
    bool behind;

    ck_assert(store_registry_acquire_shard(world->registry, collection.name, "0", &lease));
    behind = lease.behind;
    store_registry_release(world->registry, &lease);
    return behind;
}

struct store_lease world_lease(struct world *world)
{
    struct store_lease lease;

    ck_assert(store_registry_acquire_shard(world->registry, collection.name, "0", &lease));
    store_registry_release(world->registry, &lease);
    return lease;
}

void world_own(struct world *world, int32_t generation)
{
    store_registry_set_ownership(world->registry, (struct store_ownership){1, generation});
}

void world_note_rival(struct world *world, int32_t generation, int64_t for_ns)
{
    store_registry_note_rival(world->registry, collection.name, "0", generation, false,
                              io_monotonic_ns(world_clock_io()) + for_ns);
}

void world_note_others(struct world *world, int64_t next_offset, int64_t for_ns)
{
    store_registry_note_others(world->registry, collection.name, "0", next_offset,
                               io_monotonic_ns(world_clock_io()) + for_ns);
}
