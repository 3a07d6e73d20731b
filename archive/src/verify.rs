//! Verifying: every file is read back as a whole, and compared with the log where the log still has its records.

use serde::Serialize;
use tidewheel_log::{Bounds, EventLog};
use tidewheel_schemas::{LogId, TopicPartition};

use crate::catalog::Chain;
use crate::error::ArchiveError;
use crate::history::Files;
use crate::location::Archive;
use crate::manifest::Manifest;

/// Findings described; all are counted.
const FINDINGS_MAX: usize = 100;
/// Records compared at once.
const READ_RECORDS: usize = 1_000;

/// Something wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong, with which object, and what to do.
    pub what: String,
}

/// What a verification of one partition found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its log; none if the archive holds nothing of it.
    pub log_id: Option<LogId>,
    /// Ranges read back.
    pub ranges: u64,
    /// Records read back.
    pub records: u64,
    /// Records that the log still has and that were compared.
    pub compared: u64,
    /// Everything from the first offset up to here is archived and was read back without a finding.
    pub sound_to: i64,
    /// How many findings there are.
    pub finding_count: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

impl Report {
    fn find(&mut self, error: &ArchiveError) {
        self.finding_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { what: error.to_string() });
        }
    }
}

/// Reads every range of `place` back: checksum, format, offsets without holes; where the log still has a record, that it
/// is the same one.
///
/// # Errors
/// When log or archive cannot be read at all. What is wrong with the archive is in the report.
pub async fn verify(
    log: &dyn EventLog,
    archive: &Archive,
    place: &TopicPartition,
) -> Result<Report, ArchiveError> {
    let files = Files::new(archive.clone());
    let bounds = log.bounds(place).await?;
    let mut report = Report {
        topic: place.topic.to_string(),
        partition: place.partition,
        log_id: None,
        ranges: 0,
        records: 0,
        compared: 0,
        sound_to: 0,
        finding_count: 0,
        findings: Vec::new(),
    };
    let chain = match crate::identity::identify(log, &files, place, bounds).await {
        Ok(Some((log_id, chain))) => {
            report.log_id = Some(log_id);
            chain
        }
        Ok(None) => None,
        Err(error @ (ArchiveError::Log(_) | ArchiveError::Store { .. })) => return Err(error),
        Err(error) => {
            report.find(&error);
            return Ok(report);
        }
    };
    let Some(chain) = chain else { return Ok(report) };
    chain_of(log, archive, &chain, bounds, &mut report).await?;
    Ok(report)
}

async fn chain_of(
    log: &dyn EventLog,
    archive: &Archive,
    chain: &Chain,
    bounds: Bounds,
    report: &mut Report,
) -> Result<(), ArchiveError> {
    let mut expected = 0;
    let mut is_sound = true;
    for range in &chain.ranges {
        if let Err(gap) = chain.covers(expected, range.from) {
            report.find(&gap);
            is_sound = false;
        }
        match range_of(log, archive, chain, range, bounds).await {
            Ok(compared) => {
                report.ranges += 1;
                report.records += range.records;
                report.compared += compared;
            }
            Err(error @ ArchiveError::Log(_)) => return Err(error),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                report.find(&error);
                is_sound = false;
            }
        }
        expected = range.to;
        if is_sound {
            report.sound_to = range.to;
        }
    }
    Ok(())
}

/// Reads one range back; answers how many records were compared with the log.
pub(crate) async fn range_of(
    log: &dyn EventLog,
    archive: &Archive,
    chain: &Chain,
    range: &Manifest,
    bounds: Bounds,
) -> Result<u64, ArchiveError> {
    let mut reader = archive.open_range(range).await?;
    let mut compared = 0;
    let mut next = range.from;
    let mut held = std::collections::VecDeque::new();
    loop {
        // Back and forth between the two, so that neither is in memory as a whole.
        let (archived, read) = tokio::task::spawn_blocking(move || {
            let archived = reader.read(READ_RECORDS, crate::history::READ_BYTES_MAX);
            (archived, reader)
        })
        .await
        .map_err(|_| ArchiveError::Log(tidewheel_log::LogError::Closed))?;
        reader = read;
        let archived = archived.map_err(|malformed| archive.damaged(range, malformed))?;
        let Some(last) = archived.last() else { break };
        next = last.offset + 1;
        for record in &archived {
            if record.offset < bounds.start || record.offset >= bounds.end {
                continue;
            }
            if held.is_empty() {
                held.extend(log.read(&chain.place, record.offset, READ_RECORDS).await?);
            }
            if held.pop_front().as_ref() != Some(record) {
                let (partition, log_id) = (chain.place.clone(), chain.log_id);
                return Err(ArchiveError::Diverged { partition, log_id, offset: record.offset });
            }
            compared += 1;
        }
    }
    if next != range.to {
        let what = format!("it ends at offset {next}, its manifest says {}", range.to);
        return Err(archive.damaged(range, crate::container::Malformed(what)));
    }
    Ok(compared)
}
