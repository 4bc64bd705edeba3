//! A member's life by hand-made time and hand-made answers.

use super::*;

fn at(ms: u64) -> Mono {
    Mono::from_millis(ms)
}

fn member() -> Membership {
    let mut m = Membership::new(Rules {
        group: "g".into(),
        session_timeout: Duration::from_millis(300),
        heartbeat_interval: Duration::from_millis(30),
        retry_backoff: Duration::from_millis(10),
    });
    m.prepared();
    m
}

fn protocols() -> Vec<GroupProtocol> {
    vec![GroupProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"topics"),
    }]
}

/// What is asked at that moment by a consumer that polls.
fn due(m: &mut Membership, now: u64) -> Option<Ask> {
    m.due(at(now), true, Some(&protocols))
}

fn closed<T>() -> connection::Result<T> {
    Err(connection::Error::Closed { peer: "h:1".into() })
}

fn find(m: &mut Membership, now: u64) {
    assert!(matches!(due(m, now), Some(Ask::Coordinator(r)) if r.group_id == "g"));
    let answer = GroupCoordinatorResponse {
        error: 0,
        node_id: 1,
        host: "h".into(),
        port: 9,
    };
    m.coordinator_found(at(now), Ok(answer)).unwrap();
}

fn join_answer(generation: i32, leader: &str) -> JoinGroupResponse {
    JoinGroupResponse {
        error: 0,
        generation_id: generation,
        protocol: "range".into(),
        leader_id: leader.into(),
        member_id: "me".into(),
        members: vec![],
    }
}

fn join_refused(code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error: code.0,
        ..join_answer(0, "")
    }
}

fn expect_join(m: &mut Membership, now: u64, member_id: &str) -> Try {
    match due(m, now) {
        Some(Ask::Join(r)) => {
            assert_eq!((r.member_id.as_str(), r.session_timeout_ms), (member_id, 300));
            assert_eq!((r.protocol_type.as_str(), r.protocols), ("consumer", protocols()));
        }
        other => panic!("a join is due, not {other:?}"),
    }
    m.current_try()
}

/// In generation 1 as a follower, at that moment.
fn stable(now: u64) -> Membership {
    let mut m = member();
    find(&mut m, now);
    let of = expect_join(&mut m, now, "");
    m.joined(at(now), of, Ok(join_answer(1, "other"))).unwrap();
    assert!(matches!(due(&mut m, now), Some(Ask::Sync(r)) if r.assignments.is_empty()));
    let share = SyncGroupResponse {
        error: 0,
        assignment: Bytes::from_static(b"share"),
    };
    m.synced(at(now), of, Ok(share)).unwrap();
    assert_eq!(due(&mut m, now), None, "the share is to be taken first");
    assert_eq!(m.take_share(at(now)), Some(Bytes::from_static(b"share")));
    assert!(m.is_stable() && !m.leads());
    m
}

/// Answers the heartbeat that is due.
fn beat(m: &mut Membership, now: u64, code: ErrorCode) {
    match due(m, now) {
        Some(Ask::Heartbeat(r)) => assert_eq!((r.generation_id, r.member_id.as_str()), (1, "me")),
        other => panic!("a heartbeat is due at {now}, not {other:?}"),
    }
    let of = m.current_try();
    m.beaten(at(now), of, Ok(ErrorOnlyResponse { error: code.0 }));
}

#[test]
fn a_leader_syncs_with_everybodys_share() {
    let mut m = member();
    find(&mut m, 0);
    let of = expect_join(&mut m, 0, "");
    m.joined(at(0), of, Ok(join_answer(1, "me"))).unwrap();
    assert_eq!(due(&mut m, 0), None, "it has to assign first");
    assert_eq!(m.leading(), Some((Some(AssignmentStrategy::Range), &[][..])));
    let shares = vec![GroupAssignment {
        member_id: "me".into(),
        assignment: Bytes::from_static(b"all"),
    }];
    m.led(shares.clone());
    match due(&mut m, 0) {
        Some(Ask::Sync(r)) => assert_eq!((r.generation_id, r.assignments), (1, shares)),
        other => panic!("{other:?}"),
    }
    let share = SyncGroupResponse {
        error: 0,
        assignment: Bytes::new(),
    };
    m.synced(at(0), of, Ok(share)).unwrap();
    assert_eq!(m.take_share(at(0)), Some(Bytes::new()));
    assert!(m.leads());
}

