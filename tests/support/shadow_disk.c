#include "tests/support/shadow_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test_main.h"

enum { PATH_BYTES = 192, HANDLES = 256 };

struct inode {
    struct inode *next;
    uint8_t *now, *durable; /* both `capacity` bytes, zero behind their sizes */
    uint8_t *dirty;         /* one byte a sector: written since the last sync */
    uint64_t now_size, durable_size, capacity;
    unsigned copy_number; /* for cloning */
};

struct name {
    char path[PATH_BYTES];
    struct inode *inode; /* NULL: a folder */
};

struct names {
    struct name *items;
    size_t count, capacity;
};

/* A change of a folder that is not synced: `path` gets `inode`, or goes when it is a removal. */
struct change {
    char path[PATH_BYTES];
    char from[PATH_BYTES]; /* of a rename: goes at the same time */
    struct inode *inode;
    bool removal;
};

struct handle {
    struct inode *inode;
    bool used, synced;
};

struct shadow_disk {
    struct io io; /* first */
    struct inode *inodes;
    struct names now, durable;
    struct change *changes;
    size_t change_count, change_capacity;
    struct handle handles[HANDLES];
    uint64_t random;
    uint64_t operations, die_at, fail_at;
    enum shadow_fault fault;
    bool fault_for_good, dead, struck, lie;
    int64_t wall_ms;
    const char *moment_suffix; /* shadow_disk_meanwhile */
    void (*moment)(void *context);
    void *moment_context;
};

static struct shadow_disk *disk_of(struct io *io)
{
    return (struct shadow_disk *)io;
}

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct inode *inode_new(struct shadow_disk *disk)
{
    struct inode *inode = must(calloc(1, sizeof(*inode)));

    inode->next = disk->inodes;
    disk->inodes = inode;
    return inode;
}

static void inode_reserve(struct inode *inode, uint64_t size)
{
    uint64_t capacity = inode->capacity ? inode->capacity : 4096;

    while (capacity < size)
        capacity *= 2;
    if (capacity == inode->capacity)
        return;
    inode->now = must(realloc(inode->now, capacity));
    inode->durable = must(realloc(inode->durable, capacity));
    inode->dirty = must(realloc(inode->dirty, capacity / SHADOW_SECTOR_BYTES));
    memset(inode->now + inode->capacity, 0, capacity - inode->capacity);
    memset(inode->durable + inode->capacity, 0, capacity - inode->capacity);
    memset(inode->dirty + inode->capacity / SHADOW_SECTOR_BYTES, 0,
           (capacity - inode->capacity) / SHADOW_SECTOR_BYTES);
    inode->capacity = capacity;
}

static void inode_write(struct inode *inode, const void *bytes, uint64_t size, uint64_t offset)
{
    if (size == 0)
        return;
    inode_reserve(inode, offset + size);
    memcpy(inode->now + offset, bytes, size);
    for (uint64_t s = offset / SHADOW_SECTOR_BYTES; s <= (offset + size - 1) / SHADOW_SECTOR_BYTES;
         s++)
        inode->dirty[s] = 1;
    if (offset + size > inode->now_size)
        inode->now_size = offset + size;
}

static void inode_sync(struct inode *inode)
{
    for (uint64_t s = 0; s < inode->capacity / SHADOW_SECTOR_BYTES; s++) {
        if (!inode->dirty[s])
            continue;
        memcpy(inode->durable + s * SHADOW_SECTOR_BYTES, inode->now + s * SHADOW_SECTOR_BYTES,
               SHADOW_SECTOR_BYTES);
        inode->dirty[s] = 0;
    }
    inode->durable_size = inode->now_size;
}

static struct name *names_find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].path, path) == 0)
            return &names->items[i];
    return NULL;
}

