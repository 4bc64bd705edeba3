//! Standard output for bytes of which nobody knows what they are, such as messages.
//!
//! Files and pipes get them as they are. So does a terminal, except on Windows: its console takes text
//! alone, which std hands over as such whatever the code page is, and refuses what is no UTF-8. There
//! each stretch of bytes that is no text shows as U+FFFD, as a terminal elsewhere would show it.

use std::io::{self, IsTerminal, StdoutLock, Write};

/// Standard output, locked.
#[derive(Debug)]
pub(super) struct Output {
    out: StdoutLock<'static>,
    /// On a console that takes only text.
    text: Option<Text>,
}

/// Locks standard output.
pub(super) fn output() -> Output {
    let out = io::stdout().lock();
    let text = (cfg!(windows) && out.is_terminal()).then(Text::default);
    Output { out, text }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.text {
            None => self.out.write(bytes),
            Some(text) => {
                self.out.write_all(text.take(bytes).as_bytes())?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Makes text of bytes that come in pieces.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character whose end is still to come.
    partial: Vec<u8>,
}

impl Text {
    /// The text of what came so far and was not given out yet, up to an unfinished character.
    fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text += chunk.valid();
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_unfinished(invalid) {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}

/// Whether more bytes may make a character of these.
fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_anywhere_and_what_is_no_text_is_shown_as_such() {
        let bytes = b"a\xe4\xb8\x89\xf0\x9f\x98\x80b\xff\xc3\n\xe4\xb8x";
        let wanted = "a三😀b\u{fffd}\u{fffd}\n\u{fffd}x";
        for cut in 0..=bytes.len() {
            let mut text = Text::default();
            let got = text.take(&bytes[..cut]) + &text.take(&bytes[cut..]);
            assert_eq!(got, wanted, "cut at {cut}");
            assert!(text.partial.is_empty());
        }
        let mut text = Text::default();
        let singly: String = bytes.chunks(1).map(|b| text.take(b)).collect();
        assert_eq!(singly, wanted);
    }
}
