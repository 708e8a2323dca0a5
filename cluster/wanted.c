#include "cluster/wanted.h"

#include <string.h>

/* Among those from `first` on and before `end`; `end` when it is not there. */
static size_t owner_place(const struct wanted *wanted, size_t first, size_t end,
                          const char *address)
{
    while (first < end && strcmp(wanted->owners[first].address, address) != 0)
        first++;
    return first;
}

/* Those between the two places close up. */
static void move_owner(struct wanted *wanted, size_t from, size_t to)
{
    struct nodes_owner *owners = wanted->owners, owner = owners[from];

    if (from < to)
        memmove(&owners[from], &owners[from + 1], (to - from) * sizeof(owner));
    else
        memmove(&owners[to + 1], &owners[to], (from - to) * sizeof(owner));
    owners[to] = owner;
}

void wanted_add(struct wanted *wanted, const struct nodes_owner *owners, size_t count, bool again)
{
    for (size_t i = 0; i < count; i++) {
        size_t place = owner_place(wanted, 0, wanted->owner_count, owners[i].address);
        if (place == wanted->owner_count && place < WANTED_OWNERS_MAX) {
            wanted->owners[wanted->owner_count++] = owners[i];
        } else if (again && place < wanted->next_owner &&
                   owners[i].heard_ns > wanted->owners[place].heard_ns) {
            wanted->owners[place] = owners[i];
            move_owner(wanted, place, --wanted->next_owner);
        }
    }
}

bool wanted_take(struct wanted *wanted, const char *address)
{
    size_t place = owner_place(wanted, wanted->next_owner, wanted->owner_count, address);

    if (place == wanted->owner_count)
        return false;
    move_owner(wanted, place, wanted->next_owner++);
    return true;
}

bool wanted_may_take(const struct wanted *wanted, const char *address)
{
    return owner_place(wanted, wanted->next_owner, wanted->owner_count, address) <
           wanted->owner_count;
}

void wanted_put_back(struct wanted *wanted, const char *address)
{
    size_t place = owner_place(wanted, 0, wanted->next_owner, address);

    if (place < wanted->next_owner)
        move_owner(wanted, place, --wanted->next_owner);
}

void wanted_avoid_suspects(struct wanted *all, size_t shard_count, struct latency *latency,
                           int64_t now_ns)
{
    enum { SUSPECTS_MAX = 32 };
    const char *judged[SUSPECTS_MAX];
    bool avoided[SUSPECTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < shard_count; i++) {
        struct wanted *wanted = &all[i];
        struct nodes_owner kept[WANTED_OWNERS_MAX];
        size_t first = 0, last = 0;
        for (size_t k = 0; k < wanted->owner_count; k++) {
            const char *address = wanted->owners[k].address;
            size_t place = 0;
            while (place < count && strcmp(judged[place], address) != 0)
                place++;
            if (place == count && count < SUSPECTS_MAX) {
                judged[count] = address;
                avoided[count++] =
                    wanted->owners[k].silent || latency_avoid(latency, address, now_ns);
            }
            if (place < count && avoided[place])
                kept[WANTED_OWNERS_MAX - ++last] = wanted->owners[k];
            else
                wanted->owners[first++] = wanted->owners[k];
        }
        for (size_t k = last; k > 0; k--)
            wanted->owners[first++] = kept[WANTED_OWNERS_MAX - 1 - (last - k)];
    }
}
