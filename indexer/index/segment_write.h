#ifndef INDEXER_INDEX_SEGMENT_WRITE_H
#define INDEXER_INDEX_SEGMENT_WRITE_H

#include "base/io.h"
#include "indexer/index/segment_format.h"

/** Fills in the checksums of `content`, whose sizes `sections` has. */
void index_sections_sum(struct index_section_entry *sections, const void *const *content,
                        uint32_t section_count, uint64_t file_number);

/** Creates the file and syncs it (not its folder): sections first, the header, a page, last. */
int index_sections_write(struct io *io, const char *path, const void *header,
                         const struct index_section_entry *sections, const void *const *content,
                         uint32_t section_count, uint64_t file_bytes, struct error *error);

#endif