static void names_put(struct names *names, const char *path, struct inode *inode)
{
    struct name *name = names_find(names, path);

    if (!name) {
        if (names->count == names->capacity) {
            names->capacity = names->capacity ? names->capacity * 2 : 64;
            names->items = must(realloc(names->items, names->capacity * sizeof(*names->items)));
        }
        name = &names->items[names->count++];
        snprintf(name->path, sizeof(name->path), "%s", path);
    }
    name->inode = inode;
}

static void names_remove(struct names *names, const char *path)
{
    struct name *name = names_find(names, path);

    if (name)
        *name = names->items[--names->count];
}

static void change_add(struct shadow_disk *disk, const char *path, const char *from,
                       struct inode *inode, bool removal)
{
    struct change *change;

    if (disk->change_count == disk->change_capacity) {
        disk->change_capacity = disk->change_capacity ? disk->change_capacity * 2 : 64;
        disk->changes =
            must(realloc(disk->changes, disk->change_capacity * sizeof(*disk->changes)));
    }
    change = &disk->changes[disk->change_count++];
    *change = (struct change){.inode = inode, .removal = removal};
    snprintf(change->path, sizeof(change->path), "%s", path);
    snprintf(change->from, sizeof(change->from), "%s", from);
}

static void change_apply(struct shadow_disk *disk, const struct change *change)
{
    if (change->removal)
        names_remove(&disk->durable, change->path);
    else
        names_put(&disk->durable, change->path, change->inode);
    if (change->from[0])
        names_remove(&disk->durable, change->from);
}

static bool in_folder(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && path[length] == '/' &&
           !strchr(path + length + 1, '/');
}

/* Counts an operation; what it is to do: go on (0), fail with an errno, or die in the middle (1).
 */
static int begin(struct shadow_disk *disk, bool takes_space, bool writes)
{
    if (disk->dead)
        return -EIO;
    disk->operations++;
    if (disk->operations == disk->die_at) {
        disk->dead = true;
        return 1;
    }
    if (disk->fail_at == SHADOW_NEVER || disk->operations < disk->fail_at ||
        (disk->operations > disk->fail_at && !disk->fault_for_good && disk->struck))
        return 0;
    if (disk->fault == SHADOW_FAULT_EIO) {
        disk->struck = true;
        return -EIO;
    }
    if ((disk->fault == SHADOW_FAULT_ENOSPC || disk->fault == SHADOW_FAULT_ENOMEM) && takes_space) {
        disk->struck = true;
        return disk->fault == SHADOW_FAULT_ENOSPC ? -ENOSPC : -ENOMEM;
    }
    if (disk->fault == SHADOW_FAULT_SHORT && writes) {
        disk->struck = true;
        return 2;
    }
    return 0;
}

/* From the operation on that is to fail; opening is none. */
static bool lacks_handles(struct shadow_disk *disk)
{
    if (disk->fault != SHADOW_FAULT_EMFILE || disk->fail_at == SHADOW_NEVER ||
        disk->operations + 1 < disk->fail_at || (disk->struck && !disk->fault_for_good))
        return false;
    disk->struck = true;
    return true;
}

static bool coin(struct shadow_disk *disk)
{
    return test_random(&disk->random) & 1024;
}

static void call_moment(struct shadow_disk *disk, const char *path)
{
    size_t length = strlen(path);
    size_t suffix_length = strlen(disk->moment_suffix);

    if (length < suffix_length || strcmp(path + length - suffix_length, disk->moment_suffix) != 0)
        return;
    disk->moment_suffix = NULL;
    disk->moment(disk->moment_context);
}

