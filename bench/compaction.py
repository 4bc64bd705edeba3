"""What compaction costs: topics with several values for each key are written through the broker, then their policy
is switched to `compact` while it runs, and its CPU time is taken until its checkpoint says that all is clean."""
import subprocess, time

SEGMENT = 64 << 20
# Keys are 16 bytes. Half a million of them: five to seven values for each in 500 MB.
TOPICS = (("100 B plain", "compact-plain", 100, "none"), ("100 B gzip", "compact-gzip", 100, "gzip"),
          ("1 KB plain", "compact-large", 1000, "none"))


def measure(system, reference, wait, cpu, rss_mb, megabytes):
    for title, topic, record, codec in TOPICS:
        topics = [reference, "kafka-topics", "--zookeeper", f"127.0.0.1:{system.zk_port}", "--topic", topic]
        run = lambda *words: subprocess.run(list(map(str, topics + list(words))), check=True, capture_output=True)
        run("--create", "--partitions", 1, "--replication-factor", 1, "--config", f"segment.bytes={SEGMENT}",
            "--config", "min.cleanable.dirty.ratio=0.01")
        keys = megabytes * 1_000_000 // (record + 42) // 7
        system.load("produce", f"127.0.0.1:{system.port}", topic, record, 65536, megabytes, keys, codec)
        partition = system.folder / "log" / f"{topic}-0"
        segments = sorted(partition.glob("*.log"))
        size, goal = sum(s.stat().st_size for s in segments[:-1]), int(segments[-1].stem)
        # What else goes on, such as writing back the page cache, is over.
        time.sleep(2)
        before, begin = cpu(system.broker.pid), time.monotonic()
        run("--alter", "--config", "cleanup.policy=compact")
        wait(f"{topic} is clean", lambda: cleaned(system.folder / "log/cleaner-offset-checkpoint", topic) >= goal, 600)
        seconds = cpu(system.broker.pid) - before
        left = sum(s.stat().st_size for s in partition.glob("*.log")) - segments[-1].stat().st_size
        system.note(f"compact {title}: broker CPU s/GB", seconds / size * 1e9)
        system.note(f"compact {title}: what is left (%)", 100 * left / size)
    time.sleep(3)
    system.note("broker: RSS after compaction (MB)", rss_mb(system.broker.pid))


def cleaned(checkpoint, topic):
    """The first offset of a topic's partition 0 that is not clean, -1 if it never was cleaned."""
    try:
        lines = [line.split() for line in checkpoint.read_text().splitlines()[2:]]
        return next((int(line[2]) for line in lines if line[:2] == [topic, "0"]), -1)
    except (OSError, ValueError, IndexError):
        return -1
