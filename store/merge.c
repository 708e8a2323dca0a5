/* A merge of sstables, as one range of keys for each output. Ranges are cut where samples of all
 * inputs' keys say that they hold about as many rows each, so that no key is in two outputs and
 * the store's merge threads take one range after the other. With a single output they gather for
 * the one that writes. */
#include "store/merge.h"
#include "base/bytes.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "store/files/table_internal.h"
#include "store/shard.h"

enum { SAMPLES_A_RANGE = 64, RANGES_MAX = 4096, PAYLOADS_MAX_BYTES = 128 * 1024 * 1024 };

struct merge_job {
    const struct merge *merge;
    const struct table **tables;
    struct merge_range *ranges;
    struct merge_outputs *outputs;
    struct thread_team team;
    atomic_bool failed; /* no further range is begun */
    pthread_mutex_t lock;
    struct error error; /* of the first failure; under the lock */
};

struct sample {
    const uint8_t *key;
    size_t key_bytes;
};

/* Ranges. Their bounds are keys, so that all versions of an id fall into one range and one thread
 * decides which of them wins. */

/* How many outputs there should be: by the rows that are not masked. */
static size_t count_ranges(const struct merge *merge)
{
    double bytes = 0;
    double ranges;

    if (merge->target_file_bytes == 0)
        return 1;
    for (size_t i = 0; i < merge->input_count; i++) {
        const struct sstable *sstable = merge->inputs[i];
        double masked = atomic_load_explicit(&sstable->masked_rows, memory_order_relaxed);
        bytes += (double)(sstable->info.index_bytes + sstable->info.vector_bytes) *
                 (1 - masked / (double)(sstable->row_count ? sstable->row_count : 1));
    }
    ranges = bytes / (double)merge->target_file_bytes + 0.5;
    if (ranges > RANGES_MAX)
        return RANGES_MAX;
    return ranges < 1 ? 1 : (size_t)ranges;
}

static int compare_samples(const void *a, const void *b)
{
    const struct sample *left = a, *right = b;

    return bytes_compare(left->key, left->key_bytes, right->key, right->key_bytes);
}

/* Every step-th key of every input, sorted: each stands for `step` rows. Keys point into the tables,
 * which stay open as long as the merge. */
static struct sample *take_samples(const struct merge *merge, size_t range_count, size_t *count)
{
    struct sample *samples;
    uint64_t rows = 0;
    uint64_t step;

    for (size_t i = 0; i < merge->input_count; i++)
        rows += merge->inputs[i]->row_count;
    step = rows / (range_count * SAMPLES_A_RANGE) + 1;
    samples = memory_new(rows / step + merge->input_count + 1, sizeof(*samples));
    *count = 0;
    for (size_t i = 0; i < merge->input_count; i++) {
        const struct table *table = merge->inputs[i]->table;
        for (uint64_t place = step / 2; place < merge->inputs[i]->row_count; place += step) {
            struct sample *sample = &samples[(*count)++];
            sample->key =
                table_key(table, table_row_at(table, (uint32_t)place), &sample->key_bytes);
        }
    }
    qsort(samples, *count, sizeof(*samples), compare_samples);
    return samples;
}

/* Fewer than wanted when samples repeat a key: a range must not begin with the key that the one
 * before it began with. */
static size_t cut_ranges(const struct merge *merge, struct merge_range **ranges)
{
    size_t wanted = count_ranges(merge);
    size_t count = 1;
    size_t sample_count;
    struct sample *samples;

    *ranges = memory_new(wanted, sizeof(**ranges));
    if (wanted == 1)
        return 1;
    samples = take_samples(merge, wanted, &sample_count);
    for (size_t i = 1; i < wanted; i++) {
        const struct sample *cut = &samples[i * sample_count / wanted];
        struct merge_range *before = &(*ranges)[count - 1];
        if (before->from &&
            bytes_compare(before->from, before->from_bytes, cut->key, cut->key_bytes) >= 0)
            continue;
        before->to = cut->key;
        before->to_bytes = cut->key_bytes;
        (*ranges)[count++] = (struct merge_range){.from = cut->key, .from_bytes = cut->key_bytes};
    }
    free(samples);
    return count;
}

/* Threads. */

static void note_failure(struct merge_job *job, const struct error *error)
{
    pthread_mutex_lock(&job->lock);
    if (!atomic_exchange(&job->failed, true))
        job->error = *error;
    pthread_mutex_unlock(&job->lock);
}

/* A thread_loop_function: ranges are taken one by one. */
static void run_range(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct merge_job *job = context;
    struct store_shard *shard = job->merge->shard;
    struct merge_output *output = &job->outputs->items[first];
    size_t at_once =
        job->outputs->count < job->team.threads ? job->outputs->count : job->team.threads;
    struct error error = {0};
    int code = windows_pending_reserve(&shard->windows, shard->manifest,
                                       &output->table.description.file_number, &error);

    (void)thread;
    assert(end == first + 1);
    if (code == 0)
        code = merge_range_run(job->merge, job->tables, &job->ranges[first],
                               job->outputs->count == 1 ? job->team.threads - 1 : 0,
                               PAYLOADS_MAX_BYTES / at_once, output, &error);
    if (code != 0)
        note_failure(job, &error);
}

