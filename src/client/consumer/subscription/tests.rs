//! The rules of Java's SubscriptionState, and ours.

use super::*;

fn tp(name: &str) -> TopicPartition {
    TopicPartition::parse_dir_name(name).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn latest() -> Subscription {
    Subscription::new(AutoOffsetReset::Latest, true)
}

fn owned(s: &Subscription) -> Vec<String> {
    s.partitions().map(TopicPartition::dir_name).collect()
}

#[test]
fn topics_pattern_and_partitions_exclude_each_other_until_cleared() {
    let pattern = || Regex::new("^(?:t.*)$").unwrap();
    let mut s = latest();
    s.subscribe(set(&["t"])).unwrap();
    assert!(s.subscribe_pattern(pattern()).is_err());
    assert!(s.assign([tp("t-0")].into()).is_err());
    s.clear();
    s.assign([tp("t-0")].into()).unwrap();
    assert!(s.subscribe(set(&["t"])).is_err());
    s.clear();
    s.subscribe_pattern(pattern()).unwrap();
    assert!(s.subscribe(set(&["t"])).is_err());
    assert!(s.assign([tp("t-0")].into()).is_err());
}

#[test]
fn a_new_list_of_topics_is_news_for_the_group_and_drops_what_is_not_wanted() {
    let mut s = latest();
    assert!(s.subscribe(set(&["a", "b"])).unwrap());
    assert!(s.adopt(vec![tp("a-0"), tp("b-0")]));
    assert!(!s.subscribe(set(&["b", "a"])).unwrap(), "the same");
    assert!(s.subscribe(set(&["b", "c"])).unwrap());
    assert_eq!(owned(&s), ["b-0"]);
    assert!(!s.adopt(vec![tp("a-1"), tp("c-0")]), "a is not wanted any more");
    assert_eq!(owned(&s), ["c-0"]);
}

#[test]
fn a_pattern_follows_the_topics_there_are_but_for_kafkas_own() {
    let mut s = latest();
    s.subscribe_pattern(Regex::new("^(?:.*)$").unwrap()).unwrap();
    assert_eq!(s.shared_topics(), None, "nothing matches yet");
    let all = ["a", "__consumer_offsets"].map(str::to_owned);
    assert!(s.match_topics(all.iter()));
    assert!(!s.match_topics(all.iter()));
    assert_eq!(s.shared_topics(), Some(&set(&["a"])));
}

#[test]
fn what_stays_assigned_by_hand_keeps_its_position_and_what_the_group_gives_does_not() {
    let mut s = latest();
    s.assign([tp("t-0"), tp("t-1")].into()).unwrap();
    s.seek(&tp("t-0"), 5).unwrap();
    s.pause(&tp("t-0"), true).unwrap();
    s.assign([tp("t-0"), tp("t-2")].into()).unwrap();
    assert_eq!((s.position(&tp("t-0")), s.is_paused(&tp("t-0"))), (Some(5), true));
    assert!(matches!(s.seek(&tp("t-1"), 0), Err(Error::NotAssigned(_))));

    let mut s = latest();
    s.subscribe(set(&["t"])).unwrap();
    s.adopt(vec![tp("t-0")]);
    s.seek(&tp("t-0"), 5).unwrap();
    s.pause(&tp("t-0"), true).unwrap();
    s.adopt(vec![tp("t-0")]);
    assert_eq!((s.position(&tp("t-0")), s.is_paused(&tp("t-0"))), (None, false));
}

#[test]
fn positions_come_from_the_commit_else_from_the_reset_rule() {
    let mut s = latest();
    s.assign([tp("t-0"), tp("t-1")].into()).unwrap();
    assert_eq!(s.commits_wanted().len(), 2);
    s.settle().unwrap();
    assert_eq!(s.ends_wanted().count(), 0, "the commits are not known yet");
    s.set_committed(&tp("t-0"), Some(7.into()));
    s.set_committed(&tp("t-1"), None);
    s.settle().unwrap();
    assert_eq!(s.position(&tp("t-0")), Some(7));
    assert_eq!(s.ends_wanted().collect::<Vec<_>>(), [(&tp("t-1"), End::Latest)]);
    s.found(&tp("t-1"), End::Earliest, 0);
    assert!(!s.is_settled(), "that was another question's answer");
    s.found(&tp("t-1"), End::Latest, 3);
    assert!(s.is_settled());
    assert_eq!(s.consumed()[&tp("t-1")], 3.into());
}

#[test]
fn without_a_group_no_commit_is_asked_for() {
    let mut s = Subscription::new(AutoOffsetReset::Earliest, false);
    s.assign([tp("t-0")].into()).unwrap();
    assert!(s.commits_wanted().is_empty());
    s.settle().unwrap();
    assert_eq!(s.ends_wanted().count(), 1);
}

#[test]
fn without_a_reset_rule_the_user_is_told() {
    let mut s = Subscription::new(AutoOffsetReset::None, true);
    s.assign([tp("t-0")].into()).unwrap();
    s.set_committed(&tp("t-0"), None);
    let told = s.settle().unwrap_err().to_string();
    assert_eq!(told, "Undefined offset with no reset policy for partition: t-0");
    s.seek(&tp("t-0"), 9).unwrap();
    s.settle().unwrap();
    let told = s.out_of_range(&tp("t-0"), 9).unwrap_err().to_string();
    assert_eq!(
        told,
        "Offsets out of range with no configured reset policy for partitions: {t-0=9}"
    );
    s.out_of_range(&tp("t-0"), 8).unwrap();
    assert_eq!(s.position(&tp("t-0")), Some(9), "it was moved meanwhile");
}

#[test]
fn seeking_to_an_end_counts_though_a_commit_is_known_and_pausing_keeps_positions() {
    let mut s = latest();
    s.assign([tp("t-0")].into()).unwrap();
    s.set_committed(&tp("t-0"), Some(7.into()));
    s.settle().unwrap();
    s.seek_to(&tp("t-0"), End::Earliest).unwrap();
    s.settle().unwrap();
    assert_eq!(s.position(&tp("t-0")), None);
    s.found(&tp("t-0"), End::Earliest, 1);
    s.pause(&tp("t-0"), true).unwrap();
    assert_eq!((s.fetchable().count(), s.is_settled()), (0, true));
    s.pause(&tp("t-0"), false).unwrap();
    assert_eq!(s.fetchable().collect::<Vec<_>>(), [(&tp("t-0"), 1)]);
    s.out_of_range(&tp("t-0"), 1).unwrap();
    assert_eq!(s.ends_wanted().collect::<Vec<_>>(), [(&tp("t-0"), End::Latest)]);
}
