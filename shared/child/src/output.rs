use std::collections::VecDeque;

/// The beginning and the end of what a program wrote.
#[derive(Clone, Debug)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes that each of the two may have.
    room: usize,
    total: u64,
}

impl Kept {
    pub(crate) fn new(limit: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), room: limit.div_ceil(2), total: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(self.room - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.room)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.room);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Bytes that were written, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn dropped(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// With a line in the middle that says how much is missing, if anything is.
    pub fn text(&self) -> String {
        let (front, back) = self.tail.as_slices();
        let dropped = self.dropped();
        if dropped == 0 {
            return String::from_utf8_lossy(&[&self.head, front, back].concat()).into_owned();
        }
        let tail = [front, back].concat();
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[… {dropped} bytes left out …]\n{tail}")
    }
}

/// Cuts a stream into lines. A line longer than [`LONGEST`] comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
}

const LONGEST: usize = 8 * 1024;

impl Lines {
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = bytes.len().min(LONGEST - self.open.len());
            let end = memchr::memchr2(b'\n', b'\r', &bytes[..room]);
            let take = end.unwrap_or(room);
            self.open.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if end.is_some() {
                bytes = &bytes[1..];
                self.finish(&mut each);
            } else if self.open.len() == LONGEST {
                let rest = self.open.split_off(whole_characters(&self.open));
                self.finish(&mut each);
                self.open = rest;
            }
        }
    }

    /// Passes on the last line, which has no end.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        // Nothing stands between `\r` and `\n`, and an empty line says nothing.
        if !self.open.is_empty() {
            each(&String::from_utf8_lossy(&self.open));
            self.open.clear();
        }
    }
}

/// How much of a piece does not end within a character.
fn whole_characters(piece: &[u8]) -> usize {
    match std::str::from_utf8(piece) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => piece.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| out.push(line.to_owned()));
        }
        lines.finish(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_end_at_line_feeds_and_carriage_returns() {
        assert_eq!(lines(&[b"a\nb\r\nc\rd", b"e\n\nf"]), ["a", "b", "c", "de", "f"]);
        assert_eq!(lines(&[b"\xff\xfe\n"]), ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_of_whole_characters() {
        let long = "ö".repeat(10_000);
        let pieces = lines(&[b"x", long.as_bytes()]);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST), "too long");
        assert_eq!(pieces.concat(), format!("x{long}"));
    }

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut kept = Kept::new(8);
        for byte in b"abcdefghijkl" {
            kept.push(&[*byte]);
        }
        assert_eq!((kept.total(), kept.dropped()), (12, 4));
        assert_eq!(kept.text(), "abcd\n[… 4 bytes left out …]\nijkl");
        let mut whole = Kept::new(8);
        whole.push(b"abcdef");
        assert_eq!(whole.text(), "abcdef");
        let mut at_once = Kept::new(8);
        at_once.push(b"abcdefghijkl");
        assert_eq!(at_once.text(), kept.text());
    }
}
