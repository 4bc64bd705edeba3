//! Writes all metrics to CSV files from time to time (kafka.metrics.KafkaCSVMetricsReporter): one file for
//! each metric, a line for each time. What the files say is [`csv`]'s.
//!
//! A file is open only while its line is written, so that a broker with ten thousand partitions needs one
//! handle for all of them, and one that was moved away or removed meanwhile begins anew. All of it happens
//! on a thread that may block. Whatever fails is said once and tried again the next time; the broker does
//! not depend on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::log::{info, warn};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::broker::CsvReporterConfig;
use crate::metrics::{Name, Registry, Shown, csv};
use crate::util::blocking;
use crate::util::clock::{Clock, Mono};
use crate::util::fs::{self, Context};

/// The logger's name in 0.9.
const TARGET: &str = "kafka.metrics.KafkaCSVMetricsReporter";

/// How long a round goes on after its first failure. What another program holds on Windows takes seconds to
/// fail, and it may be all files.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes until its end is asked for. Dropped, it ends as it is.
#[derive(Debug)]
pub(super) struct CsvReporter {
    reporter: Reporter,
    end: oneshot::Sender<Look>,
    task: JoinHandle<()>,
}

impl CsvReporter {
    /// Starts. The first lines come after the interval, as in 0.9.0.1, and their times are whole seconds
    /// from here on. Metrics files of an earlier run are removed.
    pub(super) fn start(config: CsvReporterConfig, metrics: Registry, clock: Clock) -> CsvReporter {
        let (end, ending) = oneshot::channel();
        let reporter = Reporter {
            start: clock.now(),
            interval: config.interval,
            metrics,
            clock,
        };
        let seconds = config.interval.as_secs();
        info!(target: TARGET, "Started Kafka CSV metrics reporter with polling period {seconds} seconds");
        let task = tokio::spawn(reporter.clone().run(Files::new(config.dir), ending));
        CsvReporter { reporter, end, task }
    }

    /// Looks at the metrics for the last time. What they show is written while the caller goes on to stop
    /// what they are about.
    pub(super) async fn end(self) -> Ending {
        let reporter = self.reporter;
        // A task of its own: a gauge that panics, as what it asks did before, must not keep a broker from
        // closing its logs.
        let looking = tokio::spawn(blocking::on_thread(move || reporter.look()));
        if let Ok(look) = looking.await {
            // Who would write it is gone if it panicked, and said so itself.
            let _ = self.end.send(look);
        }
        Ending { task: self.task }
    }
}

/// The last lines on their way.
#[derive(Debug)]
pub(super) struct Ending {
    task: JoinHandle<()>,
}

impl Ending {
    /// Returns when they are written, or cannot be.
    pub(super) async fn written(self) {
        let _ = self.task.await;
        info!(target: TARGET, "Stopped Kafka CSV metrics reporter");
    }
}

/// What the metrics show at a time, in seconds from the start.
#[derive(Debug)]
struct Look {
    seconds: u64,
    metrics: Vec<(Name, Shown)>,
}

#[derive(Clone, Debug)]
struct Reporter {
    start: Mono,
    interval: Duration,
    metrics: Registry,
    clock: Clock,
}

impl Reporter {
    async fn run(self, files: Files, mut ending: oneshot::Receiver<Look>) {
        let mut files = blocking::on_thread(move || {
            let cleared = files.clear();
            files.told(cleared)
        })
        .await;
        let mut due = self.start + self.interval;
        loop {
            let (look, ends) = tokio::select! {
                last = &mut ending => match last {
                    Ok(look) => (look, true),
                    // Dropped.
                    Err(_) => return,
                },
                () = self.clock.sleep_until(due) => {
                    let reporter = self.clone();
                    (blocking::on_thread(move || reporter.look()).await, false)
                }
            };
            let clock = self.clock.clone();
            files = blocking::on_thread(move || {
                let written = files.write(&clock, &look);
                files.told(written)
            })
            .await;
            if ends {
                return;
            }
            // What took longer than the interval is not made up for.
            while due <= self.clock.now() {
                due = due + self.interval;
            }
        }
    }

