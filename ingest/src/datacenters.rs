//! The datacenters as the left edge knows them: which is ours, what the others are called, where a run or the runs of
//! a namespace live. How a request gets there is in `forward`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use tidewheel_api::{Code, Problem};
use tidewheel_schemas::Name;

use crate::forward::Neighbour;

/// Tells the home of a namespace: the datacenter its runs live in unless a start says otherwise.
pub type Homes = Arc<dyn Fn(&Name) -> Option<Name> + Send + Sync>;

/// Another datacenter, as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name.
    pub name: Name,
    /// Its label in run ids, 12 bits.
    pub label: u16,
    /// Where its API answers, such as `http://tidewheel.beta.example:7400`.
    pub url: String,
}

/// The datacenters a process is told of.
#[derive(Clone)]
pub struct Datacenters {
    /// The name of its own.
    pub name: Name,
    /// The label of its own, 12 bits.
    pub label: u16,
    /// The others.
    pub others: Vec<Elsewhere>,
    /// The homes of namespaces; one without a home has its runs in the datacenter that is asked.
    pub homes: Homes,
    /// Whether an id with a label that no datacenter has is looked for here. So it is where there is no cluster: the
    /// log may be older than the label.
    pub takes_any_label: bool,
}

impl Datacenters {
    /// One datacenter and no other.
    pub fn alone(name: Name, label: u16) -> Self {
        Self { name, label, others: Vec::new(), homes: Arc::new(|_| None), takes_any_label: true }
    }
}

impl fmt::Debug for Datacenters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Datacenters");
        shown.field("name", &self.name).field("label", &self.label).field("others", &self.others);
        shown.finish_non_exhaustive()
    }
}

/// Datacenters that cannot be used as given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatacentersError {
    /// A URL nothing can be forwarded to.
    #[error("the URL `{url}` of datacenter `{name}` {what}")]
    Url {
        /// The datacenter.
        name: Name,
        /// The URL as given.
        url: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A name or a label that two datacenters have.
    #[error(
        "the datacenters `{one}` and `{other}` have the same name or the same label {label}; give each its own"
    )]
    Taken {
        /// One.
        one: Name,
        /// The other.
        other: Name,
        /// The label.
        label: u16,
    },
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

/// Reads a URL that requests can be forwarded to.
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn forwarding_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is none: {error}"))?;
    if url.scheme() == "https" {
        return Err(
            "begins with https, and this build forwards over http only; name a proxy that encrypts, \
                    such as http://127.0.0.1:7443"
                .to_owned(),
        );
    }
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err(
            "must begin with http:// and a host, such as http://tidewheel.beta.example:7400".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither a query nor a fragment".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must hold no user and no password; who asks is told by each request's own token".to_owned()
        );
    }
    Ok(url)
}

/// Where something lives.
pub(crate) enum Place {
    /// In the datacenter of this process.
    Here,
    /// In another one.
    There(Arc<Neighbour>),
}

/// The map of the datacenters.
pub(crate) struct Map {
    pub(crate) own: Name,
    pub(crate) label: u16,
    pub(crate) neighbours: BTreeMap<Name, Arc<Neighbour>>,
    homes: Homes,
    takes_any_label: bool,
}

impl Map {
    pub(crate) fn new(
        datacenters: Datacenters,
        neighbour: impl Fn(Name, u16, Url) -> Neighbour,
    ) -> Result<Self, DatacentersError> {
        let Datacenters { name: own, label, others, homes, takes_any_label } = datacenters;
        let mut labels = BTreeMap::from([(label, own.clone())]);
        let mut neighbours = BTreeMap::new();
        for Elsewhere { name, label, url } in others {
            let taken = |other: Name| DatacentersError::Taken { one: name.clone(), other, label };
            if let Some(other) = labels.insert(label, name.clone()) {
                return Err(taken(other));
            }
            if name == own || neighbours.contains_key(&name) {
                return Err(taken(name.clone()));
            }
            let url = forwarding_url(&url).map_err(|what| DatacentersError::Url {
                name: name.clone(),
                url: url.clone(),
                what,
            })?;
            neighbours.insert(name.clone(), Arc::new(neighbour(name, label, url)));
        }
        Ok(Self { own, label, neighbours, homes, takes_any_label })
    }

    /// Where the runs whose ids carry `label` live.
    pub(crate) fn of_label(&self, label: u16) -> Result<Place, Problem> {
        if label == self.label {
            return Ok(Place::Here);
        }
        match self.neighbours.values().find(|neighbour| neighbour.label == label) {
            Some(neighbour) => Ok(Place::There(Arc::clone(neighbour))),
            None if self.takes_any_label && self.neighbours.is_empty() => Ok(Place::Here),
            None => {
                let detail = format!(
                    "the run's id carries the label {label}, and none of the datacenters this process knows has it; \
                     if one was added, restart this process with the configuration that names it"
                );
                Err(self.not_found(detail).field("run_id"))
            }
        }
    }

    /// The datacenter of this name.
    pub(crate) fn named(&self, name: &str) -> Result<Place, Problem> {
        if name == self.own.as_str() {
            return Ok(Place::Here);
        }
        self.neighbours.get(name).map(|neighbour| Place::There(Arc::clone(neighbour))).ok_or_else(|| {
            let shown: String = name.chars().take(160).collect();
            let detail = format!(
                "this process knows no datacenter `{shown}`; use one of `known`, or if it was added, restart this \
                 process with the configuration that names it"
            );
            self.not_found(detail).field("datacenter")
        })
    }

    /// Where a start belongs that asks for `asked`.
    pub(crate) fn of_start(&self, namespace: &Name, asked: Option<&str>) -> Result<Place, Problem> {
        match asked {
            Some(asked) => self.named(asked),
            None => match (self.homes)(namespace) {
                Some(home) => self.named(&home),
                None => Ok(Place::Here),
            },
        }
    }

    fn not_found(&self, detail: String) -> Problem {
        let names = std::iter::once(&self.own).chain(self.neighbours.keys());
        let mut known: Vec<_> = names.map(Name::to_string).collect();
        known.sort_unstable();
        Problem::new(Code::DatacenterNotFound, detail).known(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_nothing_can_be_forwarded_to_is_refused_with_what_would_be_right() {
        for (url, word) in [
            ("beta:7400", "http://"),
            ("ftp://beta", "http://"),
            ("https://beta", "https"),
            ("http://beta/?x=1", "query"),
            ("http://me:secret@beta", "password"),
            ("", "is none"),
        ] {
            let error = forwarding_url(url).expect_err(url);
            assert!(error.contains(word), "{url}: {error}");
        }
        assert!(forwarding_url("http://beta.example:7400/tidewheel/").is_ok());
    }
}
