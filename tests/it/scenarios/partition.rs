//! Tells stories to one broker's standing in a partition, with a list of words in the place of its log and
//! nobody else there: what followers ask, what leaders answer and what ZooKeeper says is in the script.
//!
//! This is broker 1; replicas are 1,2,3 unless a decision says otherwise.
//!
//! Script: `log a b c` (what is on the disk) | `checkpoint 2` | `decide leader 1 epoch 0 isr 1,2 [version 7]
//! [replicas 1,2]` | `stop` (copying) | `append x y` | `waits 4` (acks=-1 for offset 4, min.insync.replicas 2) |
//! `enough 2` (before an append) | `fetch 2 at 3 [over 5]` (the first over a connection; without, a later one) | `lag` (members behind for 10 s leave) | `written 8`,
//! `overtaken leader 2 epoch 3 isr 2 version 9`, `gone`, `unregistered` (what came of the proposal) | `ask 2 [over 5]` (where
//! to ask broker 2 from, over a connection) | `answer 2 watermark 4 x y` | `range 2 3..9` (the leader's log) |
//! `refused 2` (it says that it does not lead) |
//! `at 2000` (the time, in ms) | `show`.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use kafka::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, TopicPartition};
use kafka::log::LogPosition;
use kafka::replica::Outcome;
use kafka::replica::agreement::{Extent, Question, Range, Verdict};
use kafka::replica::standing::{Copy, Decision, Role, Standing, Told};
use kafka::util::clock::Mono;

#[test]
fn partition_stories() {
    super::run::<Story>("partition");
}

const ME: BrokerId = BrokerId(1);
/// `replica.lag.time.max.ms`
const LAG: Duration = Duration::from_secs(10);
/// How many bytes a message counts for.
const BYTES: u64 = 8 << 10;
/// How long a fetch waits.
const WAIT: Duration = Duration::from_millis(500);

struct Story {
    standing: Standing,
    log: Vec<String>,
    checkpoint: i64,
    now: Mono,
    proposal: Option<LeaderAndIsr>,
    question: Option<Question>,
    /// The last one of a fetch of which the script does not say over which it comes.
    connections: u64,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            standing: Standing::new(TopicPartition::new("t", 0), ME),
            log: Vec::new(),
            checkpoint: 0,
            now: Mono::default(),
            proposal: None,
            question: None,
            connections: 1000,
        }
    }
}

impl super::Core for Story {
    fn line(&mut self, words: &[&str], out: &mut String) {
        match *words {
            ["log", ref all @ ..] => self.log = all.iter().map(|m| (*m).to_owned()).collect(),
            ["checkpoint", offset] => self.checkpoint = number(offset),
            ["at", ms] => self.now = Mono::from_millis(ms.parse().unwrap()),
            ["decide", ref rest @ ..] => self.decide(rest, out),
            ["stop"] => self.standing.stop_following(),
            ["append", ref all @ ..] => {
                self.log.extend(all.iter().map(|m| (*m).to_owned()));
                self.rise(out);
            }
            ["enough", least] => match self.standing.check_in_sync(least.parse().unwrap()) {
                Ok(()) => writeln!(out, "enough").unwrap(),
                Err(e) => writeln!(out, "refuse: {e}").unwrap(),
            },
            ["waits", offset] => {
                writeln!(out, "{:?}", self.standing.replicated(number(offset), 2)).unwrap();
            }
            ["fetch", id, "at", offset, ref over @ ..] => {
                let connection = match over {
                    ["over", connection] => connection.parse().unwrap(),
                    [] => {
                        self.connections += 1;
                        // What was asked first over it has been answered.
                        let _ = self
                            .standing
                            .asked(BrokerId(id.parse().unwrap()), self.connections);
                        self.connections
                    }
                    _ => panic!("no such line: {}", words.join(" ")),
                };
                self.fetch(BrokerId(id.parse().unwrap()), number(offset), connection, out);
            }
            ["lag"] => {
                let proposal = self.standing.drop_lagging(self.end(), LAG, self.now);
                self.propose(proposal, out);
            }
            ["written", version] => self.settle(Outcome::Written(version.parse().unwrap()), out),
            ["gone"] => self.settle(Outcome::Gone, out),
            ["unregistered"] => self.settle(Outcome::Unregistered, out),
            ["overtaken", ref rest @ ..] => self.settle(Outcome::Overtaken(decision(rest).state), out),
            ["ask", leader] => self.ask(leader, 1, out),
            ["ask", leader, "over", connection] => self.ask(leader, connection.parse().unwrap(), out),
            ["answer", leader, "watermark", watermark, ref all @ ..] => {
                self.answer(BrokerId(leader.parse().unwrap()), number(watermark), all, out);
            }
            ["refused", leader] => {
                let question = self.question.take().expect("something was asked");
                self.standing
                    .refused(BrokerId(leader.parse().unwrap()), &question);
            }
            ["range", leader, range] => self.range(BrokerId(leader.parse().unwrap()), range, out),
            ["show"] => self.show(out),
            _ => panic!("no such line: {}", words.join(" ")),
        }
    }
}

