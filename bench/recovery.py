"""What recovery costs: gigabytes of messages of 100 B and 1 KB, written once through a broker of ours, are left as a
broker leaves them that is killed before it ever flushed: without the mark of an orderly stop and without recovery
points. Both systems then start on the same files in turns, and are killed as soon as they serve. The files are in the
page cache throughout."""
import os, signal, time

SEGMENT = 256 << 20
# Topic, bytes of a message's value, bytes of a set.
TOPICS = (("recover-small-1", 100, 16384), ("recover-small-2", 100, 16384),
          ("recover-large-1", 1000, 65536), ("recover-large-2", 1000, 65536))


def produce(system, megabytes):
    """Leaves `megabytes` of messages in the log directory of a system that it starts and ends."""
    system.enter("set-up")
    system.start(f"log.segment.bytes={SEGMENT}\n")
    try:
        for topic, record, batch in TOPICS:
            system.load("produce", f"127.0.0.1:{system.port}", topic, record, batch, megabytes // len(TOPICS))
    finally:
        system.stop()
    # Nothing is written back while it is measured.
    for path in (system.folder / "log").glob("*/*.log"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            while file.read(1 << 20):
                pass


def measure(system, source, free_port, wait, broker_named, cpu):
    logs = source / "log"
    size = sum(path.stat().st_size for path in logs.glob("*/*.log"))
    for threads in (1, 2):
        for name in (".kafka_cleanshutdown", "meta.properties", "recovery-point-offset-checkpoint",
                     "replication-offset-checkpoint", "cleaner-offset-checkpoint"):
            (logs / name).unlink(missing_ok=True)
        port = free_port()
        config = system.folder / "recovery.properties"
        config.write_text(f"broker.id=7\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={logs}\n"
                          f"zookeeper.connect=127.0.0.1:{system.zk_port}/recovery-{threads}\n"
                          f"log.segment.bytes={SEGMENT}\nnum.recovery.threads.per.data.dir={threads}\n")
        begin = time.monotonic()
        broker = system.launch("kafka-server-start", config)
        try:
            wait("the broker answers Metadata", lambda: broker_named(port), 300)
            seconds, used = time.monotonic() - begin, cpu(broker.pid)
        finally:
            broker.send_signal(signal.SIGKILL)
            broker.wait()
        if sum(path.stat().st_size for path in logs.glob("*/*.log")) != size:
            raise SystemExit("recovery has cut something off")
        title = f"recover {size / 1e9:.1f} GB, {threads} thread{'s' if threads > 1 else ''}"
        system.note(f"{title}: launch to first Metadata (s)", seconds)
        system.note(f"{title}: broker CPU s/GB", used / size * 1e9)
