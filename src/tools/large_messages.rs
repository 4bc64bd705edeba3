//! The warnings before `max.message.bytes` of a topic exceeds what brokers and consumers take by
//! default, in Kafka's words. Knows no tool.

use ::log::error;

/// Kafka's `message.max.bytes` unless a broker says otherwise.
const DEFAULT_MAX_MESSAGE_BYTES: i32 = 1_000_012;
/// Kafka's `replica.fetch.max.bytes` and the consumer's `fetch.message.max.bytes`.
const DEFAULT_FETCH_BYTES: i32 = 1_048_576;

/// Whether a warning is due.
pub(super) fn is_large(max_message_bytes: i32) -> bool {
    max_message_bytes > DEFAULT_MAX_MESSAGE_BYTES
}

/// Warns that replicas may suffer and asks, on standard output, whether to go on. No answer is a no;
/// 0.9.0.1 dies of a null pointer then.
pub(super) fn confirm(asked: i32) -> bool {
    error!("{}", long_warning(asked));
    println!("Are you sure you want to continue? [y/n]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

/// What is said where only consumers can suffer.
pub(super) fn short_warning(asked: i32) -> String {
    let stars = "*".repeat(100);
    format!(
        "\n\n{stars}\n\
         *** WARNING: you are creating a topic where the max.message.bytes is greater than the consumer ***\n\
         *** default. This operation is potentially dangerous. Consumers will get failures if their    ***\n\
         *** fetch.message.max.bytes < the value you are using.                                        ***\n\
         {stars}\n\
         - value set here: {asked}\n\
         - Default Consumer fetch.message.max.bytes: {DEFAULT_FETCH_BYTES}\n\
         - Default Broker max.message.bytes: {DEFAULT_MAX_MESSAGE_BYTES}\n\n"
    )
}

fn long_warning(asked: i32) -> String {
    let stars = "*".repeat(100);
    format!(
        "\n\n{stars}\n\
         *** WARNING: you are creating a topic where the max.message.bytes is greater than the broker      ***\n\
         *** default. This operation is dangerous. There are two potential side effects:                  ***\n\
         *** - Consumers will get failures if their fetch.message.max.bytes < the value you are using     ***\n\
         *** - Producer requests larger than replica.fetch.max.bytes will not replicate and hence have    ***\n\
         ***   a higher risk of data loss                                                                 ***\n\
         *** You should ensure both of these settings are greater than the value set here before using    ***\n\
         *** this topic.                                                                                  ***\n\
         {stars}\n\
         - value set here: {asked}\n\
         - Default Broker replica.fetch.max.bytes: {DEFAULT_FETCH_BYTES}\n\
         - Default Broker max.message.bytes: {DEFAULT_MAX_MESSAGE_BYTES}\n\
         - Default Consumer fetch.message.max.bytes: {DEFAULT_FETCH_BYTES}\n\n"
    )
}
