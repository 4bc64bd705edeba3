//! One simulated broker: what its disk keeps, and the life of its process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use kafka::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, TopicPartition};
use kafka::log::LogPosition;
use kafka::replica::Term;
use kafka::replica::agreement::{Extent, Question, Range, Verdict};
use kafka::replica::standing::{Change, Copy, Decision, Role, Standing, Told};
use kafka::util::clock::Mono;

use super::world::Habits;

/// A message is its number.
pub type Message = u64;

/// How long a fetch waits for messages.
pub const WAIT: Duration = Duration::from_millis(500);
/// How many bytes a message counts for.
const BYTES: u64 = 4096;

/// What outlives the process.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub log: Vec<Message>,
    /// The high watermark as last written down.
    pub checkpoint: i64,
    /// So many messages are surely on the disk.
    pub synced: usize,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Broker {
    pub id: BrokerId,
    pub disk: Disk,
    pub life: Option<Life>,
    /// Counts lives.
    pub lives: u64,
    /// Stands still until then.
    pub paused_until: u64,
    /// Cut off from ZooKeeper until then.
    pub cut_off_until: u64,
    /// How long its log was when it forgot something, until it has that again.
    pub forgot: Option<usize>,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Life {
    pub number: u64,
    pub standing: Standing,
    pub controller_epoch: ControllerEpoch,
    /// The transaction that made this life's last node: since the first the cluster knows of it.
    pub registered: Option<i64>,
    /// To each leader: which of its lives, and the connection's number.
    pub connections: BTreeMap<BrokerId, (u64, u64)>,
    /// Over which connection to each leader a fetch is on its way, there or back.
    pub fetching: BTreeMap<BrokerId, u64>,
    /// It has asked to be let go.
    pub leaving: bool,
    /// When it looks next who lags.
    pub next_look: Mono,
    /// Followers' fetches that wait for more.
    pub parked: Vec<Parked>,
    /// Appends that wait for their replicas.
    pub waiting: Vec<(Message, i64)>,
}

impl Life {
    /// Whether what a controller says about the broker as it was registered by `czxid` is about this life.
    pub fn heeds(&self, czxid: i64) -> bool {
        self.registered.is_some_and(|last| czxid >= last)
    }
}

/// A follower's fetch that waits.
#[derive(Clone, Debug)]
pub struct Parked {
    pub from: BrokerId,
    pub connection: u64,
    pub term: Option<Term>,
    pub question: Question,
    pub until: u64,
}

/// What a leader answers.
#[derive(Clone, Debug)]
pub enum Answer {
    NotLeader,
    OutOfRange(Extent),
    Messages {
        high_watermark: i64,
        messages: Vec<Message>,
    },
}

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn at(offset: i64) -> LogPosition {
    LogPosition {
        offset,
        segment: 0,
        position: u64::try_from(offset).unwrap_or(0),
    }
}

fn back(before: i64, bytes: u64) -> i64 {
    (before - i64::try_from(bytes / BYTES).unwrap_or(i64::MAX)).max(0)
}

impl Disk {
    pub fn end(&self) -> i64 {
        i64::try_from(self.log.len()).expect("a short log")
    }

    fn extent(&self) -> Extent {
        Extent {
            start: 0,
            end: self.end(),
        }
    }

    fn cut(&mut self, to: i64) {
        self.log
            .truncate(usize::try_from(to).expect("not below the log's beginning"));
        self.synced = self.synced.min(self.log.len());
    }
}

impl Broker {
    pub fn new(id: i32) -> Broker {
        Broker {
            id: BrokerId(id),
            disk: Disk::default(),
            life: None,
            lives: 0,
            paused_until: 0,
            cut_off_until: 0,
            forgot: None,
        }
    }

    pub fn start(&mut self) {
        self.lives += 1;
        self.life = Some(Life {
            number: self.lives,
            standing: Standing::new(partition(), self.id),
            controller_epoch: ControllerEpoch(0),
            registered: None,
            connections: BTreeMap::new(),
            fetching: BTreeMap::new(),
            leaving: false,
            next_look: Mono::default(),
            parked: Vec::new(),
            waiting: Vec::new(),
        });
    }

    /// For a failure's text.
    pub fn described(&self) -> String {
        let role = self.life.as_ref().map(|l| l.standing.role());
        format!("{}: {role:?}, log ends at {}", self.id, self.disk.end())
    }

    /// Gives up its copy of the partition.
    pub fn delete(&mut self) {
        self.disk = Disk::default();
        self.forgot = None;
        if let Some(life) = &mut self.life {
            // A fetch that is on its way stays so: a connection takes another only after its answer.
            life.standing = Standing::new(partition(), self.id);
            life.waiting.clear();
        }
    }

    pub fn leads(&self) -> bool {
        self.life.as_ref().is_some_and(|l| l.standing.leads())
    }

    /// Takes a controller's decision about the broker as it was registered by `czxid`. Returns what it changed, if it
    /// was admitted.
    pub fn decide(
        &mut self,
        czxid: i64,
        epoch: ControllerEpoch,
        decision: &Decision,
        now: Mono,
        habits: Habits,
    ) -> Option<Change> {
        let life = self.life.as_mut()?;
        if !life.heeds(czxid) || epoch < life.controller_epoch {
            return None;
        }
        life.controller_epoch = epoch;
        life.standing.admits(decision).ok()?;
        let copy = Copy {
            start: 0,
            end: at(self.disk.end()),
            checkpoint: (life.standing.role() == Role::None).then_some(self.disk.checkpoint),
        };
        let change = life.standing.take(decision, copy, now);
        match change {
            Change::Leads(_) => {
                let high_watermark = life.standing.high_watermark().offset;
                life.standing
                    .place_high_watermark(at(high_watermark), at(self.disk.end()));
            }
            Change::Follows if habits.cut_to_high_watermark => {
                let high_watermark = life.standing.high_watermark().offset;
                self.disk.cut(high_watermark);
            }
            _ => {}
        }
        Some(change)
    }

    /// A producer's message, if this broker takes it.
    pub fn append(&mut self, message: Message, min_in_sync: i32) -> bool {
        let Some(life) = &mut self.life else {
            return false;
        };
        if !life.standing.leads() || life.standing.check_in_sync(min_in_sync).is_err() {
            return false;
        }
        life.waiting.push((message, self.disk.end()));
        self.disk.log.push(message);
        life.standing.raise_high_watermark(at(self.disk.end()));
        true
    }

    /// Answers a follower's question, or none yet if there is nothing for it. Also the in-sync set that is
    /// to be written then.
    pub fn answer(
        &mut self,
        from: BrokerId,
        connection: u64,
        question: &Question,
        now: Mono,
    ) -> (Option<Answer>, Option<LeaderAndIsr>) {
        let Some(life) = self.life.as_mut().filter(|l| l.standing.leads()) else {
            return (Some(Answer::NotLeader), None);
        };
        let Ok(told) = life.standing.asked(from, connection) else {
            return (Some(Answer::NotLeader), None);
        };
        let end = self.disk.end();
        let high_watermark = life.standing.high_watermark().offset;
        let there = (0..=end).contains(&question.offset);
        if told == Told::Maybe {
            let answer = match there {
                true => self.messages(question, high_watermark),
                false => Answer::OutOfRange(self.disk.extent()),
            };
            return (Some(answer), None);
        }
        let noted = life
            .standing
            .fetched(from, there.then(|| at(question.offset)), end, WAIT, now);
        let Ok(proposal) = noted else {
            return (Some(Answer::NotLeader), None);
        };
        life.standing.raise_high_watermark(at(end));
        let answer = match there {
            true if question.offset == end => None,
            true => Some(self.messages(question, high_watermark)),
            false => Some(Answer::OutOfRange(self.disk.extent())),
        };
        (answer, proposal)
    }

    /// Answers a fetch that waited.
    pub fn answer_late(&self, parked: &Parked) -> Answer {
        match &self.life {
            Some(life) if life.standing.leads() && life.standing.term() == parked.term => {
                self.messages(&parked.question, life.standing.high_watermark().offset)
            }
            _ => Answer::NotLeader,
        }
    }

    fn messages(&self, question: &Question, high_watermark: i64) -> Answer {
        let from = usize::try_from(question.offset).expect("within the log");
        let messages = self.disk.log.get(from..).unwrap_or_default();
        Answer::Messages {
            high_watermark,
            messages: messages.iter().copied().take(20).collect(),
        }
    }

    /// Where to ask `leader` from.
    pub fn ask(&mut self, leader: BrokerId, connection: u64, habits: Habits) -> Option<Question> {
        let extent = self.disk.extent();
        let life = self.life.as_mut()?;
        if habits.cut_to_high_watermark {
            // As 0.9.0.1: nothing is compared.
            let agreement = life.standing.following(leader)?;
            if !agreement.is_whole() {
                let begun = agreement.ask(connection, extent, extent.end, |b, _| Ok::<_, Infallible>(b));
                begun.ok()?;
                agreement.cut();
            }
        }
        let asked = life.standing.ask(leader, connection, extent, |before, bytes| {
            Ok::<_, Infallible>(back(before, bytes))
        });
        asked.ok()?
    }

    /// Takes over what `leader` answered.
    ///
    /// # Errors
    /// Committed messages would have to be cut.
    pub fn take(&mut self, leader: BrokerId, question: &Question, answer: Answer) -> Result<(), String> {
        let end = self.disk.end();
        let extent = self.disk.extent();
        let Some(life) = &mut self.life else { return Ok(()) };
        let committed = life.standing.high_watermark().offset;
        let Some(agreement) = life.standing.following(leader) else {
            return Ok(());
        };
        if !agreement.is_current(question) {
            return Ok(());
        }
        let (high_watermark, messages) = match answer {
            Answer::NotLeader => {
                life.standing.refused(leader, question);
                return Ok(());
            }
            Answer::OutOfRange(theirs) => {
                match agreement.out_of_range(question.offset, extent, theirs, committed) {
                    Range::Again => {}
                    Range::StartAt(_) => return Err("a leader begins after a copy".into()),
                    Range::Shorter { end, bytes } => agreement.look_from(back(end, bytes)),
                }
                return Ok(());
            }
            Answer::Messages {
                high_watermark,
                messages,
            } => (high_watermark, messages),
        };
        if agreement.verified(end) != question.offset {
            return Ok(());
        }
        let mut rest = &messages[..];
        if !agreement.is_whole() {
            let mine = &self.disk.log[usize::try_from(question.offset).expect("within the log")..];
            let equal = mine.iter().zip(rest).take_while(|(m, t)| m == t).count();
            agreement.equal_up_to(question.offset + i64::try_from(equal).expect("few"), end);
            rest = &rest[equal..];
            if equal < mine.len() && !rest.is_empty() {
                match agreement.differs() {
                    Verdict::LookBack { before, bytes } => {
                        agreement.look_from(back(before, bytes));
                        rest = &[];
                    }
                    Verdict::Cut(to) if to < committed => {
                        return Err(format!(
                            "broker {} must cut to {to}, below its high watermark {committed}",
                            self.id
                        ));
                    }
                    Verdict::Cut(to) => {
                        self.disk.cut(to);
                        life.standing.was_cut(to);
                    }
                }
            }
        }
        self.disk.log.extend(rest);
        let end = self.disk.end();
        life.standing.follow_high_watermark(high_watermark, end);
        Ok(())
    }
}
