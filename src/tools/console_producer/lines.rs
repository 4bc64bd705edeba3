//! Lines of standard input, as java.io.BufferedReader splits them, given on as soon as they are there.

use std::io::{self, BufRead};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Groups of lines that may wait to be sent.
const AHEAD: usize = 16;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// Cuts bytes into lines: a line ends with LF, CR or CR LF. Knows nothing of characters.
#[derive(Debug, Default)]
struct Splitter {
    /// The beginning of a line whose end is still to come.
    partial: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Splitter {
    /// Takes more bytes and gives the lines that they end.
    fn feed(&mut self, mut bytes: &[u8], lines: &mut Vec<Bytes>) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.partial.extend_from_slice(bytes);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.partial.is_empty() {
                lines.push(Bytes::copy_from_slice(&bytes[..end]));
            } else {
                self.partial.extend_from_slice(&bytes[..end]);
                lines.push(std::mem::take(&mut self.partial).into());
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// The last line, if it has no end.
    fn finish(self) -> Option<Bytes> {
        (!self.partial.is_empty()).then(|| self.partial.into())
    }
}

/// Reads standard input in a thread that ends with the input, or with the process if it blocks in a read.
pub(super) fn read_standard_input() -> mpsc::Receiver<io::Result<Vec<Bytes>>> {
    let (lines, inbox) = mpsc::channel(AHEAD);
    let reading = std::thread::Builder::new().name("stdin".into()).spawn({
        let lines = lines.clone();
        move || read(io::BufReader::with_capacity(BUFFER, io::stdin().lock()), &lines)
    });
    if let Err(e) = reading {
        // There is a place: nothing was sent before.
        let _ = lines.try_send(Err(e));
    }
    inbox
}

fn read(mut input: impl BufRead, lines: &mpsc::Sender<io::Result<Vec<Bytes>>>) {
    let mut splitter = Splitter::default();
    loop {
        let mut ready = Vec::new();
        let taken = match input.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => {
                splitter.feed(bytes, &mut ready);
                bytes.len()
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                let _ = lines.blocking_send(Err(e));
                return;
            }
        };
        input.consume(taken);
        if !ready.is_empty() && lines.blocking_send(Ok(ready)).is_err() {
            return;
        }
    }
    if let Some(last) = splitter.finish() {
        let _ = lines.blocking_send(Ok(vec![last]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&str]) -> Vec<String> {
        let mut s = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            s.feed(piece.as_bytes(), &mut lines);
        }
        lines.extend(s.finish());
        lines
            .into_iter()
            .map(|l| String::from_utf8(l.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn lines_end_with_lf_cr_or_both_wherever_the_input_is_cut() {
        let expected = ["a", "", "b", "c", "", "d"];
        let text = "a\n\nb\r\nc\r\rd";
        assert_eq!(lines_of(&[text]), expected);
        for cut in 0..=text.len() {
            assert_eq!(lines_of(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        let singles: Vec<&str> = text.split("").collect();
        assert_eq!(lines_of(&singles), expected);
    }

    #[test]
    fn an_empty_input_has_no_line_and_a_last_end_makes_none() {
        assert!(lines_of(&[""]).is_empty());
        assert_eq!(lines_of(&["\n"]), [""]);
        assert_eq!(lines_of(&["x\r\n"]), ["x"]);
    }
}
