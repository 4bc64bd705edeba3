//! Tells stories to the core of a group coordinator: one partition of the offsets topic, with the
//! script in the place of clients, log and clock.
//!
//! Script: `fresh` (nothing is known, all groups are here) | `limits 10 1000` | `join G new=NAME|NAME
//! [type=T] [timeout=MS] PROTOCOL[:METADATA]...` | `sync G NAME GENERATION [NAME=SHARE...]` | `stored
//! ok|ERROR` (the oldest record on its way) | `heartbeat G NAME GENERATION` | `leave G NAME` | `commit G
//! NAME|- GENERATION` | `pass MS` | `describe G` | `list` | `leads` (a new leadership: the partition is
//! read) | `loaded [G GENERATION PROTOCOL NAME:TIMEOUT...]` (the reading ends) | `elsewhere` | `stops`.
//!
//! Of single groups: `may STATE become STATE` | `group NAME:PROTOCOL,PROTOCOL...` (one of these members)
//! | `select` | `supports PROTOCOL...`.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka::coordinator::effect::{Effect, Store, Ticket};
use kafka::coordinator::group::Group;
use kafka::coordinator::loader::Loaded;
use kafka::coordinator::schema::{GroupRecord, MemberRecord};
use kafka::coordinator::shard::Shard;
use kafka::coordinator::{Error, GroupState, Join, Protocol, SessionLimits, Sync, Unstored};
use kafka::replica::Term;
use kafka::util::clock::Mono;

#[test]
fn group_stories() {
    super::run::<Story>("group");
}

struct Story {
    shard: Shard,
    now: Mono,
    limits: SessionLimits,
    /// Who waits with which ticket.
    tickets: HashMap<Ticket, String>,
    next_ticket: u64,
    stores: VecDeque<(Term, Store)>,
    group: Group,
}

impl Default for Story {
    fn default() -> Self {
        // Those of Kafka's own tests.
        Story::new(SessionLimits {
            min_ms: 10,
            max_ms: 1000,
        })
    }
}

impl super::Core for Story {
    fn line(&mut self, words: &[&str], out: &mut String) {
        let mut fx = Vec::new();
        match *words {
            ["fresh"] => *self = Story::new(self.limits),
            ["limits", min, max] => {
                *self = Story::new(SessionLimits {
                    min_ms: min.parse().unwrap(),
                    max_ms: max.parse().unwrap(),
                });
            }
            ["join", group, member, ref more @ ..] => {
                let (id, new) = match member.strip_prefix("new=") {
                    Some(name) => ("", name),
                    None => (member, member),
                };
                let ticket = self.ticket(new);
                let join = join(group, id, new, more);
                self.shard.join(self.now, join, ticket, &mut fx);
            }
            ["sync", group, member, generation, ref shares @ ..] => {
                let ticket = self.ticket(member);
                let share = |s: &&str| {
                    let (name, share) = s.split_once('=').unwrap();
                    (name.to_owned(), bytes(share))
                };
                let sync = Sync {
                    group: name(group),
                    generation: generation.parse().unwrap(),
                    member_id: member.to_owned(),
                    assignment: shares.iter().map(share).collect(),
                };
                self.shard.sync(self.now, sync, ticket, &mut fx);
            }
            ["stored", outcome] => {
                let (term, store) = self.stores.pop_front().expect("a record is on its way");
                let outcome = unless_ok(outcome);
                self.shard.stored(self.now, term, &store, outcome, &mut fx);
            }
            ["heartbeat", group, member, generation] => {
                let generation = generation.parse().unwrap();
                let taken = self.shard.heartbeat(self.now, &name(group), member, generation);
                tell(taken, out);
            }
            ["leave", group, member] => {
                let left = self.shard.leave(self.now, &name(group), member, &mut fx);
                tell(left, out);
            }
            ["commit", group, member, generation] => {
                let member = if member == "-" { "" } else { member };
                let generation = generation.parse().unwrap();
                tell(self.shard.may_commit(&name(group), member, generation), out);
            }
            ["pass", ms] => {
                self.now = self.now + Duration::from_millis(ms.parse().unwrap());
                self.shard.tick(self.now, &mut fx);
            }
            ["describe", group] => self.describe(group, out),
            ["list"] => {
                let mut groups: Vec<String> = self
                    .shard
                    .list()
                    .map(|(id, kind)| format!("{id} {kind}"))
                    .collect();
                groups.sort();
                groups.iter().for_each(|g| writeln!(out, "{g}").unwrap());
            }
            ["leads"] => self.shard.take_over(Term::begin(), &mut fx),
            ["loaded", ref group @ ..] => {
                let term = self.shard.term().expect("it leads");
                self.shard.loaded(self.now, term, loaded(group), &mut fx);
            }
            ["elsewhere"] => self.shard.give_up(Error::NotCoordinator, &mut fx),
            ["stops"] => self.shard.give_up(Error::NotAvailable, &mut fx),
            ["may", from, "become", to] => {
                let may = state(to).may_follow(state(from));
                writeln!(out, "{}", if may { "yes" } else { "no" }).unwrap();
            }
            ["group", ref members @ ..] => self.group = group_of(members),
            ["select"] => {
                let selected = self.group.select_protocol();
                writeln!(out, "{}", selected.as_deref().unwrap_or("none")).unwrap();
            }
            ["supports", ref protocols @ ..] => {
                let protocols: Vec<Protocol> = protocols.iter().map(|p| protocol(p)).collect();
                let supports = self.group.supports(&protocols);
                writeln!(out, "{}", if supports { "yes" } else { "no" }).unwrap();
            }
            _ => panic!("no such line: {}", words.join(" ")),
        }
        for effect in fx {
            self.carry_out(effect, out);
        }
    }
}

