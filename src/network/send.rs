//! Writes an answer's parts to a socket: memory in one vectored write, files by `sendfile` where
//! the system has it. Does not know what the bytes mean.

use std::io::{self, IoSlice};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::service::Part;
use crate::util::fs::FileSlice;

/// Slices of memory handed to one write at most.
pub(super) const VECTORS: usize = 16;

/// Writes all of `parts`.
///
/// # Errors
/// The socket's, or `UnexpectedEof` when a file is shorter by now than its slice says or cannot be read; the
/// connection is then of no more use, as the frame's size was sent already.
pub(super) async fn send(stream: &mut TcpStream, parts: &[Part]) -> io::Result<()> {
    let mut rest = parts;
    while let Some(first) = rest.first() {
        match first {
            Part::File(slice) => {
                file(stream, slice).await?;
                rest = &rest[1..];
            }
            Part::Bytes(_) => {
                let run = rest
                    .iter()
                    .take_while(|p| matches!(p, Part::Bytes(_)))
                    .count()
                    .min(VECTORS);
                let more = rest.len() > run;
                memory(stream, &rest[..run], more).await?;
                rest = &rest[run..];
            }
        }
    }
    Ok(())
}

/// Writes a run of parts that are all bytes. `more` says that other parts follow at once, so a
/// system that can waits with sending a packet that is not full.
async fn memory(stream: &mut TcpStream, run: &[Part], more: bool) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); VECTORS];
    for (slot, part) in slices.iter_mut().zip(run) {
        if let Part::Bytes(bytes) = part {
            *slot = IoSlice::new(bytes);
        }
    }
    let mut left = &mut slices[..run.len()];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let n = write_vectored(stream, left, more).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, n);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
async fn write_vectored(stream: &mut TcpStream, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    use rustix::net::SendFlags;
    // Most answers are one piece, for which the simpler call costs less.
    let [slice] = slices else {
        return stream.write_vectored(slices).await;
    };
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    nonblocking(stream, |s| Ok(rustix::net::send(s, slice, flags)?)).await
}

#[cfg(not(target_os = "linux"))]
async fn write_vectored(stream: &mut TcpStream, slices: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
    stream.write_vectored(slices).await
}

/// Tries `work` whenever the socket takes more bytes, until it no longer would block.
#[cfg(target_os = "linux")]
async fn nonblocking(
    stream: &TcpStream,
    mut work: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        stream.writable().await?;
        match stream.try_io(tokio::io::Interest::WRITABLE, || work(stream)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn truncated(slice: &FileSlice, left: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!(
            "a file has been truncated during write: {left} of {} bytes from position {} are missing",
            slice.len, slice.position
        ),
    )
}

/// Sends a stretch of a file. When that fails, the file's owner hears of it if it was the file's fault: the
/// system's answer alone does not say so.
async fn file(stream: &mut TcpStream, slice: &FileSlice) -> io::Result<()> {
    let mut done = 0;
    match stretch(stream, slice, &mut done).await {
        Err(e) if !is_of_the_socket(e.kind()) => {
            crate::util::blocking::in_place(|| slice.look_into(done));
            // The peer would wait for what never comes.
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, e))
        }
        other => other,
    }
}

fn is_of_the_socket(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        NotConnected,
        TimedOut,
    ]
    .contains(&kind)
}

#[cfg(target_os = "linux")]
async fn stretch(stream: &mut TcpStream, slice: &FileSlice, done: &mut usize) -> io::Result<()> {
    /// What one call sends at most, so that a large slice leaves the thread to others in between.
    const CHUNK: usize = 1 << 20;
    let mut position = slice.position;
    while *done < slice.len {
        let n = nonblocking(stream, |s| {
            let want = (slice.len - *done).min(CHUNK);
            Ok(rustix::fs::sendfile(s, &*slice.file, Some(&mut position), want)?)
        })
        .await?;
        if n == 0 {
            return Err(truncated(slice, slice.len - *done));
        }
        *done += n;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn stretch(stream: &mut TcpStream, slice: &FileSlice, done: &mut usize) -> io::Result<()> {
    const CHUNK: usize = 128 << 10;
    let mut buffer = vec![0; slice.len.min(CHUNK)];
    while *done < slice.len {
        let want = (slice.len - *done).min(buffer.len());
        let n = crate::util::blocking::in_place(|| {
            crate::util::fs::read_at(&slice.file, &mut buffer[..want], slice.position + *done as u64)
        })?;
        if n == 0 {
            return Err(truncated(slice, slice.len - *done));
        }
        stream.write_all(&buffer[..n]).await?;
        *done += n;
    }
    Ok(())
}
