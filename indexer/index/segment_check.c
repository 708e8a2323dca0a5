/* For people and tests: what is in a segment, and whether its graph is what a build promises. */
#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/ivf_file.h"
#include "indexer/index/segment.h"

static int broken(struct error *error, uint32_t level, uint32_t item, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "graph: level %u, item %u: %s", level, item, what);
}

/* Links of an item of a level, numbered from 0. */
static uint32_t links_of(const struct index_graph *graph, uint32_t level, uint32_t item,
                         uint32_t *links)
{
    const uint32_t *from;
    uint32_t count = 0;

    if (level == 0) {
        struct index_link_run run = index_links_of(&graph->links, item);
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits)
            links[count++] = index_link_at(&run, at);
        return count;
    }
    from = graph->levels[level - 1].links + (size_t)item * graph->m;
    count = index_links_used(from, graph->m);
    memcpy(links, from, count * sizeof(*links));
    return count;
}

/* Level 0 has no room for gaps. */
static int check_gaps(const struct index_level *level, uint32_t number, uint32_t m,
                      struct error *error)
{
    for (uint32_t item = 0; item < level->count; item++) {
        const uint32_t *links = level->links + (size_t)item * m;
        for (uint32_t i = 1; i < m; i++)
            if (links[i] != INDEX_NO_LINK && links[i - 1] == INDEX_NO_LINK)
                return broken(error, number, item, "a gap between links");
    }
    return 0;
}

static int check_links(uint32_t level, uint32_t item, const uint32_t *links, uint32_t link_count,
                       uint32_t count, struct error *error)
{
    for (uint32_t i = 0; i < link_count; i++) {
        if (links[i] >= count || links[i] == item)
            return broken(error, level, item, "a link to nothing or to itself");
        for (uint32_t j = 0; j < i; j++)
            if (links[j] == links[i])
                return broken(error, level, item, "the same link twice");
    }
    return 0;
}

static int check_level(const struct index_graph *graph, uint32_t level, uint32_t count,
                       struct error *error)
{
    uint8_t *reached = index_allocate_zeroed(count, 1);
    uint32_t *queue = index_allocate(count, sizeof(uint32_t));
    uint32_t links[INDEX_LINKS_MAX], link_count, queued = 1;
    int status = 0;

    queue[0] = 0;
    reached[0] = 1;
    for (uint32_t item = 0; item < count && status == 0; item++) {
        link_count = links_of(graph, level, item, links);
        status = check_links(level, item, links, link_count, count, error);
    }
    for (uint32_t next = 0; next < queued && status == 0; next++) {
        link_count = links_of(graph, level, queue[next], links);
        for (uint32_t i = 0; i < link_count; i++)
            if (!reached[links[i]]) {
                reached[links[i]] = 1;
                queue[queued++] = links[i];
            }
    }
    for (uint32_t item = 0; item < count && status == 0; item++)
        if (!reached[item])
            status = broken(error, level, item, "not reachable");
    free(reached);
    free(queue);
    return status;
}

int index_graph_validate(const struct index_graph *graph, struct error *error)
{
    uint32_t below_count = graph->count;
    int status = check_level(graph, 0, graph->count, error);

    for (uint32_t i = 0; i < graph->level_count && status == 0; i++) {
        const struct index_level *level = &graph->levels[i];
        for (uint32_t item = 0; item < level->count; item++) {
            if (level->below[item] >= below_count)
                return broken(error, i + 1, item, "points below the level below");
            if (level->nodes[item] !=
                (i == 0 ? level->below[item] : graph->levels[i - 1].nodes[level->below[item]]))
                return broken(error, i + 1, item, "is another node on the level below");
        }
        status = check_gaps(level, i + 1, graph->m, error);
        if (status == 0)
            status = check_level(graph, i + 1, level->count, error);
        below_count = level->count;
    }
    return status;
}

int index_segment_validate(const struct index_segment *segment, struct error *error)
{
    return segment->ivf ? index_ivf_validate(segment->ivf, error)
                        : index_graph_validate(&segment->graph, error);
}