#[test]
fn nothing_is_joined_before_what_is_owned_is_given_up() {
    let mut m = Membership::new(member().rules);
    find(&mut m, 0);
    assert!(m.needs_preparation());
    assert_eq!(due(&mut m, 0), None);
    m.prepared();
    expect_join(&mut m, 0, "");
}

#[test]
fn refused_joins_are_tried_again_as_their_reason_wants() {
    for (code, wait, finds, member_id) in [
        (ErrorCode::GROUP_LOAD_IN_PROGRESS, 10, false, "me"),
        (ErrorCode::UNKNOWN_MEMBER_ID, 0, false, ""),
        (ErrorCode::NOT_COORDINATOR_FOR_GROUP, 10, true, "me"),
        (ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE, 10, true, "me"),
    ] {
        let mut m = stable(0);
        m.request_rejoin();
        assert!(m.needs_preparation());
        m.prepared();
        let of = expect_join(&mut m, 5, "me");
        m.joined(at(5), of, Ok(join_refused(code))).unwrap();
        assert!(!m.needs_preparation(), "{code}: once is enough");
        if finds {
            find(&mut m, 5);
        }
        if wait > 0 {
            assert_eq!(due(&mut m, 5 + wait - 1), None, "{code}");
            assert_eq!(m.deadline(true, true), Some(at(5 + wait)), "{code}");
        }
        expect_join(&mut m, 5 + wait, member_id);
    }
    for code in [
        ErrorCode::INVALID_SESSION_TIMEOUT,
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ErrorCode::INVALID_GROUP_ID,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode::UNKNOWN,
    ] {
        let mut m = member();
        find(&mut m, 0);
        let of = expect_join(&mut m, 0, "");
        assert!(m.joined(at(0), of, Ok(join_refused(code))).is_err(), "{code}");
        expect_join(&mut m, 10, "");
    }
}

#[test]
fn refused_syncs_join_again() {
    for (code, wait, finds, member_id) in [
        (ErrorCode::REBALANCE_IN_PROGRESS, 0, false, "me"),
        (ErrorCode::ILLEGAL_GENERATION, 0, false, ""),
        (ErrorCode::UNKNOWN_MEMBER_ID, 0, false, ""),
        (ErrorCode::GROUP_LOAD_IN_PROGRESS, 10, false, "me"),
        (ErrorCode::NOT_COORDINATOR_FOR_GROUP, 10, true, "me"),
    ] {
        let mut m = member();
        find(&mut m, 0);
        let of = expect_join(&mut m, 0, "");
        m.joined(at(0), of, Ok(join_answer(1, "other"))).unwrap();
        assert!(matches!(due(&mut m, 0), Some(Ask::Sync(_))));
        let refused = SyncGroupResponse {
            error: code.0,
            assignment: Bytes::new(),
        };
        m.synced(at(0), of, Ok(refused)).unwrap();
        assert_eq!(m.take_share(at(0)), None);
        if finds {
            find(&mut m, 0);
        }
        expect_join(&mut m, wait, member_id);
    }
}

#[test]
fn heartbeats_go_out_in_time_and_only_one_at_a_time() {
    let mut m = stable(0);
    beat(&mut m, 0, ErrorCode::NONE);
    assert_eq!(due(&mut m, 29), None);
    assert_eq!(m.deadline(true, true), Some(at(30)));
    assert!(matches!(due(&mut m, 30), Some(Ask::Heartbeat(_))));
    assert_eq!(due(&mut m, 90), None, "its answer is due");
    m.beaten(at(90), m.current_try(), Ok(ErrorOnlyResponse { error: 0 }));
    beat(&mut m, 90, ErrorCode::NONE);
}

