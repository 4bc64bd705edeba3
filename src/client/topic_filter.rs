//! Which topics a consumer wants: a white or a black list written as a regular expression.

use regex::Regex;

use crate::cluster::topic::OFFSETS_TOPIC;

/// A list whose pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{raw} is an invalid regex.")]
pub struct InvalidPattern {
    /// The pattern as it was given.
    pub raw: String,
}

/// A white list takes the topics that match as a whole, a black list all others.
#[derive(Clone, Debug)]
pub struct TopicFilter {
    pattern: String,
    whole: Regex,
    white: bool,
}

impl TopicFilter {
    /// Takes the topics whose whole name matches.
    pub fn whitelist(raw: &str) -> Result<TopicFilter, InvalidPattern> {
        TopicFilter::new(raw, true)
    }

    /// Takes the topics whose whole name does not match.
    pub fn blacklist(raw: &str) -> Result<TopicFilter, InvalidPattern> {
        TopicFilter::new(raw, false)
    }

    /// Kafka's normal form: blanks around and inside go, commas mean "or", quotes around go.
    fn new(raw: &str, white: bool) -> Result<TopicFilter, InvalidPattern> {
        let pattern: String = raw
            .trim()
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| if c == ',' { '|' } else { c })
            .collect();
        let quotes: &[char] = &['"', '\''];
        let pattern = pattern
            .trim_start_matches(quotes)
            .trim_end_matches(quotes)
            .to_owned();
        // The pattern must be one by itself: ")(" would be made legal by the group around it.
        let whole = Regex::new(&pattern)
            .and_then(|_| Regex::new(&format!("^(?:{pattern})$")))
            .map_err(|_| InvalidPattern { raw: raw.to_owned() })?;
        Ok(TopicFilter {
            pattern,
            whole,
            white,
        })
    }

    /// The pattern in its normal form, as it stands in the registration.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether this is a white list.
    pub fn is_whitelist(&self) -> bool {
        self.white
    }

    /// Whether `topic` is wanted. The offsets topic never is when internal topics are excluded.
    pub fn takes(&self, topic: &str, exclude_internal: bool) -> bool {
        self.whole.is_match(topic) == self.white && !(exclude_internal && topic == OFFSETS_TOPIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_normalised_and_match_whole_names() {
        let f = TopicFilter::whitelist(" 'white1, white2' ").unwrap();
        assert_eq!(f.pattern(), "white1|white2");
        assert!(f.takes("white1", true) && f.takes("white2", true));
        assert!(!f.takes("white11", true) && !f.takes("awhite2", true));
        let f = TopicFilter::whitelist("white_listed-topic.+").unwrap();
        assert!(f.takes("white_listed-topic1", true) && !f.takes("black1", true));
        assert!(TopicFilter::whitelist("[a").is_err());
        assert_eq!(
            TopicFilter::blacklist("*x").unwrap_err().to_string(),
            "*x is an invalid regex."
        );
    }

    #[test]
    fn internal_topics_stay_out_unless_asked_for() {
        let all = TopicFilter::whitelist(".*").unwrap();
        assert!(!all.takes("__consumer_offsets", true) && all.takes("__consumer_offsets", false));
        let black = TopicFilter::blacklist("black1").unwrap();
        assert!(!black.takes("black1", true) && black.takes("black2", true));
        assert!(!black.takes("__consumer_offsets", true) && black.takes("__consumer_offsets", false));
    }
}