impl Story {
    /// All groups are here, and there are none.
    fn new(limits: SessionLimits) -> Story {
        let mut shard = Shard::new(limits);
        let term = Term::begin();
        shard.take_over(term, &mut Vec::new());
        shard.loaded(Mono::default(), term, Loaded::default(), &mut Vec::new());
        Story {
            shard,
            now: Mono::default(),
            limits,
            tickets: HashMap::new(),
            next_ticket: 0,
            stores: VecDeque::new(),
            group: Group::new("g".into(), "consumer".to_owned()),
        }
    }

    fn ticket(&mut self, who: &str) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, who.to_owned());
        ticket
    }

    fn carry_out(&mut self, effect: Effect, out: &mut String) {
        let mut who = |ticket| self.tickets.remove(&ticket).expect("each is answered once");
        match effect {
            Effect::Joined(ticket, Ok(j)) => {
                let members = pairs(j.members.iter().map(|(id, m)| (&**id, m)));
                writeln!(
                    out,
                    "{} joined as {}: generation {} protocol {} leader {}{members}",
                    who(ticket),
                    j.member_id,
                    j.generation,
                    j.protocol,
                    j.leader_id
                )
                .unwrap();
            }
            Effect::Synced(ticket, Ok(share)) => {
                writeln!(out, "{} has [{}]", who(ticket), text(&share)).unwrap();
            }
            Effect::Joined(ticket, Err(e)) | Effect::Synced(ticket, Err(e)) => {
                writeln!(out, "{} is refused: {e:?}", who(ticket)).unwrap();
            }
            Effect::Dropped(ticket) => writeln!(out, "{} hears nothing", who(ticket)).unwrap(),
            Effect::Store(store) => {
                let r = &store.record;
                let members = pairs(r.members.iter().map(|m| (&*m.id, &m.assignment)));
                writeln!(
                    out,
                    "store {} generation {} protocol {} leader {}{members}",
                    store.group, r.generation, r.protocol, r.leader
                )
                .unwrap();
                let term = self.shard.term().expect("only a leader stores");
                self.stores.push_back((term, store));
            }
            Effect::Bury(group) => writeln!(out, "bury {group}").unwrap(),
            Effect::Note(note) => {
                let level = if note.is_warning() { "WARN" } else { "INFO" };
                writeln!(out, "{level} {note}").unwrap();
            }
        }
    }

    fn describe(&self, group: &str, out: &mut String) {
        let d = match self.shard.describe(&name(group)) {
            Ok(d) => d,
            Err(e) => return tell(Err(e), out),
        };
        writeln!(
            out,
            "{} type [{}] protocol [{}]",
            d.state, d.protocol_type, d.protocol
        )
        .unwrap();
        for m in d.members {
            writeln!(
                out,
                "  {} client {} host {} metadata [{}] share [{}]",
                m.id,
                m.client_id,
                m.client_host,
                text(&m.metadata),
                text(&m.assignment)
            )
            .unwrap();
        }
    }
}

