#include "windrow/daemon/descriptors.h"

#include <sys/resource.h>

#include "base/logger.h"

enum {
    RESERVE = 128, /* Kafka's brokers, NATS, curl, epoll sets, markers, the files of one shard */
    CONNECTIONS_MIN = 16,
    CONNECTIONS_MAX = 4096,
    LOW_LIMIT = 4096
};

uint64_t descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return LOW_LIMIT;
    if (limit.rlim_cur < limit.rlim_max) {
        const rlim_t soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) /* more than the kernel's fs.nr_open */
            limit.rlim_cur = soft;
    }
    if (limit.rlim_cur < LOW_LIMIT)
        log_warning("windrow",
                    "the process may open %llu files only: at most %u HTTP connections are kept. "
                    "Raise the hard limit (ulimit -Hn, LimitNOFILE= of the unit) to 65536",
                    (unsigned long long)limit.rlim_cur,
                    descriptors_connections_max(limit.rlim_cur));
    return limit.rlim_cur;
}

/* HTTP takes the maximum and a sixteenth of it for those that are closing, gRPC half of it: 25 / 16. */
uint32_t descriptors_connections_max(uint64_t limit)
{
    const uint64_t share = limit > RESERVE ? (limit - RESERVE) / 2 : 0;
    const uint64_t most = share / 25 * 16;

    return most < CONNECTIONS_MIN   ? CONNECTIONS_MIN
           : most > CONNECTIONS_MAX ? CONNECTIONS_MAX
                                    : (uint32_t)most;
}
