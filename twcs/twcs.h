/* twcs: the policy of time. Pure functions from descriptions and a clock to decisions; no file is
 * opened here and nothing is allocated. The store describes, twcs decides, the store carries out.
 *
 * All times are milliseconds since the epoch (int64_t). A window is [start, start + length) with
 * start a multiple of length (floor, also before 1970). TWCS_NEVER stands for "no time". */
#ifndef TWCS_TWCS_H
#define TWCS_TWCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TWCS_NEVER   INT64_MAX
#define TWCS_NO_TIME INT64_MIN

enum twcs_late_policy { TWCS_LATE_ACCEPT, TWCS_LATE_DROP, TWCS_LATE_DEAD_LETTER };

/* How the runs of a window that is not sealed merge. What time decides (seals, reseals, drops) is
 * the same for all of them. */
enum twcs_style {
    TWCS_STYLE_TIME_WINDOW, /* size-tiered inside an open window; the default */
    TWCS_STYLE_FIFO,        /* no merge but the seal; sealed windows are never rewritten */
    /* The three that also work without windows: */
    TWCS_STYLE_SIZE_TIERED, /* runs of one size merge */
    TWCS_STYLE_LEVELED,     /* sorted levels, each size_ratio times the one above */
    TWCS_STYLE_HYBRID       /* levels 0 to 2 size-tiered, sorted levels below */
};

enum {
    TWCS_LEVEL_COUNT = 7,         /* 0 (flushed chunks, whose keys overlap) to 6 */
    TWCS_LEVEL0_FILES_MAX = 12,   /* ingestion waits before an unbounded window has more */
    TWCS_COMPACT_INPUTS_MAX = 256 /* runs of one TWCS_COMPACT */
};

struct twcs_policy {
    int64_t window_ms;       /* > 0; 0 (`window: ~`): one unbounded window that never closes */
    int64_t ttl_ms;          /* 0: never expires */
    int64_t late_allowed_ms; /* a window seals when watermark >= end + late_allowed */
    int64_t max_future_ms;
    int64_t idle_timeout_ms;
    enum twcs_late_policy late_policy;
    uint64_t max_bytes;            /* 0: no cap; of the collection, see twcs_fifo_pick */
    uint32_t tiered_min_threshold; /* 4 */
    uint32_t tiered_max_threshold; /* 32 */
    double reseal_ratio;     /* fold late runs in when late bytes > ratio x sealed bytes; 0.1 */
    double dead_ratio;       /* rebuild when masked rows > ratio x rows; 0.3 */
    int64_t reseal_quiet_ms; /* or when no late record came for this long; 0: only by ratio */
    enum twcs_style style;
    double max_space_amplification; /* bytes stored over bytes of live rows; 1.5; 0: no bound */
    uint64_t target_file_bytes;     /* of sorted levels; 64 MiB */
    uint32_t size_ratio;            /* a sorted level over the one above; 10 */
    uint32_t level0_trigger;        /* files in level 0 that start a merge; 4 */
    uint32_t max_jobs;              /* merges that one answer of twcs_decide may ask for; 0: any */
};

/** Window start of an event time: floor division, correct for negative times. 0 for the unbounded
 * window. */
int64_t twcs_window_start(int64_t event_time_ms, int64_t window_ms);

/** Expiry of a row: event time + the shorter of the collection's TTL and the row's own (0: none).
 * TWCS_NEVER without either; saturates instead of overflowing. */
int64_t twcs_expiry(const struct twcs_policy *policy, int64_t event_time_ms, int64_t row_ttl_ms);

/* One shard's clock.
 *
 * What is stored is a function of the partition's records: it is decided by their Kafka timestamps
 * and event times (struct twcs_log_clock), never by when somebody reads them. So a node that reads
 * live, one that reads the same records later, a copy and a restored backup hold the same. The wall
 * clock decides the rest: what a search shows, when a window seals, when a file goes.
 *
 * Two rules keep them apart. A window that an idle close sealed still takes records: only the log's
 * watermark makes one late. And a row that has expired by the wall clock stays in its file until the
 * log has passed its expiry (twcs_expired_before_ms), because a later record may expect it. */

/* What the records of a partition say about time: the same for everybody at the same offset.
 *
 * A single wrong timestamp must not move it. So the log's time is the latest one that two records in
 * a row have reached; it lags by one record, and what it decides may be decided late. Each time is
 * TWCS_NO_TIME at first. */
struct twcs_log_clock {
    int64_t time_ms;
    int64_t stamp_ms;     /* Kafka timestamp of the last record that had a possible one */
    int64_t watermark_ms; /* largest event time of records taken, at most max_future ahead of the
                             log's time */
};

