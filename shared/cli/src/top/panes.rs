use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Text;
use ratatui::widgets::{Cell, Row, Table, TableState};
use ratatui::{Frame, layout::Alignment};

use super::rows::{Line, Tone};

/// A table with a line that is chosen, scrolled so that it can be seen.
pub(super) fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    headings: &[&str],
    widths: &[Constraint],
    lines: &[Line],
    chosen: Option<usize>,
) {
    let numbers: Vec<bool> = headings.iter().map(|heading| heading.starts_with('#')).collect();
    let cells = |texts: &[String]| -> Vec<Cell<'static>> {
        texts.iter().zip(&numbers).map(|(text, number)| cell(text.clone(), *number)).collect()
    };
    let names: Vec<String> =
        headings.iter().map(|heading| heading.trim_start_matches('#').to_owned()).collect();
    let header = Row::new(cells(&names)).style(Style::new().add_modifier(Modifier::DIM));
    let rows = lines.iter().map(|(texts, tone)| Row::new(cells(texts)).style(style(*tone)));
    let table = Table::new(rows, widths.iter().copied())
        .header(header)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(chosen);
    frame.render_stateful_widget(table, area, &mut state);
}

fn cell(text: String, number: bool) -> Cell<'static> {
    let side = if number { Alignment::Right } else { Alignment::Left };
    Cell::from(Text::from(text).alignment(side))
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Quiet => Style::new().fg(Color::DarkGray),
        Tone::Notice => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}
