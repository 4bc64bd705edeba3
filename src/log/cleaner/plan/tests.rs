use super::*;

/// Segments of these sizes with ten offsets each, one second apart.
fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
    let facts = |(i, size): (i64, &u64)| SegmentFacts {
        base: i * 10,
        next: (i + 1) * 10,
        size: *size,
        index_size: size / 10,
        modified: WallMs(i * 1000),
    };
    (0..).zip(sizes).map(facts).collect()
}

#[test]
fn cleaning_begins_where_it_ended_but_never_outside_of_the_log() {
    let first = |remembered, start, end| FirstDirty::of(remembered, start, end).offset();
    assert_eq!(first(None, 5, 20), 5);
    assert_eq!(first(Some(7), 5, 20), 7);
    assert_eq!(first(Some(30), 5, 20), 20, "the log was cut since (KAFKA-3330)");
    assert_eq!(first(None, 5, 5), 5);
    assert_eq!(
        FirstDirty::of(Some(3), 5, 20),
        FirstDirty::Reset {
            start: 5,
            remembered: 3
        }
    );
    assert_eq!(first(Some(3), 5, 20), 5);
}

#[test]
fn dirt_is_what_lies_behind_the_first_dirty_offset() {
    let s = segments(&[100, 50, 50]);
    let dirt = |first, within| Dirt::of(&s, first, within);
    assert_eq!(dirt(0, 0), Dirt { clean: 0, dirty: 200 });
    assert_eq!(
        dirt(10, 0),
        Dirt {
            clean: 100,
            dirty: 100
        }
    );
    assert_eq!(
        dirt(15, 20),
        Dirt {
            clean: 120,
            dirty: 80
        }
    );
    assert_eq!(dirt(30, 0), Dirt { clean: 200, dirty: 0 });
    assert_eq!(dirt(10, 0).ratio(), Some(0.5));
    assert_eq!(dirt(30, 0).ratio(), Some(0.0));
    assert_eq!(Dirt::of(&segments(&[0, 0]), 0, 0).ratio(), None);
}

#[test]
fn the_filthiest_log_that_is_dirty_enough_comes_first() {
    let candidate = |log, ratio, least| Candidate { log, ratio, least };
    let all = |c: &[(&'static str, f64, f64)]| filthiest(c.iter().map(|(l, r, m)| candidate(*l, *r, *m)));
    assert_eq!(
        all(&[("a", 0.6, 0.5), ("b", 0.9, 0.5), ("c", 0.95, 0.99)]),
        Some("b")
    );
    assert_eq!(
        all(&[("a", 0.5, 0.5), ("b", 0.0, 0.0)]),
        None,
        "the least is not enough"
    );
    assert_eq!(all(&[("a", 0.7, 0.0), ("b", 0.7, 0.0)]), Some("a"));
}

#[test]
fn groups_stay_within_both_bounds_and_keep_the_order() {
    let s = segments(&[10; 10]);
    const FREE: u64 = u64::MAX;
    assert_eq!(groups(&s, FREE, FREE), vec![0..10]);
    let alone: Vec<_> = (0..10).map(|i| i..i + 1).collect();
    assert_eq!(groups(&s, 1, FREE), alone);
    assert_eq!(groups(&s, FREE, 1), alone);
    assert_eq!(groups(&s, 31, FREE), [0..3, 3..6, 6..9, 9..10]);
    assert_eq!(groups(&s, 30, FREE), [0..3, 3..6, 6..9, 9..10]);
    assert_eq!(groups(&s, FREE, 3), [0..3, 3..6, 6..9, 9..10]);
    assert_eq!(groups(&s, 29, FREE)[0], 0..2);
    assert!(groups(&[], 1, 1).is_empty());
    let mixed = segments(&[5, 100, 5, 0, 0, 5]);
    assert_eq!(groups(&mixed, 10, FREE), [0..1, 1..2, 2..6]);
}

#[test]
fn a_group_s_offsets_fit_four_bytes() {
    let max = i64::from(i32::MAX);
    let with_end = |next| {
        let mut s = segments(&[10, 10, 10]);
        (s[1].next, s[2].base, s[2].next) = (next, next, next + 10);
        groups(&s, u64::MAX, u64::MAX)
    };
    // The last offset of the second is i32::MAX, then one more.
    assert_eq!(with_end(max + 1), [0..2, 2..3]);
    assert_eq!(with_end(max + 2), [0..1, 1..2, 2..3]);
    assert_eq!(with_end(max + 1 - 10).len(), 1);
    assert_eq!(with_end(max - 8), [0..2, 2..3]);
}

#[test]
fn a_marker_is_kept_for_its_time_counted_back_from_the_last_clean_segment() {
    let s = segments(&[10; 4]);
    let horizon = |first, retention| delete_horizon(&s, first, Duration::from_millis(retention));
    assert_eq!(horizon(0, 0), None, "nothing is clean");
    assert_eq!(horizon(30, 1500), Some(WallMs(500)));
    assert_eq!(horizon(35, 0), Some(WallMs(2000)), "half clean is not clean");
    assert_eq!(horizon(40, u64::MAX), Some(WallMs(3000 - i64::MAX)));
    let retains = |i: usize, first, horizon| retains_deletes(&s[i], first, horizon);
    assert!(retains(1, 20, Some(WallMs(999))));
    assert!(!retains(1, 20, Some(WallMs(1000))));
    assert!(retains(1, 19, Some(WallMs(5000))), "it may never have been read");
    assert!(retains(1, 20, None));
}

#[test]
fn segments_are_taken_in_whole_except_those_that_no_table_holds() {
    let s = segments(&[10])[0];
    assert_eq!(share(&s, 0, 10, 10), Share::Whole);
    assert_eq!(share(&s, 0, 9, 10), Share::Nothing);
    assert_eq!(share(&s, 0, 0, 9), Share::UntilFull);
    assert_eq!(share(&s, 4, 6, 9), Share::Whole, "what comes before is clean");
    assert_eq!(share(&s, 4, 5, 6), Share::Nothing);
}
