use std::io::{IsTerminal, stdout};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// A table for people: no lines, headings in lower case, fitted to the terminal if there is one.
pub(crate) struct Sheet(Table);

impl Sheet {
    /// A heading that starts with `#` is of numbers, which are aligned to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        let fitted = match width() {
            Some(_) => ContentArrangement::Dynamic,
            None => ContentArrangement::Disabled,
        };
        table.set_content_arrangement(fitted);
        if let Some(width) = width() {
            table.set_width(width);
        }
        table.set_header(headings.iter().map(|heading| heading.trim_start_matches('#')));
        for (index, heading) in headings.iter().enumerate() {
            let column = table.column_mut(index).expect("it has just been made");
            column.set_padding((0, 2));
            if heading.starts_with('#') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().collect::<Vec<_>>());
    }

    pub(crate) fn text(&self) -> String {
        self.0.trim_fmt()
    }
}

/// How wide the terminal is; nothing where the answer goes into a file or a pipe.
pub(crate) fn width() -> Option<u16> {
    if !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// What was not said.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}
