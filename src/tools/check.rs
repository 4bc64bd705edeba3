//! kafka-check, our own: what is wrong with the directories of `log.dirs`, and what the next start of a
//! broker would do about it. Only reads. With `--zookeeper` it also compares the directories with what the
//! cluster assigns to the broker that they belong to, and looks at the settings of those topics.
//!
//! A line per finding on standard output (see [`Finding`]), then a line per directory. Exit code 0 when a
//! start would find all as an orderly stop leaves it, 1 when it would repair something, 2 when something
//! cannot be used, or could not be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::options::{self, OptionParser};
use super::{Tool, print, runtime, session};
use crate::admin;
use crate::cluster::{BrokerId, TopicPartition};
use crate::config::LogConfig;
use crate::log;
use crate::log::check::{Fate, Finding, Report, check};
use crate::server::identity;
use crate::zookeeper::Session;
use crate::zookeeper::paths::{self, EntityType};
use crate::zookeeper::znodes::topic::Assignment;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-check",
    class: "kafka-check",
    run,
};

const PURPOSE: &str = "Says what is wrong with log directories (the DIRs, as in log.dirs, all of one broker), and what the next start would do about it. Changes nothing.";
const REPAIRS: u8 = 1;
const UNUSABLE: u8 = 2;

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    p.accepts(
        "zookeeper",
        "The connection string of the broker's zookeeper.connect; if set, the directories are compared with the topics there.",
    )
    .with_required_arg()
    .described_as("urls");
    p
}

fn run(args: &[String]) -> ExitCode {
    match parse(args) {
        Ok((dirs, zookeeper)) => look(&dirs, zookeeper.as_deref()),
        Err(e) => {
            e.report();
            ExitCode::from(UNUSABLE)
        }
    }
}

fn parse(args: &[String]) -> options::Result<(Vec<PathBuf>, Option<String>)> {
    let parser = parser();
    let options = parser.parse(args)?;
    let dirs: Vec<PathBuf> = options
        .non_option_arguments()
        .iter()
        .map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.into()))
        .collect();
    match dirs.is_empty() {
        true => Err(parser.usage_error(PURPOSE)),
        false => Ok((dirs, options.value("zookeeper")?)),
    }
}

fn look(dirs: &[PathBuf], zookeeper: Option<&str>) -> ExitCode {
    let reports: Vec<Report> = dirs.iter().map(|dir| check(dir)).collect();
    let mut findings: Vec<Finding> = reports.iter().flat_map(|r| r.findings.clone()).collect();
    let here = match placed(dirs, &reports) {
        Ok(here) => here,
        Err(twice) => {
            findings.extend(twice);
            BTreeMap::new()
        }
    };
    let id = owner(dirs, &reports, &mut findings);
    let mut compared = true;
    if let Some(connect) = zookeeper {
        compared = match id {
            Some(id) => {
                let wanted = ask(connect, id);
                wanted
                    .map(|wanted| findings.extend(differences(&dirs[0], id, &here, &wanted)))
                    .is_ok()
            }
            None => {
                eprintln!(
                    "No directory says which broker it belongs to: there is nothing to compare with ZooKeeper"
                );
                false
            }
        };
    }
    tell(dirs, &reports, &findings);
    match findings.iter().all(|f| f.fate.is_repair()) {
        true if !compared => ExitCode::from(UNUSABLE),
        true if findings.is_empty() => ExitCode::SUCCESS,
        true => ExitCode::from(REPAIRS),
        false => ExitCode::from(UNUSABLE),
    }
}

fn tell(dirs: &[PathBuf], reports: &[Report], findings: &[Finding]) {
    let mut text: String = findings.iter().map(|f| format!("{f}\n")).collect();
    for (dir, report) in dirs.iter().zip(reports) {
        text += &format!(
            "{}: {} logs, {} segments with {} bytes read\n",
            dir.display(),
            report.logs.len(),
            report.segments,
            report.bytes
        );
    }
    let of = |is_repair| {
        findings
            .iter()
            .filter(|f| f.fate.is_repair() == is_repair)
            .count()
    };
    text += &match findings.is_empty() {
        true => "Nothing to repair\n".to_owned(),
        false => format!(
            "The next start would repair {}; {} stay or keep the broker from starting\n",
            of(true),
            of(false)
        ),
    };
    print(&text);
}

/// Where each log is.
///
/// # Errors
/// Those that are in two directories.
fn placed<'a>(
    dirs: &'a [PathBuf],
    reports: &[Report],
) -> Result<BTreeMap<TopicPartition, &'a Path>, Vec<Finding>> {
    let (mut here, mut twice) = (BTreeMap::new(), Vec::new());
    for (dir, report) in dirs.iter().zip(reports) {
        for tp in report.logs.keys() {
            let path = |dir: &Path| dir.join(tp.dir_name());
            if let Some(other) = here.insert(tp.clone(), dir.as_path()) {
                let rule = log::Error::DuplicateLog(path(other), path(dir)).to_string();
                twice.push(Finding::new(
                    Fate::Refused,
                    path(dir),
                    rule,
                    "the broker does not start",
                ));
            }
        }
    }
    match twice.is_empty() {
        true => Ok(here),
        false => Err(twice),
    }
}