struct degrees {
    uint32_t least, most;
    double mean;
};

static struct degrees measure_degrees(const struct index_graph *graph)
{
    struct degrees degrees = {2 * graph->m, 0, 0};

    for (uint32_t node = 0; node < graph->count; node++) {
        uint32_t used = index_links_count(&graph->links, node);
        degrees.least = used < degrees.least ? used : degrees.least;
        degrees.most = used > degrees.most ? used : degrees.most;
        degrees.mean += (double)used / graph->count;
    }
    return degrees;
}

static const char *const metric_names[] = {"cosine", "dot", "l2"};

static void describe_lists(const struct index_segment *segment, uint64_t file_number, bool json,
                           struct buffer *out)
{
    const struct index_ivf *ivf = segment->ivf;
    const struct index_ivf_codebook *codebook = &ivf->codebook;
    uint32_t least = UINT32_MAX, most = 0;

    for (uint32_t list = 0; list < codebook->list_count; list++) {
        least = ivf->sizes[list] < least ? ivf->sizes[list] : least;
        most = ivf->sizes[list] > most ? ivf->sizes[list] : most;
    }
    buffer_append_format(
        out,
        json ? "{\"kind\":\"ivf_pq\",\"format\":%u,\"file_number\":%llu,\"bytes\":%llu,\"rows\":%u,"
               "\"dim\":%u,\"metric\":\"%s\",\"lists\":%u,\"list_min\":%u,\"list_max\":%u,"
               "\"parts\":%u,\"part_dim\":%u,\"code_bytes\":%llu,\"probes_10\":%u,"
               "\"probes_100\":%u,\"fixed_probes\":%u,\"outliers\":%u,\"epoch\":\"%016llx\","
               "\"epoch_error\":%.6g,"
               "\"error\":%.6g,\"valid\":true}"
             : "kind          ivf_pq\nformat        %u\nfile number   %llu\nbytes         %llu\n"
               "rows          %u\ndim           %u\nmetric        %s\nlists         %u\n"
               "rows a list   %u least, %u most\nparts         %u of %u dimensions\n"
               "code bytes    %llu\nprobes        %u for 10 hits, %u for 100; fixed: %u\n"
               "outliers      %u\n"
               "epoch         %016llx\ncoding error  %.6g in the epoch's first window, %.6g here\n"
               "lists         valid\n",
        segment->outliers.count > 0 ? INDEX_IVF_VERSION_OUTLIERS : INDEX_IVF_VERSION,
        (unsigned long long)file_number, (unsigned long long)segment->size_bytes, ivf->count,
        codebook->quantiser.dim, metric_names[codebook->metric], codebook->list_count, least, most,
        codebook->pq.part_count, codebook->pq.part_dim,
        (unsigned long long)(ivf->block_count * (uint64_t)index_pq_block_bytes(&codebook->pq)),
        ivf->probes_10, ivf->probes_100, ivf->fixed_probes, segment->outliers.count,
        (unsigned long long)codebook->id, (double)codebook->error, (double)ivf->error);
}

