use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answer::{Body, whole};
use super::ask::Ask;
use super::change::selectors;
use super::list::{metadata_of, version_of};
use super::table;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::refusal::Refusal;
use crate::selector::{FieldSelector, Selector};
use crate::store::{Change, What};

/// Real servers end a watch after half an hour to an hour, whoever watches.
const LONGEST: Duration = Duration::from_secs(1800);
const BETWEEN_BOOKMARKS: Duration = Duration::from_secs(60);

/// A watch that goes on from the last change it has told.
struct Watch {
    cluster: Arc<Cluster>,
    kind: &'static Kind,
    namespace: Option<String>,
    labels: Selector,
    fields: FieldSelector,
    shown_as: String,
    /// What is told already.
    version: u64,
    /// What was there at the start, for those who did not say since when they watch.
    first: VecDeque<Arc<Value>>,
    bookmarks: bool,
    bookmark_at: Instant,
    ends_at: Instant,
    changed: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
    over: bool,
}

pub(crate) fn answer(cluster: &Arc<Cluster>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    if ask.query.is("sendInitialEvents") {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
            sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return Err(Refusal::new(422, "Invalid", message));
    }
    let (labels, fields) = selectors(ask)?;
    let asked = version_of(ask)?;
    let seconds: Option<u64> = ask.query.get("timeoutSeconds").parse().ok();
    let lasts = seconds.map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let namespace = (!ask.namespace.is_empty()).then(|| ask.namespace.clone());
    let cuts = cluster.faults.cuts();
    let mut watch = Watch {
        cluster: cluster.clone(),
        kind: ask.kind,
        labels,
        fields,
        shown_as: ask.shown_as().to_owned(),
        version: asked,
        first: VecDeque::new(),
        bookmarks: ask.query.is("allowWatchBookmarks"),
        bookmark_at: Instant::now() + cluster.paced(BETWEEN_BOOKMARKS),
        ends_at: Instant::now() + lasts,
        changed: cluster.changed.subscribe(),
        cuts,
        over: false,
        namespace,
    };
    if asked == 0 {
        watch.start_with_all();
    }
    let frames = stream::unfold(watch, async |mut watch| {
        let bytes = watch.next().await?;
        Some((Ok(Frame::data(bytes)), watch))
    });
    let mut response = whole(200, "application/json", Bytes::new());
    *response.body_mut() = StreamBody::new(frames).boxed_unsync();
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("ours"));
    Ok(response)
}

impl Watch {
    fn start_with_all(&mut self) {
        let (version, first) = self.cluster.with(|store| {
            let all = store.list(self.kind, self.namespace.as_deref());
            let fitting = all.filter(|one| self.labels.matches(one) && self.fields.matches(one));
            (store.version(), fitting.cloned().collect())
        });
        (self.version, self.first) = (version, first);
    }

    /// The next lines; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            if !self.first.is_empty() {
                let lines = self.first.drain(..).collect::<Vec<_>>();
                let lines = lines.iter().map(|one| self.line("ADDED", one)).collect::<String>();
                return Some(Bytes::from(lines));
            }
            self.changed.mark_unchanged();
            match self.news() {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Some(Bytes::from(lines)),
                Err(refusal) => {
                    self.over = true;
                    let line = json!({ "type": "ERROR", "object": refusal.status() });
                    return Some(Bytes::from(format!("{line}\n")));
                }
            }
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.cuts.changed() => return None,
                () = sleep_until(self.ends_at) => {
                    self.over = true;
                    return self.bookmarks.then(|| self.bookmark());
                }
                () = sleep_until(self.bookmark_at), if self.bookmarks => {
                    self.bookmark_at = Instant::now() + self.cluster.paced(BETWEEN_BOOKMARKS);
                    return Some(self.bookmark());
                }
            }
        }
    }

    fn news(&mut self) -> Result<String, Refusal> {
        let cluster = self.cluster.clone();
        let (version, news) = cluster.with(|store| {
            let news = store.since(self.version)?.filter(|change| {
                change.kind == self.kind
                    && self
                        .namespace
                        .as_deref()
                        .is_none_or(|namespace| crate::look::namespace(&change.object) == namespace)
            });
            let news: Vec<Change> = news.cloned().collect();
            Ok((store.version(), news))
        })?;
        // A server that has not come as far as a watcher says nothing until it has.
        self.version = self.version.max(version);
        Ok(news.iter().filter_map(|change| self.told(change)).collect())
    }

    /// Who watches by labels is told that an object is gone when it does not have them any more.
    fn told(&self, change: &Change) -> Option<String> {
        let fits = |one: &Value| self.labels.matches(one) && self.fields.matches(one);
        let before = change.before.as_ref().is_some_and(|before| fits(before));
        let now = change.what != What::Deleted && fits(&change.object);
        match (before, now) {
            (false, true) => Some(self.line("ADDED", &change.object)),
            (true, true) => Some(self.line("MODIFIED", &change.object)),
            (true, false) => {
                // As it last was among those that are watched, with the number of its going.
                let mut last = Value::clone(change.before.as_ref()?);
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(self.line("DELETED", &last))
            }
            (false, false) => None,
        }
    }

    fn line(&self, what: &str, object: &Value) -> String {
        let shown = match self.shown_as.as_str() {
            "Table" => table::of(self.kind, std::iter::once(object), object),
            "PartialObjectMetadata" => metadata_of(object),
            _ => object.clone(),
        };
        format!("{}\n", json!({ "type": what, "object": shown }))
    }

    fn bookmark(&self) -> Bytes {
        let object = json!({
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version(),
            "metadata": {
                "resourceVersion": self.version.to_string(),
                "creationTimestamp": null,
            },
        });
        Bytes::from(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })))
    }
}
