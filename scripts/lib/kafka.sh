# Apache Kafka as one KRaft node on loopback, without containers. Sourced after common.sh.
# shellcheck shell=bash

# A fixed version: newer ones have been incomplete on Maven Central for days after their release.
KAFKA_VERSION=4.3.1
KAFKA_DIR=$CACHE_DIR/kafka-$KAFKA_VERSION
# The archive must be written and read by the same flags, or the JVM ignores it.
kafka_jvm_flags=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn)

kafka_fetch() { with_lock "$CACHE_DIR/kafka.lock" kafka_fetch_locked; }

kafka_fetch_locked() {
    if [ ! -f "$KAFKA_DIR/complete" ]; then
        local new="$KAFKA_DIR.new"
        rm -rf "$new"
        mkdir -p "$new"
        kafka_write_pom "$new/pom.xml"
        run_logged "$CACHE_DIR/log/kafka-fetch.log" "Apache Kafka $KAFKA_VERSION from Maven Central (46 jars, 44 MB)" \
            mvn -B -f "$new/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$new/libs" || return 1
        touch "$new/complete"
        rm -rf "$KAFKA_DIR"
        mv "$new" "$KAFKA_DIR"
    fi
    [ -f "$(kafka_archive)" ] || kafka_write_archive || note "no class archive; brokers start a little slower"
}

kafka_write_pom() {
    cat >"$1" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>windrow</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
}

# The class-data archive belongs to one Java build; another one gets its own.
kafka_archive() { printf '%s/classes-%s.jsa' "$KAFKA_DIR" "$(java -version 2>&1 | cksum | cut -d ' ' -f 1)"; }

kafka_classpath() {
    local jars=("$KAFKA_DIR"/libs/*.jar)
    local IFS=:
    printf '%s' "${jars[*]}"
}

# A broker that lives for seconds: at its exit the JVM writes down the classes it loaded, and every later broker
# starts in half the time.
kafka_write_archive() {
    local dir archive ports pid
    archive=$(kafka_archive)
    dir=$(mktemp -d)
    mapfile -t ports < <(free_ports 2)
    kafka_prepare "$dir" "${ports[0]}" "${ports[1]}" >"$dir/log" 2>&1 || return 1
    java -Xmx256m "${kafka_jvm_flags[@]}" "-XX:ArchiveClassesAtExit=$archive.new" -cp "$(kafka_classpath)" \
        kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 8>&- &
    pid=$!
    wait_until 60 "Kafka's class archive (once)" kafka_answers "127.0.0.1:${ports[0]}"
    stop_process "$pid" 60
    rm -rf "$dir"
    [ -f "$archive.new" ] && mv "$archive.new" "$archive"
}

# kafka_prepare DIR PORT CONTROLLER_PORT [PROPERTY=VALUE...]: writes the configuration, formats the log folder the first
# time. The given properties come last, so they win: they can make the node one of several (KAFKA_CLUSTER_ID names the
# cluster that all of its nodes must be formatted for).
kafka_prepare() {
    local dir=$1
    mkdir -p "$dir"
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
log.dirs=$dir/log.dirs
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
num.network.threads=2
num.io.threads=2
# Old event times must not make Kafka delete what windrow may want to read again.
log.retention.ms=-1
PROPERTIES
    (($# <= 3)) || printf '%s\n' "${@:4}" >>"$dir/server.properties"
    [ -f "$dir/log.dirs/meta.properties" ] && return 0
    local id=${KAFKA_CLUSTER_ID:-}
    # 22 characters of base64; the first is fixed, because a dash there would be taken for an option.
    [ -n "$id" ] || id=W$(python3 -c 'import base64, uuid; print(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])')
    java -Xmx96m "${kafka_jvm_flags[@]}" -cp "$(kafka_classpath)" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties"
}

# kafka_exec DIR PORT CONTROLLER_PORT [PROPERTY=VALUE...]: becomes the broker. The lock is an open file of the JVM itself, so it lasts as
# long as the JVM does, even after kill -9 of everything else: two JVMs on one log folder would corrupt it.
kafka_exec() {
    mkdir -p "$1"
    exec 9>"$1/lock"
    flock -w 30 9 || fail "another Kafka still runs on $1"
    kafka_prepare "$@" >&2 || fail "cannot format Kafka's log folder $1"
    exec java -Xmx256m "${kafka_jvm_flags[@]}" "-XX:SharedArchiveFile=$(kafka_archive)" -cp "$(kafka_classpath)" \
        kafka.Kafka "$1/server.properties"
}

# Ready means that a client gets metadata, not that the port is open.
kafka_answers() { timeout 5 kcat -b "$1" -X socket.timeout.ms=1000 -L -m 2; }

# kafka_start DIR PORT CONTROLLER_PORT: in the background, stopped at exit; returns when it answers.
kafka_start() {
    mkdir -p "$1"
    (kafka_exec "$@") >"$1/broker.log" 2>&1 </dev/null &
    local pid=$!
    at_exit "stop_process $pid 15"
    wait_until 90 "Kafka starts on 127.0.0.1:$2" kafka_answers_or_died "$pid" "127.0.0.1:$2" && kill -0 "$pid" 2>/dev/null && return 0
    tail -n 30 "$1/broker.log" >&2
    return 1
}

kafka_answers_or_died() { ! kill -0 "$1" 2>/dev/null || kafka_answers "$2"; }