    /// Blocking: a gauge may have to wait for a lock.
    fn look(&self) -> Look {
        let now = self.clock.now();
        Look {
            seconds: now.since(self.start).as_secs(),
            metrics: self.metrics.snapshot(now),
        }
    }
}

/// The directory of the files.
#[derive(Debug)]
struct Files {
    dir: PathBuf,
    /// Whether something could not be written the last time.
    failing: bool,
}

impl Files {
    fn new(dir: PathBuf) -> Files {
        Files { dir, failing: false }
    }

    /// Logs how a round went if the one before it went otherwise.
    fn told(mut self, outcome: fs::Result<()>) -> Files {
        let dir = self.dir.display();
        match (&outcome, self.failing) {
            (Err(e), false) => {
                warn!(target: TARGET, "Metrics cannot all be written to {dir}, and are tried again each time: {e}");
            }
            (Ok(()), true) => info!(target: TARGET, "Metrics can be written to {dir} again"),
            _ => {}
        }
        self.failing = outcome.is_err();
        self
    }

    /// Makes the directory, and removes the metrics files in it. 0.9.0.1 removes the directory with all that
    /// is in it, whatever that may be.
    fn clear(&self) -> fs::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut outcome = Ok(());
        for name in fs::list(&self.dir)? {
            let path = self.dir.join(name);
            if path.extension().is_some_and(|end| end == "csv") {
                outcome = outcome.and(remove_if_ours(&path));
            }
        }
        outcome
    }

    /// Adds a line to each metric's file. The first failure is returned; it keeps no other file from being
    /// tried for as long as there is [`PATIENCE`].
    fn write(&self, clock: &Clock, look: &Look) -> fs::Result<()> {
        // Somebody may have taken it away.
        fs::create_dir_all(&self.dir)?;
        let mut failed = None;
        for (name, shown) in &look.metrics {
            let path = self.dir.join(csv::file_name(name));
            if let Err(e) = append(&path, look.seconds, shown) {
                let (_, since) = failed.get_or_insert_with(|| (e, clock.now()));
                if clock.now().since(*since) > PATIENCE {
                    break;
                }
            }
        }
        failed.map_or(Ok(()), |(e, _)| Err(e))
    }
}

