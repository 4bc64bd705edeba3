//! What goes out over one connection, in order.
//!
//! A caller writes its request itself if no other one stands before it and the system takes it at once: no
//! task is woken for that. What the system does not take is left to a task of the connection's.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, oneshot};

use crate::util::shutdown::Stop;

/// So many requests may wait for the system to take them before callers wait too.
pub(super) const MOST: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Tells the task that something was left to it, or that nothing will be any more.
    left: Notify,
    /// Tells callers that fewer requests wait.
    room: Notify,
}

#[derive(Debug)]
struct State {
    /// `None` once it is closed.
    socket: Option<Arc<OwnedWriteHalf>>,
    waiting: VecDeque<Waiting>,
    /// Takes no more requests.
    is_closing: bool,
}

/// The rest of a request.
#[derive(Debug)]
struct Waiting {
    rest: BytesMut,
    written: Option<oneshot::Sender<()>>,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nothing is sent any more.
    Closed,
    /// The system's answer; nobody can send anything any more.
    Io(io::Error),
}

impl Outbox {
    pub(super) fn new(socket: OwnedWriteHalf) -> Outbox {
        Outbox {
            state: Mutex::new(State {
                socket: Some(Arc::new(socket)),
                waiting: VecDeque::new(),
                is_closing: false,
            }),
            left: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Sends `frame` after all that were given before, or notes it for sending; `before` is called in that order,
    /// before the first byte goes out. `written` hears when the system has taken the last one.
    ///
    /// # Errors
    /// [`Refused`]; nothing was done if it is `Closed`.
    pub(super) fn send(
        &self,
        mut frame: BytesMut,
        before: impl FnOnce(),
        written: Option<oneshot::Sender<()>>,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        let socket = match &state.socket {
            Some(socket) if !state.is_closing => socket,
            _ => return Err(Refused::Closed),
        };
        before();
        if state.waiting.is_empty() && write(socket, &mut frame).map_err(Refused::Io)? {
            tell(written);
            return Ok(());
        }
        state.waiting.push_back(Waiting { rest: frame, written });
        self.left.notify_one();
        Ok(())
    }

    /// Whether a caller need not wait before it sends.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        state.waiting.len() < MOST || state.is_closing || state.socket.is_none()
    }

    /// Returns once fewer requests wait than may, or nothing is sent any more.
    pub(super) async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // From here on a notice is not missed, even before the first poll.
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// Takes no more requests; those taken are sent.
    pub(super) fn finish(&self) {
        self.lock().is_closing = true;
        self.left.notify_one();
        self.room.notify_waiters();
    }

    /// Sends nothing any more; what waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.socket = None;
        state.waiting.clear();
        drop(state);
        self.left.notify_one();
        self.room.notify_waiters();
    }

    /// Sends what callers leave, until there will be no more of it or `stop`.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn send_what_is_left(&self, mut stop: Stop) -> io::Result<()> {
        loop {
            let socket = {
                let state = self.lock();
                let Some(socket) = &state.socket else {
                    return Ok(());
                };
                match (state.waiting.is_empty(), state.is_closing) {
                    (true, true) => return Ok(()),
                    (true, false) => None,
                    (false, _) => Some(socket.clone()),
                }
            };
            let Some(socket) = socket else {
                tokio::select! {
                    () = self.left.notified() => continue,
                    () = stop.wait() => return Ok(()),
                }
            };
            tokio::select! {
                ready = socket.writable() => ready?,
                () = stop.wait() => return Ok(()),
            }
            self.send_waiting(&socket)?;
        }
    }

    fn send_waiting(&self, socket: &OwnedWriteHalf) -> io::Result<()> {
        let mut state = self.lock();
        while let Some(first) = state.waiting.front_mut() {
            if !write(socket, &mut first.rest)? {
                break;
            }
            tell(first.written.take());
            state.waiting.pop_front();
            self.room.notify_waiters();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding this lock")
    }
}

/// Writes as much as the system takes at once, and says whether that was all.
fn write(socket: &OwnedWriteHalf, rest: &mut BytesMut) -> io::Result<bool> {
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest.advance(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn tell(written: Option<oneshot::Sender<()>>) {
    if let Some(written) = written {
        // Who waited for it may have gone.
        let _ = written.send(());
    }
}
