use std::fs;
use std::time::Duration;

use ::log::Level;
use jiff::tz::TimeZone;

use super::date::DateFormat;
use super::pattern::{Line, Pattern};
use super::*;

/// 2016-02-01 13:07:09.045 UTC.
const NOW: WallMs = WallMs(1_454_332_029_045);

fn loggers(text: &str, dir: &Path) -> Loggers {
    let properties = Properties::parse(text.as_bytes(), "log4j.properties").unwrap();
    let dir = dir.to_str().unwrap().replace('\\', "/");
    let system = move |name: &str| (name == "kafka.logs.dir").then(|| dir.clone());
    let mut complaints = Vec::new();
    let settings = Settings::read(&properties, &system, &mut complaints);
    assert!(complaints.is_empty(), "{complaints:?}");
    Loggers::new(settings, Clock::manual(NOW))
}

fn say(loggers: &Loggers, target: &str, level: Level, text: &str, now: WallMs) {
    loggers.append(
        &Record::builder()
            .target(target)
            .level(level)
            .args(format_args!("{text}"))
            .build(),
        now,
    );
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name))
        .unwrap_or_default()
        .replace('\r', "")
}

const TREE: &str = "\
log4j.rootLogger=INFO, root
log4j.logger.kafka=WARN, kafka
log4j.logger.kafka.controller=TRACE, controller
log4j.additivity.kafka.controller=false
log4j.logger.kafka.server=DEBUG
log4j.appender.root=org.apache.log4j.FileAppender
log4j.appender.root.File=${kafka.logs.dir}/root.log
log4j.appender.root.layout.ConversionPattern=%p %m (%c)%n
log4j.appender.kafka=org.apache.log4j.FileAppender
log4j.appender.kafka.File=${kafka.logs.dir}/deep/er/kafka.log
log4j.appender.kafka.layout.ConversionPattern=%m%n
log4j.appender.controller=org.apache.log4j.FileAppender
log4j.appender.controller.File=${kafka.logs.dir}/controller.log
log4j.appender.controller.layout.ConversionPattern=%m%n
";

#[test]
fn a_line_goes_to_the_appenders_of_its_logger_and_those_above() {
    let dir = tempfile::tempdir().unwrap();
    let l = loggers(TREE, dir.path());
    say(&l, "kafka::log::manager", Level::Info, "too fine", NOW);
    say(&l, "kafka::log::manager", Level::Warn, "a", NOW);
    say(&l, "kafka.controller.KafkaController", Level::Trace, "b", NOW);
    say(&l, "kafka::server::broker", Level::Debug, "c", NOW);
    say(&l, "kafkaesque", Level::Info, "d", NOW);
    say(&l, "kafka::keeper::session", Level::Info, "e", NOW);
    let root = "WARN a (kafka.log.manager)\nDEBUG c (kafka.server.broker)\nINFO d (kafkaesque)\nINFO e (org.apache.zookeeper.server.session)\n";
    assert_eq!(read(dir.path(), "root.log"), root);
    assert_eq!(read(dir.path(), "deep/er/kafka.log"), "a\nc\n");
    assert_eq!(read(dir.path(), "controller.log"), "b\n");
    assert_eq!(l.max_level(), LevelFilter::Trace);
}

#[test]
fn a_file_appears_with_its_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let l = loggers(TREE, dir.path());
    say(&l, "other", Level::Info, "a", NOW);
    let files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(files, ["root.log"]);
}

#[test]
fn an_hourly_file_is_put_aside_under_its_own_hour() {
    let dir = tempfile::tempdir().unwrap();
    let text = "log4j.rootLogger=INFO, f\n\
        log4j.appender.f=org.apache.log4j.DailyRollingFileAppender\n\
        log4j.appender.f.DatePattern='.'yyyy-MM-dd-HH\n\
        log4j.appender.f.File=${kafka.logs.dir}/server.log\n\
        log4j.appender.f.layout.ConversionPattern=%m%n\n";
    let l = loggers(text, dir.path());
    say(&l, "x", Level::Info, "a", NOW);
    say(&l, "x", Level::Info, "b", WallMs(NOW.0 + 60_000));
    say(&l, "x", Level::Info, "c", WallMs(NOW.0 + 3_600_000));
    let aside = format!("server.log{}", DateFormat::new("'.'yyyy-MM-dd-HH").format(NOW));
    assert_eq!(read(dir.path(), &aside), "a\nb\n");
    assert_eq!(read(dir.path(), "server.log"), "c\n");
    let again = loggers(text, dir.path());
    let file_time = fs::metadata(dir.path().join("server.log"))
        .unwrap()
        .modified()
        .unwrap();
    let later = WallMs::from_system(file_time + Duration::from_secs(2 * 3600));
    say(&again, "x", Level::Info, "d", later);
    assert_eq!(
        read(dir.path(), "server.log"),
        "d\n",
        "a file of an earlier run is put aside too"
    );
}