static int shadow_open(struct io *io, const char *path, unsigned flags)
{
    struct shadow_disk *disk = disk_of(io);
    struct name *name;
    struct inode *inode;
    int handle = 0;

    if ((flags & IO_CREATE) && disk->moment_suffix)
        call_moment(disk, path);
    name = names_find(&disk->now, path);
    if (disk->dead)
        return -EIO;
    if (!name && !(flags & IO_CREATE))
        return -ENOENT;
    if (lacks_handles(disk))
        return -EMFILE;
    if (name && (flags & IO_CREATE) && (flags & IO_EXCLUSIVE))
        return -EEXIST;
    if (!name || ((flags & IO_TRUNCATE) && name->inode->now_size > 0)) {
        int what = begin(disk, true, false);
        if (what < 0 || (what == 1 && coin(disk)))
            return what < 0 ? what : -EIO;
    }
    if (!name) {
        inode = inode_new(disk);
        names_put(&disk->now, path, inode);
        change_add(disk, path, "", inode, false);
    } else {
        inode = name->inode;
        /* A truncation is taken as durable at once: the harder case for whoever relies on the old
         * content. */
        if ((flags & IO_TRUNCATE) && inode->capacity > 0) {
            inode->now_size = inode->durable_size = 0;
            memset(inode->now, 0, inode->capacity);
            memset(inode->durable, 0, inode->capacity);
            memset(inode->dirty, 0, inode->capacity / SHADOW_SECTOR_BYTES);
        }
    }
    while (handle < HANDLES && disk->handles[handle].used)
        handle++;
    assert(handle < HANDLES);
    disk->handles[handle] =
        (struct handle){inode, true, (flags & (IO_DIRECT | IO_APPEND_SYNC)) != 0};
    return disk->dead ? -EIO : handle;
}

static int shadow_close(struct io *io, int file)
{
    disk_of(io)->handles[file].used = false;
    return 0;
}

static int64_t shadow_pread(struct io *io, int file, void *bytes, size_t size, uint64_t offset)
{
    struct inode *inode = disk_of(io)->handles[file].inode;

    if (disk_of(io)->dead)
        return -EIO;
    if (offset >= inode->now_size)
        return 0;
    if (size > inode->now_size - offset)
        size = inode->now_size - offset;
    memcpy(bytes, inode->now + offset, size);
    return (int64_t)size;
}

static int64_t shadow_pwrite(struct io *io, int file, const void *bytes, size_t size,
                             uint64_t offset)
{
    struct shadow_disk *disk = disk_of(io);
    struct handle *handle = &disk->handles[file];
    int what = begin(disk, true, true);

    if (what < 0)
        return what;
    if (what == 2 && size > 1)
        size /= 2;
    if (what == 1 && !coin(disk))
        size = (size_t)(test_random(&disk->random) % (size + 1));
    inode_write(handle->inode, bytes, size, offset);
    if (what == 1)
        return -EIO;
    /* O_DSYNC syncs what it writes; that it syncs the rest of the file here as well only matters to
     * files with both kinds of writes, which the store does not have. */
    if (handle->synced && !disk->lie)
        inode_sync(handle->inode);
    return (int64_t)size;
}

static int shadow_datasync(struct io *io, int file)
{
    struct shadow_disk *disk = disk_of(io);
    int what = begin(disk, false, false);

    if (what < 0)
        return what;
    if (what == 1 && !coin(disk))
        return -EIO;
    if (!disk->lie)
        inode_sync(disk->handles[file].inode);
    return what == 1 ? -EIO : 0;
}

static int shadow_sync_directory(struct io *io, const char *path)
{
    struct shadow_disk *disk = disk_of(io);
    int what = begin(disk, false, false);
    size_t kept = 0;

    if (what < 0)
        return what;
    if (what == 1 && !coin(disk))
        return -EIO;
    for (size_t i = 0; i < disk->change_count && !disk->lie; i++) {
        if (in_folder(disk->changes[i].path, path))
            change_apply(disk, &disk->changes[i]);
        else
            disk->changes[kept++] = disk->changes[i];
    }
    if (!disk->lie)
        disk->change_count = kept;
    return what == 1 ? -EIO : 0;
}

