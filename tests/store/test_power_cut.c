/* Real power cuts: a process lives on ext4 over a loop device, the file system is shut down under
 * it without writing what it holds (EXT4_IOC_SHUTDOWN), mounted again, and what is left is compared
 * with what the process had been told. Needs root and a free loop device; skips elsewhere.
 *
 * The image is a file in memory. Everything happens in a mount namespace of this process and the
 * loop device clears itself: nothing is left behind, however the test ends. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "tests/store/crash_life.h"
#include "tests/support/test_main.h"

enum {
    IMAGE_BYTES = 24 * 1024 * 1024,
    CUTS = 40,
    CONTROL_CUTS = 12,
    STEPS = 80,
    LONGEST_LIFE_MS = 500,
    CUT_WITH_JOURNAL = 1, /* names are committed, data that was not synced is not */
    CUT_WITHOUT = 2
};

#define SHUTDOWN _IOR('X', 125, uint32_t) /* EXT4_IOC_SHUTDOWN */

struct power {
    int image; /* memfd */
    int loop;
    uint8_t *fresh; /* the image right after mkfs */
    char device[64];
    char mount_point[128];
    char data_dir[160];
};

static int make_image(void)
{
    int image = memfd_create("ext4", 0);
    char command[160];

    if (image < 0 || ftruncate(image, IMAGE_BYTES) != 0)
        return -1;
    (void)snprintf(command, sizeof(command),
                   "mkfs.ext4 -q -F -b 4096 -J size=4 /proc/%d/fd/%d >/dev/null 2>&1",
                   (int)getpid(), image);
    return system(command) == 0 ? image : -1;
}

/* A free loop device over the image; another process may take the number in between. */
static int attach_loop(int image, char *device, size_t device_bytes)
{
    const struct loop_config config = {.fd = (uint32_t)image,
                                       .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int loop = -1;

    for (int i = 0; control >= 0 && loop < 0 && i < 20; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        (void)snprintf(device, device_bytes, "/dev/loop%d", number);
        loop = number < 0 ? -1 : open(device, O_RDWR | O_CLOEXEC);
        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
            close(loop);
            loop = -1;
        }
    }
    if (control >= 0)
        close(control);
    return loop;
}

static int power_mount(const struct power *power)
{
    return mount(power->device, power->mount_point, "ext4", 0, "noauto_da_alloc");
}

static void power_create(struct power *power)
{
    if (geteuid() != 0)
        test_skip("loop devices and mounts need root");
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        test_skip("no mount namespace of its own");
    power->image = make_image();
    if (power->image < 0)
        test_skip("no mkfs.ext4");
    power->fresh = malloc(IMAGE_BYTES);
    ck_assert_ptr_nonnull(power->fresh);
    ck_assert_int_eq(pread(power->image, power->fresh, IMAGE_BYTES, 0), IMAGE_BYTES);
    power->loop = attach_loop(power->image, power->device, sizeof(power->device));
    if (power->loop < 0)
        test_skip("no loop device to be had");
    (void)snprintf(power->mount_point, sizeof(power->mount_point), "%s", test_directory());
    (void)snprintf(power->data_dir, sizeof(power->data_dir), "%s/data", power->mount_point);
    if (power_mount(power) != 0)
        test_skip("ext4 cannot be mounted");
    ck_assert_int_eq(umount(power->mount_point), 0);
}

static void power_destroy(struct power *power)
{
    free(power->fresh);
    close(power->loop);
    close(power->image);
}

/* The file system as mkfs left it. */
static void power_renew(const struct power *power)
{
    ck_assert_int_eq(pwrite(power->loop, power->fresh, IMAGE_BYTES, 0), IMAGE_BYTES);
    ck_assert_int_eq(fsync(power->loop), 0);
    ck_assert_int_eq(ioctl(power->loop, BLKFLSBUF, 0), 0);
    ck_assert_int_eq(power_mount(power), 0);
}

static void power_cut(const struct power *power, uint32_t how)
{
    int root = open(power->mount_point, O_RDONLY | O_DIRECTORY);

    ck_assert_int_ge(root, 0);
    if (ioctl(root, SHUTDOWN, &how) != 0)
        test_skip("ext4 cannot be shut down");
    close(root);
}

static void power_return(const struct power *power)
{
    int tries = 0;

    while (umount(power->mount_point) != 0) {
        const struct timespec tick = {.tv_nsec = 1000000};
        ck_assert_msg(errno == EBUSY && tries++ < 60000, "umount: %s", strerror(errno));
        nanosleep(&tick, NULL);
    }
    ck_assert_int_eq(ioctl(power->loop, BLKFLSBUF, 0), 0);
    ck_assert_int_eq(power_mount(power), 0);
}

/* A disk whose syncs are left out. */

enum forgotten { FORGET_NOTHING, FORGET_CURRENT, FORGET_FILES, FORGET_FOLDERS };

static enum forgotten forgotten;
static bool is_current[1024];

static int forgetful_open(struct io *io, const char *path, unsigned flags)
{
    const char *name = strrchr(path, '/');
    int file;

    if (forgotten == FORGET_FILES)
        flags &= ~(unsigned)(IO_DIRECT | IO_APPEND_SYNC);
    file = io_posix()->operations->open(io, path, flags);
    if (file >= 0 && file < 1024)
        is_current[file] = name && strcmp(name, "/CURRENT.tmp") == 0;
    return file;
}

