#!/usr/bin/env bash
# boot_systemd.sh NAME UNITS ETC: a real systemd as PID 1 of private namespaces, until it is told to exit.
#
# NAME   its cgroups, which the caller removes afterwards
# UNITS  folder with every unit it may see
# ETC    folder laid over a private copy of /etc
#
# Private: mounts, pids, host name, ipc and cgroups, /run, /etc and /var/lib. Shared: the network, so that the unit reaches
# a broker outside and the test reaches the unit's HTTP port. Needs root and cgroup v1 hierarchies beside `unified`.
set -euo pipefail
name=$1 units=$2 etc=$3
hierarchies=(systemd memory pids)

enter_cgroups() {
    local hierarchy
    for hierarchy in "${hierarchies[@]}" unified; do
        mkdir -p "/sys/fs/cgroup/$hierarchy/$name"
        echo $$ >"/sys/fs/cgroup/$hierarchy/$name/cgroup.procs"
    done
}

mount_all() {
    local hierarchy
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for hierarchy in "${hierarchies[@]}" unified; do mkdir "/sys/fs/cgroup/$hierarchy"; done
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory
    mount -t cgroup -o pids cgroup /sys/fs/cgroup/pids
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    cp -a /etc /run/etc
    cp -r "$etc/." /run/etc
    mount --bind /run/etc /etc
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    systemd-sysusers windrow.conf
    # Shared among the namespaces inside, as outside of containers: LoadCredential= mounts in one and reads in another.
    mount --make-rshared /
}

if [ "${4:-}" != inside ]; then
    enter_cgroups
    exec unshare --mount --pid --fork --uts --ipc --cgroup --kill-child --propagation private \
        bash "$0" "$name" "$units" "$etc" inside
fi
mount_all
exec env -i PATH="$PATH" container=unshare SYSTEMD_UNIT_PATH="$units" SYSTEMD_LOG_TARGET=console \
    /lib/systemd/systemd --system --unit=test.target
