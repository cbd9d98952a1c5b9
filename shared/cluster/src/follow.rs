use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use tokio::time::{sleep, timeout};

use crate::Trouble;
use crate::backoff::Backoff;
use crate::call::call;
use crate::quietly::quietly;
use crate::read::Kind;
use crate::shelf::Shelf;
use crate::view::View;

/// How patiently, and how often all of it is read.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) limit: Duration,
    pub(crate) list_every: Duration,
}

/// Objects in one answer, and answers to one question: what a namespace may hold of one kind.
const PAGE: u32 = 500;
const PAGES: usize = 40;

/// Keeps a shelf true for as long as somebody looks at its namespace: reads all of it, follows what
/// changes, and after a while reads all of it again, because a watch may go deaf without a word.
pub(crate) async fn follow<T: Kind>(
    api: Api<T::Object>,
    view: Arc<View>,
    shelf: fn(&View) -> &Shelf<T>,
    pace: Pace,
) {
    let mut backoff = Backoff::default();
    while view.is_used() {
        let started = Instant::now();
        let went_well = match list::<T>(&api, pace.limit, &ListParams::default()).await {
            Ok((objects, version)) => {
                let now = Instant::now();
                let named =
                    objects.iter().filter_map(|one| Some((one.name_any(), T::read(one, now)?)));
                shelf(&view).replace(named.collect(), now);
                view.changed();
                watch(&api, version, &view, shelf, pace).await
            }
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = went_well {
            // A list too old to be followed is no trouble: reading it anew is the answer.
            if trouble != Trouble::Expired {
                shelf(&view).failed(trouble);
                view.changed();
            }
        }
        if started.elapsed() < pace.list_every {
            sleep(backoff.next()).await;
        } else {
            backoff = Backoff::default();
        }
    }
}

/// All objects, page by page, and the version from which changes can be followed.
pub(crate) async fn list<T: Kind>(
    api: &Api<T::Object>,
    limit: Duration,
    which: &ListParams,
) -> Result<(Vec<T::Object>, String), Trouble> {
    let mut objects = Vec::new();
    let mut asked = which.clone().limit(PAGE);
    if let Some(fields) = T::FIELDS {
        asked = asked.fields(fields);
    }
    for _ in 0..PAGES {
        let page = call(T::LIST, limit, api.list(&asked)).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => asked = asked.continue_token(&next),
            None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
        }
    }
    Err(Trouble::TooMany { what: T::PLURAL, most: PAGES * PAGE as usize })
}

/// Until it is time to read all of it again, or until it cannot be followed any more.
async fn watch<T: Kind>(
    api: &Api<T::Object>,
    mut version: String,
    view: &View,
    shelf: fn(&View) -> &Shelf<T>,
    pace: Pace,
) -> Result<(), Trouble> {
    let until = Instant::now() + pace.list_every;
    let mut cuts = Backoff::default();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !view.is_used() {
            return Ok(());
        }
        let seconds = u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX).min(LONGEST_WATCH);
        let mut asked = WatchParams::default().timeout(seconds);
        if let Some(fields) = T::FIELDS {
            asked = asked.fields(fields);
        }
        let stream = call(T::WATCH, pace.limit, api.watch(&asked, &version)).await?;
        let mut stream = std::pin::pin!(stream.into_stream());
        let opened = Instant::now();
        shelf(view).alive(opened);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = match timeout(left, quietly(stream.next())).await {
                Err(_) => return Ok(()),
                // Cut, by the server or by something in between: it goes on where it was.
                Ok(None) => break,
                Ok(Some(event)) => event.map_err(|error| Trouble::of(&error))?,
            };
            let now = Instant::now();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or(version);
                    match T::read(&object, now) {
                        Some(item) => shelf(view).put(object.name_any(), item, now),
                        None => shelf(view).remove(&object.name_any(), now),
                    }
                    view.changed();
                }
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or(version);
                    shelf(view).remove(&object.name_any(), now);
                    view.changed();
                }
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    shelf(view).alive(now);
                }
                WatchEvent::Error(status) => return Err(Trouble::of_status(&status)),
            }
        }
        sleep(cuts.next()).await;
    }
}

/// In seconds. The library refuses more.
const LONGEST_WATCH: u32 = 290;
