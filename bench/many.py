"""What many partitions cost a broker that does nothing with them: open files, memory, and how long a start takes after
an orderly stop and after none. The topics are written into ZooKeeper before the broker starts; each partition gets ten
messages."""
import os, signal, socket, struct, subprocess, time, zlib


class Wire:
    """Requests to a broker about all partitions of all topics."""

    def __init__(self, port, topics, partitions):
        self.port, self.names, self.partitions = port, [f"many-{n}".encode() for n in range(topics)], partitions

    def call(self, api, body):
        with socket.create_connection(("127.0.0.1", self.port), 60) as s:
            frame = struct.pack(">hhih", api, 0, 1, 5) + b"bench" + body
            s.sendall(struct.pack(">i", len(frame)) + frame)
            size = struct.unpack(">i", self.exactly(s, 4))[0]
            return self.exactly(s, size)[4:]

    @staticmethod
    def exactly(s, n):
        parts = bytearray()
        while len(parts) < n:
            part = s.recv(min(1 << 20, n - len(parts)))
            if not part:
                raise OSError("the broker closed the connection")
            parts += part
        return bytes(parts)

    def for_each(self, names, partition):
        """The array of topics of a request, with `partition(n)` for each of their partitions."""
        out = struct.pack(">i", len(names))
        for name in names:
            out += struct.pack(">h", len(name)) + name + struct.pack(">i", self.partitions)
            out += b"".join(partition(n) for n in range(self.partitions))
        return out

    def all_served(self):
        """Whether the broker leads every partition: it then answers ListOffsets without an error."""
        try:
            answer = self.call(2, struct.pack(">i", -1) + self.for_each(
                self.names, lambda n: struct.pack(">iqi", n, -1, 1)))
        except OSError:
            return False
        at = 4
        for _ in self.names:
            at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
            for _ in range(self.partitions):
                error, count = struct.unpack_from(">hi", answer, at + 4)
                if error:
                    return False
                at += 10 + 8 * count
        return True

    def fill(self):
        """Ten messages of 100 bytes for each partition, acknowledged."""
        message = struct.pack(">bbii", 0, 0, -1, 100) + b"x" * 100
        message = struct.pack(">I", zlib.crc32(message)) + message
        some = (struct.pack(">qi", 0, len(message)) + message) * 10
        for at in range(0, len(self.names), 100):
            answer = self.call(0, struct.pack(">hi", 1, 60_000) + self.for_each(
                self.names[at:at + 100], lambda n: struct.pack(">ii", n, len(some)) + some))
            if not answer:
                raise SystemExit("no answer to a produce request")


def measure(system, root, free_port, wait, zookeeper_serves, broker_named, cpu, rss_mb, topics, partitions):
    folder = system.folder / "many"
    folder.mkdir()
    zk_port, port = free_port(), free_port()
    zk_config, config = folder / "zookeeper.properties", folder / "server.properties"
    # What is measured is the broker: its thousands of decisions need not wait for ZooKeeper's disk.
    zk_config.write_text(f"dataDir={folder}/zookeeper\nclientPort={zk_port}\nmaxClientCnxns=0\nforceSync=no\n")
    config.write_text(f"broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={folder}/log\n"
                      f"zookeeper.connect=127.0.0.1:{zk_port}\nnum.partitions=1\n")
    wire = Wire(port, topics, partitions)
    title = f"{topics} topics of {partitions} partitions"

    def shell(commands):
        done = subprocess.run([root / "bin/zookeeper-shell.sh", f"127.0.0.1:{zk_port}"], input="\n".join(commands) + "\nquit\n",
                              capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def start(how):
        begin = time.monotonic()
        broker = system.launch("kafka-server-start", config)
        running.append(broker)
        wait("the broker answers Metadata", lambda: broker_named(port), 600)
        first, used = time.monotonic() - begin, cpu(broker.pid)
        wait("every partition is served", lambda: wire.all_served() or time.sleep(0.05), 600)
        if how:
            system.note(f"{title}, start after {how}: launch to first Metadata (s)", first)
            system.note(f"{title}, start after {how}: launch to every partition served (s)", time.monotonic() - begin)
            system.note(f"{title}, start after {how}: CPU s to first Metadata", used)
        return broker

    def end(broker, how):
        begin = time.monotonic()
        broker.send_signal(how)
        broker.wait()
        running.remove(broker)
        return time.monotonic() - begin

    running = [system.launch("zookeeper-server-start", zk_config)]
    try:
        wait("ZooKeeper serves", lambda: zookeeper_serves(zk_port))
        assigned = ",".join(f'"{n}":[0]' for n in range(partitions))
        parents = ["/brokers", "/brokers/ids", "/brokers/topics", "/config", "/config/topics"]
        commands = [f"create {parent} x" for parent in parents]
        for name in wire.names:
            commands.append(f"create /config/topics/{name.decode()} " + '{"version":1,"config":{}}')
            commands.append(f"create /brokers/topics/{name.decode()} " + '{"version":1,"partitions":{%s}}' % assigned)
        shell(commands)
        broker = start(None)
        wire.fill()
        # What its tasks do first, and what the making of all that left, is over.
        time.sleep(35)
        count = lambda of: len(os.listdir(f"/proc/{broker.pid}/{of}"))
        system.note(f"{title}: open files", count("fd"))
        system.note(f"{title}: RSS (MB)", rss_mb(broker.pid))
        system.note(f"{title}: threads", count("task"))
        system.note(f"{title}: orderly stop (s)", end(broker, signal.SIGTERM))
        broker = start("an orderly stop")
        wire.fill()
        end(broker, signal.SIGKILL)
        # Its session keeps its name in ZooKeeper for some seconds more.
        wait("its session is over", lambda: "does not exist" in shell(["get /brokers/ids/0"]) or time.sleep(0.5), 120)
        broker = start("kill -9")
        system.note(f"{title}, start after kill -9: RSS (MB)", rss_mb(broker.pid))
    finally:
        for process in running[::-1]:
            process.send_signal(signal.SIGKILL)
            process.wait()
