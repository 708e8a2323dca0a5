/* The oracle of a process that is killed: a file in which each operation is marked pending before
 * it is asked for and acknowledged after its answer. What a store holds after the kill is judged by
 * what stands in the file. */
#ifndef TESTS_STORE_KILL_ORACLE_H
#define TESTS_STORE_KILL_ORACLE_H

#include "tests/support/shard_fixture.h"

enum { ORACLE_WINDOWS = 4, ORACLE_WINDOW_MS = 1000, ORACLE_IDS = 60 };

enum oracle_kind {
    ORACLE_PUTS,    /* a group of new rows and upserts, with a delete now and then */
    ORACLE_DELETES, /* a group of deletes alone */
    ORACLE_FLUSH,
    ORACLE_SEAL,
    ORACLE_DROP,
    ORACLE_KINDS
};

enum oracle_state { ORACLE_PENDING = 1, ORACLE_ACKNOWLEDGED, ORACLE_UNDONE };

/* One operation, as it stands in the file. */
struct oracle_entry {
    enum oracle_kind kind;
    enum oracle_state state;
    uint64_t seed;       /* of a group */
    int64_t before;      /* first offset of a group; else: what it concerns lies below */
    int64_t after;       /* of a group: next offset */
    int32_t window;      /* of a seal or drop; of a group: the one it stays out of; or -1 */
    uint64_t generation; /* of a seal, when acknowledged: of the window's run, 0 without one */
};

struct oracle {
    int file;
    size_t count;
    size_t settled;     /* entries before this one are in what follows */
    struct model model; /* visible rows */
    int64_t flushed_offset;
    struct {
        int64_t sealed_offset; /* rows below are in the sealed run */
        uint64_t generation;
    } windows[ORACLE_WINDOWS];
    unsigned pending[ORACLE_KINDS]; /* found at all kills: done, or not done */
    unsigned undone[ORACLE_KINDS];
};

/** The group of an entry; the same one each time. */
void oracle_make_group(const struct oracle_entry *entry, struct fixture_group *group);

void oracle_create(struct oracle *oracle, const char *path);
void oracle_destroy(struct oracle *oracle);
/** Marks an operation pending; returns its number. At most one group and one of the others may be.
 * A group beside a drop stays out of its window, so that their order makes no difference. */
size_t oracle_begin(struct oracle *oracle, const struct oracle_entry *entry);
void oracle_acknowledge(struct oracle *oracle, size_t number, uint64_t generation);

/** Compares a shard that was just opened with the file: all that is acknowledged, nothing that was
 * not asked for, and what was pending wholly or not at all, which is decided from then on. NULL, or
 * what is wrong. */
const char *oracle_settle(struct oracle *oracle, struct store_shard *shard);

#endif
