/* Rows that have to be read are sorted by their place and those in the same or adjacent pages read as
 * one. They go past the page cache: with a tenth of the rows' bytes in memory, most pages of rows would be
 * given up before they are used again, and codes, which every search looks at, with them (bench/notes/memory.md).
 * But a row that is wanted often belongs into memory: of each so many rows, one is read into the page
 * cache, so those wanted most get there first.
 *
 * A page is missing because it was given up, not because it is new: the first search that touches a block of
 * vectors reads all of it, for the checksum. */
#include "indexer/index/row_reads.h"

#include <stdlib.h>
#include <sys/param.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/scratch.h"

enum {
    EXPECTED_SEARCHES = 256, /* after one that had to read */
    ADMIT_PART = 16,         /* one in so many missing rows goes into the page cache */
    READ_PAGES_MAX = 32      /* adjacent rows are read as one up to here */
};

static _Thread_local struct {
    struct io_thread_reads seen;
    uint32_t reads_expected, waits_expected; /* for so many searches more */
    uint32_t admitted;
} thread;

void index_reads_begin(void)
{
    struct io_thread_reads now = io_thread_reads();

    if (now.pages != thread.seen.pages)
        thread.reads_expected = EXPECTED_SEARCHES;
    else if (thread.reads_expected > 0)
        thread.reads_expected--;
    if (now.waits != thread.seen.waits)
        thread.waits_expected = EXPECTED_SEARCHES;
    else if (thread.waits_expected > 0)
        thread.waits_expected--;
    thread.seen = now;
}

bool index_reads_expected(void)
{
    return thread.reads_expected > 0;
}

bool index_waits_expected(void)
{
    return thread.waits_expected > 0;
}

void index_fetch_end(struct index_fetch *fetch)
{
    io_fetch(fetch->io, fetch->ranges, fetch->count);
    fetch->count = 0;
}

void index_fetch_add(struct index_fetch *fetch, const void *bytes, size_t size_bytes)
{
    struct io_range *last = fetch->count > 0 ? &fetch->ranges[fetch->count - 1] : NULL;
    uintptr_t first = (uintptr_t)bytes / IO_PAGE_BYTES * IO_PAGE_BYTES;
    uintptr_t end =
        ((uintptr_t)bytes + size_bytes + IO_PAGE_BYTES - 1) / IO_PAGE_BYTES * IO_PAGE_BYTES;

    if (last && first >= (uintptr_t)last->bytes && end <= (uintptr_t)last->bytes + last->size_bytes)
        return;
    if (fetch->count == INDEX_FETCH_MAX)
        index_fetch_end(fetch);
    fetch->ranges[fetch->count++] = (struct io_range){(const void *)first, end - first};
}

/* A row that is not in memory. */
struct missing {
    struct vector_row *row;
    size_t size_bytes;
    uint64_t first_page, page_count; /* of its file */
};

static int by_place(const void *a, const void *b)
{
    const struct missing *left = a, *right = b;

    if (left->row->mapping != right->row->mapping)
        return (left->row->mapping > right->row->mapping) -
               (left->row->mapping < right->row->mapping);
    return (left->first_page > right->first_page) - (left->first_page < right->first_page);
}

/* How many there are, those that go into the page cache left out: they are on their way. */
static uint32_t find_missing(struct vector_row *rows, uint32_t count, uint32_t dim,
                             struct missing *missing)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct io_mapping *mapping = rows[i].mapping;
        size_t row_bytes = vector_row_bytes(rows[i].codec, dim);
        uint64_t offset, first;
        if (!mapping || io_is_resident(mapping, rows[i].bytes, row_bytes))
            continue;
        if (++thread.admitted % ADMIT_PART == 0) {
            io_fetch(mapping->io, &(struct io_range){rows[i].bytes, row_bytes}, 1);
            continue;
        }
        offset = (uint64_t)((const uint8_t *)rows[i].bytes - mapping->bytes);
        first = offset / IO_PAGE_BYTES;
        missing[found++] =
            (struct missing){&rows[i], row_bytes, first,
                             (offset + row_bytes + IO_PAGE_BYTES - 1) / IO_PAGE_BYTES - first};
    }
    if (found > 1)
        qsort(missing, found, sizeof(*missing), by_place);
    return found;
}

/* Reads of neighbouring rows become one. `owners`: the read of each row. Returns how many there are. */
static uint32_t plan_reads(const struct missing *missing, uint32_t count, struct io_read *reads,
                           uint32_t *owners)
{
    uint32_t read_count = 0;
    uint64_t end = 0; /* of the last one */

    for (uint32_t i = 0; i < count; i++) {
        const struct missing *row = &missing[i];
        uint64_t row_end = row->first_page + row->page_count;
        struct io_read *last = read_count > 0 ? &reads[read_count - 1] : NULL;
        if (last && last->mapping == row->row->mapping && row->first_page <= end &&
            row_end - last->offset / IO_PAGE_BYTES <= MAX(READ_PAGES_MAX, row->page_count)) {
            end = MAX(end, row_end);
            last->size_bytes = (uint32_t)(end * IO_PAGE_BYTES - last->offset);
        } else {
            reads[read_count++] =
                (struct io_read){.mapping = row->row->mapping,
                                 .offset = row->first_page * IO_PAGE_BYTES,
                                 .size_bytes = (uint32_t)(row->page_count * IO_PAGE_BYTES)};
            end = row_end;
        }
        owners[i] = read_count - 1;
    }
    return read_count;
}

void index_rows_read(struct vector_row *rows, uint32_t count, uint32_t dim)
{
    size_t total = 0;
    struct missing missing[INDEX_ROW_READS_MAX];
    struct io_read reads[INDEX_ROW_READS_MAX];
    uint32_t owners[INDEX_ROW_READS_MAX];
    uint32_t missing_count = find_missing(rows, count, dim, missing);
    uint32_t read_count = plan_reads(missing, missing_count, reads, owners);
    uint8_t *at;

    if (read_count == 0)
        return;
    for (uint32_t i = 0; i < read_count; i++)
        total += reads[i].size_bytes;
    at = index_scratch_pages(index_scratch_get(), total);
    for (uint32_t i = 0; i < read_count; i++) {
        reads[i].bytes = at;
        at += reads[i].size_bytes;
    }
    io_read_many(reads, read_count);
    for (uint32_t i = 0; i < missing_count; i++) {
        const struct io_read *read = &reads[owners[i]];
        struct vector_row *row = missing[i].row;
        uint64_t place =
            (uint64_t)((const uint8_t *)row->bytes - row->mapping->bytes) - read->offset;
        /* What could not be read is touched where it is mapped. */
        if (read->got >= (int64_t)(place + missing[i].size_bytes))
            row->bytes = read->bytes + place;
    }
}
