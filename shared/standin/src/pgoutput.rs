//! Reads what Postgres' own output plugin says in version 1 of its protocol, with values as texts.

/// One message; those that say nothing of rows are [`Message::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// When it was committed, in microseconds since 2000.
    Begin {
        committed_at: i64,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple,
    },
    Update {
        relation: u32,
        old: Option<Old>,
        new: Tuple,
    },
    Delete {
        relation: u32,
        old: Old,
    },
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: u32,
}

/// What is known of the row as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// Only what identifies it; the rest is null here and says nothing.
    Key(Tuple),
    /// All of it: the table has `replica identity full`.
    Full(Tuple),
}

pub(crate) type Tuple = Vec<Cell>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    /// Kept out of line, and not touched by this update.
    Unchanged,
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read a message of logical decoding: {what} at byte {at}")]
pub(crate) struct Unreadable {
    what: &'static str,
    at: usize,
}

pub(crate) fn read(message: &[u8]) -> Result<Message, Unreadable> {
    let mut reader = Reader { message, at: 0 };
    let message = match reader.byte()? {
        b'B' => {
            reader.skip(8)?;
            let committed_at = i64::from_be_bytes(reader.array()?);
            reader.skip(4)?;
            Message::Begin { committed_at }
        }
        b'R' => Message::Relation(reader.relation()?),
        b'I' => {
            let relation = reader.u32()?;
            reader.expect(b'N')?;
            Message::Insert { relation, new: reader.tuple()? }
        }
        b'U' => {
            let relation = reader.u32()?;
            let old = match reader.byte()? {
                b'N' => None,
                kind => {
                    let old = reader.old(kind)?;
                    reader.expect(b'N')?;
                    Some(old)
                }
            };
            Message::Update { relation, old, new: reader.tuple()? }
        }
        b'D' => {
            let relation = reader.u32()?;
            let kind = reader.byte()?;
            Message::Delete { relation, old: reader.old(kind)? }
        }
        // Commit, origin, type, truncate, message.
        b'C' | b'O' | b'Y' | b'T' | b'M' => return Ok(Message::Other),
        _ => return Err(reader.wrong("an unknown kind")),
    };
    if reader.at < reader.message.len() {
        return Err(reader.wrong("more than was due"));
    }
    Ok(message)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn relation(&mut self) -> Result<Relation, Unreadable> {
        let id = self.u32()?;
        let schema = self.name()?;
        // Tables of `pg_catalog` are told without their schema.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        let table = self.name()?;
        let _identity = self.byte()?;
        let mut columns = Vec::new();
        for _ in 0..self.u16()? {
            let _part_of_key = self.byte()?;
            let name = self.name()?;
            let kind = self.u32()?;
            let _modifier = self.u32()?;
            columns.push(Column { name, kind });
        }
        Ok(Relation { id, schema, table, columns })
    }

    fn old(&mut self, kind: u8) -> Result<Old, Unreadable> {
        match kind {
            b'K' => Ok(Old::Key(self.tuple()?)),
            b'O' => Ok(Old::Full(self.tuple()?)),
            _ => Err(self.wrong("no row")),
        }
    }

    fn tuple(&mut self) -> Result<Tuple, Unreadable> {
        let mut cells = Vec::new();
        for _ in 0..self.u16()? {
            cells.push(match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length = self.u32()?;
                    let length = usize::try_from(length).map_err(|_| self.wrong("a length"))?;
                    Cell::Text(self.text(length)?)
                }
                _ => return Err(self.wrong("no value")),
            });
        }
        Ok(cells)
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        let rest = &self.message[self.at..];
        let length = rest.iter().position(|byte| *byte == 0);
        let length = length.ok_or_else(|| self.wrong("a name without an end"))?;
        let name = self.text(length)?;
        self.skip(1)?;
        Ok(name)
    }

    fn text(&mut self, length: usize) -> Result<String, Unreadable> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.message.get(self.at..end));
        let bytes = bytes.ok_or_else(|| self.wrong("too little"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.wrong("no UTF-8"))?;
        self.at += length;
        Ok(text.to_owned())
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.byte()? == byte { Ok(()) } else { Err(self.wrong("no new row")) }
    }

    fn skip(&mut self, count: usize) -> Result<(), Unreadable> {
        if self.message.len() - self.at < count {
            return Err(self.wrong("too little"));
        }
        self.at += count;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Unreadable> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let found = self.message[self.at..].first_chunk().copied();
        let found = found.ok_or_else(|| self.wrong("too little"))?;
        self.at += N;
        Ok(found)
    }

    fn wrong(&self, what: &'static str) -> Unreadable {
        Unreadable { what, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the server would write it.
    fn write(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        match message {
            Message::Begin { committed_at } => {
                out.push(b'B');
                out.extend([0; 8]);
                out.extend(committed_at.to_be_bytes());
                out.extend([0; 4]);
            }
            Message::Relation(relation) => {
                out.push(b'R');
                out.extend(relation.id.to_be_bytes());
                for name in [&relation.schema, &relation.table] {
                    out.extend(name.bytes().chain([0]));
                }
                out.push(b'd');
                out.extend(u16::try_from(relation.columns.len()).unwrap().to_be_bytes());
                for column in &relation.columns {
                    out.push(1);
                    out.extend(column.name.bytes().chain([0]));
                    out.extend(column.kind.to_be_bytes());
                    out.extend((-1_i32).to_be_bytes());
                }
            }
            Message::Insert { relation, new } => {
                out.push(b'I');
                out.extend(relation.to_be_bytes());
                out.push(b'N');
                write_tuple(&mut out, new);
            }
            Message::Update { relation, old, new } => {
                out.push(b'U');
                out.extend(relation.to_be_bytes());
                if let Some(old) = old {
                    write_old(&mut out, old);
                }
                out.push(b'N');
                write_tuple(&mut out, new);
            }
            Message::Delete { relation, old } => {
                out.push(b'D');
                out.extend(relation.to_be_bytes());
                write_old(&mut out, old);
            }
            Message::Other => out.push(b'C'),
        }
        out
    }

    fn write_old(out: &mut Vec<u8>, old: &Old) {
        let (kind, tuple) = match old {
            Old::Key(tuple) => (b'K', tuple),
            Old::Full(tuple) => (b'O', tuple),
        };
        out.push(kind);
        write_tuple(out, tuple);
    }

    fn write_tuple(out: &mut Vec<u8>, tuple: &Tuple) {
        out.extend(u16::try_from(tuple.len()).unwrap().to_be_bytes());
        for cell in tuple {
            match cell {
                Cell::Null => out.push(b'n'),
                Cell::Unchanged => out.push(b'u'),
                Cell::Text(text) => {
                    out.push(b't');
                    out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    out.extend(text.bytes());
                }
            }
        }
    }

    fn tuples() -> impl Strategy<Value = Tuple> {
        let cell = prop_oneof![
            Just(Cell::Null),
            Just(Cell::Unchanged),
            "\\PC{0,20}".prop_map(Cell::Text),
        ];
        proptest::collection::vec(cell, 0..6)
    }

    fn olds() -> impl Strategy<Value = Old> {
        prop_oneof![tuples().prop_map(Old::Key), tuples().prop_map(Old::Full)]
    }

    fn messages() -> impl Strategy<Value = Message> {
        let name = "[a-zäß]{1,8}";
        let column = (name, any::<u32>()).prop_map(|(name, kind)| Column { name, kind });
        let relation = (any::<u32>(), name, name, proptest::collection::vec(column, 0..5));
        prop_oneof![
            any::<i64>().prop_map(|committed_at| Message::Begin { committed_at }),
            relation.prop_map(|(id, schema, table, columns)| {
                Message::Relation(Relation { id, schema, table, columns })
            }),
            (any::<u32>(), tuples()).prop_map(|(relation, new)| Message::Insert { relation, new }),
            (any::<u32>(), proptest::option::of(olds()), tuples())
                .prop_map(|(relation, old, new)| Message::Update { relation, old, new }),
            (any::<u32>(), olds()).prop_map(|(relation, old)| Message::Delete { relation, old }),
            Just(Message::Other),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(message in messages()) {
            prop_assert_eq!(read(&write(&message)), Ok(message));
        }

        #[test]
        fn what_was_cut_off_is_refused(message in messages(), cut in 0.0..1.0_f64) {
            let whole = write(&message);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                reason = "it is shorter than the message")]
            let cut = (cut * whole.len() as f64) as usize;
            prop_assume!(cut < whole.len());
            // Of those that are skipped, only the first byte is looked at.
            prop_assert!(read(&whole[..cut]).is_err());
        }

        #[test]
        fn no_message_makes_reading_panic(kind in "[BRIUDCOYTMX]", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&[kind.as_bytes(), &bytes].concat());
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (message, why) in [
            (&b""[..], "too little at byte 0"),
            (b"X", "an unknown kind at byte 1"),
            (b"I\0\0\0\x01K", "no new row at byte 6"),
            (b"I\0\0\0\x01N\0\x01x", "no value at byte 9"),
            (b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff", "too little at byte 13"),
            (b"I\0\0\0\x01N\0\x01t\0\0\0\x01\xff", "no UTF-8 at byte 13"),
            (b"I\0\0\0\x01N\0\0!", "more than was due at byte 8"),
            (b"D\0\0\0\x01N", "no row at byte 6"),
            (b"R\0\0\0\x01public", "a name without an end at byte 5"),
        ] {
            let error = read(message).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
        }
    }
}
