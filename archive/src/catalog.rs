//! What an archive holds: the manifests of each partition and log as a chain of ranges. Files are not looked into.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use tidewheel_schemas::{LogId, TopicPartition};

use crate::error::ArchiveError;
use crate::location::Archive;
use crate::manifest::{Manifest, parse_name, partition_folder};

/// Manifests read at once.
const READS_AT_ONCE: usize = 16;

/// The sealed ranges of one log of one partition, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The partition.
    pub place: TopicPartition,
    /// Its log.
    pub log_id: LogId,
    /// The ranges; never none, and never two over the same offset.
    pub ranges: Vec<Manifest>,
}

impl Chain {
    /// The first archived offset.
    pub fn from(&self) -> i64 {
        self.ranges.first().map_or(0, |range| range.from)
    }

    /// One past the last archived offset.
    pub fn to(&self) -> i64 {
        self.ranges.last().map_or(0, |range| range.to)
    }

    /// The range that holds `offset`.
    pub fn at(&self, offset: i64) -> Option<&Manifest> {
        let after = self.ranges.partition_point(|range| range.from <= offset);
        self.ranges.get(after.checked_sub(1)?).filter(|range| offset < range.to)
    }

    /// Refuses a hole among the offsets `from..until`.
    ///
    /// # Errors
    /// [`ArchiveError::Gap`] with the first offsets that are missing.
    pub fn covers(&self, from: i64, until: i64) -> Result<(), ArchiveError> {
        let mut next = from;
        while next < until {
            let Some(range) = self.at(next) else {
                let behind = self.ranges.iter().map(|range| range.from).find(|begins| *begins > next);
                let last = behind.unwrap_or(until).min(until) - 1;
                return Err(ArchiveError::Gap { partition: self.place.clone(), from: next, last });
            };
            next = range.to;
        }
        Ok(())
    }
}

/// Everything below one folder of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// One for each log of each partition, in order.
    pub chains: Vec<Chain>,
    /// Files that no manifest names: what an interrupted export left, harmless, and whatever else lies there.
    pub others: Vec<String>,
}

impl Catalog {
    /// Reads the manifests of `of`, or of everything.
    ///
    /// # Errors
    /// When the archive cannot be read, or an object under a manifest's name is none.
    pub async fn load(archive: &Archive, of: Option<&TopicPartition>) -> Result<Self, ArchiveError> {
        let mut names = archive.names(&of.map(partition_folder).unwrap_or_default()).await?;
        names.sort_unstable();
        let (mut manifests, mut others) = (Vec::new(), Vec::new());
        for name in names {
            match parse_name(&name) {
                Some(_) => manifests.push(name),
                None => others.push(name),
            }
        }
        let manifests: Vec<Manifest> =
            futures::stream::iter(manifests.into_iter().map(|name| read_manifest(archive, name)))
                .buffered(READS_AT_ONCE)
                .try_collect()
                .await?;
        let mut chains = BTreeMap::<(TopicPartition, LogId), Vec<Manifest>>::new();
        for manifest in manifests {
            let ranges = chains.entry((manifest.place(), manifest.log_id)).or_default();
            if let Some(before) = ranges.last().filter(|before| before.to > manifest.from) {
                let what = format!("it begins before offset {}, where the range before it ends", before.to);
                return Err(ArchiveError::Foreign { object: format!("{archive}/{}", manifest.name()), what });
            }
            others.retain(|other| *other != manifest.file_name());
            ranges.push(manifest);
        }
        let chain = |((place, log_id), ranges)| Chain { place, log_id, ranges };
        Ok(Self { chains: chains.into_iter().map(chain).collect(), others })
    }

    /// The logs of one partition.
    pub fn of(&self, place: &TopicPartition) -> impl Iterator<Item = &Chain> {
        self.chains.iter().filter(move |chain| chain.place == *place)
    }
}

async fn read_manifest(archive: &Archive, name: String) -> Result<Manifest, ArchiveError> {
    let object = || format!("{archive}/{name}");
    let bytes = archive.read(&name).await?;
    let bytes = bytes.ok_or_else(|| ArchiveError::Damaged {
        object: object(),
        what: "it was listed and is not there any more".to_owned(),
    })?;
    Manifest::parse(&name, &bytes).map_err(|what| ArchiveError::Foreign { object: object(), what })
}