/* Persisted by the store with every group of records. */
struct twcs_clock {
    int64_t watermark_ms; /* largest event time seen, later after idleness; at first TWCS_NO_TIME */
    int64_t last_record_wall_ms; /* when the last record arrived, by the wall clock */
    /* The wall clock as far as it is trusted: never back, bounded steps ahead. */
    int64_t safe_wall_ms;
    struct twcs_log_clock log;
    /* How far behind the safe clock a record may be stamped that is still to come. Not persisted; 0
     * where nobody reads a log. */
    int64_t log_lag_ms;
};

/* Of a shard that saw nothing. */
#define TWCS_CLOCK_NONE                                                                            \
    ((struct twcs_clock){.watermark_ms = TWCS_NO_TIME,                                             \
                         .log = {TWCS_NO_TIME, TWCS_NO_TIME, TWCS_NO_TIME}})

enum { TWCS_CLOCK_STEP_MAX_MS = 24 * 60 * 60 * 1000 };

/** Moves the safe clock towards `wall_ms`: never back; a step ahead of more than
 * TWCS_CLOCK_STEP_MAX_MS between two calls is taken only when `trusted` (an operator
 * confirmed it, or the wall clock is a safe one already). Returns the new safe time. */
int64_t twcs_clock_tick(struct twcs_clock *clock, int64_t wall_ms, bool trusted);

/** What a process may believe of a wall clock that shows `wall_ms`, when it believed `safe_ms`
 * `elapsed_ms` of a monotonic clock ago. The wall clock, unless that is more than `step_max_ms`
 * ahead of where the monotonic clock would be: then it is not believed, *stands is true, and time
 * goes on at the monotonic clock's pace until the wall clock is right again or somebody says that
 * it is. Never before `safe_ms`: a wall clock that was set back is waited for. */
int64_t twcs_clock_believe(int64_t safe_ms, int64_t elapsed_ms, int64_t wall_ms,
                           int64_t step_max_ms, bool *stands);

/** The same under a wall clock that is safe already (the daemon's): a leap of it was
 * confirmed. */
int64_t twcs_clock_follow(struct twcs_clock *clock, int64_t safe_ms);

/** A message with this Kafka timestamp is read, before its records are judged. Returns the timestamp,
 * or TWCS_NO_TIME when it has none or lies further ahead of `wall_ms` than max_future: then it is a
 * mistake that moves nothing. `wall_ms` is the later one of the safe clock and the system's.
 *
 * This is the one place where the reader's clock counts. Only a timestamp that was false when it was
 * written can be told from a true one by it, and only until that time has come; brokers refuse those
 * (message.timestamp.after.max.ms) or overwrite all (LogAppendTime). */
int64_t twcs_clock_stamp(struct twcs_clock *clock, const struct twcs_policy *policy,
                         int64_t timestamp_ms, int64_t wall_ms);

/** The time at which a record with this stamp (twcs_clock_stamp) was written: its stamp, or the log's
 * time when that is later. TWCS_NO_TIME: not known. */
int64_t twcs_log_time(const struct twcs_clock *clock, int64_t stamp_ms);

/** A record of this event time was accepted. */
void twcs_clock_observe(struct twcs_clock *clock, const struct twcs_policy *policy,
                        int64_t event_time_ms, int64_t stamp_ms, int64_t wall_ms);

/** Rows that expired by then may leave their files: nobody sees them, and no record to come finds
 * them alive. The safe clock less log_lag_ms. */
int64_t twcs_expired_before_ms(const struct twcs_clock *clock);

/** An idle shard's watermark follows the wall clock: after idle_timeout without a record the
 * watermark becomes at least safe_wall - idle_timeout, so that every window closes. Returns whether
 * it moved. */
bool twcs_clock_idle(struct twcs_clock *clock, const struct twcs_policy *policy);

/* One record. */

enum twcs_verdict {
    TWCS_ACCEPT,      /* its window is open */
    TWCS_ACCEPT_LATE, /* its window is sealed or closing here: goes to the window's late runs */
    TWCS_DROP_LATE,
    TWCS_DEAD_LETTER_LATE,
    TWCS_EXPIRED, /* arrived already expired: dropped and counted apart */
    TWCS_FUTURE   /* beyond max_future: dead letter unless it waits, never moves the clock */
};

/** Judges one record before it is stored; changes nothing. `stamp_ms` is what twcs_clock_stamp said of
 * its message. Future and expired: by the time at which it was written (twcs_log_time). Refused as
 * late: by the log's watermark; without one nothing is. TWCS_ACCEPT_LATE: its window may be sealed, by
 * the watermark of this shard.
 *
 * Without a stamp (an old message format, or a timestamp that is a mistake) the safe clock decides
 * what is future, and the log's time what has expired. */
