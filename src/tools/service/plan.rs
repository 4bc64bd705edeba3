//! What is registered with Windows for a properties file: name, command line, neighbours. Asks nobody.

use std::path::{Path, PathBuf};

use crate::config::{BrokerConfig, ConfigErrors, KeeperConfig, Properties, properties};
use crate::tools::{server_start, zookeeper_server_start};

/// Why a file makes no service.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] properties::Error),
    /// A server would refuse it.
    #[error("{}: {mistakes}", path.display())]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: ConfigErrors,
    },
}

/// What the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The bundled ZooKeeper server.
    ZooKeeper,
    /// A broker.
    Broker,
}

/// Where the program and its surroundings are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The executable.
    pub(super) program: PathBuf,
    /// The directory that holds `config` and `logs`.
    pub(super) base: PathBuf,
    /// How to log, if there is such a file.
    pub(super) log4j: Option<PathBuf>,
}

impl Place {
    /// The installation around `program`: the nearest directory above it with a log4j.properties.
    pub(super) fn of(program: PathBuf, is_file: impl Fn(&Path) -> bool) -> Place {
        let log4j = |dir: &Path| dir.join("config").join("log4j.properties");
        let found = program.ancestors().skip(1).find(|dir| is_file(&log4j(dir)));
        Place {
            base: found.or_else(|| program.parent()).unwrap_or(&program).to_owned(),
            log4j: found.map(log4j),
            program,
        }
    }
}

/// One service.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What Windows calls it.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Its properties file.
    pub(super) config: PathBuf,
    /// Names of services that must run first, if they are there at all.
    pub(super) neighbours: Vec<String>,
    place: Place,
    properties: Properties,
}

impl Plan {
    /// The service of a properties file, called `name` or after what is in it.
    pub(super) fn read(config: &Path, name: Option<&str>, place: &Place) -> Result<Plan, Error> {
        let properties = Properties::load(config)?;
        let has = |key| properties.get(key).is_some();
        let kind = if has("clientPort") || has("dataDir") {
            Kind::ZooKeeper
        } else {
            Kind::Broker
        };
        let value = |key| properties.get(key).map(str::trim);
        let own = match kind {
            Kind::ZooKeeper => zookeeper_name(value("clientPort").unwrap_or_default()),
            Kind::Broker => match value("broker.id") {
                Some(id) if !id.starts_with('-') => format!("kafka-broker-{id}"),
                _ => "kafka-broker".to_owned(),
            },
        };
        let neighbours = match kind {
            Kind::ZooKeeper => Vec::new(),
            Kind::Broker => zookeepers_here(value("zookeeper.connect").unwrap_or_default()),
        };
        Ok(Plan {
            name: name.map_or(own, str::to_owned),
            kind,
            config: config.to_owned(),
            neighbours,
            place: place.clone(),
            properties,
        })
    }

    /// Whether a server would start with the file: nobody watches a service's window.
    pub(super) fn check(&self) -> Result<(), Error> {
        let checked = match self.kind {
            Kind::ZooKeeper => KeeperConfig::from_properties(&self.properties).map(drop),
            Kind::Broker => BrokerConfig::from_properties(&self.properties).map(drop),
        };
        checked.map_err(|mistakes| Error::Mistakes {
            path: self.config.clone(),
            mistakes,
        })
    }

    /// What people read in the list of services.
    pub(super) fn title(&self) -> String {
        let what = match self.kind {
            Kind::ZooKeeper => "ZooKeeper",
            Kind::Broker => "Kafka",
        };
        format!("{what} ({})", self.name)
    }

    /// The class of the program that the service runs.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub(super) fn class(&self) -> &'static str {
        match self.kind {
            Kind::ZooKeeper => zookeeper_server_start::CLASS,
            Kind::Broker => server_start::CLASS,
        }
    }

    /// The executable.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub(super) fn program(&self) -> &Path {
        &self.place.program
    }

    /// Where what would go to the console is written.
    pub(super) fn console(&self) -> PathBuf {
        self.place.base.join("logs").join(format!("{}.out", self.name))
    }

    /// What the executable is started with. Relative paths in the properties file begin at `directory`.
    pub(super) fn arguments(&self, directory: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            format!("-Dkafka.logs.dir={}", text(&self.place.base.join("logs"))),
            format!("-Dkafka.console.file={}", text(&self.console())),
        ];
        arguments.extend(
            self.place
                .log4j
                .iter()
                .map(|file| format!("-Dlog4j.configuration=file:{}", text(file))),
        );
        let rest = [
            "kafka-service",
            "run",
            "--name",
            &self.name,
            "--directory",
            &text(directory),
            "--config",
            &text(&self.config),
        ];
        arguments.extend(rest.map(str::to_owned));
        arguments
    }
}

