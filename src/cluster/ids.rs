//! Numbers that must not be mixed up.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A broker's number, 0 or more; [`BrokerId::NONE`] stands for no broker.
    BrokerId
}
id! {
    /// Counts the decisions about one partition's leader and ISR; every later one is larger.
    LeaderEpoch
}
id! {
    /// Counts controllers; the first is 1, and 0 means none so far.
    ControllerEpoch
}

impl BrokerId {
    /// No broker, as a leader that does not exist.
    pub const NONE: BrokerId = BrokerId(-1);
}
