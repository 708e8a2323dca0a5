/* The parts of the simulation: traffic makes records, store holds them, check holds it to its
 * promises. Private to simulation*.c. */
#ifndef TESTS_TWCS_SIMULATION_WORLD_H
#define TESTS_TWCS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/twcs/simulation.h"
#include "twcs/twcs.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

enum {
    SHARDS_MAX = 4,
    DECISIONS_MAX = 8,
    WINDOWS_MAX = 4096,
    KEYS_MAX = 1500,
    FILES_MAX = 1 << 18
};

enum place { PLACE_MEMTABLE, PLACE_CHUNK, PLACE_RUN };

struct row {
    int64_t event_ms;
    int64_t ttl_ms; /* its own, 0: none */
    uint64_t run;   /* file number of the chunk that holds it */
    uint32_t bytes;
    uint16_t key;
    uint8_t place;
    bool covered; /* an input of the major under way */
};

/* A job between prepare and commit. */
struct job {
    bool running;
    enum twcs_action action;
    unsigned steps_left;
    size_t first_chunk, chunk_count;
    struct twcs_decision compact; /* TWCS_COMPACT: as it was asked for */
    uint64_t temporary_bytes;
};

struct window {
    int64_t start_ms, length_ms;
    struct row *rows;
    size_t row_count, row_capacity;
    struct twcs_run *chunks;
    size_t chunk_count, chunk_capacity;
    uint64_t memtable_rows, memtable_bytes;
    bool sealed;
    uint64_t generation;
    struct twcs_run run;
    uint64_t masked_rows;
    int64_t sealed_watermark_ms; /* what the watermark was then */
    int64_t max_expiry_ms;
    bool expiry_known;
    int64_t last_arrival_ms;
    struct job job;
    uint64_t due_since; /* step since which a drop or a seal is due and free to go; 0: none */
    uint64_t due_until; /* and by which it must have begun */
    /* Of the unbounded window: row of each key, plus one. */
    uint32_t *row_of_key;
    uint64_t disorder_since; /* step since which keys are in two files of a sorted level; 0: not */
    uint64_t disorder_until; /* and by which they must not be */
    uint64_t waste_since;    /* ... since which dead rows are over their bound */
    uint64_t waste_until;    /* and by which they must be under it again */
    uint64_t expired_since, expired_until; /* a run of expired rows */
    size_t chunks_at_change;               /* when the policy changed last */
    bool mending; /* another style was chosen: its files may still share keys */
};

enum behaviour { STEADY, SKEWED, SILENT, BURSTY, DISORDERED, BACKFILLED, BEHAVIOUR_COUNT };

struct shard {
    struct twcs_clock clock;
    struct twcs_clock persisted;
    enum behaviour behaviour;
    int64_t skew_ms;
    int64_t silent_until_ms;
    unsigned quiet_steps;      /* left of a pause */
    int64_t produced_until_ms; /* records up to this true time have been read */
    bool waited;               /* for the cap or the clock, since records were last read */
    int64_t last_heard_ms;     /* true time of the last record or restart; INT64_MIN: none yet */
    struct window **windows;   /* ascending by start, then length */
    size_t window_count, window_capacity;
};

struct world {
    uint64_t random;
    enum simulation_fault fault;
    struct simulation_report *report;
    struct twcs_policy policy;
    int64_t unit_ms; /* the window's length, or what stands for it without windows */
    bool windowless;
    bool ever_windowless; /* an unbounded window may be left, which no cap can drop */
    uint32_t key_count;   /* ids in use without windows */
    uint64_t next_file;
    int64_t step_ms;
    int64_t true_ms;
    int64_t wall_ms;
    int64_t glitch_ms; /* wall - true */
    int64_t safe_ms;   /* the clock of the process */
    bool stands;
    unsigned glitch_steps;
    bool calm; /* the wall clock is right all the time */
    unsigned stuck_steps;
    bool starved;
    uint64_t step;
    struct shard shards[SHARDS_MAX];
    size_t shard_count;
    /* Every accepted row is in one of these. */
    uint64_t accepted, present, masked, expired, capped;
};

/* Random numbers. */
uint64_t world_random(struct world *world);
uint64_t world_below(struct world *world, uint64_t limit);
bool world_chance(struct world *world, unsigned percent);

/** Remembers the first broken promise. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_failed(const struct world *world);
void world_digest(struct world *world, uint64_t value);

/* simulation_traffic.c */
void traffic_choose_policy(struct world *world, bool first);
/** False when the next record waits for the clock. */
bool traffic_produce(struct world *world, struct shard *shard);

/* simulation_store.c */
void store_accept(struct world *world, struct shard *shard, int64_t event_ms, int64_t ttl_ms,
                  uint32_t bytes);
void store_mask_one(struct world *world, struct shard *shard);
void store_flush(struct world *world, struct shard *shard);
void store_advance_jobs(struct world *world, struct shard *shard);
void store_abandon_jobs(struct shard *shard);
void store_describe(struct world *world, struct shard *shard, struct twcs_window *windows);
void store_begin(struct world *world, struct shard *shard, const struct twcs_decision *decision);
void store_remove_window(struct shard *shard, size_t index);
uint64_t store_window_bytes(const struct world *world, const struct window *window);
uint64_t store_bytes(const struct world *world);
int64_t store_row_expiry(const struct world *world, const struct row *row);
bool store_overloaded(const struct shard *shard);
int64_t store_max_expiry(const struct world *world, struct window *window);
void store_take_policy(struct shard *shard);
void store_destroy(struct shard *shard);

/* simulation_window.c: rows and chunks of one window */
struct window *window_new(int64_t start_ms, int64_t length_ms);
void window_delete(struct window *window);
struct row *window_add_row(struct window *window, struct row row);
void window_remove_row(struct window *window, size_t index);
/** The row was superseded or deleted: it counts as dead where it lies. */
void window_mask_row(struct window *window, size_t index);
void window_add_chunk(struct window *window, struct twcs_run chunk);
/** A chunk of these rows; `place` and `run` of the rows are set. */
void window_write_chunk(struct world *world, struct window *window, const uint32_t *rows,
                        size_t count, uint8_t level);

/* simulation_compact.c */
void compact_begin(struct world *world, struct window *window,
                   const struct twcs_decision *decision);
void compact_commit(struct world *world, struct shard *shard, struct window *window);
void compact_check(struct world *world, const struct shard *shard, struct window *window);
void compact_check_decision(struct world *world, const struct twcs_window *window,
                            const struct twcs_decision *decision);

/* simulation_check.c */
void check_verdict(struct world *world, const struct shard *shard, int64_t event_ms, int64_t ttl_ms,
                   enum twcs_verdict verdict);
void check_decisions(struct world *world, struct shard *shard, const struct twcs_window *windows,
                     const struct twcs_decision *decisions, size_t count, size_t max);
void check_cap_pick(struct world *world, const struct twcs_fifo_window *windows, size_t count,
                    uint64_t total_bytes, size_t pick, bool starved);
void check_step(struct world *world);

#endif
