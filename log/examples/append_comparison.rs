//! Compares ways of appending synced groups to a segment file. Figures for docs/adr/0001; no part of the log.
//!
//! `cargo run --release -p tidewheel-log --example append_comparison -- [folder] [seconds per case]`

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, OFlags};

const BLOCK: usize = 4096;
const SEGMENT_BYTES: u64 = 64 << 20;

/// How the segment is prepared before the first group.
#[derive(Clone, Copy, PartialEq)]
enum Prepared {
    /// Empty; every group makes it longer.
    Growing,
    /// `fallocate`: blocks reserved, extents unwritten.
    Reserved,
    /// `fallocate` that keeps the length: blocks reserved, the file still grows.
    ReservedKeepLength,
    /// Zeroes written and synced, still in the page cache.
    Zeroed,
    /// Zeroes written and synced, then dropped from the page cache.
    ZeroedDropped,
}

struct Case {
    name: &'static str,
    prepared: Prepared,
    direct: bool,
}

const CASES: &[Case] = &[
    Case { name: "growing", prepared: Prepared::Growing, direct: false },
    Case { name: "reserved, growing", prepared: Prepared::ReservedKeepLength, direct: false },
    Case { name: "reserved", prepared: Prepared::Reserved, direct: false },
    Case { name: "zeroed", prepared: Prepared::Zeroed, direct: false },
    Case { name: "zeroed, dropped", prepared: Prepared::ZeroedDropped, direct: false },
    Case { name: "direct, growing", prepared: Prepared::Growing, direct: true },
    Case { name: "direct, reserved", prepared: Prepared::Reserved, direct: true },
    Case { name: "direct, zeroed", prepared: Prepared::Zeroed, direct: true },
];

fn prepare(path: &Path, case: &Case) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    let file = options.open(path)?;
    match case.prepared {
        Prepared::Growing => {}
        Prepared::Reserved => rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SEGMENT_BYTES)?,
        Prepared::ReservedKeepLength => {
            rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, SEGMENT_BYTES)?;
        }
        Prepared::Zeroed | Prepared::ZeroedDropped => {
            let zeroes = vec![0; 1 << 20];
            for megabyte in 0..SEGMENT_BYTES >> 20 {
                file.write_all_at(&zeroes, megabyte << 20)?;
            }
        }
    }
    file.sync_all()?;
    if case.prepared == Prepared::ZeroedDropped {
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    if !case.direct {
        return Ok(file);
    }
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path)
}

/// Sectors the device has written so far, all of the machine together.
fn device_bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let sectors = |line: &str| line.split_whitespace().nth(9).and_then(|field| field.parse::<u64>().ok());
    text.lines().filter_map(sectors).sum::<u64>() * 512
}

fn measure(path: &Path, case: &Case, group: usize, limit: Duration) -> io::Result<()> {
    let length = if case.direct { group.next_multiple_of(BLOCK) } else { group };
    let mut storage = vec![0x5a_u8; length + BLOCK];
    let skip = storage.as_ptr().align_offset(BLOCK);
    let buffer = &mut storage[skip..skip + length];
    let mut latencies_us = Vec::new();
    let mut device_bytes = 0;
    let begin = Instant::now();
    let mut busy = Duration::ZERO;
    while begin.elapsed() < limit {
        let file = prepare(path, case)?;
        let before = device_bytes_written();
        let mut at = 0;
        while at + length as u64 <= SEGMENT_BYTES && begin.elapsed() < limit {
            buffer[..8].copy_from_slice(&at.to_le_bytes());
            let start = Instant::now();
            file.write_all_at(buffer, at)?;
            file.sync_data()?;
            let took = start.elapsed();
            busy += took;
            latencies_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            at += length as u64;
        }
        device_bytes += device_bytes_written() - before;
    }
    latencies_us.sort_unstable();
    let groups = latencies_us.len().max(1);
    let percentile = |part: usize| latencies_us.get(groups * part / 1000).copied().unwrap_or(0);
    println!(
        "| {} | {} KiB | {:.0} | {} | {} | {} | {:.1} |",
        case.name,
        group >> 10,
        groups as f64 / busy.as_secs_f64(),
        percentile(500),
        percentile(990),
        percentile(999),
        device_bytes as f64 / (groups * group) as f64,
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let path = folder.join(format!("append-comparison-{}", std::process::id()));
    println!("| append | group | groups/s | p50 us | p99 us | p99.9 us | device bytes per byte |");
    println!("|---|---|---|---|---|---|---|");
    for group in [1 << 10, 16 << 10, 256 << 10] {
        for case in CASES {
            measure(&path, case, group, Duration::from_secs_f64(seconds))?;
        }
    }
    std::fs::remove_file(path)
}