enum twcs_verdict twcs_judge(const struct twcs_policy *policy, const struct twcs_clock *clock,
                             int64_t event_time_ms, int64_t row_ttl_ms, int64_t stamp_ms);

/** Whether a record that would be TWCS_FUTURE has to wait instead of becoming a dead letter: by the
 * wall clock, which is not believed for now, it is none. */
bool twcs_future_waits(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       int64_t event_time_ms, int64_t wall_ms);

/** Whether a window that ends at `end_ms` may be sealed: watermark >= end + late_allowed. */
bool twcs_window_closed(const struct twcs_policy *policy, const struct twcs_clock *clock,
                        int64_t end_ms);

/* Windows. */

struct twcs_run {
    uint64_t file_number; /* grows with time: a smaller one was written earlier */
    uint64_t bytes;
    uint64_t rows;
    int64_t min_event_ms, max_event_ms;
    uint8_t level;         /* 0: flushed; always 0 in styles without levels */
    uint64_t dead_rows;    /* masked; how many have expired is reckoned from the event times */
    int64_t max_expiry_ms; /* of its surviving rows by the policy of now; TWCS_NEVER: never */
    const uint8_t *first_key, *last_key; /* smallest and largest key, both inclusive, in memcmp
                                            order; valid as long as the description */
    uint16_t first_key_bytes, last_key_bytes;
};

/* One window of one shard, as the store describes it. A window whose length differs from the
 * policy's (the config changed) keeps its own length until it is gone. The unbounded window has
 * start 0 and length 0. */
struct twcs_window {
    int64_t start_ms;
    int64_t length_ms;          /* 0: unbounded */
    bool sealed;                /* a sealed run exists */
    bool busy;                  /* a major or a build of this window is under way: leave it alone */
    uint64_t generation;        /* of the sealed run; 0 without */
    struct twcs_run sealed_run; /* valid when sealed */
    uint64_t masked_rows;       /* of the sealed run */
    const struct twcs_run *chunks; /* unsealed or late runs of every level, oldest first */
    size_t chunk_count;
    uint64_t memtable_rows; /* rows of this window still in memtables */
    int64_t max_expiry_ms;  /* of surviving rows, memtables included; TWCS_NEVER without TTL */
    int64_t last_arrival_wall_ms; /* newest record of this window arrived then */
    uint64_t total_bytes;         /* every file of the window, segments included */
};

enum twcs_action {
    TWCS_DROP_TTL, /* the whole window: every row has expired */
    TWCS_SEAL,     /* the one major: chunks (and memtable rows, flushed first) -> sealed run */
    TWCS_RESEAL,   /* sealed run + late chunks -> next generation; also for many masked rows */
    TWCS_TIER,     /* merge adjacent chunks of an open window, or late chunks, size-tiered */
    TWCS_COMPACT   /* merge `inputs` of a window that is not sealed into `output_level`. No row of
                      them may survive: then they are replaced by nothing */
};

/* Why a TWCS_COMPACT is due, for the log and for tests. */
enum twcs_reason {
    TWCS_REASON_NONE,
    TWCS_REASON_EXPIRED,     /* every row of the inputs has expired */
    TWCS_REASON_FILES,       /* too many runs of one size, or in level 0 */
    TWCS_REASON_LEVEL_BYTES, /* a sorted level is larger than its share */
    TWCS_REASON_SPACE        /* dead rows push space amplification over its bound */
};

struct twcs_decision {
    enum twcs_action action;
    size_t window;                   /* index into the given windows */
    size_t first_chunk, chunk_count; /* TWCS_TIER: adjacent chunks to merge */
    /* TWCS_COMPACT: indices into the window's chunks, ascending and distinct. Any set may be
     * merged: what is masked goes, and no run hides a row of another. */
    uint32_t inputs[TWCS_COMPACT_INPUTS_MAX];
    uint32_t input_count;
    uint8_t output_level;
    uint64_t target_file_bytes; /* the output is cut into files of about this size, never between
                                   versions of one key; 0: one file */
    bool trivial_move; /* one input that meets no key of the output level: only its level changes */
    enum twcs_reason reason;
};

/** All that is due now, most urgent first: drops (of windows, and of expired runs), then merges
 * that ingestion waits for, then seals oldest first, then reseals, tiers and compactions together,
 * the one with the oldest input first (an input waits until it is the oldest of all: nothing
 * starves). At most one decision a window, at most `max` decisions, at most policy->max_jobs that
 * are no drops: what has become urgent meanwhile is then asked for in the next answer. Busy windows
 * get none; a drop never touches a window with an unexpired row. `windows`
 * ascending by start. */
size_t twcs_decide(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *windows, size_t window_count,
                   struct twcs_decision *decisions, size_t max);