/// The broker that the directories belong to.
fn owner(dirs: &[PathBuf], reports: &[Report], findings: &mut Vec<Finding>) -> Option<i32> {
    let mut stored = Vec::new();
    for (dir, report) in dirs.iter().zip(reports) {
        let file = dir.join(identity::META_FILE);
        match identity::remembered_in(dir) {
            Ok(Some(id)) => stored.push((dir.clone(), id)),
            Ok(None) if report.logs.is_empty() => {}
            Ok(None) => {
                let rule = format!("there is no {} file", identity::META_FILE);
                findings.push(Finding::new(
                    Fate::Corrected,
                    file,
                    rule,
                    "it is written with the broker's id",
                ));
            }
            Err(e) => {
                let then = "the broker does not start";
                findings.push(Finding::new(Fate::Refused, file, e.to_string(), then));
            }
        }
    }
    let ids: BTreeSet<i32> = stored.iter().map(|(_, id)| *id).collect();
    match ids.len() {
        0 => None,
        1 => ids.first().copied(),
        _ => {
            let file = stored[0].0.join(identity::META_FILE);
            let rule = identity::Error::Directories(stored).to_string();
            findings.push(Finding::new(
                Fate::Refused,
                file,
                rule,
                "the broker does not start",
            ));
            None
        }
    }
}

/// What ZooKeeper says of a broker.
#[derive(Debug, Default)]
struct Wanted {
    is_alive: bool,
    topics: BTreeMap<String, Assignment>,
    /// Why the settings of a topic that it has a replica of do not hold.
    wrong: BTreeMap<String, String>,
}

/// Why the settings of each of these topics do not hold; those of others do.
async fn wrong_settings(session: &Session, topics: Vec<String>) -> admin::Result<BTreeMap<String, String>> {
    let mut wrong = BTreeMap::new();
    for (topic, settings) in admin::fetch_each_config(session, EntityType::Topic, topics).await {
        let rule = match settings {
            Ok(settings) => match LogConfig::default().with_overrides(&settings) {
                Ok(_) => continue,
                Err(e) => e.to_string(),
            },
            Err(admin::Error::Settings { reason, .. }) => reason.to_string(),
            Err(e) => return Err(e),
        };
        wrong.insert(topic, rule);
    }
    Ok(wrong)
}

fn ask(connect: &str, id: i32) -> Result<Wanted, ()> {
    let mut answer = Err(());
    runtime::run(async {
        let Ok(session) = session::connect(connect).await else {
            return ExitCode::FAILURE;
        };
        let read = async {
            let topics = admin::topics(&session).await?;
            let live = admin::live_broker_ids(&session).await?;
            let topics = admin::assignments(&session, &topics).await?;
            let is_here = |a: &Assignment| a.values().any(|replicas| replicas.contains(&BrokerId(id)));
            let here = topics.iter().filter(|(_, assignment)| is_here(assignment));
            let wrong = wrong_settings(&session, here.map(|(topic, _)| topic.clone()).collect()).await?;
            Ok::<_, admin::Error>(Wanted {
                is_alive: live.contains(&BrokerId(id)),
                topics,
                wrong,
            })
        };
        match read.await {
            Ok(wanted) => answer = Ok(wanted),
            Err(e) => eprintln!("{e}"),
        }
        ExitCode::SUCCESS
    });
    answer
}

/// Where the directories and the cluster's wishes differ.
fn differences(
    first: &Path,
    id: i32,
    here: &BTreeMap<TopicPartition, &Path>,
    wanted: &Wanted,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if wanted.is_alive {
        let rule = format!("broker {id} is registered in ZooKeeper");
        let then = "a broker with this id does not start while that one runs";
        findings.push(Finding::new(
            Fate::Refused,
            first.join(identity::META_FILE),
            rule,
            then,
        ));
    }
    for (tp, dir) in here {
        let replicas = wanted.topics.get(&*tp.topic).map(|t| t.get(&tp.partition));
        let rule = match replicas {
            None => format!("there is no topic {} in ZooKeeper", tp.topic),
            Some(None) => format!("there is no partition {tp} in ZooKeeper"),
            Some(Some(replicas)) if !replicas.contains(&BrokerId(id)) => {
                let ids: Vec<String> = replicas.iter().map(|r| r.0.to_string()).collect();
                format!("ZooKeeper assigns {tp} to {}, not to broker {id}", ids.join(","))
            }
            Some(Some(_)) => continue,
        };
        let then = "it stays, and nobody uses it";
        findings.push(Finding::new(Fate::Stays, dir.join(tp.dir_name()), rule, then));
    }
    for (topic, rule) in &wanted.wrong {
        let node = PathBuf::from(paths::topic_config(topic));
        let then = "the broker's own settings hold for the topic, and 0.9.0.1 does not start";
        findings.push(Finding::new(Fate::Stays, node, rule.clone(), then));
    }
    for (topic, assignment) in &wanted.topics {
        for (partition, replicas) in assignment {
            let tp = TopicPartition::new(topic.as_str(), *partition);
            if replicas.contains(&BrokerId(id)) && !here.contains_key(&tp) {
                let rule = format!("ZooKeeper assigns {tp} to broker {id}, and it is in no directory");
                let then = "it begins empty, and copies what its leader has";
                findings.push(Finding::new(
                    Fate::Corrected,
                    first.join(tp.dir_name()),
                    rule,
                    then,
                ));
            }
        }
    }
    findings
}
