/* A sync that failed, or a write that may have happened in part: whatever errno said, nobody knows
 * what is on the device, so the shard has to stop. */
#ifndef STORE_IO_FAILED_H
#define STORE_IO_FAILED_H

#include "base/error.h"

static inline int io_failed(struct error *error)
{
    if (error)
        error->code = ERROR_IO;
    return ERROR_IO;
}

#endif