static int shadow_allocate(struct io *io, int file, uint64_t size)
{
    struct shadow_disk *disk = disk_of(io);
    struct inode *inode = disk->handles[file].inode;
    uint8_t *zeros;
    int what;

    if (inode->now_size >= size)
        return 0;
    what = begin(disk, true, false);
    if (what < 0)
        return what;
    zeros = must(calloc(1, size - inode->now_size));
    if (what == 0 || coin(disk))
        inode_write(inode, zeros, size - inode->now_size, inode->now_size);
    free(zeros);
    return what == 1 ? -EIO : 0;
}

static int shadow_truncate(struct io *io, int file, uint64_t size)
{
    struct shadow_disk *disk = disk_of(io);
    struct inode *inode = disk->handles[file].inode;
    int what = begin(disk, false, false);

    if (what < 0)
        return what;
    inode_reserve(inode, size);
    inode->now_size = size;
    return what == 1 ? -EIO : 0;
}

static int64_t shadow_size(struct io *io, int file)
{
    return disk_of(io)->dead ? -EIO : (int64_t)disk_of(io)->handles[file].inode->now_size;
}

static int shadow_map(struct io *io, int file, uint64_t size, const void **bytes)
{
    struct inode *inode = disk_of(io)->handles[file].inode;
    uint8_t *copy;

    if (disk_of(io)->dead)
        return -EIO;
    copy = must(aligned_alloc(4096, (size + 4095) / 4096 * 4096 + 4096));
    memset(copy, 0, size);
    memcpy(copy, inode->now, size < inode->now_size ? size : inode->now_size);
    *bytes = copy;
    return 0;
}

static int shadow_unmap(struct io *io, const void *bytes, uint64_t size)
{
    (void)io;
    (void)size;
    free((void *)(uintptr_t)bytes);
    return 0;
}

static int shadow_rename(struct io *io, const char *from, const char *to)
{
    struct shadow_disk *disk = disk_of(io);
    struct name *name = names_find(&disk->now, from);
    struct inode *inode;
    int what = begin(disk, false, false);

    if (what < 0)
        return what;
    if (!name)
        return -ENOENT;
    if (what == 1 && !coin(disk))
        return -EIO;
    inode = name->inode;
    names_remove(&disk->now, from);
    names_put(&disk->now, to, inode);
    change_add(disk, to, from, inode, false);
    return what == 1 ? -EIO : 0;
}

static int shadow_unlink(struct io *io, const char *path)
{
    struct shadow_disk *disk = disk_of(io);
    int what;

    if (disk->dead)
        return -EIO;
    if (!names_find(&disk->now, path))
        return -ENOENT;
    what = begin(disk, false, false);
    if (what < 0)
        return what;
    if (what == 1 && !coin(disk))
        return -EIO;
    names_remove(&disk->now, path);
    change_add(disk, path, "", NULL, true);
    return what == 1 ? -EIO : 0;
}

static int shadow_link(struct io *io, const char *from, const char *to)
{
    (void)io;
    (void)from;
    (void)to;
    return -EOPNOTSUPP;
}

static int shadow_make_directory(struct io *io, const char *path)
{
    struct shadow_disk *disk = disk_of(io);
    int what;

    if (disk->dead)
        return -EIO;
    if (names_find(&disk->now, path))
        return 0;
    what = begin(disk, true, false);
    if (what < 0)
        return what;
    if (what == 1 && !coin(disk))
        return -EIO;
    names_put(&disk->now, path, NULL);
    change_add(disk, path, "", NULL, false);
    return what == 1 ? -EIO : 0;
}

static int shadow_remove_directory(struct io *io, const char *path)
{
    const struct names *now = &disk_of(io)->now;

    for (size_t i = 0; i < now->count; i++)
        if (in_folder(now->items[i].path, path))
            return -ENOTEMPTY;
    return shadow_unlink(io, path);
}