/** The next instant of the safe clock at which twcs_decide may say more about these windows than
 * now, if no record comes: an expiry, or the quiet after late records. TWCS_NEVER: none. It does not
 * foresee the space debt of levels, which grows while rows expire one by one. */
int64_t twcs_next_due_ms(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_window *windows, size_t window_count);

/** Whether ingestion must wait for a merge: an unbounded window has TWCS_LEVEL0_FILES_MAX runs in
 * level 0. Whenever it is so and the window is not busy, twcs_decide asks for a merge of them
 * first.
 */
bool twcs_overloaded(const struct twcs_window *window);

/** "files", "level_bytes", ...: for logs. */
const char *twcs_reason_name(enum twcs_reason reason);

/** Whether nobody sees a row of the window any more, and its files wait for the log to pass the last
 * expiry: another look is due soon. Of the unbounded window: of one of its runs. */
bool twcs_drop_waits(const struct twcs_clock *clock, const struct twcs_window *window);

/** Why an expired window is still there, for `status`; NULL when nothing blocks it or it is not
 * due. */
const char *twcs_drop_blocker(const struct twcs_policy *policy, const struct twcs_clock *clock,
                              const struct twcs_window *window);

/* Spans: one index over several neighbouring sealed windows. */

enum {
    TWCS_SPAN_FANOUT = 8, /* windows in a span of tier 1, and spans of a tier in one of the next;
                             bench/notes/search.md, Spans */
    TWCS_SPAN_TIERS = 2
};

struct twcs_span_window {
    int64_t start_ms, length_ms;
    uint64_t rows; /* of its sealed run, and of what is not sealed */
    bool settled;  /* sealed, not busy, and nothing waits to be folded in */
    int64_t max_expiry_ms;
    bool in_tail, in_base; /* twcs_decide_history: its run is a live part of such a span */
};

/* A span that there is. */
struct twcs_span {
    uint8_t tier;
    int64_t start_ms, end_ms; /* of its first window, of its last */
    uint64_t rows, live_rows;
    bool lists; /* twcs_decide_history: else it is a graph */
};

enum twcs_span_action {
    TWCS_SPAN_BUILD, /* over the settled ones of `windows`, in place of a span of the tier there */
    TWCS_SPAN_DROP   /* most of it is dead, and a new one would not pay */
};

struct twcs_span_decision {
    enum twcs_span_action action;
    uint8_t tier;
    int64_t start_ms, end_ms;          /* build: of the group of windows */
    size_t first_window, window_count; /* build: index into the given windows; of the settled ones
                                          those of the first one's length are meant */
    bool beside_base;                  /* build: of those, the ones that no base has */
    size_t span;                       /* drop: index into the given spans */
};

/** Spans of one shard that should be built or dropped now: builds of low tiers first. `windows`
 * ascending by start. At most `max`. */
size_t twcs_decide_spans(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_span_window *windows, size_t window_count,
                         const struct twcs_span *spans, size_t span_count,
                         struct twcs_span_decision *decisions, size_t max);

/* Base and tail: spans of lists, which cost little to put together (history.c). */

enum {
    TWCS_TAIL_TIER = 1,
    TWCS_BASE_TIER = 2,
    TWCS_TAIL_PART = 8,           /* of the base's rows, one in so many lies in the tail at most */
    TWCS_HISTORY_WINDOWS_MIN = 4, /* with fewer, windows are searched by themselves */
    TWCS_HISTORY_GRAPHS_MAX =
        15, /* windows whose graphs, and graphs over eight, are as fast as lists over all */
    TWCS_HISTORY_WINDOWS_MAX = 1024 /* the newest so many */
};

/** As twcs_decide_spans, for a shard whose spans are lists: at most one build, drops behind it. Needs no
 * more room than two and one for each span. */
size_t twcs_decide_history(const struct twcs_span_window *windows, size_t window_count,
                           const struct twcs_span *spans, size_t span_count,
                           struct twcs_span_decision *decisions, size_t max);

/* FIFO over a collection. */

/* A window of some shard of the collection, for the byte cap. */
struct twcs_fifo_window {
    int64_t end_ms;
    uint64_t bytes;
    bool open; /* not sealed: never dropped by the cap */
    bool busy;
    bool expired; /* goes first */
};

/** Which window goes next when `total_bytes` (everything: logs, runs, segments, temporary files)
 * passes the cap: expired first, then the oldest whole sealed one. Returns its index, or SIZE_MAX
 * when the cap holds or nothing may go (then ingestion has to wait; *starved is set). */
size_t twcs_fifo_pick(const struct twcs_policy *policy, const struct twcs_fifo_window *windows,
                      size_t window_count, uint64_t total_bytes, bool *starved);

#endif
