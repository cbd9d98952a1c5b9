use std::collections::HashMap;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::access::{Identity, Wish};
use crate::kind::Kind;
use crate::managed::Writer;
use crate::refusal::Refusal;

/// One request about objects of one kind.
pub(crate) struct Ask {
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) who: Identity,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Says what there is: versions, groups, schemas.
    About,
    Objects {
        kind: &'static Kind,
        namespace: String,
        name: String,
        subresource: String,
    },
    /// Objects that are only asked for and never kept.
    Review(&'static str),
    Nowhere,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let decoded = |text: &str| {
            percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn is(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }
}

impl Place {
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["version" | "healthz" | "livez" | "readyz" | "openapi", ..] | ["api" | "apis"] => {
                return Self::About;
            }
            ["api", "v1"] | ["apis", _] | ["apis", _, _] => return Self::About,
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => {
                return Self::Review("SelfSubjectAccessReview");
            }
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => {
                return Self::Review("SelfSubjectReview");
            }
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Self::Nowhere,
        };
        let in_namespace = |kind: &'static Kind| kind.namespaced;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, more @ ..]
                if Kind::find(group, version, plural).is_some_and(in_namespace) =>
            {
                (*namespace, [&[*plural], more].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, "", String::new()),
            [plural, name] => (*plural, *name, String::new()),
            [plural, name, subresource @ ..] => (*plural, *name, subresource.join("/")),
            [] => return Self::Nowhere,
        };
        let Some(kind) = Kind::find(group, version, plural) else { return Self::Nowhere };
        // What lies in a namespace is only listed and watched without one.
        if kind.namespaced && namespace.is_empty() && !name.is_empty() {
            return Self::Nowhere;
        }
        let decoded = percent_decode_str(name).decode_utf8_lossy().into_owned();
        Self::Objects { kind, namespace: namespace.to_owned(), name: decoded, subresource }
    }
}

impl Ask {
    pub(crate) fn watches(&self) -> bool {
        self.method == Method::GET && self.name.is_empty() && self.query.is("watch")
    }

    pub(crate) fn wish(&self) -> Wish {
        let verb = match (self.method.as_str(), self.name.is_empty()) {
            ("GET" | "HEAD", true) if self.query.is("watch") => "watch",
            ("GET" | "HEAD", true) => "list",
            ("GET" | "HEAD", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "",
        };
        // Whoever lists or watches one object by its name may be allowed that one alone.
        let name = match self.name.as_str() {
            "" => self
                .query
                .get("fieldSelector")
                .split(',')
                .find_map(|one| one.strip_prefix("metadata.name="))
                .unwrap_or_default(),
            name => name,
        };
        let namespace = if self.kind.plural == "namespaces" { name } else { &self.namespace };
        Wish {
            verb: verb.to_owned(),
            group: self.kind.group.to_owned(),
            resource: self.kind.plural.to_owned(),
            subresource: self.subresource.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn dry(&self) -> bool {
        self.query.get("dryRun") == "All"
    }

    pub(crate) fn content_type(&self) -> &str {
        let said = self.headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok());
        said.unwrap_or("application/json").split(';').next().unwrap_or_default().trim()
    }

    /// How a get or a list is to be shown: `Table`, `PartialObjectMetadata`, or as it is.
    pub(crate) fn shown_as(&self) -> &str {
        let accepts = self.headers.get(ACCEPT).and_then(|said| said.to_str().ok()).unwrap_or("");
        let first = accepts.split(',').find(|one| one.contains("json")).unwrap_or("");
        first.split(';').find_map(|part| part.trim().strip_prefix("as=")).unwrap_or("")
    }

    pub(crate) fn manager(&self) -> Result<String, Refusal> {
        let said = self.query.get("fieldManager");
        if said.len() > 128 {
            return Err(Refusal::new(
                422,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be \
                 longer than 128",
            ));
        }
        if !said.is_empty() {
            return Ok(said.to_owned());
        }
        let agent = self.headers.get(USER_AGENT).and_then(|said| said.to_str().ok());
        let agent = agent.unwrap_or("unknown").split('/').next().unwrap_or_default();
        Ok(agent.to_owned())
    }

    pub(crate) fn updater(&self) -> Result<Writer, Refusal> {
        Ok(Writer::update(&self.manager()?, &self.subresource))
    }

    /// The object that was sent, as JSON or YAML.
    pub(crate) fn object(&self) -> Result<Value, Refusal> {
        let content = self.content_type();
        let unreadable = || Refusal::bad_request("the object provided is unrecognized");
        let object: Value = match content {
            "application/apply-patch+yaml" | "application/yaml" => {
                match serde_json::from_slice(&self.body) {
                    Ok(object) => object,
                    Err(_) => {
                        let text = std::str::from_utf8(&self.body).map_err(|_| unreadable())?;
                        serde_saphyr::from_str(text).map_err(|_| unreadable())?
                    }
                }
            }
            "application/json"
            | "application/merge-patch+json"
            | "application/strategic-merge-patch+json"
            | "application/json-patch+json" => {
                serde_json::from_slice(&self.body).map_err(|_| unreadable())?
            }
            _ => return Err(unsupported()),
        };
        Ok(object)
    }
}

pub(crate) fn unsupported() -> Refusal {
    Refusal::new(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: \
         application/json, application/yaml, application/json-patch+json, \
         application/merge-patch+json, application/apply-patch+yaml",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{DEPLOYMENT, NAMESPACE, POD};

    #[test]
    fn paths_lead_where_the_real_ones_do() {
        let objects = |kind, namespace: &str, name: &str, subresource: &str| Place::Objects {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        };
        for (path, place) in [
            ("/api/v1/pods", objects(&POD, "", "", "")),
            ("/api/v1/namespaces/a/pods/x/status", objects(&POD, "a", "x", "status")),
            ("/api/v1/namespaces/a", objects(&NAMESPACE, "", "a", "")),
            ("/api/v1/namespaces/a/status", objects(&NAMESPACE, "", "a", "status")),
            (
                "/apis/apps/v1/namespaces/a/deployments/x/scale",
                objects(&DEPLOYMENT, "a", "x", "scale"),
            ),
            ("/apis/apps/v1beta1/namespaces/a/deployments/x", Place::Nowhere),
            ("/apis/apps/v1/deployments/x", Place::Nowhere),
            ("/apis/apps/v1", Place::About),
            ("/", Place::Nowhere),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