#[test]
fn a_heartbeats_answer_tells_when_to_join_again() {
    for (code, member_id) in [
        (ErrorCode::REBALANCE_IN_PROGRESS, "me"),
        (ErrorCode::ILLEGAL_GENERATION, "me"),
        (ErrorCode::UNKNOWN_MEMBER_ID, ""),
    ] {
        let mut m = stable(0);
        beat(&mut m, 0, code);
        assert!(m.needs_preparation(), "{code}");
        assert_eq!(due(&mut m, 50), None, "{code}: no heartbeats meanwhile");
        m.prepared();
        expect_join(&mut m, 50, member_id);
    }
    let mut m = stable(0);
    beat(&mut m, 0, ErrorCode::NOT_COORDINATOR_FOR_GROUP);
    assert!(m.is_stable());
    find(&mut m, 0);
    beat(&mut m, 0, ErrorCode::NONE);
}

#[test]
fn a_coordinator_that_answers_no_heartbeat_for_a_session_is_looked_for_anew() {
    let mut m = stable(0);
    assert!(matches!(due(&mut m, 0), Some(Ask::Heartbeat(_))));
    assert_eq!(m.deadline(true, true), Some(at(301)));
    assert_eq!(due(&mut m, 300), None);
    find(&mut m, 301);
    beat(&mut m, 301, ErrorCode::NONE);
}

#[test]
fn a_lost_connection_means_looking_for_the_coordinator_and_failing_that_a_pause() {
    let mut m = stable(0);
    assert!(matches!(due(&mut m, 0), Some(Ask::Heartbeat(_))));
    m.beaten(at(0), m.current_try(), closed());
    assert!(matches!(due(&mut m, 0), Some(Ask::Coordinator(_))));
    m.coordinator_found(at(0), closed()).unwrap();
    assert_eq!((due(&mut m, 9), m.deadline(true, true)), (None, Some(at(10))));
    find(&mut m, 10);
    beat(&mut m, 10, ErrorCode::NONE);
    let mut m = member();
    find(&mut m, 0);
    let of = expect_join(&mut m, 0, "");
    m.joined(at(0), of, closed()).unwrap();
    assert_eq!(m.coordinator(), None);
}

#[test]
fn who_is_not_needed_is_not_looked_for() {
    let mut m = member();
    assert_eq!(m.due(at(0), false, None), None);
    assert_eq!(m.deadline(false, false), None);
}

#[test]
fn a_change_while_joining_means_joining_once_more() {
    let mut m = member();
    find(&mut m, 0);
    let of = expect_join(&mut m, 0, "");
    m.request_rejoin();
    m.joined(at(0), of, Ok(join_answer(1, "other"))).unwrap();
    due(&mut m, 0);
    let share = SyncGroupResponse {
        error: 0,
        assignment: Bytes::new(),
    };
    m.synced(at(0), of, Ok(share)).unwrap();
    m.take_share(at(0)).unwrap();
    assert!(m.needs_preparation());
}

#[test]
fn leaving_makes_a_stranger_of_the_member_and_late_answers_count_for_nothing() {
    let mut m = stable(0);
    assert!(matches!(due(&mut m, 0), Some(Ask::Heartbeat(_))));
    let of = m.current_try();
    let left = m.leave().unwrap();
    assert_eq!((left.group_id.as_str(), left.member_id.as_str()), ("g", "me"));
    assert_eq!(m.identity(), (-1, ""));
    assert_eq!(m.leave(), None, "it is no member any more");
    m.prepared();
    expect_join(&mut m, 0, "");
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID.0;
    m.beaten(at(1), of, Ok(ErrorOnlyResponse { error: unknown }));
    m.joined(at(1), of, Ok(join_answer(7, "me"))).unwrap();
    assert_eq!(m.identity(), (-1, ""));
    m.moved_on(of);
    assert!(!m.needs_preparation());
}
