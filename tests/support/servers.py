"""Real Kafka and NATS servers on free ports of the loopback interface."""

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import harness


class Server:
    """A child process with a log, stopped when the test ends."""

    def __init__(self, folder):
        self.folder = folder
        self.log_path = os.path.join(folder, "server.log")
        self.process = None
        self.environment = dict(os.environ)
        atexit.register(self.kill)

    def spawn(self, command):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, ready, timeout_s):
        def ready_or_dead():
            if not self.alive():
                raise AssertionError(f"{type(self).__name__} ended early:\n{self.log()[-3000:]}")
            return ready()

        harness.wait_for(ready_or_dead, f"{type(self).__name__} answers", timeout_s)

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s=30):
        if self.alive():
            self.process.terminate()
            try:
                return self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode if self.process else None


class Kafka(Server):
    """One KRaft node; `scripts/kafka` has the start line. Survives stop() and start() on the same ports. PROPERTIES are
    more lines of server.properties."""

    SCRIPT = os.path.join(harness.ROOT, "scripts", "kafka")

    def __init__(self, *properties, controller_port=None):
        harness.require_programs("java", "mvn", "kcat")
        super().__init__(harness.scratch_folder("kafka"))
        self.port, own_controller_port = harness.free_ports(2)
        self.controller_port = controller_port or own_controller_port
        self.address = f"127.0.0.1:{self.port}"
        self.properties = properties

    def start(self):
        return self.launch().wait_answering()

    def launch(self):
        """Only begins to start."""
        subprocess.run([self.SCRIPT, "fetch"], check=True, stdin=subprocess.DEVNULL)
        self.spawn([self.SCRIPT, "run", self.folder, str(self.port), str(self.controller_port), *self.properties])
        return self

    def wait_answering(self):
        self.wait_ready(self.answers, timeout_s=120)
        return self

    def answers(self):
        return self.kcat("-L", "-m", "2", check=False).returncode == 0

    def kcat(self, *arguments, check=True, data=None):
        command = ["kcat", "-b", self.address, *arguments]
        done = subprocess.run(command, input=data, capture_output=True, timeout=90, check=False)
        if check and done.returncode != 0:
            raise ValueError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done

    def produce_command(self, topic, path):
        """For a test that does something else meanwhile; lines as in produce()."""
        settings = ("-X", "enable.idempotence=true", "-X", "reconnect.backoff.max.ms=1000")
        return ["kcat", "-b", self.address, "-P", "-E", "-t", topic, "-K", "\t", "-Z", "-l", path, *settings]

    def produce(self, topic, records):
        """RECORDS: (key, value) texts without tabs and newlines; a value of None is a tombstone. In order per key."""
        path = write_records(self.folder, records)
        subprocess.run(self.produce_command(topic, path), check=True, timeout=90)

    def produce_bytes(self, topic, value, key=None, headers=()):
        """One record of any bytes."""
        with tempfile.NamedTemporaryFile(dir=self.folder) as file:
            file.write(value)
            file.flush()
            key_arguments = ["-k", key] if key is not None else []
            header_arguments = [part for header in headers for part in ("-H", header)]
            self.kcat("-P", "-t", topic, *key_arguments, *header_arguments, file.name)

    def end_offsets(self, topic, partitions):
        """
        Per partition, as a text like windrow's replies have it, the offset of the next record.

        It counts records of transactions that are still open: a commit is answered before the brokers have written
        it into each partition, and the end for readers of committed records lies before the transaction until then.
        """
        wanted = [part for number in range(partitions) for part in ("-t", f"{topic}:{number}:-1")]
        query = ("-Q", "-X", "isolation.level=read_uncommitted", *wanted)
        listing = harness.wait_for(lambda: self.kcat(*query).stdout.decode(), f"Kafka tells where {topic} ends")
        ends = {}
        for line in listing.splitlines():
            name, _, offset = line.partition(" offset ")
            ends[name[name.index("[") + 1 : name.index("]")]] = int(offset)
        return ends

    def consume(self, topic):
        """All records there are: dicts with topic, partition, offset, headers (a dict), key and payload."""
        lines = self.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J").stdout.decode(errors="replace")
        records = [json.loads(line) for line in lines.splitlines()]
        for record in records:
            pairs = record.get("headers", [])
            record["headers"] = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return records


# For a broker that is killed: another one, or its successor, takes over after two seconds instead of nine. Elsewhere it
# would cost a broker its leadership whenever a busy machine lets it wait for two seconds.
QUICK_SUCCESSION = ("broker.heartbeat.interval.ms=500", "broker.session.timeout.ms=2000")