impl Story {
    fn end(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap()
    }

    fn extent(&self) -> Extent {
        Extent {
            start: 0,
            end: self.end(),
        }
    }

    fn decide(&mut self, words: &[&str], out: &mut String) {
        let decision = decision(words);
        if let Err(e) = self.standing.admits(&decision) {
            writeln!(out, "refuse: {e}").unwrap();
            return;
        }
        let copy = Copy {
            start: 0,
            end: place(self.end()),
            checkpoint: (self.standing.role() == Role::None).then_some(self.checkpoint),
        };
        let change = self.standing.take(&decision, copy, self.now);
        let at = self.standing.high_watermark().offset;
        if self.standing.leads() {
            self.standing.place_high_watermark(place(at), place(self.end()));
        }
        self.proposal = None;
        writeln!(
            out,
            "{change:?}, high watermark {}",
            self.standing.high_watermark().offset
        )
        .unwrap();
    }

    fn fetch(&mut self, follower: BrokerId, offset: i64, connection: u64, out: &mut String) {
        match self.standing.asked(follower, connection) {
            Err(e) => return writeln!(out, "refuse: {e}").unwrap(),
            Ok(Told::Maybe) => return writeln!(out, "answers at once").unwrap(),
            Ok(Told::Present) => {}
        }
        let there = (0..=self.end()).contains(&offset).then(|| place(offset));
        match self.standing.fetched(follower, there, self.end(), WAIT, self.now) {
            Ok(proposal) => self.propose(proposal, out),
            Err(e) => writeln!(out, "refuse: {e}").unwrap(),
        }
        self.rise(out);
    }

    fn rise(&mut self, out: &mut String) {
        if self.standing.leads() && self.standing.raise_high_watermark(place(self.end())) {
            writeln!(out, "high watermark {}", self.standing.high_watermark().offset).unwrap();
        }
    }

    fn propose(&mut self, proposal: Option<LeaderAndIsr>, out: &mut String) {
        if let Some(proposal) = proposal {
            let isr = list(&proposal.isr);
            writeln!(out, "propose isr {isr} on version {}", proposal.zk_version).unwrap();
            self.proposal = Some(proposal);
        }
    }

    fn settle(&mut self, outcome: Outcome, out: &mut String) {
        let proposal = self.proposal.take().expect("something is proposed");
        let installed = self.standing.settle(&proposal, outcome);
        let isr = list(self.standing.in_sync());
        writeln!(out, "{} isr {isr}", if installed { "installed" } else { "keeps" }).unwrap();
        self.rise(out);
    }

    fn ask(&mut self, leader: &str, connection: u64, out: &mut String) {
        let leader = BrokerId(leader.parse().unwrap());
        let extent = self.extent();
        let asked = self.standing.ask(leader, connection, extent, |before, bytes| {
            Ok::<_, Infallible>(back(before, bytes))
        });
        self.question = asked.unwrap();
        match &self.question {
            Some(q) => writeln!(out, "asks from {}", q.offset).unwrap(),
            None => writeln!(out, "asks nothing").unwrap(),
        }
    }