/* Ranges without a row have no sstable. */
static void drop_empty(struct store_shard *shard, struct merge_outputs *outputs)
{
    size_t kept = 0;

    for (size_t i = 0; i < outputs->count; i++) {
        if (outputs->items[i].sstable)
            outputs->items[kept++] = outputs->items[i];
        else if (outputs->items[i].table.description.file_number != 0)
            windows_pending_done(&shard->windows, outputs->items[i].table.description.file_number);
    }
    outputs->count = kept;
}

int merge_run(const struct merge *merge, const struct manifest_table *like,
              struct merge_outputs *outputs, struct error *error)
{
    struct merge_job job = {.merge = merge, .outputs = outputs};

    job.team = (struct thread_team){
        .pool = merge->shard->store->mergers, .threads = 1, .cancel = &job.failed};
    if (job.team.pool && merge->jobs > 1)
        job.team.threads = merge->jobs;
    job.tables = memory_new(merge->input_count, sizeof(*job.tables));
    for (size_t i = 0; i < merge->input_count; i++) {
        job.tables[i] = merge->inputs[i]->table;
        table_fetch_columns(job.tables[i]);
    }
    outputs->count = cut_ranges(merge, &job.ranges);
    outputs->items = memory_new(outputs->count, sizeof(*outputs->items));
    for (size_t i = 0; i < outputs->count; i++)
        outputs->items[i].table = *like;
    if (pthread_mutex_init(&job.lock, NULL) != 0)
        abort();
    (void)thread_team_for(&job.team, (uint32_t)outputs->count, 1, run_range, &job);
    pthread_mutex_destroy(&job.lock);
    free(job.ranges);
    free(job.tables);
    drop_empty(merge->shard, outputs);
    if (!job.failed)
        return 0;
    merge_outputs_release(merge->shard, outputs, true);
    *error = job.error;
    return error->code;
}

void merge_outputs_release(struct store_shard *shard, struct merge_outputs *outputs, bool remove)
{
    for (size_t i = 0; i < outputs->count; i++) {
        struct merge_output *output = &outputs->items[i];
        if (remove)
            atomic_store(&output->sstable->dropped, true);
        windows_pending_done(&shard->windows, output->table.description.file_number);
        sstable_unref(output->sstable);
    }
    free(outputs->items);
    *outputs = (struct merge_outputs){0};
}

/* Masks.
 *
 * Rows of the inputs go on dying while the merge reads them. A row that died after the merge looked
 * at it is in an output and alive there: its mask is carried over, by key and offset. It is done
 * twice, see compaction.c: before the edit for what the edit makes durable, and under the append
 * lock for the rest, when nothing can die any more. */

static struct sstable *output_of(const struct merge_outputs *outputs, const uint8_t *key,
                                 size_t key_bytes)
{
    size_t first = 0;
    size_t count = outputs->count;

    /* The last output whose first key is not behind this one. */
    while (count > 1) {
        const struct sstable *middle = outputs->items[first + count / 2].sstable;
        bool right = bytes_compare(middle->first_key, middle->first_key_bytes, key, key_bytes) <= 0;
        first = right ? first + count / 2 : first;
        count = right ? count - count / 2 : count / 2;
    }
    return outputs->count > 0 ? outputs->items[first].sstable : NULL;
}

static void carry_row(const struct merge_outputs *outputs, const struct sstable *input,
                      uint32_t row, int64_t dead_at)
{
    size_t key_bytes;
    const uint8_t *key = table_key(input->table, row, &key_bytes);
    struct sstable *run = output_of(outputs, key, key_bytes);
    uint32_t found;

    /* The run has another version of the key when this row lost, or none when it had expired. */
    if (run && table_find(run->table, key, key_bytes, table_key_hash(key, key_bytes), &found) &&
        run->offsets[found] == input->offsets[row] && sstable_dead_at(run, found) == SSTABLE_ALIVE)
        sstable_kill(run, found, dead_at);
}

void merge_carry_masks(const struct merge *merge, const struct merge_outputs *outputs,
                       int64_t below)
{
    for (size_t i = 0; i < merge->input_count; i++) {
        const struct sstable *input = merge->inputs[i];
        for (uint32_t p = 0; p < input->page_count; p++) {
            const struct sstable_page *page =
                atomic_load_explicit(&input->pages[p], memory_order_acquire);
            if (!page)
                continue;
            for (uint32_t j = 0; j < SSTABLE_PAGE_ROWS; j++) {
                int64_t dead_at = atomic_load_explicit(&page->dead_at[j], memory_order_acquire);
                if (dead_at >= merge->dead_below && dead_at < below)
                    carry_row(outputs, input, p * SSTABLE_PAGE_ROWS + j, dead_at);
            }
        }
    }
}
