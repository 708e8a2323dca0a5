/* The store of windrow-bench-serve: rows into shards, windows sealed, segments and spans built. */
#ifndef BENCH_SERVE_STORE_H
#define BENCH_SERVE_STORE_H

#include "bench/index_vectors.h"
#include "indexer/query/query.h"

struct store_source;

enum {
    K = 10,
    WINDOW_MS = 3600000,
    QUERIES_MAX = 500,
    EFS_MAX = 32,
    GROUP = 64,
    SHARDS_MAX = 64,
    RANKS = 10000 /* the numbers that filters ask for are below it */
};

enum serve_kind { SERVE_HNSW, SERVE_IVF_PQ, SERVE_AUTO };

struct bench {
    struct bench_vectors base, queries;
    struct config_collection collection;
    struct store *store;
    struct store_shard *shards[SHARDS_MAX];
    uint32_t shard_count; /* rows go where Kafka's Java client puts their ids */
    bool in_turns;        /* or to one after the other */
    struct store_registry *registry;
    struct thread_pool *pool;
    uint32_t windows;
    bool shuffle;
    enum serve_kind kind;
    bool lists;             /* IVF-PQ; else HNSW */
    uint32_t graphs;        /* with lists: the youngest so many windows are HNSW all the same */
    bool spans;             /* those that twcs decides on */
    bool service_spans;     /* as the service makes them */
    uint32_t tail;          /* newest windows, which seal after the others were built */
    bool vary;              /* each query has a filter of its own */
    uint32_t rounds;        /* of each measurement */
    double range;           /* part of the time that is searched */
    double half_life_hours; /* 0: scores do not decay */
    uint32_t build_threads; /* beside the searches; 0: other experiments */
    int build_nice;
    double build_seconds, effort_seconds; /* processor time of builds, of measuring effort */
    uint64_t (*truth)[K];
    uint32_t *ranks;   /* by row: along the direction from the first row to the last */
    double unfiltered; /* rate at the recall asked for */
};

/** Ends the program with the error. */
void serve_check(int code, const struct error *error);
/** The number that is a hit's key. */
uint64_t serve_hit_id(const struct query_row *row);
/** Fills in bench->ranks. */
void serve_rank_rows(struct bench *bench);
/** Appends the rows of one shard. */
void serve_load(struct bench *bench, uint32_t shard_index);
/** Processor time of the process. */
double serve_cpu_seconds(void);
/** Builds the segment of a sealed run and returns it; the caller attaches it. */
const struct index_segment *serve_index_source(struct bench *bench, struct store_shard *shard,
                                               const struct store_source *source, uint32_t threads,
                                               const struct index_ivf_codebook *codebook,
                                               const atomic_bool *cancel);
void serve_index_span(struct bench *bench, struct store_shard *shard, uint8_t tier,
                      const struct store_source *sources, uint32_t count, uint32_t threads,
                      const struct index_ivf_codebook *codebook, const atomic_bool *cancel);
/** Builds the spans that twcs decides on. */
void serve_index_spans(struct bench *bench, struct store_shard *shard,
                       const struct index_ivf_codebook *codebook);
/** Seals windows [first, end) of a shard. */
void serve_seal(struct store_shard *shard, uint32_t first, uint32_t end);
/** With all shards sealed: has the service's builders make segments and spans, by a configuration that is
 * written into the folder. */
void serve_index_as_service(struct bench *bench, const char *folder);
/** Seals the windows of a shard and builds their segments. */
void serve_seal_and_index(struct bench *bench, struct store_shard *shard,
                          struct index_ivf_codebook **codebook);

#endif
