//! Opening a folder of segments: what is there is checked, a torn last group goes, damage is refused.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tidewheel_schemas::LogId;
use tidewheel_schemas::mutation::{self, Mutation};

use super::disk::Disk;
use super::group::find_later_group;
use super::scan::{Scan, damaged, io, open_segment, read_header, reading, walk};
use super::segment::{Segment, SegmentHeader, number_of, segment_name, segment_path};
use super::trim::Trimmed;
use crate::LogError;

/// What a folder held.
pub(crate) struct Recovered {
    pub log_id: LogId,
    /// Ascending, dense but for those trimmed; the last one is the one to append to.
    pub segments: Vec<Arc<Segment>>,
    pub trimmed: Trimmed,
    pub scan: Scan,
    pub next_group: u64,
    /// The last segment, open for writing, and where the next group goes.
    pub file: File,
    pub end: u64,
}

/// Reads what `directory` holds; none if there is no segment yet.
pub(crate) fn recover(directory: &Path, disk: &dyn Disk) -> Result<Option<Recovered>, LogError> {
    let trimmed = Trimmed::load(directory)?;
    let mut numbers = Vec::new();
    for entry in
        fs::read_dir(directory).map_err(|error| io(format!("listing {}", directory.display()), error))?
    {
        let path = entry.map_err(|error| io(format!("listing {}", directory.display()), error))?.path();
        if let Some(number) = number_of(&path, "segment") {
            if trimmed.has(number) {
                // The process ended before it was removed.
                fs::remove_file(&path).map_err(|error| io(format!("removing {}", path.display()), error))?;
            } else {
                numbers.push(number);
            }
        } else if path.extension().is_some_and(|extension| extension == "prepared") {
            // Never held a record: a segment gets its name only when it is complete.
            fs::remove_file(&path).map_err(|error| io(format!("removing {}", path.display()), error))?;
        }
    }
    numbers.sort_unstable();
    let Some(&last) = numbers.last() else { return Ok(None) };
    let headers = read_headers(directory, &numbers, &trimmed)?;
    let (header, body_at) = headers.last().cloned().ok_or(LogError::Closed)?;

    let path = segment_path(directory, last);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| reading(last, error))?;
    let length = file.metadata().map_err(|error| reading(last, error))?.len();
    let walked = walk(directory, &header, body_at, length)?;
    if let Some(what) = walked.fault {
        let later = find_later_group(&file, header.log_id, last, walked.next_group, walked.end)
            .map_err(|error| reading(last, error))?;
        if let Some(later) = later.filter(|_| !mutation::is(Mutation::DamageTruncated)) {
            let what = format!("{what}, yet group {later} follows");
            return Err(damaged(last, walked.next_group, walked.end, what));
        }
        if !mutation::is(Mutation::TornGroupKept) {
            erase_tail(&file, walked.end, length)
                .map_err(|error| io(format!("mending {}", segment_name(last)), error))?;
        }
    }
    // Its sync may never have succeeded, whatever the page cache says now.
    let is_believed = mutation::is(Mutation::LastGroupBelieved);
    if let Some((byte, bytes)) = walked.last_group.as_ref().filter(|_| !is_believed) {
        disk.write_group(&file, bytes, *byte)
            .map_err(|error| io(format!("rewriting the last group of {}", segment_name(last)), error))?;
    }
    if !is_believed {
        disk.sync_group(&file).map_err(|error| io(format!("syncing {}", segment_name(last)), error))?;
    }

    let mut segments = Vec::with_capacity(headers.len());
    for (position, (header, body_at)) in headers.iter().enumerate() {
        let next = headers.get(position + 1).map(|(next, _)| {
            // A segment that was trimmed behind this one knew where this one ends.
            trimmed.bytes_before(header.segment + 1).unwrap_or(next.previous_bytes)
        });
        let index = next.is_none().then(|| walked.scan.index.clone());
        segments.push(Arc::new(Segment::new(header, *body_at, next.unwrap_or(walked.end), index)));
    }
    let (scan, end, next_group) = (walked.scan, walked.end, walked.next_group);
    Ok(Some(Recovered { log_id: header.log_id, segments, trimmed, scan, next_group, file, end }))
}

fn read_headers(
    directory: &Path,
    numbers: &[u64],
    trimmed: &Trimmed,
) -> Result<Vec<(SegmentHeader, u64)>, LogError> {
    let mut headers: Vec<(SegmentHeader, u64)> = Vec::with_capacity(numbers.len());
    let mut previous_length = 0;
    for &number in numbers {
        let file = open_segment(directory, number)?;
        let (header, body_at) = read_header(&file, number)?;
        let refuse = |what: String| Err(damaged(number, header.first_group, 0, what));
        if header.segment != number {
            return refuse(format!("its header says it is segment {}", header.segment));
        }
        let expected = headers.last().map_or(0, |(before, _)| before.segment + 1);
        if let Some(missing) = (expected..number).find(|missing| !trimmed.has(*missing)) {
            return refuse(format!("segment {} is missing", segment_name(missing)));
        }
        if trimmed.log_id().is_some_and(|log_id| log_id != header.log_id) {
            return refuse("what was trimmed belongs to another log".to_owned());
        }
        if let Some((before, _)) = headers.last() {
            let complete_bytes = trimmed.bytes_before(before.segment + 1).unwrap_or(header.previous_bytes);
            if before.log_id != header.log_id {
                return refuse("it belongs to another log than the segment before it".to_owned());
            }
            if previous_length < complete_bytes {
                let (segment, group) = (before.segment, header.first_group.saturating_sub(1));
                let what = format!("the file had {complete_bytes} bytes when it was complete");
                return Err(damaged(segment, group, previous_length, what));
            }
        }
        previous_length = file.metadata().map_err(|error| reading(number, error))?.len();
        headers.push((header, body_at));
    }
    Ok(headers)
}

/// Overwrites what a torn group left behind, so that it is never mistaken for anything later.
fn erase_tail(file: &File, from: u64, to: u64) -> std::io::Result<()> {
    let zeroes = vec![0; 1 << 16];
    let mut found = vec![0; 1 << 16];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeroes.len());
        file.read_exact_at(&mut found[..length], at)?;
        if found[..length].iter().any(|byte| *byte != 0) {
            file.write_all_at(&zeroes[..length], at)?;
        }
        at += length as u64;
    }
    file.sync_data()
}

/// Reads every group of every sealed segment, refusing the first that is not what was written.
pub(crate) fn verify(directory: &Path, segments: &[Arc<Segment>]) -> Result<(), LogError> {
    for segment in segments {
        let file = open_segment(directory, segment.number)?;
        let (header, body_at) = read_header(&file, segment.number)?;
        let walked = walk(directory, &header, body_at, segment.durable())?;
        if let Some(what) = walked.fault {
            return Err(damaged(segment.number, walked.next_group, walked.end, what));
        }
    }
    Ok(())
}
