//! zookeeper.properties, as ZooKeeper 3.4's QuorumPeerConfig reads it. Does not know what a session is.

use std::path::PathBuf;
use std::time::Duration;

use super::definition::{Definition, Key, Values, millis};
use super::{ConfigErrors, Mistake, Properties};

/// The rows. Where ZooKeeper makes a system property of a key that it does not know, the ones that its
/// server then looks for have rows too.
pub static KEYS: &[Key] = &[
    Key::string("dataDir")
        .optional()
        .high()
        .doc("Where snapshots are kept, below `version-2`; made if missing. Required."),
    Key::string("dataLogDir")
        .optional()
        .doc("Where the transaction log is kept; must exist. `dataDir` if not set."),
    Key::int("clientPort")
        .optional()
        .high()
        .doc("The port that clients connect to. Required."),
    Key::string("clientPortAddress")
        .optional()
        .doc("The address to listen on; all interfaces if not set."),
    Key::int("tickTime")
        .default("3000")
        .doc("The unit of session timeouts, in milliseconds."),
    Key::int("maxClientCnxns")
        .default("60")
        .doc("Connections that one address may hold at a time; 0 for no limit."),
    Key::int("minSessionTimeout")
        .default("-1")
        .doc("The shortest session timeout granted, in milliseconds; -1 for two ticks."),
    Key::int("maxSessionTimeout")
        .default("-1")
        .doc("The longest session timeout granted, in milliseconds; -1 for twenty ticks."),
    Key::int("autopurge.snapRetainCount")
        .default("3")
        .doc("How many snapshots a purge leaves, with the logs they need; at least 3."),
    Key::int("autopurge.purgeInterval")
        .default("0")
        .doc("Hours between purges; 0 for none."),
    Key::int("snapCount")
        .default("100000")
        .doc("Transactions between snapshots; each time a random half of it is left out. At least 2."),
    Key::long("preAllocSize")
        .default("65536")
        .doc("KiB by which the transaction log's file is grown ahead of writing."),
    Key::int("globalOutstandingLimit")
        .default("1000")
        .doc("Requests in process beyond which the server stops reading from busy connections."),
    Key::string("forceSync").default("yes").doc(
        "`no` answers writes before they are on disk: what a power failure may lose then was acknowledged.",
    ),
    Key::string("skipACL")
        .default("no")
        .doc("`yes` lets everyone do everything."),
    Key::string("DigestAuthenticationProvider.superDigest")
        .optional()
        .doc("The digest `super:hash` of the identity that may do everything."),
    Key::int("jute.maxbuffer")
        .default("1048575")
        .doc("The largest packet accepted, in bytes. ZooKeeper takes it from a system property only."),
    Key::long("fsync.warningthresholdms").default("1000").doc(
        "Warn when forcing the log to disk takes longer. ZooKeeper takes it from a system property only.",
    ),
    Key::string("4lw.commands.whitelist")
        .optional()
        .doc("Which four-letter words are answered, separated by commas; `*` for all. All if not set."),
    Key::boolean("extendedTypesEnabled")
        .default("false")
        .doc("Whether nodes may have a time to live, which ZooKeeper 3.4 cannot read back from the log."),
    Key::int("initLimit")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::int("syncLimit")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::int("electionAlg")
        .default("3")
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::boolean("quorumListenOnAllIPs")
        .default("false")
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::string("peerType")
        .default("participant")
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::boolean("syncEnabled")
        .default("true")
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
    Key::boolean("leaderServes")
        .default("true")
        .low()
        .not_acted_on()
        .doc("Of an ensemble."),
];

/// Keys that end in a number or name of their own: servers and groups of an ensemble, authentication.
static NUMBERED: &[&str] = &["server.", "group.", "weight.", "authProvider."];

/// The settings of the bundled ZooKeeper server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperConfig {
    /// Snapshots go to `version-2` below it.
    pub data_dir: PathBuf,
    /// The transaction log goes to `version-2` below it.
    pub data_log_dir: PathBuf,
    /// 0 asks for a free port; a file cannot.
    pub client_port: u16,
    /// Name or address to listen on; `None` for all interfaces.
    pub client_port_address: Option<String>,
    /// The unit of session timeouts.
    pub tick: Duration,
    /// Connections per client address; 0 for no limit.
    pub max_client_cnxns: u32,
    /// The shortest session timeout granted.
    pub min_session_timeout: Duration,
    /// The longest session timeout granted.
    pub max_session_timeout: Duration,
    /// Snapshots that a purge leaves; at least 3.
    pub snap_retain_count: usize,
    /// Time between purges; `None` for none.
    pub purge_interval: Option<Duration>,
    /// Transactions between snapshots; at least 2.
    pub snap_count: u32,
    /// How far the log's file is grown ahead.
    pub pre_alloc_bytes: u64,
    /// Requests in process beyond which reading stops.
    pub global_outstanding_limit: usize,
    /// Whether a write is on disk before it is answered.
    pub force_sync: bool,
    /// Whether access rules are ignored.
    pub skip_acl: bool,
    /// The digest of the identity that may do everything.
    pub super_digest: Option<String>,
    /// The largest packet accepted.
    pub jute_max_buffer: usize,
    /// Forcing the log to disk for longer is warned about.
    pub fsync_warning_threshold: Duration,
    /// The four-letter words that are answered; `None` for all.
    pub four_letter_words: Option<Vec<String>>,
    /// Whether nodes may have a time to live.
    pub extended_types: bool,
}

