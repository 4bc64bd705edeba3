//! The options that the Scala performance tools share (kafka.tools.PerfConfig).

use super::options::ArgType::{Integer, Long, String};
use super::options::OptionParser;

/// Declares them.
pub(super) fn accept(p: &mut OptionParser) {
    p.accepts_value(
        "messages",
        "count",
        Long,
        "",
        "REQUIRED: The number of messages to send or consume",
    );
    p.accepts_value(
        "reporting-interval",
        "size",
        Integer,
        "5000",
        "Interval at which to print progress info.",
    );
    p.accepts_value(
        "date-format",
        "date format",
        String,
        "yyyy-MM-dd HH:mm:ss:SSS",
        "The date format to use for formatting the time field. See java.text.SimpleDateFormat for options.",
    );
    p.accepts(
        "show-detailed-stats",
        "If set, stats are reported for each reporting interval as configured by reporting-interval",
    );
    p.accepts("hide-header", "If set, skips printing the header for the stats ");
    p.accepts_value(
        "message-size",
        "size",
        Integer,
        "100",
        "The size of each message.",
    );
    p.accepts_value(
        "batch-size",
        "size",
        Integer,
        "200",
        "Number of messages to write in a single batch.",
    );
    p.accepts_value(
        "compression-codec",
        "supported codec: NoCompressionCodec as 0, GZIPCompressionCodec as 1, SnappyCompressionCodec as 2, LZ4CompressionCodec as 3",
        Integer,
        "0",
        "If set, messages are sent compressed",
    );
    p.accepts("help", "Print usage.");
}
