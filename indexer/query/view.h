/* view: the shards of a collection at one instant. Inside the room only. */
#ifndef INDEXER_QUERY_VIEW_H
#define INDEXER_QUERY_VIEW_H

#include "indexer/query/query.h"
#include "indexer/query/wire.h"
#include "store/lease.h"
#include "store/snapshot.h"

struct view_shard {
    struct store_lease *lease;
    const char *name;
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    size_t source_count;
    bool residues_known;
    struct key_residues residues; /* of its ids, once query_shard_residues was called */
};

/* A shard that is not open here, and that peers are asked for. */
struct view_remote {
    const char *name, *label;
    bool answered;     /* once; the rest is of the last answer */
    bool answered_now; /* by the operation that was last */
    bool failed;       /* an operation had no answer for it */
    int64_t next_offset, watermark_ms;
    struct key_residues residues; /* of its ids, as of the last answer */
    bool left_out;                /* of the next operation */
    struct wire_lack lack;        /* what any of the answers lacked */
    bool here; /* a copy is open here that lacks records: it answers where no peer does */
    int64_t known_offset; /* up to which the shard was known to go when the view left it to peers */
};

struct query_view {
    struct arena arena;
    struct io *io;
    const struct config_collection *collection;
    struct store_registry *registry;
    struct thread_pool *pool;
    uint64_t shared_work_min;
    struct view_shard *shards;
    struct query_shard_freshness *freshness;
    size_t shard_count;
    bool shared;     /* others have shards of the collection, or ask for them */
    uint64_t pauses; /* of store_registry_pauses, before the shards were taken */
    struct store_coverage coverage;
    int64_t now_ms;       /* wall clock of the snapshots */
    int64_t score_now_ms; /* ages count from it */
    struct stop *stop;
    struct stop own_stop; /* of a caller that has none */

    const struct query_describer *describer;
    const struct query_peers *peers;
    struct view_remote *remotes; /* in the order of their names */
    size_t remote_count;
    const char **behind; /* labels of own shards that lack records, and that nobody else has */
    size_t behind_count;
    const struct query_min_offset *min_offsets;
    size_t min_offset_count;
    bool whole;
    int64_t patient_until_ns; /* for owners of shards that move, under `whole`; 0: not */
    struct query_peer_counts peer_counts;
    const struct query_shard_freshness *all_freshness; /* with the remote shards; NULL: local */
    size_t all_count;
};

/** Whether the shard's records are known to be fewer than there are, or its partition stopped. */
bool view_shard_lacks(const struct view_shard *shard);
/** The shard among those that peers are asked for, or NULL. */
struct view_remote *query_view_remote(const struct query_view *view, const char *name);
/** After an operation: coverage and freshness follow what was answered. */
void query_view_note_answers(struct query_view *view);
/** ERROR_UNAVAILABLE when the view has to be whole and is not. */
int query_view_check_whole(const struct query_view *view, struct error *error);
/** ERROR_UNAVAILABLE when the view is not whole, whether it has to be or not; the text names what it lacks. */
int query_view_check_all(const struct query_view *view, struct error *error);
/** Place of one of the view's own shards. */
uint32_t query_view_place(const struct query_view *view, const char *shard);
/** What the ids of one of the view's own shards have in common. The request's thread. */
const struct key_residues *query_shard_residues(struct view_shard *shard);
/** Orders shards by their names. */
int query_shard_compare(const char *a, const char *b);

/** For work that takes long: as stop_check, and ERROR_CANCELLED when a shard is wanted back. With peers `begin_anew` of
 * the stop is set then: a new view asks them for the shard. */
int query_view_check(const struct query_view *view, struct error *error);

/** After an operation: ERROR_CANCELLED when this process stood still since the view was opened, so that others may have
 * answered with newer records meanwhile, or taken its shards over. `begin_anew` is set then, as above. Without a cluster
 * nobody did. */
int query_view_check_awake(const struct query_view *view, struct error *error);

/** As query_version_compare, for rows with one id. */
int query_row_compare_versions(const struct query_row *a, const struct query_row *b);

/** The row as the outside sees it. */
struct query_row query_view_row(const struct query_view *view, size_t shard,
                                const struct store_source *source, uint32_t row);

/** Says once per file and process that a source was left out because its bytes are damaged. */
void query_view_report(const struct query_view *view, size_t shard,
                       const struct store_source *source, const struct error *error);

/* Windows of a view, counted while an operation runs over its sources. */

struct window_stats {
    struct window_entry *entries;
    size_t count, room;
    size_t memtable_windows; /* entries that rows of memtables made */
};

/** Room for every window of the view, in `arena`. */
void query_window_stats_start(struct window_stats *stats, const struct query_view *view,
                              struct arena *arena);
/** Notes a chunk or run: searched or pruned. Sources come as the view has them, shard after shard. */
void query_window_stats_table(struct window_stats *stats, size_t shard,
                              const struct store_source *source, bool searched);
/** Notes the windows of a memtable's rows inside [from, to). */
void query_window_stats_memtable(struct window_stats *stats, const struct query_view *view,
                                 size_t shard, const struct store_source *source, int64_t from_ms,
                                 int64_t to_ms);
void query_window_stats_finish(struct window_stats *stats, struct query_result *result);

/** Whether the source can hold rows of [from, to). */
static inline bool query_source_overlaps(const struct store_source *source, int64_t from_ms,
                                         int64_t to_ms)
{
    return source->row_count > 0 && source->max_event_ms >= from_ms &&
           (source->min_event_ms < to_ms || to_ms == INT64_MAX);
}

#endif
