#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/text.h"
#include "config/load.h"

static bool parse_offset(const char *text, size_t length, int64_t *offset)
{
    uint64_t value;

    if (text_parse_u64(text, length, &value) != 0 || value > INT64_MAX)
        return false;
    *offset = (int64_t)value;
    return true;
}

bool config_begin_parse(const char *text, struct config_begin *begin)
{
    const char *slash = strchr(text, '/');
    const char *second = slash ? strchr(slash + 1, '/') : NULL;

    *begin = (struct config_begin){.record_offset = -1};
    if (!slash)
        return parse_offset(text, strlen(text), &begin->offset);
    if (!second || strlen(second + 1) != 16 || strspn(second + 1, "0123456789abcdef") != 16)
        return false;
    begin->record_hash = strtoull(second + 1, NULL, 16);
    return parse_offset(text, (size_t)(slash - text), &begin->offset) &&
           parse_offset(slash + 1, (size_t)(second - slash - 1), &begin->record_offset) &&
           begin->record_offset < begin->offset && begin->record_hash != 0;
}

void config_begin_format(const struct config_begin *begin, char text[CONFIG_BEGIN_BYTES])
{
    if (begin->record_offset < 0)
        (void)snprintf(text, CONFIG_BEGIN_BYTES, "%" PRId64, begin->offset);
    else
        (void)snprintf(text, CONFIG_BEGIN_BYTES, "%" PRId64 "/%" PRId64 "/%016" PRIx64,
                       begin->offset, begin->record_offset, begin->record_hash);
}

bool config_begin_find(const struct config_collection *collection, int32_t partition,
                       struct config_begin *begin)
{
    return partition >= 0 && (size_t)partition < collection->begin_offset_count &&
           config_begin_parse(collection->begin_offsets[partition], begin) && begin->offset > 0;
}

uint64_t begin_identity(const struct config_collection *collection)
{
    uint64_t identity = 0;

    for (size_t i = 0; i < collection->begin_offset_count; i++)
        identity = checksum_block(collection->begin_offsets[i],
                                  strlen(collection->begin_offsets[i]), identity, i, 0);
    return identity >> 1; /* it travels as a signed number */
}
