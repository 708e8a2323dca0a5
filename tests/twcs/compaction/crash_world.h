/* A shard on a disk that forgets, driven by the decisions of twcs under a virtual clock, that
 * crashes in the middle of them. Beside it a model: a sorted array that is plainly right. */
#ifndef TESTS_TWCS_COMPACTION_CRASH_WORLD_H
#define TESTS_TWCS_COMPACTION_CRASH_WORLD_H

#include "tests/support/shadow_disk.h"
#include "tests/support/shard_fixture.h"
#include "twcs/compaction/compaction.h"

enum {
    CRASH_STEP_MS = 1000,
    CRASH_WINDOW_MS = 8 * CRASH_STEP_MS,
    CRASH_TTL_MS = 40 * CRASH_STEP_MS
};
enum { CRASH_IDS = 700, CRASH_WINDOWS_MAX = 128 };

/* What the process is at. */
enum crash_doing {
    CRASH_OPENING,
    CRASH_APPENDING,
    CRASH_FLUSHING,
    CRASH_SEALING,
    CRASH_RESEALING,
    CRASH_TIERING,
    CRASH_COMPACTING,
    CRASH_MOVING,
    CRASH_DROPPING, /* windows and runs whose last row has expired */
    CRASH_CAPPING,  /* windows that make room */
    CRASH_DOINGS
};

/* What is known of a window's majors: one that was acknowledged stays. */
struct crash_window {
    int64_t start_ms;
    uint64_t generation;
};

struct crash_tally {
    uint64_t done[CRASH_DOINGS];
    uint64_t crashes[CRASH_DOINGS];
    uint64_t kills;     /* of the crashes: only the process died, the disk forgot nothing */
    uint64_t meanwhile; /* records that came in the middle of a merge */
    uint64_t checks;
};

struct crash_world {
    struct config_collection collection;
    struct shadow_disk *disk;
    struct io *io;
    struct store *store;
    struct store_shard *shard;
    struct arena arena;
    uint64_t random;
    int64_t wall_ms;
    int64_t watermark_ms; /* acknowledged */
    struct model model;   /* what was acknowledged */
    struct model maybe;   /* and what is under way besides, when `open_change` */
    bool open_change;
    bool all_flushed; /* every record, mask and deletion is in a file */
    bool quiet;       /* no record comes in the middle of a merge */
    bool starved;     /* over the cap with nothing to drop */
    struct crash_window windows[CRASH_WINDOWS_MAX];
    size_t window_count;
    enum crash_doing doing;
    int64_t working_on_ms;       /* start of the window whose major is under way; INT64_MAX: none */
    uint64_t span[CRASH_DOINGS]; /* operations that each takes, as last seen */
    struct crash_tally tally;
};

/** A fresh disk with an empty shard; `windows`: false is `window: ~`. A cap of 0 bytes is none. */
void crash_world_create(struct crash_world *world, enum config_style style, bool windows,
                        uint64_t max_bytes, uint64_t seed);
/** Records come, some are flushed, and everything that twcs asks for is done; a crash may end each
 * of these, after which the store recovers. All promises are checked. */
void crash_world_step(struct crash_world *world);
/** Lets everything expire, closes, and verifies every byte. */
void crash_world_finish(struct crash_world *world);

struct crash_style {
    enum config_style style;
    bool windows;
    uint64_t max_bytes;
    unsigned hits; /* what crashes must have hit, of CRASH_HIT(doing) */
};

#define CRASH_HIT(doing) (1U << (doing))

/** Lives until `wanted` crashes have come, and have hit what they must. Prints how many hit what.
 */
void crash_live(const struct crash_style *style, uint64_t wanted);

/** The promises that hold at any moment, after a recovery as well. */
void crash_check(struct crash_world *world);
/** After a decision in the middle of which nothing came: a window that was sealed has a run and no
 * more, or no row; what a merge wrote or moved lies in the level it was meant for. */
void crash_check_done(struct crash_world *world, const struct compaction_view *before,
                      const struct twcs_decision *decision);
/** And those that hold when nothing is due. */
void crash_check_rest(struct crash_world *world, const struct compaction_view *view);
/** A decision about to be carried out. */
void crash_check_decision(struct crash_world *world, const struct compaction_view *view,
                          const struct twcs_decision *decision);

#endif
