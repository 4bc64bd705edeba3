//! The task around the core: takes inputs in bursts, performs the effects, and keeps one flush of the
//! log on the way. While a flush runs, the next batch gathers: the more is asked, the more share one
//! fsync.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::log::{error, info, warn};
use bytes::BytesMut;
use tokio::sync::mpsc;

use crate::util::blocking;
use crate::util::clock::Clock;
use crate::util::shutdown::Stop;

use super::ConnId;
use super::connection::Input;
use super::core::{Batch, Core, Effect, Moment};
use super::error::Result;
use super::outbox::Outbox;
use super::snapshot;
use super::txn_log::TxnLog;

/// How many inputs are taken before the effects are performed.
const BURST: usize = 1000;

type Running<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// The core with all that its effects need.
pub(super) struct Pipeline {
    pub(super) core: Core,
    pub(super) inbox: mpsc::Receiver<Input>,
    pub(super) log: TxnLog,
    /// Where snapshots go.
    pub(super) snapshots: PathBuf,
    /// For connections to see how busy the server is.
    pub(super) outstanding: Arc<AtomicUsize>,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
}

impl Pipeline {
    /// Runs until stopped.
    ///
    /// # Errors
    /// When the log cannot be written: what was not acknowledged by then never is.
    pub(super) async fn run(self) -> Result<()> {
        let Pipeline {
            mut core,
            mut inbox,
            log,
            snapshots,
            outstanding,
            clock,
            mut stop,
        } = self;
        let mut log = Some(log);
        let mut outboxes: HashMap<ConnId, Arc<Outbox>> = HashMap::new();
        let mut inputs = Vec::with_capacity(BURST);
        let mut flush: Running<(TxnLog, i64, Result<()>)> = None;
        let mut snapshot: Running<Result<()>> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                (back, last, result) = finished(&mut flush) => {
                    flush = None;
                    if let Err(e) = result {
                        error!("Severe unrecoverable error, exiting: {e}");
                        return Err(e);
                    }
                    log = Some(back);
                    core.flushed(last, moment(&clock));
                }
                taken = inbox.recv_many(&mut inputs, BURST) => {
                    if taken == 0 {
                        break;
                    }
                    let now = moment(&clock);
                    for input in inputs.drain(..) {
                        take(&mut core, &mut outboxes, input, now);
                    }
                }
                result = finished(&mut snapshot) => {
                    snapshot = None;
                    if let Err(e) = result {
                        // Recovery then takes longer, for it begins at an older snapshot.
                        error!("The snapshot could not be stored, going on with the log alone: {e}");
                    }
                    core.snapshot_done();
                }
                () = clock.sleep_until(core.next_deadline()) => core.tick(moment(&clock)),
            }
            for effect in core.effects() {
                if let Effect::Snapshot { zxid, bytes } = effect {
                    let dir = snapshots.clone();
                    snapshot = Some(Box::pin(store(dir, zxid, bytes)));
                } else {
                    perform(&outboxes, effect);
                }
            }
            outstanding.store(core.outstanding(), Ordering::Relaxed);
            if let Some(ready) = log.take() {
                match core.take_batch() {
                    Some(batch) => flush = Some(Box::pin(append(ready, batch))),
                    None => log = Some(ready),
                }
            }
        }
        // A write that is on its way to the disk may finish; its answer has nowhere to go.
        if let Some(running) = flush {
            running.await.2?;
        }
        if let Some(running) = snapshot
            && let Err(e) = running.await
        {
            error!("The last snapshot could not be stored: {e}");
        }
        Ok(())
    }
}

fn moment(clock: &Clock) -> Moment {
    Moment {
        mono: clock.now(),
        wall: clock.wall(),
    }
}

/// The result of what runs; never returns when nothing does.
async fn finished<T>(running: &mut Running<T>) -> T {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

async fn append(mut log: TxnLog, batch: Batch) -> (TxnLog, i64, Result<()>) {
    blocking::on_thread(move || {
        let result = log.append(batch.first, &batch.records);
        if batch.roll {
            log.roll();
        }
        (log, batch.last, result)
    })
    .await
}

async fn store(dir: PathBuf, zxid: i64, bytes: BytesMut) -> Result<()> {
    blocking::on_thread(move || {
        let path = snapshot::write(&dir, zxid, &bytes)?;
        info!("Snapshotting: 0x{zxid:x} to {}", path.display());
        Ok(())
    })
    .await
}

fn take(core: &mut Core, outboxes: &mut HashMap<ConnId, Arc<Outbox>>, input: Input, now: Moment) {
    match input {
        Input::Open(conn, peer, outbox) => {
            outboxes.insert(conn, outbox);
            core.open(conn, peer, now);
        }
        Input::Connect(conn, request) => core.connect(conn, &request, now),
        Input::Request(conn, header, request) => core.request(conn, header, request, now),
        Input::Command(conn, word) => core.command(conn, word, now),
        Input::Closed(conn) => {
            outboxes.remove(&conn);
            core.closed(conn);
        }
    }
}

fn perform(outboxes: &HashMap<ConnId, Arc<Outbox>>, effect: Effect) {
    match effect {
        Effect::Send { conn, packet, reply } => {
            if let Some(outbox) = outboxes.get(&conn)
                && !outbox.push(&packet, reply)
            {
                warn!("Closing connection {}: its client reads nothing", conn.0);
                outbox.close();
            }
        }
        Effect::Established(conn) => {
            if let Some(outbox) = outboxes.get(&conn) {
                outbox.establish();
            }
        }
        Effect::Close(conn) => {
            if let Some(outbox) = outboxes.get(&conn) {
                outbox.close();
            }
        }
        // Taken out by the caller.
        Effect::Snapshot { .. } => {}
    }
}
