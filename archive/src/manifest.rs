//! The manifest of a sealed range: what makes its file count. Names and members are for ever.
//!
//! `{topic}/{partition}/{log id}/{from}.json` beside `{from}-{to}-{checksum}.avro`. A manifest's name says where its
//! range begins and nothing else, so of two that seal from the same offset one is there first and the other goes on
//! behind it: ranges never overlap.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidewheel_schemas::{LogId, Topic, TopicPartition};

/// The version of everything that is written here. Others are refused.
pub const FORMAT: u32 = 1;

/// A sealed range of one partition of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The partition's log.
    pub log_id: LogId,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first offset.
    pub from: i64,
    /// One past the last offset.
    pub to: i64,
    /// How many records: `to - from`.
    pub records: u64,
    /// The file's name, beside the manifest.
    pub file: String,
    /// The file's size.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Ids of the schemas that stand in the file.
    pub schemas: Vec<u32>,
    /// The earliest time in a record's headers, microseconds since 1970; null if none has one.
    pub recorded_first_us: Option<i64>,
    /// The latest.
    pub recorded_last_us: Option<i64>,
    /// When it was sealed, microseconds since 1970.
    pub sealed_at_us: i64,
}

/// The checksum of a file as manifests and names carry it.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The folder of a partition, whatever its log.
pub(crate) fn partition_folder(of: &TopicPartition) -> String {
    format!("{}/{}", of.topic, of.partition)
}

/// The folder of one log of a partition.
pub(crate) fn log_folder(of: &TopicPartition, log_id: LogId) -> String {
    format!("{}/{log_id}", partition_folder(of))
}

/// The manifest's name of the range that begins at `from`.
pub(crate) fn manifest_name(of: &TopicPartition, log_id: LogId, from: i64) -> String {
    format!("{}/{from:020}.json", log_folder(of, log_id))
}

/// The name of a range's file, without its folder.
pub(crate) fn file_name(from: i64, to: i64, sha256: &str) -> String {
    let short = sha256.get(..16).unwrap_or(sha256);
    format!("{from:020}-{to:020}-{short}.avro")
}

/// What a manifest's name says: partition, log, first offset. None for any other name.
pub(crate) fn parse_name(name: &str) -> Option<(TopicPartition, LogId, i64)> {
    let mut parts = name.split('/');
    let (topic, partition, log_id, file) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let from = file.strip_suffix(".json")?;
    if parts.next().is_some() || from.len() != 20 || !from.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let place = TopicPartition::new(Topic::new(topic), partition.parse().ok()?);
    Some((place, log_id.parse().ok()?, from.parse().ok()?))
}

impl Manifest {
    /// The partition.
    pub fn place(&self) -> TopicPartition {
        TopicPartition::new(Topic::new(&self.topic), self.partition)
    }

    /// The manifest's own name.
    pub fn name(&self) -> String {
        manifest_name(&self.place(), self.log_id, self.from)
    }

    /// The name of its file, with its folder.
    pub fn file_name(&self) -> String {
        format!("{}/{}", log_folder(&self.place(), self.log_id), self.file)
    }

    /// Reads a manifest that lies under `name`.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest ({error})"))?;
        if version.format != FORMAT {
            return Err(format!("it has format {}, this build reads {FORMAT}", version.format));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest ({error})"))?;
        let is_named = manifest.name() == name;
        let is_range = manifest.from >= 0
            && manifest.from < manifest.to
            && i64::try_from(manifest.records) == Ok(manifest.to - manifest.from);
        let is_file = manifest.file == file_name(manifest.from, manifest.to, &manifest.sha256);
        if !is_named || !is_range || !is_file {
            return Err("what it says does not fit its name".to_owned());
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Manifest {
        let sha256 = checksum(b"tidewheel");
        Manifest {
            format: FORMAT,
            log_id: LogId::from_bytes([7; 16]),
            topic: "tidewheel.local.workflow.events".to_owned(),
            partition: 3,
            from: 1_000,
            to: 2_500,
            records: 1_500,
            file: file_name(1_000, 2_500, &sha256),
            bytes: 9,
            sha256,
            schemas: vec![1],
            recorded_first_us: Some(-1),
            recorded_last_us: None,
            sealed_at_us: 1_700_000_000_000_000,
        }
    }

    #[test]
    fn names_and_members_never_change() {
        let manifest = some();
        let folder = "tidewheel.local.workflow.events/3/07070707-0707-0707-0707-070707070707";
        assert_eq!(manifest.name(), format!("{folder}/00000000000000001000.json"));
        assert_eq!(
            manifest.file_name(),
            format!("{folder}/00000000000000001000-00000000000000002500-{}.avro", &manifest.sha256[..16])
        );
        let json = serde_json::to_value(&manifest).unwrap();
        let members: Vec<&String> = json.as_object().unwrap().keys().collect();
        let expected = [
            "bytes",
            "file",
            "format",
            "from",
            "log_id",
            "partition",
            "recorded_first_us",
            "recorded_last_us",
            "records",
            "schemas",
            "sealed_at_us",
            "sha256",
            "to",
            "topic",
        ];
        assert_eq!(members, expected);
    }

    #[test]
    fn a_manifest_reads_back_under_its_own_name_alone() {
        let manifest = some();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&manifest.name(), &bytes), Ok(manifest.clone()));
        assert_eq!(parse_name(&manifest.name()), Some((manifest.place(), manifest.log_id, 1_000)));
        assert!(Manifest::parse("a/0/b/00000000000000001000.json", &bytes).is_err());
        assert!(Manifest::parse(&manifest.name(), b"{}").is_err());
        let newer = Manifest { format: 2, ..manifest.clone() };
        let error = Manifest::parse(&newer.name(), &serde_json::to_vec(&newer).unwrap()).unwrap_err();
        assert!(error.contains("format 2"), "{error}");
        for changed in [Manifest { to: 2_499, ..manifest.clone() }, Manifest { from: 2_500, ..manifest }] {
            let bytes = serde_json::to_vec(&changed).unwrap();
            assert!(Manifest::parse(&changed.name(), &bytes).is_err());
        }
    }

    #[test]
    fn other_names_are_no_manifests() {
        let log = "07070707-0707-0707-0707-070707070707";
        for name in [
            "readme.txt".to_owned(),
            format!("t/0/{log}/00000000000000001000.avro"),
            format!("t/0/{log}/1000.json"),
            format!("t/x/{log}/00000000000000001000.json"),
            format!("t/0/{log}/more/00000000000000001000.json"),
            format!("t/0/{log}/-0000000000000001000.json"),
            "t/0/log/00000000000000001000.json".to_owned(),
        ] {
            assert_eq!(parse_name(&name), None, "{name}");
        }
    }
}