impl KeeperConfig {
    /// A server with its data in `data_dir`, a free port on all interfaces, and defaults otherwise: what
    /// tests and `kafka dev` start from.
    pub fn new(data_dir: impl Into<PathBuf>) -> KeeperConfig {
        let values = definition().read(&Properties::new()).0;
        KeeperConfig::from_values(&values, data_dir.into())
    }

    /// Reads a file's settings. Beside them: what to warn about.
    ///
    /// # Errors
    /// Every mistake, in ZooKeeper's words.
    pub fn from_properties(properties: &Properties) -> Result<(KeeperConfig, Vec<String>), ConfigErrors> {
        let (values, mut mistakes) = definition().read(properties);
        let mut warnings: Vec<String> = properties.warnings(&["dataDir", "dataLogDir"]).collect();
        check(&values, properties, &mut mistakes);
        warnings.extend(definition().warnings(properties).into_iter().filter(|w| {
            !NUMBERED
                .iter()
                .any(|prefix| w.contains(&format!("Property {prefix}")))
        }));
        if values.int("autopurge.snapRetainCount") < 3 {
            warnings.push(format!(
                "Invalid autopurge.snapRetainCount: {}. Defaulting to 3",
                values.int("autopurge.snapRetainCount")
            ));
        }
        match servers(properties) {
            0 => {}
            1 => warnings.push("Invalid configuration, only one server specified (ignoring)".to_string()),
            n => mistakes.push(Mistake {
                rule: format!("{n} servers are specified: the bundled ZooKeeper server stands alone"),
                ..at(
                    properties,
                    properties
                        .entries()
                        .find(|e| e.key.starts_with("server."))
                        .map_or("", |e| &e.key),
                )
            }),
        }
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        let data_dir = PathBuf::from(values.text("dataDir"));
        Ok((KeeperConfig::from_values(&values, data_dir), warnings))
    }

    fn from_values(v: &Values, data_dir: PathBuf) -> KeeperConfig {
        let tick = v.millis("tickTime");
        let timeout = |name: &str, ticks: u32| match v.int(name) {
            -1 => tick * ticks,
            ms => millis(ms.into()),
        };
        let yes = |name: &str| v.text(name).eq_ignore_ascii_case("yes");
        KeeperConfig {
            data_log_dir: v
                .text_or_null("dataLogDir")
                .map_or_else(|| data_dir.clone(), PathBuf::from),
            data_dir,
            client_port: u16::try_from(v.long("clientPort")).unwrap_or(0),
            client_port_address: v.text_or_null("clientPortAddress").filter(|a| !a.is_empty()),
            tick,
            max_client_cnxns: u32::try_from(v.int("maxClientCnxns")).unwrap_or(0),
            min_session_timeout: timeout("minSessionTimeout", 2),
            max_session_timeout: timeout("maxSessionTimeout", 20),
            snap_retain_count: v.size("autopurge.snapRetainCount").max(3),
            purge_interval: u64::try_from(v.long("autopurge.purgeInterval"))
                .ok()
                .filter(|hours| *hours > 0)
                .map(|hours| Duration::from_secs(hours * 3600)),
            snap_count: u32::try_from(v.int("snapCount")).unwrap_or(0).max(2),
            pre_alloc_bytes: u64::try_from(v.long("preAllocSize"))
                .unwrap_or(0)
                .saturating_mul(1024),
            global_outstanding_limit: v.size("globalOutstandingLimit"),
            force_sync: v.text("forceSync") != "no",
            skip_acl: yes("skipACL"),
            super_digest: v.text_or_null("DigestAuthenticationProvider.superDigest"),
            jute_max_buffer: v.size("jute.maxbuffer"),
            fsync_warning_threshold: v.millis("fsync.warningthresholdms"),
            four_letter_words: v
                .text_or_null("4lw.commands.whitelist")
                .map(|words| words.split(',').map(|word| word.trim().to_owned()).collect()),
            extended_types: v.boolean("extendedTypesEnabled"),
        }
    }
}

