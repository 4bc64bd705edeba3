//! What must hold between a broker's keys (KafkaConfig.validateValues), with Kafka's texts. Does not
//! check single keys: their rows do.

use super::InterBrokerProtocol;
use super::listeners::Listeners;
use super::logs::{log_dirs, retention, roll, roll_jitter};
use crate::config::Mistake;
use crate::config::definition::Values;
use crate::config::topic::COMPRESSION_TYPES;

/// Adds a mistake for each rule that does not hold. Rules about a key that could not be read at all see
/// its default, so one typing error is one mistake.
pub(super) fn check(v: &Values, listeners: &Listeners, mistakes: &mut Vec<Mistake>) {
    let mut broken = |key: &str, rule: String| mistakes.push(v.mistake(key, rule));
    let mut require = |holds: bool, key: &str, text: &str| {
        if !holds {
            broken(key, format!("requirement failed: {text}"));
        }
    };
    let id = v.int("broker.id");
    if v.boolean("broker.id.generation.enable") {
        require(
            (-1..=v.int("reserved.broker.max.id")).contains(&id),
            "broker.id",
            "broker.id must be equal or greater than -1 and not greater than reserved.broker.max.id",
        );
    } else {
        require(id >= 0, "broker.id", "broker.id must be equal or greater than 0");
    }
    let (key, ms) = roll(v);
    require(ms >= 1, key, "log.roll.ms must be equal or greater than 1");
    let (key, ms) = roll_jitter(v);
    require(ms >= 0, key, "log.roll.jitter.ms must be equal or greater than 0");
    let (key, ms) = retention(v);
    require(
        ms != 0,
        key,
        "log.retention.ms must be unlimited (-1) or, equal or greater than 1",
    );
    require(
        !log_dirs(v).is_empty(),
        "log.dirs",
        "log.dirs must name at least one directory",
    );
    // 0.9.0.1 divides by zero here.
    require(
        v.int("log.cleaner.threads") > 0,
        "log.cleaner.threads",
        "log.cleaner.threads must be at least 1",
    );
    require(
        v.long("log.cleaner.dedupe.buffer.size") / v.long("log.cleaner.threads").max(1) > 1 << 20,
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    );
    require(
        v.long("replica.fetch.wait.max.ms") <= v.long("replica.socket.timeout.ms"),
        "replica.socket.timeout.ms",
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary \
         socket timeouts",
    );
    require(
        v.long("replica.fetch.max.bytes") >= v.long("message.max.bytes"),
        "replica.fetch.max.bytes",
        "replica.fetch.max.bytes should be equal or greater than message.max.bytes",
    );
    // The text says it the wrong way round; it is Kafka's.
    require(
        v.long("replica.fetch.wait.max.ms") <= v.long("replica.lag.time.max.ms"),
        "replica.fetch.wait.max.ms",
        "replica.fetch.wait.max.ms should always be at least replica.lag.time.max.ms to prevent frequent changes \
         in ISR",
    );
    require(
        (-1..=v.long("offsets.topic.replication.factor")).contains(&v.long("offsets.commit.required.acks")),
        "offsets.commit.required.acks",
        "offsets.commit.required.acks must be greater or equal -1 and less or equal to \
         offsets.topic.replication.factor",
    );
    let compression = v.text("compression.type");
    require(
        COMPRESSION_TYPES
            .iter()
            .any(|t| t.eq_ignore_ascii_case(&compression)),
        "compression.type",
        &format!(
            "compression.type : {compression} is not valid. Valid options are {}",
            COMPRESSION_TYPES.join(",")
        ),
    );
    listeners.check(&mut require);
    let codec = v.int("offsets.topic.compression.codec");
    if !(0..=3).contains(&codec) {
        broken(
            "offsets.topic.compression.codec",
            format!("{codec} is an unknown compression codec"),
        );
    }
    let release = v.text("inter.broker.protocol.version");
    if InterBrokerProtocol::parse(&release).is_none() {
        let first: Vec<&str> = release.split('.').take(3).collect();
        broken(
            "inter.broker.protocol.version",
            format!("key not found: {}", first.join(".")),
        );
    }
}