static int shadow_list(struct io *io, const char *path, io_list_function function, void *context)
{
    struct shadow_disk *disk = disk_of(io);

    if (disk->dead)
        return -EIO;
    if (!names_find(&disk->now, path))
        return -ENOENT;
    for (size_t i = 0; i < disk->now.count; i++)
        if (in_folder(disk->now.items[i].path, path) &&
            function(context, strrchr(disk->now.items[i].path, '/') + 1) != 0)
            break;
    return 0;
}

static int shadow_lock(struct io *io, int file)
{
    (void)io;
    (void)file;
    return 0;
}

static int64_t shadow_wall_ms(struct io *io)
{
    return disk_of(io)->wall_ms;
}

static int64_t shadow_monotonic_ns(struct io *io)
{
    return (int64_t)disk_of(io)->operations;
}

static void shadow_random(struct io *io, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(test_random(&disk_of(io)->random) >> 20);
}

static const struct io_operations operations = {
    .open = shadow_open,
    .close = shadow_close,
    .pread = shadow_pread,
    .pwrite = shadow_pwrite,
    .datasync = shadow_datasync,
    .sync_directory = shadow_sync_directory,
    .allocate = shadow_allocate,
    .truncate = shadow_truncate,
    .size = shadow_size,
    .map = shadow_map,
    .unmap = shadow_unmap,
    .rename = shadow_rename,
    .unlink = shadow_unlink,
    .link = shadow_link,
    .make_directory = shadow_make_directory,
    .remove_directory = shadow_remove_directory,
    .list = shadow_list,
    .lock = shadow_lock,
    .wall_ms = shadow_wall_ms,
    .monotonic_ns = shadow_monotonic_ns,
    .random = shadow_random,
};

struct shadow_disk *shadow_disk_new(uint64_t seed)
{
    struct shadow_disk *disk = must(calloc(1, sizeof(*disk)));

    disk->io.operations = &operations;
    disk->random = seed | 1;
    disk->wall_ms = 1000000;
    return disk;
}

static void names_clone(struct names *to, const struct names *from, struct inode *const *copies)
{
    for (size_t i = 0; i < from->count; i++)
        names_put(to, from->items[i].path,
                  from->items[i].inode ? copies[from->items[i].inode->copy_number] : NULL);
}

struct shadow_disk *shadow_disk_clone(const struct shadow_disk *from, uint64_t seed)
{
    struct shadow_disk *disk = shadow_disk_new(seed);
    struct inode **copies;
    unsigned count = 0;

    for (struct inode *inode = from->inodes; inode; inode = inode->next)
        inode->copy_number = count++;
    copies = must(calloc(count + 1, sizeof(struct inode *)));
    for (const struct inode *inode = from->inodes; inode; inode = inode->next) {
        struct inode *copy = inode_new(disk);
        copies[inode->copy_number] = copy;
        if (inode->capacity == 0)
            continue;
        inode_reserve(copy, inode->capacity);
        memcpy(copy->now, inode->now, inode->capacity);
        memcpy(copy->durable, inode->durable, inode->capacity);
        memcpy(copy->dirty, inode->dirty, inode->capacity / SHADOW_SECTOR_BYTES);
        copy->now_size = inode->now_size;
        copy->durable_size = inode->durable_size;
    }
    names_clone(&disk->now, &from->now, copies);
    names_clone(&disk->durable, &from->durable, copies);
    for (size_t i = 0; i < from->change_count; i++) {
        const struct change *change = &from->changes[i];
        change_add(disk, change->path, change->from,
                   change->inode ? copies[change->inode->copy_number] : NULL, change->removal);
    }
    free(copies);
    disk->wall_ms = from->wall_ms;
    disk->dead = from->dead;
    return disk;
}

void shadow_disk_delete(struct shadow_disk *disk)
{
    while (disk->inodes) {
        struct inode *next = disk->inodes->next;
        free(disk->inodes->now);
        free(disk->inodes->durable);
        free(disk->inodes->dirty);
        free(disk->inodes);
        disk->inodes = next;
    }
    free(disk->now.items);
    free(disk->durable.items);
    free(disk->changes);
    free(disk);
}

