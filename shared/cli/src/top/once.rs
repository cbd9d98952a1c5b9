use crate::table::Sheet;

use super::look::Look;
use super::rows::{Line, ROLLOUTS, ROUTES, WORKERS, of_release, of_route, of_worker};
use crate::human::date;

/// One look as text, with nothing cut off.
pub(super) fn text(look: &Look) -> String {
    let activity = &look.activity;
    let routes = activity.routes.iter().map(|one| of_route(one, activity));
    [
        format!("{} UTC", date(activity.read_at)),
        part("no route has ever had a message", &ROUTES, routes),
        part("no worker is alive", &WORKERS, look.workers.iter().map(of_worker)),
        part("no release is recorded", &ROLLOUTS, look.rollouts.iter().map(of_release)),
    ]
    .join("\n\n")
}

fn part(none: &str, headings: &[&str], lines: impl ExactSizeIterator<Item = Line>) -> String {
    if lines.len() == 0 {
        return none.to_owned();
    }
    let mut sheet = Sheet::new(headings);
    for (cells, _) in lines {
        sheet.row(cells);
    }
    sheet.text()
}