#[test]
fn a_file_of_limited_size_keeps_so_many_backups() {
    let dir = tempfile::tempdir().unwrap();
    let text = "log4j.rootLogger=INFO, f\n\
        log4j.appender.f=org.apache.log4j.RollingFileAppender\n\
        log4j.appender.f.MaxFileSize=1KB\n\
        log4j.appender.f.MaxBackupIndex=2\n\
        log4j.appender.f.File=${kafka.logs.dir}/x.log\n\
        log4j.appender.f.layout.ConversionPattern=%m%n\n";
    let l = loggers(text, dir.path());
    for n in 0..4 {
        say(&l, "x", Level::Info, &format!("{n}{}", "-".repeat(1100)), NOW);
    }
    let starts = |name: &str| read(dir.path(), name).chars().next();
    assert_eq!(
        (starts("x.log"), starts("x.log.1"), starts("x.log.2")),
        (Some('3'), Some('2'), Some('1'))
    );
    assert!(!dir.path().join("x.log.3").exists());
}

#[test]
fn patterns_show_what_log4j_shows() {
    let show = |pattern: &str| {
        let args = format_args!("hello");
        let record = Record::builder()
            .level(Level::Info)
            .args(args)
            .line(Some(7))
            .build();
        let line = Line {
            record: &record,
            logger: "kafka.server.KafkaServer",
            now: NOW,
            start: WallMs(NOW.0 - 5),
        };
        Pattern::new(pattern).format(&line)
    };
    assert_eq!(
        show("%p %m (%c) %r %L%%"),
        "INFO hello (kafka.server.KafkaServer) 5 7%"
    );
    assert_eq!(
        show("[%-6p][%6p][%.2p][%c{1}][%c{2}]"),
        "[INFO  ][  INFO][FO][KafkaServer][server.KafkaServer]"
    );
    assert_eq!(show("%q %"), "%q %");
    assert!(show("%d").len() == 23 && show("%d{HH}").len() == 2);
}

#[test]
fn dates_are_javas() {
    let show = |pattern: &str| DateFormat::in_zone(pattern, TimeZone::UTC).format(NOW);
    assert_eq!(show("yyyy-MM-dd HH:mm:ss,SSS"), "2016-02-01 13:07:09,045");
    assert_eq!(show("'.'yyyy-MM-dd-HH"), ".2016-02-01-13");
    assert_eq!(
        show("d MMM yy h:m a 'o''clock' EEEE"),
        "1 Feb 16 1:7 PM o'clock Monday"
    );
}

#[test]
fn what_is_not_understood_is_told_and_left_out() {
    let text = "log4j.rootLogger=LOUD, a, b\nlog4j.appender.a=org.apache.log4j.net.SMTPAppender\n";
    let properties = Properties::parse(text.as_bytes(), "f").unwrap();
    let mut complaints = Vec::new();
    let settings = Settings::read(&properties, &|_| None, &mut complaints);
    assert_eq!(
        complaints,
        [
            "f:1: unknown level LOUD, DEBUG taken",
            "There is no appender of class org.apache.log4j.net.SMTPAppender for [a]",
            "Could not find value for key log4j.appender.b"
        ]
    );
    assert!(settings.appenders.is_empty());
}

#[test]
fn the_shipped_files_are_understood() {
    for (name, appenders) in [("log4j.properties", 7), ("tools-log4j.properties", 1)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let mut complaints = Vec::new();
        let settings = Settings::read(&Properties::load(&path).unwrap(), &|_| None, &mut complaints);
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(settings.appenders.len(), appenders, "{name}");
    }
}
