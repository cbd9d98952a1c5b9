use serde_json::Value;

/// Puts JSON objects together that a program writes one to a line. Long lines come in pieces, and a
/// piece does not say whether it is the last.
#[derive(Default)]
pub(crate) struct Pieces {
    open: String,
    /// The rest of a line that is too long to be kept.
    skipping: bool,
}

/// A piece may end up to three bytes earlier, so that no character is cut.
const PIECE: usize = 8 * 1024 - 3;
/// Larger objects are passed over: what we look for in them are a few numbers.
const LONGEST: usize = 4 * 1024 * 1024;

impl Pieces {
    /// The object that ends with this piece, if one does.
    pub(crate) fn push(&mut self, piece: &str) -> Option<Value> {
        let may_go_on = piece.len() >= PIECE;
        if self.skipping {
            self.skipping = may_go_on;
            return None;
        }
        self.open.push_str(piece);
        // Reading it in vain at each piece would take long.
        let found = match self.open.starts_with('{') && self.open.trim_end().ends_with('}') {
            true => serde_json::from_str(&self.open).ok(),
            false => None,
        };
        if found.is_some() || !may_go_on {
            self.open.clear();
        } else if self.open.len() > LONGEST || !self.open.starts_with('{') {
            self.open.clear();
            self.skipping = true;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn objects(pieces: &[&str]) -> Vec<Value> {
        let mut all = Pieces::default();
        pieces.iter().filter_map(|piece| all.push(piece)).collect()
    }

    #[test]
    fn lines_that_are_objects_are_found_among_others() {
        let found = objects(&["hello", r#"{"a":1}"#, "{not json}", "", "[1]", r#"{"b":2}"#]);
        assert_eq!(found, [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn a_long_line_is_put_together_again() {
        let long = json!({"a": "}".repeat(20_000), "b": 7}).to_string();
        let (one, rest) = long.split_at(8192);
        let (two, three) = rest.split_at(8190);
        assert_eq!(objects(&[one, two, three, r#"{"c":1}"#])[0]["b"], 7);
        // A line exactly as long as a piece is a line.
        let exact = json!({"a": "x".repeat(8192 - 8)}).to_string();
        assert_eq!(exact.len(), 8192);
        assert_eq!(objects(&[&exact, r#"{"c":1}"#]).len(), 2);
    }

    #[test]
    fn what_never_ends_is_passed_over() {
        let piece = "{".repeat(8192);
        let mut all = Pieces::default();
        for _ in 0..2_000 {
            assert_eq!(all.push(&piece), None);
            assert!(all.open.len() <= LONGEST + 8192);
        }
        assert_eq!(all.push("the end of that line"), None);
        assert_eq!(all.push(r#"{"a":1}"#), Some(json!({"a": 1})));
    }
}