/// Removes a file that begins as ours do; what is no file, or says something else, stays.
fn remove_if_ours(path: &Path) -> fs::Result<()> {
    let is_file = std::fs::symlink_metadata(path).during("look at", path)?.is_file();
    if is_file && is_ours(&fs::open_to_read(path)?).during("read", path)? {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn is_ours(file: &std::fs::File) -> std::io::Result<bool> {
    let mut start = [0; csv::MARK.len()];
    let read = fs::read_at(file, &mut start, 0)?;
    Ok(start[..read] == *csv::MARK.as_bytes())
}

/// Adds a line to a file, which begins with its header. A line that does not go in whole is taken back.
fn append(path: &Path, seconds: u64, shown: &Shown) -> fs::Result<()> {
    let file = match fs::open(path) {
        Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => fs::create_new(path)?,
        opened => opened?,
    };
    let end = file.metadata().during("look at", path)?.len();
    let mut text = csv::line(seconds, shown);
    if end == 0 {
        text.insert_str(0, &csv::header(shown));
    } else if !is_ours(&file).during("read", path)? {
        let foreign = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is no metrics file");
        return Err(foreign).during("append to", path);
    }
    let written = fs::write_all_at(&file, text.as_bytes(), end);
    if written.is_err() {
        // What remains is a torn line if this fails too.
        let _ = fs::set_len(&file, end);
    }
    written.during("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::WallMs;

    fn metrics() -> Registry {
        let metrics = Registry::new();
        let name = |name: &str, tags: &[(&str, &str)]| Name::new("kafka.server", "T", name, tags);
        metrics.gauge(name("A", &[])).set(1);
        metrics.gauge(name("A", &[("topic", "t")])).set(2);
        metrics.gauge(name("B", &[])).set(3);
        metrics
    }

    fn look(seconds: u64) -> Look {
        let metrics = metrics().snapshot(Mono::default());
        Look { seconds, metrics }
    }

    #[tokio::test]
    async fn a_gauge_that_panics_keeps_nobody_from_stopping() {
        let dir = tempfile::tempdir().unwrap();
        let config = CsvReporterConfig {
            dir: dir.path().to_owned(),
            interval: Duration::from_secs(10),
        };
        let metrics = metrics();
        metrics.gauge_of(Name::new("kafka.server", "T", "C", &[]), || {
            panic!("its owner did")
        });
        let reporter = CsvReporter::start(config, metrics, Clock::manual(WallMs(0)));
        reporter.end().await.written().await;
    }

    /// The lines of a file; nothing if it is not there.
    fn lines(dir: &Path, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_metric_has_its_file_and_a_line_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (files, clock) = (Files::new(dir.path().join("a/b")), Clock::manual(WallMs(0)));
        files.write(&clock, &look(1)).unwrap();
        files.write(&clock, &look(2)).unwrap();
        let dir = dir.path().join("a/b");
        assert_eq!(lines(&dir, "A.csv"), ["# time,value", "1,1", "2,1"]);
        assert_eq!(lines(&dir, "A.T.topic=t.csv"), ["# time,value", "1,2", "2,2"]);
        // Moved away, as by a program that rotates.
        std::fs::remove_file(dir.join("B.csv")).unwrap();
        files.write(&clock, &look(3)).unwrap();
        assert_eq!(lines(&dir, "B.csv"), ["# time,value", "3,3"]);
    }

    #[test]
    fn only_metrics_files_are_removed_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let kept = ["accounts.csv", "notes.txt", "empty.csv", "# time,.txt"];
        for (name, text) in kept.iter().zip(["a,b\n", "# time,", "", "# time,"]) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("Old.csv"), "# time,value\n1,2\n").unwrap();
        std::fs::create_dir_all(dir.path().join("sub.csv/deeper")).unwrap();
        std::fs::write(dir.path().join("sub.csv/Old.csv"), "# time,value\n").unwrap();
        Files::new(dir.path().to_owned()).clear().unwrap();
        assert!(!dir.path().join("Old.csv").exists());
        for name in kept {
            assert!(dir.path().join(name).exists(), "{name}");
        }
        assert!(dir.path().join("sub.csv/Old.csv").exists() && dir.path().join("sub.csv/deeper").exists());
    }

    #[test]
    fn what_cannot_be_written_holds_nobody_up_and_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, clock) = (Files::new(dir.path().to_owned()), Clock::manual(WallMs(0)));
        std::fs::create_dir(dir.path().join("A.csv")).unwrap();
        std::fs::write(dir.path().join("A.T.topic=t.csv"), "mine\n").unwrap();
        for round in 1..3 {
            let outcome = files.write(&clock, &look(round));
            files = files.told(outcome);
            assert!(files.failing);
        }
        assert_eq!(lines(dir.path(), "B.csv"), ["# time,value", "1,3", "2,3"]);
        assert_eq!(lines(dir.path(), "A.T.topic=t.csv"), ["mine"]);
        std::fs::remove_dir(dir.path().join("A.csv")).unwrap();
        std::fs::remove_file(dir.path().join("A.T.topic=t.csv")).unwrap();
        let outcome = files.write(&clock, &look(3));
        files = files.told(outcome);
        assert!(!files.failing);
        assert_eq!(lines(dir.path(), "A.csv"), ["# time,value", "3,1"]);
    }

    #[tokio::test]
    async fn lines_come_at_the_interval_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(WallMs(0));
        // The clock is older than the reporter, whose times begin with itself.
        clock.advance(Duration::from_secs(100));
        let config = CsvReporterConfig {
            dir: dir.path().to_owned(),
            interval: Duration::from_secs(10),
        };
        let metrics = metrics();
        let b = metrics.gauge(Name::new("kafka.server", "T", "B", &[]));
        let reporter = CsvReporter::start(config, metrics, clock.clone());
        clock.advance(Duration::from_secs(10));
        while lines(dir.path(), "B.csv").len() < 2 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(9_999));
        b.set(4);
        let ending = reporter.end().await;
        b.set(5);
        ending.written().await;
        assert_eq!(lines(dir.path(), "B.csv"), ["# time,value", "10,3", "19,4"]);
    }
}