fn zookeeper_name(port: &str) -> String {
    match port {
        "" | "2181" => "kafka-zookeeper".to_owned(),
        other => format!("kafka-zookeeper-{other}"),
    }
}

/// The names that services of the ZooKeeper servers on this machine have.
fn zookeepers_here(connect: &str) -> Vec<String> {
    let servers = connect.split('/').next().unwrap_or_default().split(',');
    let here = servers.filter_map(|server| {
        let (host, port) = server.trim().rsplit_once(':').unwrap_or((server.trim(), ""));
        ["localhost", "127.0.0.1", "[::1]", "::1"]
            .contains(&host.to_ascii_lowercase().as_str())
            .then(|| zookeeper_name(port))
    });
    here.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, name: Option<&str>) -> Plan {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.properties");
        std::fs::write(&file, text).unwrap();
        let place = Place::of("/k/bin/windows/kafka.exe".into(), |f| {
            f == Path::new("/k/config/log4j.properties")
        });
        Plan::read(&file, name, &place).unwrap()
    }

    #[test]
    fn the_file_says_what_it_is_and_how_it_is_called() {
        for (text, kind, name) in [
            ("dataDir=/d\nclientPort=2181", Kind::ZooKeeper, "kafka-zookeeper"),
            (
                "dataDir=/d\nclientPort=2182",
                Kind::ZooKeeper,
                "kafka-zookeeper-2182",
            ),
            (
                "broker.id=0\nzookeeper.connect=z:1",
                Kind::Broker,
                "kafka-broker-0",
            ),
            (
                "broker.id=-1\nzookeeper.connect=z:1",
                Kind::Broker,
                "kafka-broker",
            ),
            ("zookeeper.connect=z:1", Kind::Broker, "kafka-broker"),
        ] {
            let plan = plan(text, None);
            assert_eq!((plan.kind, plan.name.as_str()), (kind, name), "{text}");
        }
        let named = plan("broker.id=0", Some("mine"));
        assert_eq!(
            (named.name.as_str(), named.title().as_str()),
            ("mine", "Kafka (mine)")
        );
    }

    #[test]
    fn a_broker_waits_for_the_zookeeper_of_its_own_machine() {
        let of = |connect: &str| plan(&format!("zookeeper.connect={connect}"), None).neighbours;
        assert_eq!(of("localhost:2181"), ["kafka-zookeeper"]);
        assert_eq!(of("127.0.0.1:2182/chroot"), ["kafka-zookeeper-2182"]);
        assert_eq!(of("a:2181, LOCALHOST:1"), ["kafka-zookeeper-1"]);
        assert!(of("a:2181,b:2181").is_empty());
        assert!(plan("dataDir=/d", None).neighbours.is_empty());
    }

    #[test]
    fn what_a_server_would_refuse_is_refused_first() {
        let error = plan("broker.id=x\nlog.retention.ms=y", None).check().unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("x.properties:1") && text.contains("x.properties:2"),
            "{text}"
        );
        plan("dataDir=/d\nclientPort=2181", None).check().unwrap();
    }

    #[test]
    fn the_command_line_finds_logs_and_settings_of_the_installation() {
        let plan = plan("broker.id=3", None);
        let arguments = plan.arguments(Path::new("/work"));
        let separator = std::path::MAIN_SEPARATOR_STR;
        let shown: Vec<String> = arguments.iter().map(|a| a.replace(separator, "/")).collect();
        assert_eq!(
            shown[..9],
            [
                "-Dkafka.logs.dir=/k/logs",
                "-Dkafka.console.file=/k/logs/kafka-broker-3.out",
                "-Dlog4j.configuration=file:/k/config/log4j.properties",
                "kafka-service",
                "run",
                "--name",
                "kafka-broker-3",
                "--directory",
                "/work",
            ]
        );
        let alone = Place::of("/x/kafka.exe".into(), |_| false);
        assert_eq!((alone.base, alone.log4j), (PathBuf::from("/x"), None));
    }
}