static void describe(const struct index_segment *segment, const struct index_segment_header *header,
                     bool valid, const char *why, bool json, struct buffer *out)
{
    const struct index_graph *graph = &segment->graph;
    const struct degrees degrees = measure_degrees(graph);
    const char *codes = graph->quantiser.kind == INDEX_CODE_INT7   ? "int7"
                        : graph->quantiser.kind == INDEX_CODE_HALF ? "half"
                                                                   : "float32";
    uint64_t link_bytes = header->sections[INDEX_SECTION_PLACES].size_bytes +
                          header->sections[INDEX_SECTION_LINKS].size_bytes +
                          header->sections[INDEX_SECTION_LEVELS].size_bytes;

    buffer_append_format(
        out,
        json ? "{\"kind\":\"hnsw\",\"format\":%u,\"file_number\":%llu,\"bytes\":%llu,\"rows\":%u,"
               "\"dim\":%u,\"metric\":\"%s\",\"m\":%u,\"ef_construct\":%u,\"codes\":\"%s\","
               "\"code_bytes\":%llu,\"link_bytes\":%llu,\"links_min\":%u,\"links_mean\":%.2f,"
               "\"links_max\":%u,\"outliers\":%u,\"levels\":["
             : "kind          hnsw\nformat        %u\nfile number   %llu\nbytes         %llu\n"
               "rows          %u\ndim           %u\nmetric        %s\nm             %u\n"
               "ef_construct  %u\ncodes         %s\ncode bytes    %llu\nlink bytes    %llu\n"
               "links a node  %u least, %.2f mean, %u most\noutliers      %u\nlevels        ",
        header->version, (unsigned long long)header->file_number,
        (unsigned long long)header->file_bytes, graph->count, graph->quantiser.dim,
        metric_names[graph->quantiser.metric], graph->m, graph->ef_construct, codes,
        (unsigned long long)header->sections[INDEX_SECTION_CODES].size_bytes,
        (unsigned long long)link_bytes, degrees.least, degrees.mean, degrees.most,
        segment->outliers.count);
    buffer_append_format(out, "%u", graph->count);
    for (uint32_t i = 0; i < graph->level_count; i++)
        buffer_append_format(out, json ? ",%u" : " %u", graph->levels[i].count);
    if (json)
        buffer_append_format(out, "],\"valid\":%s}", valid ? "true" : "false");
    else
        buffer_append_format(out, "\ngraph         %s\n", valid ? "valid" : why);
}

static int read_header(struct io *io, const char *path, struct index_segment_header *header,
                       struct error *error)
{
    struct error ignored;
    int file, status = io_open(io, path, IO_READ, &file, error);

    if (status != 0)
        return status;
    status = io_read(io, file, path, header, sizeof(*header), 0, error);
    (void)io_close(io, file, path, &ignored); /* only read */
    return status;
}

int index_segment_check(struct io *io, const char *path, uint64_t file_number, uint32_t dim,
                        uint32_t row_count, struct error *error)
{
    struct index_segment_header header = {0};
    const struct index_ivf_header *lists = (const void *)&header;
    struct index_segment *segment;
    int status = read_header(io, path, &header, error);
    uint32_t metric;

    if (status != 0)
        return status;
    metric = header.magic == INDEX_IVF_MAGIC ? lists->metric : header.metric;
    status = index_segment_open(io, path, file_number, (enum vector_metric)metric, dim, row_count,
                                &segment, error);
    if (status != 0)
        return status;
    status = index_segment_validate(segment, error);
    index_segment_close(segment);
    return status;
}

/* What is expected is what the header says: opening checks that the rest agrees with it. The places
 * of metric, file number, dimensions and rows differ between the kinds. */
static int open_as_described(struct io *io, const char *path,
                             const struct index_segment_header *header,
                             struct index_segment **segment, struct error *error)
{
    const struct index_ivf_header *lists = (const void *)header;

    if (header->magic == INDEX_IVF_MAGIC)
        return index_segment_open(io, path, lists->file_number, (enum vector_metric)lists->metric,
                                  lists->dim, lists->count, segment, error);
    return index_segment_open(io, path, header->file_number, (enum vector_metric)header->metric,
                              header->dim, header->count, segment, error);
}

int index_segment_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                          struct error *error)
{
    struct index_segment_header header;
    struct index_segment *segment;
    struct error invalid = {0};
    int status = read_header(io, path, &header, error);
    bool valid;

    if (status != 0)
        return status;
    status = open_as_described(io, path, &header, &segment, error);
    if (status != 0)
        return status;
    valid = index_segment_validate(segment, &invalid) == 0;
    if (segment->ivf) /* opening has validated it */
        describe_lists(segment, header.file_number, json, out);
    else
        describe(segment, &header, valid, invalid.text, json, out);
    index_segment_close(segment);
    return 0;
}
