/* Years of event time against the policy of time.
 *
 * A world is a collection of one to four shards, with windows or without, in any style of
 * compaction, on a virtual clock: producers that are steady,
 * skewed, silent, bursty, out of order by hours or replaying old data; a wall clock that jumps,
 * also while the process does not run; restarts that lose what was not durable and abandon jobs;
 * changes of the configuration. A simulated store describes its windows, twcs decides, the store
 * carries out in two phases, and after each step the promises are checked. Everything follows from
 * one seed. */
#ifndef TESTS_TWCS_SIMULATION_H
#define TESTS_TWCS_SIMULATION_H

#include <stdint.h>

/* Faults of the store around twcs: the checks must see each of them. */
enum simulation_fault {
    SIMULATION_SOUND,
    SIMULATION_EARLY_EXPIRY,    /* a window is described by its first row's expiry */
    SIMULATION_HIDDEN_JOBS,     /* busy windows are described as free */
    SIMULATION_TRUSTING_CLOCK,  /* every step of the wall clock is taken */
    SIMULATION_NO_IDLENESS,     /* silent shards keep their watermark */
    SIMULATION_LOST_WATERMARK,  /* the clock is not persisted with a seal */
    SIMULATION_FORGOTTEN_BYTES, /* temporary files do not count */
    SIMULATION_NARROW_RANGES,   /* runs are described by their first key alone */
    SIMULATION_HIDDEN_MASKS     /* runs are described without their masked rows */
};

struct simulation_report {
    double years;
    uint64_t steps;
    uint64_t records;
    uint64_t verdicts[6]; /* by enum twcs_verdict */
    uint64_t actions[5];  /* by enum twcs_action, committed */
    uint64_t reasons[5];  /* of compactions, by enum twcs_reason */
    uint64_t moves;       /* of them, trivial moves */
    uint64_t stalls;      /* steps in which a shard waited for level 0 */
    uint64_t windowless;  /* steps without windows */
    uint64_t capped;      /* windows taken by the byte cap */
    uint64_t starved;     /* steps in which ingestion had to wait */
    uint64_t stood;       /* steps in which the clock stood */
    uint64_t clock_waits; /* times that a record waited for it */
    uint64_t restarts;
    uint64_t changes;  /* of the configuration */
    uint64_t digest;   /* of every decision in order */
    char failure[400]; /* empty when every check held */
};

/** One world of `step_count` steps. Adds to the counters of `report`; sets `failure`. */
void simulation_run(uint64_t seed, unsigned step_count, enum simulation_fault fault,
                    struct simulation_report *report);

#endif
