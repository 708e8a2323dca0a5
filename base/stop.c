#include "base/stop.h"

void stop_create(struct stop *stop, struct io *io)
{
    *stop = (struct stop){.io = io, .deadline_ns = INT64_MAX};
}

/* One thread of those that check at a time looks. */
static bool is_abandoned(struct stop *stop, int64_t now_ns)
{
    int64_t next_ns = atomic_load_explicit(&stop->next_look_ns, memory_order_relaxed);

    return stop->abandoned && now_ns >= next_ns &&
           atomic_compare_exchange_strong(&stop->next_look_ns, &next_ns,
                                          now_ns + STOP_LOOK_MS * INT64_C(1000000)) &&
           stop->abandoned(stop->context);
}

int stop_check(struct stop *stop, struct error *error)
{
    int code = atomic_load_explicit(&stop->code, memory_order_relaxed);

    if (code == 0) {
        int64_t now_ns = io_monotonic_ns(stop->io);
        if (is_abandoned(stop, now_ns))
            code = ERROR_CANCELLED;
        else if (now_ns > stop->deadline_ns)
            code = ERROR_TIMEOUT;
        else
            return 0;
        atomic_store_explicit(&stop->code, code, memory_order_relaxed);
    }
    return code == ERROR_TIMEOUT
               ? error_set(error, code, "the request took longer than its timeout")
               : error_set(error, code, "the request was given up: nobody waits for its answer");
}

int stop_meter_check(struct stop_meter *meter, struct error *error)
{
    int code = meter->stop ? stop_check(meter->stop, error) : 0;

    meter->steps = code == 0 ? 0 : STOP_METER_STEPS;
    return code;
}