class KafkaCluster:
    """Three brokers that write to two at least. The first is also the only controller: while it is away nobody takes over a partition or
    leaves the replicas in sync, and a broker that is stopped does not end. PROPERTIES as of Kafka.
    PROXIED: clients and the other brokers reach each through a Proxy of its own (`proxies`)."""

    NODES = 3
    PROPERTIES = (
        "default.replication.factor=3",
        "min.insync.replicas=2",
        "offsets.topic.replication.factor=3",
        "unclean.leader.election.enable=false",
        "replica.lag.time.max.ms=3000",
        *QUICK_SUCCESSION,
    )

    def __init__(self, *properties, proxied=False):
        self.nodes = [Kafka(*self.PROPERTIES, *properties)]
        for number in range(2, self.NODES + 1):
            self.nodes.append(Kafka(*self.PROPERTIES, *properties, controller_port=self.nodes[0].controller_port))
            self.nodes[-1].properties += (
                "process.roles=broker",
                f"node.id={number}",
                f"listeners=PLAINTEXT://{self.nodes[-1].address}",
                f"advertised.listeners=PLAINTEXT://{self.nodes[-1].address}",
            )
        self.proxies = [Proxy(node.port) for node in self.nodes] if proxied else []
        for node, proxy in zip(self.nodes, self.proxies, strict=False):
            node.properties += (f"advertised.listeners=PLAINTEXT://{proxy.address}",)
        self.address = ",".join(each.address for each in self.proxies or self.nodes)

    def start(self):
        for node in self.nodes:
            node.environment["KAFKA_CLUSTER_ID"] = "windrow-test-cluster-0" # 16 bytes as base64
            node.launch()
        self.wait_brokers(self.NODES)
        return self

    def wait_brokers(self, count):
        """Until the controller counts so many, and every partition has a leader and so many replicas in sync."""

        def counted():
            listing = json.loads(self.nodes[0].kcat("-L", "-J", "-m", "5").stdout)
            partitions = [partition for topic in listing["topics"] for partition in topic["partitions"]]
            in_sync = all(partition["leader"] > 0 and len(partition["isrs"]) == count for partition in partitions)
            return len(listing["brokers"]) == count and in_sync

        harness.wait_for(counted, f"{count} brokers are in the cluster and in sync", 120, interval_s=0.2)

    def stop(self):
        """The controller last: without it a broker does not end by itself."""
        for node in reversed(self.nodes):
            node.stop()


class Nats(Server):
    """One server with JetStream. wipe() loses every stored message, as a lost disk would."""

    def __init__(self):
        harness.require_programs("nats-server")
        super().__init__(harness.scratch_folder("nats"))
        self.port, self.monitor_port = harness.free_ports(2)
        self.url = f"nats://127.0.0.1:{self.port}"
        self.generation = 0

    def start(self):
        store = os.path.join(self.folder, f"store-{self.generation}")
        self.spawn(["nats-server", "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port)])
        self.wait_ready(self.answers, timeout_s=30)
        return self

    def wipe(self):
        self.stop()
        self.generation += 1
        return self.start()

    def answers(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=2) as response:
            return response.status == 200

    def messages(self):
        """How many messages all streams hold."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/jsz", timeout=30) as response:
            return json.load(response)["messages"]


class NatsNode(Nats):
    """One of three."""

    def __init__(self, name, route_port, routes):
        super().__init__()
        self.arguments = ["-n", name, "--cluster_name", "windrow-test", "--cluster", f"nats://127.0.0.1:{route_port}", "--routes", routes, "--no_advertise"]

    def launch(self):
        store = os.path.join(self.folder, "store")
        self.spawn(["nats-server", "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port), *self.arguments])


class NatsCluster:
    """Three servers whose streams may have three replicas. Any one of them may be killed. Clients know only the addresses that they were
    given, which may be those of proxies."""

    NODES = 3

    def __init__(self):
        ports = harness.free_ports(self.NODES)
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.nodes = [NatsNode(f"s{number}", port, routes) for number, port in enumerate(ports)]
        self.url = ",".join(node.url for node in self.nodes)

    def start(self):
        for node in self.nodes:
            node.launch()
        self.wait_healthy()
        return self

    def wait_healthy(self):
        """Until each answers, knows a leader, and has caught up with it."""
        for node in self.nodes:
            node.wait_ready(node.answers, timeout_s=60)

    def stop(self):
        for node in self.nodes:
            node.stop()


class Proxy:
    """Carries connections to PORT of the loopback interface, as the network between two machines does. cut() lets nothing
    through any more, in either direction and without a word, also on connections that stand; slow() delays each piece;
    mend() ends both. What a cut held back arrives then, as TCP would send it again. `carried_bytes`, both ways together, is exact while
    one connection speaks at a time."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.delay_s = 0
        self.carried_bytes = 0
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self):
        self.open.clear()

    def slow(self, delay_s):
        self.delay_s = delay_s

    def mend(self):
        self.delay_s = 0
        self.open.set()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        self.open.wait()
        with near, contextlib.suppress(ConnectionRefusedError), socket.create_connection(self.target) as far:
            back = threading.Thread(target=self.carry, args=(far, near), daemon=True)
            back.start()
            self.carry(near, far)
            back.join()

    def carry(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                self.open.wait()
                self.carried_bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def write_records(folder, records):
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".records", delete=False, encoding="utf-8") as file:
        for key, value in records:
            file.write(f"{key}\t{'' if value is None else value}\n")
    return file.name


def pause(process):
    process.send_signal(signal.SIGSTOP)


def resume(process):
    process.send_signal(signal.SIGCONT)