struct io *shadow_disk_io(struct shadow_disk *disk)
{
    return &disk->io;
}

uint64_t shadow_disk_operations(const struct shadow_disk *disk)
{
    return disk->operations;
}

void shadow_disk_die_at(struct shadow_disk *disk, uint64_t operation)
{
    disk->die_at = operation;
}

void shadow_disk_set_wall_ms(struct shadow_disk *disk, int64_t wall_ms)
{
    disk->wall_ms = wall_ms;
}

bool shadow_disk_dead(const struct shadow_disk *disk)
{
    return disk->dead;
}

void shadow_disk_fail_at(struct shadow_disk *disk, uint64_t operation, enum shadow_fault fault,
                         bool for_good)
{
    disk->fail_at = operation;
    disk->fault = fault;
    disk->fault_for_good = for_good;
    if (operation != SHADOW_NEVER)
        disk->struck = false;
}

void shadow_disk_meanwhile(struct shadow_disk *disk, const char *suffix, void (*moment)(void *),
                           void *context)
{
    disk->moment_suffix = suffix;
    disk->moment = moment;
    disk->moment_context = context;
}

bool shadow_disk_has(const struct shadow_disk *disk, const char *path)
{
    return names_find(&disk->now, path) != NULL;
}

bool shadow_disk_struck(const struct shadow_disk *disk)
{
    return disk->struck;
}

void shadow_disk_lie(struct shadow_disk *disk, bool lie)
{
    disk->lie = lie;
}

/* Which bytes each unsynced sector has now, and how long the file is. */
static void crash_inode(struct shadow_disk *disk, struct inode *inode)
{
    uint64_t size = coin(disk) ? inode->now_size : inode->durable_size;

    for (uint64_t s = 0; s < inode->capacity / SHADOW_SECTOR_BYTES; s++) {
        uint8_t *durable = inode->durable + s * SHADOW_SECTOR_BYTES;
        if (!inode->dirty[s])
            continue;
        inode->dirty[s] = 0;
        switch (test_random(&disk->random) / 7 % 5) {
        case 0:
        case 1:
            memcpy(durable, inode->now + s * SHADOW_SECTOR_BYTES, SHADOW_SECTOR_BYTES);
            break;
        case 2:
            for (unsigned i = 0; i < SHADOW_SECTOR_BYTES; i++)
                durable[i] = (uint8_t)(test_random(&disk->random) >> 13);
            break;
        default:
            break;
        }
    }
    if (size < inode->capacity)
        memset(inode->durable + size, 0, inode->capacity - size);
    if (inode->capacity > 0)
        memcpy(inode->now, inode->durable, inode->capacity);
    inode->durable_size = inode->now_size = size;
}

void shadow_disk_kill_process(struct shadow_disk *disk)
{
    memset(disk->handles, 0, sizeof(disk->handles));
    disk->moment_suffix = NULL;
    disk->dead = false;
    disk->operations = 0;
    disk->die_at = SHADOW_NEVER;
    disk->fail_at = SHADOW_NEVER;
}

void shadow_disk_crash(struct shadow_disk *disk)
{
    for (struct inode *inode = disk->inodes; inode; inode = inode->next)
        crash_inode(disk, inode);
    for (size_t i = 0; i < disk->change_count; i++)
        if (coin(disk))
            change_apply(disk, &disk->changes[i]);
    disk->change_count = 0;
    disk->now.count = 0;
    for (size_t i = 0; i < disk->durable.count; i++)
        names_put(&disk->now, disk->durable.items[i].path, disk->durable.items[i].inode);
    memset(disk->handles, 0, sizeof(disk->handles));
    disk->moment_suffix = NULL;
    disk->dead = false;
    disk->operations = 0;
    disk->die_at = SHADOW_NEVER;
    disk->fail_at = SHADOW_NEVER;
}