static int forgetful_datasync(struct io *io, int file)
{
    if (forgotten == FORGET_FILES ||
        (forgotten == FORGET_CURRENT && file < 1024 && is_current[file]))
        return 0;
    return io_posix()->operations->datasync(io, file);
}

static int forgetful_sync_directory(struct io *io, const char *path)
{
    return forgotten == FORGET_FOLDERS ? 0 : io_posix()->operations->sync_directory(io, path);
}

static struct io *forgetful_io(enum forgotten what)
{
    static struct io_operations operations;
    static struct io io = {&operations};

    operations = *io_posix()->operations;
    operations.open = forgetful_open;
    operations.datasync = forgetful_datasync;
    operations.sync_directory = forgetful_sync_directory;
    forgotten = what;
    return &io;
}

/* Lives. */

/* Waits until the child has begun some number of groups and drops, and a moment longer. */
static void wait_for_events(const struct life *life, uint64_t *random)
{
    const volatile size_t *event_count = &life->event_count;
    size_t wanted = 1 + test_random(random) % 30;
    const struct timespec tick = {.tv_nsec = 200000};
    const struct timespec moment = {.tv_nsec = (long)(test_random(random) % 2000000)};

    for (int i = 0; *event_count < wanted && i < LONGEST_LIFE_MS * 5; i++)
        nanosleep(&tick, NULL);
    nanosleep(&moment, NULL);
}

/* Lives in a child, whose memory of what it was told outlives it. */
static void live_and_cut(const struct power *power, struct life *life, struct io *io, uint64_t seed,
                         uint32_t how)
{
    uint64_t random = seed | 1;
    pid_t child;
    int status;

    memset(life, 0, sizeof(*life));
    life->io = io;
    life->data_dir = power->data_dir;
    life->random = seed | 1;
    life->durability = STORE_DURABILITY_LOG;
    power_renew(power);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        life_run(life, STEPS);
        for (;;)
            pause();
    }
    wait_for_events(life, &random);
    /* A shutdown takes its time, unlike a power cut: a sync beside it may find its transaction
     * neither running nor committing, because it was thrown away, and report success (Linux,
     * jbd2_complete_transaction). Only what was acknowledged before counts. */
    atomic_store(&life->cutting, true);
    power_cut(power, how);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    life->shard = NULL;
    life->store = NULL;
    life->code = 0;
    atomic_store(&life->cutting, false);
    life->io = io_posix();
    power_return(power);
}

static struct life *shared_life(void)
{
    struct life *life =
        mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(life, MAP_FAILED);
    return life;
}

START_TEST(power_cut_at_any_time_loses_nothing_acknowledged)
{
    uint64_t random = test_seed();
    struct power power = {0};
    struct life *life = shared_life();
    unsigned cuts = getenv("WINDROW_TEST_SLOW") ? 40 * CUTS : CUTS;
    size_t acknowledged = 0;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    power_create(&power);
    for (unsigned i = 0; i < cuts; i++) {
        uint64_t seed = test_random(&random) >> 8;
        const char *problem;
        live_and_cut(&power, life, io_posix(), seed, i % 2 ? CUT_WITHOUT : CUT_WITH_JOURNAL);
        problem = life_check(life);
        if (!problem)
            problem = life_go_on(life);
        ck_assert_msg(!problem, "cut %u, seed %" PRIu64 ": %s", i, seed, problem);
        life_stop(life);
        for (size_t j = 0; j < life->event_count; j++)
            acknowledged += life->events[j].acknowledged;
        ck_assert_int_eq(umount(power.mount_point), 0);
    }
    printf("%u power cuts, %zu acknowledged groups and drops\n", cuts, acknowledged);
    ck_assert_uint_gt(acknowledged, cuts);
    power_destroy(&power);
}
END_TEST

/* A store that left out syncs must not come through: else the test above sees nothing. */
static unsigned lives_lost(const struct power *power, enum forgotten what, uint32_t how,
                           uint64_t *random)
{
    struct life *life = shared_life();
    unsigned lost = 0;

    for (unsigned i = 0; i < CONTROL_CUTS; i++) {
        live_and_cut(power, life, forgetful_io(what), test_random(random) >> 8, how);
        lost += life_check(life) != NULL;
        life_stop(life);
        ck_assert_int_eq(umount(power->mount_point), 0);
    }
    munmap(life, sizeof(*life));
    return lost;
}

START_TEST(syncs_that_are_left_out_are_noticed_after_a_power_cut)
{
    static const struct {
        const char *what;
        enum forgotten forgotten;
        uint32_t how;
        unsigned least;
    } controls[] = {
        {"none", FORGET_NOTHING, CUT_WITHOUT, 0},
        {"of files", FORGET_FILES, CUT_WITHOUT, CONTROL_CUTS / 4},
        /* The unsynced rename: CURRENT is there and empty. */
        {"of CURRENT", FORGET_CURRENT, CUT_WITH_JOURNAL, CONTROL_CUTS / 4},
    };
    uint64_t random = test_seed();
    struct power power = {0};

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    power_create(&power);
    for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        unsigned lost = lives_lost(&power, controls[i].forgotten, controls[i].how, &random);
        printf("syncs left out %s: %u of %d lives lost something\n", controls[i].what, lost,
               CONTROL_CUTS);
        ck_assert_uint_ge(lost, controls[i].least);
        ck_assert(controls[i].least > 0 || lost == 0);
    }
    power_destroy(&power);
}
END_TEST

TEST_TABLE(TEST(power_cut_at_any_time_loses_nothing_acknowledged),
           TEST(syncs_that_are_left_out_are_noticed_after_a_power_cut))
