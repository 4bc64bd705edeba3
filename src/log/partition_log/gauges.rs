//! What a log shows of itself, by Kafka's names.

use std::sync::Arc;

use crate::metrics::{Name, Registry};

use super::Log;

/// What a gauge shows of a log.
type Value = fn(&Log) -> u64;

/// Kafka's names, and what each shows.
const GAUGES: [(&str, Value); 4] = [
    ("NumLogSegments", |log| log.segment_count() as u64),
    ("LogStartOffset", |log| log.start_offset().cast_unsigned()),
    ("LogEndOffset", |log| log.end().offset.cast_unsigned()),
    ("Size", Log::size_bytes),
];

impl Log {
    /// Shows the gauges until the log is abandoned or gone.
    pub(crate) fn show_in(self: &Arc<Self>, metrics: &Registry) {
        let scope = metrics.scope();
        let partition = self.topic_partition.partition.to_string();
        let tags = [
            ("topic", &*self.topic_partition.topic),
            ("partition", partition.as_str()),
        ];
        for (name, value) in GAUGES {
            let log = Arc::downgrade(self);
            scope.gauge_of(Name::new("kafka.log", "Log", name, &tags), move || {
                let value = log.upgrade().map_or(0, |log| value(&log));
                i64::try_from(value).unwrap_or(i64::MAX)
            });
        }
        *self.gauges.lock().expect("a log user panicked") = Some(scope);
    }

    pub(super) fn show_no_more(&self) {
        self.gauges.lock().expect("a log user panicked").take();
    }
}
