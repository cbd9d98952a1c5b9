use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::binding::Event;
use crate::pgoutput::{self, Cell, Message, Old, Relation, Tuple, Unreadable};

/// A row as it was written, with what is known of how it was before.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) relation: Arc<Relation>,
    pub(crate) event: Event,
    /// Empty when the row is gone.
    pub(crate) new: Tuple,
    pub(crate) old: Option<Old>,
    pub(crate) committed_at: OffsetDateTime,
}

/// What was read of the write-ahead log at once.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
}

/// The log counts its time from here.
const YEAR_2000: OffsetDateTime = time::macros::datetime!(2000-01-01 0:00 UTC);

/// Rows whose values are longer than this are told without their long values.
const LARGEST: usize = 1_048_576;

impl Batch {
    pub(crate) fn read<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Result<Self, Unreadable> {
        let mut relations: HashMap<u32, Arc<Relation>> = HashMap::new();
        let mut committed_at = YEAR_2000;
        let mut changes = Vec::new();
        for message in messages {
            let (relation, event, new, old) = match pgoutput::read(message)? {
                Message::Begin { committed_at: microseconds } => {
                    let since = time::Duration::microseconds(microseconds);
                    committed_at = YEAR_2000.checked_add(since).unwrap_or(YEAR_2000);
                    continue;
                }
                Message::Relation(relation) => {
                    relations.insert(relation.id, Arc::new(relation));
                    continue;
                }
                Message::Other => continue,
                Message::Insert { relation, new } => (relation, Event::Insert, new, None),
                Message::Update { relation, old, new } => (relation, Event::Update, new, old),
                Message::Delete { relation, old } => {
                    (relation, Event::Delete, Tuple::new(), Some(old))
                }
            };
            // Each reading tells of a table before the first of its rows.
            let Some(relation) = relations.get(&relation).cloned() else { continue };
            changes.push(Change { relation, event, new, old, committed_at });
        }
        Ok(Self { changes })
    }
}

impl Change {
    /// The row as it is, or as it was if it is gone: what conditions are about.
    pub(crate) fn subject(&self) -> Vec<(usize, Option<&str>)> {
        match (&self.event, &self.old) {
            (Event::Delete, Some(Old::Full(old) | Old::Key(old))) => present(old),
            _ => self.current(),
        }
    }

    /// Values of the new row, with those that the update did not touch where they are known.
    pub(crate) fn current(&self) -> Vec<(usize, Option<&str>)> {
        let cells = self.new.iter().enumerate().filter_map(|(index, cell)| match cell {
            Cell::Null => Some((index, None)),
            Cell::Text(text) => Some((index, Some(text.as_str()))),
            Cell::Unchanged => match &self.old {
                Some(Old::Full(old)) => match old.get(index) {
                    Some(Cell::Text(text)) => Some((index, Some(text.as_str()))),
                    _ => None,
                },
                _ => None,
            },
        });
        cells.collect()
    }

    /// The whole row as it was, if the log has it.
    pub(crate) fn before(&self) -> Option<Vec<(usize, Option<&str>)>> {
        match &self.old {
            Some(Old::Full(old)) => Some(present(old)),
            _ => None,
        }
    }

    /// What identified the row before the change, of the columns of its primary key.
    pub(crate) fn key(&self, columns: &[String]) -> Vec<(usize, Option<&str>)> {
        let cells = match &self.old {
            Some(Old::Key(old) | Old::Full(old)) => present(old),
            // The key did not change.
            None => self.current(),
        };
        let name = |index: usize| self.relation.columns.get(index).map(|column| &column.name);
        let of_key =
            |(index, _): &(usize, _)| name(*index).is_some_and(|name| columns.contains(name));
        cells.into_iter().filter(of_key).collect()
    }

    pub(crate) fn too_large(&self) -> bool {
        let old = match &self.old {
            Some(Old::Key(old) | Old::Full(old)) => old.as_slice(),
            None => &[],
        };
        let size = |cell: &Cell| match cell {
            Cell::Text(text) => text.len(),
            Cell::Null | Cell::Unchanged => 0,
        };
        self.new.iter().chain(old).map(size).sum::<usize>() > LARGEST
    }
}

fn present(tuple: &Tuple) -> Vec<(usize, Option<&str>)> {
    let cells = tuple.iter().enumerate().filter_map(|(index, cell)| match cell {
        Cell::Null => Some((index, None)),
        Cell::Text(text) => Some((index, Some(text.as_str()))),
        Cell::Unchanged => None,
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::Column;

    fn text(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }

    fn change(event: Event, new: Tuple, old: Option<Old>) -> Change {
        let column = |name: &str| Column { name: name.to_owned(), kind: 25 };
        let relation = Relation {
            id: 1,
            schema: "public".to_owned(),
            table: "t".to_owned(),
            columns: vec![column("id"), column("note")],
        };
        Change { relation: Arc::new(relation), event, new, old, committed_at: YEAR_2000 }
    }

    #[test]
    fn a_value_the_update_did_not_touch_is_told_only_if_the_log_has_it() {
        let new = vec![text("1"), Cell::Unchanged];
        let short = change(Event::Update, new.clone(), None);
        assert_eq!(short.current(), [(0, Some("1"))]);
        let full = Some(Old::Full(vec![text("1"), text("long")]));
        let full = change(Event::Update, new, full);
        assert_eq!(full.current(), [(0, Some("1")), (1, Some("long"))]);
        assert!(short.before().is_none() && full.before().is_some());
    }

    #[test]
    fn the_key_is_the_old_one_if_it_changed() {
        let key = ["id".to_owned()];
        let new = vec![text("2"), text("n")];
        assert_eq!(change(Event::Update, new.clone(), None).key(&key), [(0, Some("2"))]);
        let old = Some(Old::Key(vec![text("1"), Cell::Null]));
        assert_eq!(change(Event::Update, new, old.clone()).key(&key), [(0, Some("1"))]);
        let gone = change(Event::Delete, Tuple::new(), old);
        assert_eq!(gone.key(&key), [(0, Some("1"))]);
    }

    #[test]
    fn a_row_is_too_large_by_the_sum_of_its_values() {
        let half = text(&"x".repeat(LARGEST / 2));
        assert!(!change(Event::Insert, vec![half.clone(), half.clone()], None).too_large());
        assert!(change(Event::Insert, vec![half.clone(), half, text("x")], None).too_large());
    }
}