fn tell(outcome: Result<(), Error>, out: &mut String) {
    match outcome {
        Ok(()) => writeln!(out, "ok").unwrap(),
        Err(e) => writeln!(out, "refused: {e:?}").unwrap(),
    }
}

/// `-` stands for the empty name.
fn name(word: &str) -> String {
    if word == "-" {
        String::new()
    } else {
        word.to_owned()
    }
}

fn bytes(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pairs<'a>(all: impl Iterator<Item = (&'a str, &'a Bytes)>) -> String {
    all.map(|(id, value)| format!(" {id}=[{}]", text(value)))
        .collect()
}

fn protocol(word: &str) -> Protocol {
    let (name, metadata) = word.split_once(':').unwrap_or((word, ""));
    Protocol {
        name: name.to_owned(),
        metadata: bytes(metadata),
    }
}

fn join(group: &str, id: &str, new: &str, more: &[&str]) -> Join {
    let mut join = Join {
        group: name(group),
        member_id: id.to_owned(),
        new_member_id: new.to_owned(),
        client_id: format!("client-of-{new}"),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 500,
        protocol_type: "consumer".to_owned(),
        protocols: Vec::new(),
    };
    for word in more {
        match word.split_once('=') {
            Some(("type", t)) => join.protocol_type = t.to_owned(),
            Some(("timeout", ms)) => join.session_timeout_ms = ms.parse().unwrap(),
            _ => join.protocols.push(protocol(word)),
        }
    }
    join
}

/// Members that have joined nothing yet.
fn group_of(members: &[&str]) -> Group {
    let mut group = Group::new("g".into(), "consumer".to_owned());
    // A record gives a member one protocol; its own are put in its place.
    for word in members {
        let (id, protocols) = word.split_once(':').unwrap();
        let record = record(1, "", &[&format!("{id}:10")]);
        let mut alone = Group::of_record("g".into(), record, Mono::default());
        let mut member = alone.remove(id).expect("it is of the record");
        member.protocols = protocols.split(',').map(protocol).collect();
        group.add(member);
    }
    group
}

fn loaded(words: &[&str]) -> Loaded {
    let mut loaded = Loaded::default();
    if let [group, generation, protocol, members @ ..] = words {
        let record = record(generation.parse().unwrap(), protocol, members);
        loaded.groups.insert(Arc::from(*group), record);
    }
    loaded
}

/// The first member leads; each has its name in capitals for its share.
fn record(generation: i32, protocol: &str, members: &[&str]) -> GroupRecord {
    let member = |word: &&str| {
        let (id, timeout) = word.split_once(':').unwrap();
        MemberRecord {
            id: id.into(),
            client_id: format!("client-of-{id}"),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: timeout.parse().unwrap(),
            subscription: Bytes::new(),
            assignment: bytes(&id.to_uppercase()),
        }
    };
    let members: Vec<MemberRecord> = members.iter().map(member).collect();
    GroupRecord {
        protocol_type: "consumer".to_owned(),
        generation,
        protocol: protocol.to_owned(),
        leader: members[0].id.clone(),
        members,
    }
}

fn unless_ok(word: &str) -> Result<(), Error> {
    Err(match word {
        "ok" => return Ok(()),
        "timed-out" => Unstored::TimedOut,
        "not-leader" => Unstored::NotLeader,
        "too-large" => Unstored::TooLarge,
        _ => panic!("no such outcome: {word}"),
    }
    .into())
}

fn state(word: &str) -> GroupState {
    let all = [
        GroupState::PreparingRebalance,
        GroupState::AwaitingSync,
        GroupState::Stable,
        GroupState::Dead,
    ];
    let found = all.into_iter().find(|s| s.to_string() == word);
    found.unwrap_or_else(|| panic!("no such state: {word}"))
}