    fn answer(&mut self, leader: BrokerId, watermark: i64, theirs: &[&str], out: &mut String) {
        let Some(question) = self.question.take() else {
            panic!("nothing was asked");
        };
        let (end, committed) = (self.end(), self.standing.high_watermark().offset);
        let Some(agreement) = self
            .standing
            .following(leader)
            .filter(|a| a.is_current(&question))
        else {
            writeln!(out, "void").unwrap();
            return;
        };
        let mut rest = theirs;
        if !agreement.is_whole() {
            let mine = &self.log[usize::try_from(question.offset).unwrap()..];
            let equal = mine.iter().zip(rest).take_while(|(m, t)| m == t).count();
            agreement.equal_up_to(question.offset + i64::try_from(equal).unwrap(), end);
            rest = &rest[equal..];
            if equal < mine.len() && !rest.is_empty() {
                match agreement.differs() {
                    Verdict::LookBack { before, bytes } => {
                        let from = back(before, bytes);
                        agreement.look_from(from);
                        rest = &[];
                        writeln!(out, "differs at {before}: looks from {from}").unwrap();
                    }
                    Verdict::Cut(to) => {
                        let lost = (committed - to).max(0);
                        writeln!(out, "cut {} from {to}, {lost} of them committed", end - to).unwrap();
                        self.log.truncate(usize::try_from(to).unwrap());
                        self.standing.was_cut(to);
                    }
                }
            }
        }
        self.log.extend(rest.iter().map(|m| (*m).to_owned()));
        let end = self.end();
        let high_watermark = self.standing.follow_high_watermark(watermark, end);
        writeln!(out, "{}: high watermark {high_watermark}", self.log.join(" ")).unwrap();
    }

    fn range(&mut self, leader: BrokerId, range: &str, out: &mut String) {
        let (start, end) = range.split_once("..").unwrap();
        let theirs = Extent {
            start: number(start),
            end: number(end),
        };
        let (mine, committed) = (self.extent(), self.standing.high_watermark().offset);
        let question = self.question.take().expect("something was asked");
        let agreement = self.standing.following(leader).expect("it is followed");
        let range = agreement.out_of_range(question.offset, mine, theirs, committed);
        writeln!(out, "{range:?}").unwrap();
        match range {
            Range::Again => {}
            Range::StartAt(_) => {
                self.log.clear();
                self.standing.was_cut(0);
            }
            Range::Shorter { end, bytes } => agreement.look_from(back(end, bytes)),
        }
    }

    fn show(&mut self, out: &mut String) {
        let s = &self.standing;
        let in_sync = match s.leads() {
            true => format!(", isr {}", list(s.in_sync())),
            false => String::new(),
        };
        writeln!(
            out,
            "{:?} epoch {}, high watermark {}{in_sync}; {}",
            s.role(),
            s.leader_epoch(),
            s.high_watermark().offset,
            self.log.join(" ")
        )
        .unwrap();
    }
}

fn back(before: i64, bytes: u64) -> i64 {
    (before - i64::try_from(bytes / BYTES).unwrap()).max(0)
}

fn place(offset: i64) -> LogPosition {
    LogPosition {
        offset,
        segment: 0,
        position: u64::try_from(offset).unwrap(),
    }
}

fn decision(words: &[&str]) -> Decision {
    let named = |name: &str| words.iter().position(|w| *w == name).map(|at| words[at + 1]);
    let epoch: i32 = named("epoch").unwrap().parse().unwrap();
    let state = LeaderAndIsr {
        leader: BrokerId(named("leader").unwrap().parse().unwrap()),
        leader_epoch: LeaderEpoch(epoch),
        isr: ids(named("isr").unwrap()),
        controller_epoch: ControllerEpoch(1),
        zk_version: named("version").map_or(epoch, |v| v.parse().unwrap()),
    };
    Decision {
        state,
        replicas: ids(named("replicas").unwrap_or("1,2,3")),
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

fn ids(text: &str) -> Vec<BrokerId> {
    text.split(',').map(|t| BrokerId(t.parse().unwrap())).collect()
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
