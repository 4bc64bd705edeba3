//! The keys of kafka.metrics.KafkaMetricsReporter and KafkaCSVMetricsReporter. Does not know what they
//! write.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Mistake;
use crate::config::definition::Values;

/// The one reporter that exists here.
const CSV_REPORTER: &str = "kafka.metrics.KafkaCSVMetricsReporter";

const REPORTERS: &str = "kafka.metrics.reporters";
const INTERVAL: &str = "kafka.metrics.polling.interval.secs";
const ENABLED: &str = "kafka.csv.metrics.reporter.enabled";
const DIR: &str = "kafka.csv.metrics.dir";

/// The settings of the reporter that writes CSV files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvReporterConfig {
    /// `kafka.csv.metrics.dir`; as in 0.9.0.1 relative to the process's working directory.
    pub dir: PathBuf,
    /// `kafka.metrics.polling.interval.secs`: whole seconds, at least one.
    pub interval: Duration,
}

impl CsvReporterConfig {
    /// `None` unless the class is named and enabled.
    pub(super) fn from_values(v: &Values) -> Option<CsvReporterConfig> {
        runs(v).then(|| CsvReporterConfig {
            dir: PathBuf::from(v.text(DIR)),
            interval: Duration::from_secs(u64::try_from(v.long(INTERVAL)).unwrap_or(0).max(1)),
        })
    }
}

fn is_named(v: &Values) -> bool {
    v.list(REPORTERS).iter().any(|class| class == CSV_REPORTER)
}

fn runs(v: &Values) -> bool {
    is_named(v) && v.boolean(ENABLED)
}

/// Adds what must hold for a reporter that runs, and warns of what will not be reported.
///
/// 0.9.0.1 does not start with a class that it cannot load. One that it could load, as it stands in many a
/// file, is still no class here: no reason for a broker to stay away.
pub(super) fn check(v: &Values, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) {
    for class in v.list(REPORTERS) {
        if !class.is_empty() && class != CSV_REPORTER {
            let rule = format!(
                "Class {class} could not be found and reports nothing; the one reporter here is {CSV_REPORTER}"
            );
            warnings.push(v.mistake(REPORTERS, rule).to_string());
        }
    }
    if v.boolean(ENABLED) && !is_named(v) {
        let rule = format!("has no effect unless {REPORTERS} names {CSV_REPORTER}");
        warnings.push(v.mistake(ENABLED, rule).to_string());
    }
    if !runs(v) {
        return;
    }
    let mut require = |holds: bool, key: &str, rule: &str| {
        if !holds {
            mistakes.push(v.mistake(key, format!("requirement failed: {key} must {rule}")));
        }
    };
    require(v.long(INTERVAL) >= 1, INTERVAL, "be equal or greater than 1");
    require(!v.text(DIR).is_empty(), DIR, "name a directory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, ConfigErrors, Properties};

    fn read(text: &str) -> Result<(BrokerConfig, Vec<String>), ConfigErrors> {
        let text = format!("zookeeper.connect=localhost:2181\n{text}");
        BrokerConfig::from_properties(&Properties::parse(text.as_bytes(), "server.properties").unwrap())
    }

    #[test]
    fn the_reporter_runs_if_it_is_named_and_enabled() {
        let named = format!("{REPORTERS}={CSV_REPORTER}\n");
        for text in ["", &named, "kafka.csv.metrics.dir=/d\n"] {
            let (config, warnings) = read(text).unwrap();
            assert_eq!((config.csv_reporter, warnings), (None, vec![]), "{text}");
        }
        let on = format!("{named}{ENABLED}=true\n");
        let (config, warnings) = read(&on).unwrap();
        let expected = CsvReporterConfig {
            dir: PathBuf::from("kafka_metrics"),
            interval: Duration::from_secs(10),
        };
        assert_eq!((config.csv_reporter, warnings), (Some(expected), vec![]));
        let (config, _) = read(&format!("{on}{INTERVAL}=3\n{DIR}=/m")).unwrap();
        let csv = config.csv_reporter.unwrap();
        assert_eq!((csv.dir, csv.interval), ("/m".into(), Duration::from_secs(3)));
    }

    #[test]
    fn what_will_not_be_reported_is_said() {
        let text = format!("{REPORTERS}=com.example.Ganglia, ,{CSV_REPORTER}\n{ENABLED}=true\n");
        let (config, warnings) = read(&text).unwrap();
        assert!(config.csv_reporter.is_some());
        assert_eq!(
            warnings,
            [format!(
                "server.properties:2: {REPORTERS}=com.example.Ganglia, ,{CSV_REPORTER}: Class com.example.Ganglia could \
                 not be found and reports nothing; the one reporter here is {CSV_REPORTER}"
            )]
        );
        let (config, warnings) = read(&format!("{ENABLED}=true\n")).unwrap();
        assert_eq!(config.csv_reporter, None);
        assert_eq!(
            warnings,
            [format!(
                "server.properties:2: {ENABLED}=true: has no effect unless {REPORTERS} names {CSV_REPORTER}"
            )]
        );
    }

    #[test]
    fn settings_of_a_reporter_that_runs_are_checked() {
        let wrong = format!("{INTERVAL}=0\n{DIR}=\n");
        assert!(read(&wrong).is_ok());
        let errors = read(&format!("{REPORTERS}={CSV_REPORTER}\n{ENABLED}=true\n{wrong}")).unwrap_err();
        assert_eq!(
            errors.to_string(),
            format!(
                "server.properties:4: {INTERVAL}=0: requirement failed: {INTERVAL} must be equal or greater than 1\n\
                 server.properties:5: {DIR}=: requirement failed: {DIR} must name a directory"
            )
        );
    }
}