pub(super) fn definition() -> Definition {
    Definition::new(&[KEYS]).expect("the rows have different names")
}

fn servers(properties: &Properties) -> usize {
    properties
        .entries()
        .filter(|e| e.key.starts_with("server."))
        .count()
}

fn at(properties: &Properties, key: &str) -> Mistake {
    let entry = properties.entry(key);
    Mistake {
        place: entry.map(|e| e.place.clone()).unwrap_or_default(),
        key: key.to_string(),
        value: entry.map(|e| e.value.trim().to_string()),
        rule: String::new(),
    }
}

/// The rules that are not about one row alone. A key whose value cannot be read is not reported twice.
fn check(v: &Values, properties: &Properties, mistakes: &mut Vec<Mistake>) {
    let mut require = |holds: bool, key: &str, rule: String| {
        if !holds && mistakes.iter().all(|m| m.key != key) {
            mistakes.push(Mistake {
                rule,
                ..at(properties, key)
            });
        }
    };
    require(
        !v.text("dataDir").is_empty(),
        "dataDir",
        "dataDir is not set".into(),
    );
    require(
        v.long("clientPort") != 0,
        "clientPort",
        "clientPort is not set".into(),
    );
    require(
        (0..=65535).contains(&v.long("clientPort")),
        "clientPort",
        format!("port out of range:{}", v.long("clientPort")),
    );
    require(v.long("tickTime") > 0, "tickTime", "tickTime is not set".into());
    if let Some(dir) = v.text_or_null("dataLogDir") {
        require(
            PathBuf::from(&dir).is_dir(),
            "dataLogDir",
            format!("dataLogDir {dir} is missing."),
        );
    }
    // ZooKeeper compares before it fills in the twenty ticks, so a lower bound alone never passed. It
    // means what it says here.
    let tick = v.long("tickTime").max(1);
    let or_ticks = |name: &str, ticks: i64| match v.long(name) {
        -1 => tick * ticks,
        ms => ms,
    };
    require(
        or_ticks("minSessionTimeout", 2) <= or_ticks("maxSessionTimeout", 20),
        "minSessionTimeout",
        "minSessionTimeout must not be larger than maxSessionTimeout".into(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(KeeperConfig, Vec<String>), ConfigErrors> {
        KeeperConfig::from_properties(&Properties::parse(text.as_bytes(), "z").unwrap())
    }

    #[test]
    fn the_shipped_settings_are_read() {
        let (config, warnings) = read("dataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0").unwrap();
        assert!(warnings.is_empty());
        assert_eq!(config.data_log_dir, PathBuf::from("/tmp/zookeeper"));
        assert_eq!((config.client_port, config.max_client_cnxns), (2181, 0));
        assert_eq!(config.min_session_timeout, Duration::from_secs(6));
        assert_eq!(config.max_session_timeout, Duration::from_secs(60));
        assert_eq!((config.snap_count, config.pre_alloc_bytes), (100_000, 64 << 20));
        assert!(config.force_sync && !config.skip_acl && config.purge_interval.is_none());
    }

    #[test]
    fn every_mistake_is_told_in_zookeepers_words() {
        let errors = read("tickTime=0\nclientPort=x\nminSessionTimeout=9\nmaxSessionTimeout=8").unwrap_err();
        let rules: Vec<&str> = errors.0.iter().map(|m| m.rule.as_str()).collect();
        assert_eq!(
            rules,
            [
                "tickTime is not set",
                "Invalid value x for configuration clientPort: Not a number of type INT",
                "minSessionTimeout must not be larger than maxSessionTimeout",
                "dataDir is not set"
            ]
        );
        assert!(
            read("dataDir=a\nclientPort=1\ndataLogDir=/no/such/dir")
                .unwrap_err()
                .to_string()
                .ends_with("dataLogDir /no/such/dir is missing.")
        );
    }

    #[test]
    fn a_lower_bound_alone_is_taken() {
        let (config, _) = read("dataDir=a\nclientPort=1\nminSessionTimeout=500").unwrap();
        assert_eq!(config.min_session_timeout, Duration::from_millis(500));
    }

    #[test]
    fn one_server_stands_alone_and_an_ensemble_is_refused() {
        let (_, warnings) = read("dataDir=a\nclientPort=1\nserver.1=h:1:2\nfoo=1").unwrap();
        assert_eq!(
            warnings,
            [
                "z:4: Property foo is not valid",
                "Invalid configuration, only one server specified (ignoring)"
            ]
        );
        let errors = read("dataDir=a\nclientPort=1\nserver.1=h:1:2\nserver.2=h:3:4").unwrap_err();
        assert!(
            errors.to_string().starts_with("z:3: server.1=h:1:2: 2 servers"),
            "{errors}"
        );
    }
}
