/* A scripted life of a shard on a shadow disk (or a real one), and what it has promised so far. */
#ifndef TESTS_STORE_CRASH_LIFE_H
#define TESTS_STORE_CRASH_LIFE_H

#include <stdatomic.h>

#include "store/files/record.h"
#include "tests/support/shadow_disk.h"
#include "tests/support/shard_fixture.h"

enum { LIFE_EVENTS_MAX = 256, LIFE_WINDOW_MS = 1000 };

/* What a life was at when it ended. */
enum life_doing {
    LIFE_OPENING,
    LIFE_APPENDING,
    LIFE_FLUSHING,
    LIFE_SEALING,
    LIFE_TIERING,
    LIFE_COMPACTING,
    LIFE_ATTACHING,
    LIFE_DROPPING,
    LIFE_CLOSING,
    LIFE_DOINGS
};

enum life_event_kind { LIFE_GROUP, LIFE_DROP };

/* What changed the visible state: a group, or the drop of a window. */
struct life_event {
    enum life_event_kind kind;
    bool acknowledged;
    uint64_t seed;       /* of the group */
    int64_t next_offset; /* of the shard before */
    int64_t after;       /* and after the group */
    int64_t start_ms;    /* of the dropped window */
};

struct life {
    struct io *io;
    const char *data_dir;
    struct shadow_disk *disk; /* behind `io`; NULL: a real one */
    uint64_t random;
    enum store_durability durability;
    struct store *store;
    struct store_shard *shard;
    struct life_event events[LIFE_EVENTS_MAX];
    size_t event_count;
    int64_t flushed_offset; /* acknowledged by a flush */
    bool unbounded;         /* one window, no seals: files move through levels */
    _Atomic bool cutting;   /* the power is going: what succeeds from now on is no promise */
    enum life_doing doing;
    int meanwhile_code; /* of what happened in the middle of something else */
    int code;           /* of the step that ended the life */
    bool extend;        /* log files grow with each frame, as they do for large ones */
    bool tolerant; /* steps that meet a full disk or no memory are tried again once there is some */
    void (*relieve)(void); /* called before that; may be NULL */
    char text[1200];
};

/** Lives `steps` steps, or until one fails. Starts by opening the store. */
void life_run(struct life *life, unsigned steps);
/** Closes without a flush, as far as it is open. */
void life_stop(struct life *life);

/** Opens what is on the disk and compares with what was promised. NULL, or what is wrong. Leaves
 * the shard open; `events` then say what turned out to have happened. */
const char *life_check(struct life *life);

/** Appends one group after a check; it is promised from then on. */
const char *life_append_once(struct life *life);

/** Appends some groups after a check, checks again, closes, and runs store_verify. */
const char *life_go_on(struct life *life);

#endif
