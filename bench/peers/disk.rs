//! How long this disk takes to make an append durable: what every acknowledgement waits for.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use tidewheel_bench::histogram::Latencies;

const APPENDS: usize = 200;
const APPEND_BYTES: usize = 4_096;

/// Median time of an append of 4 KiB and its `fdatasync`, in microseconds.
pub fn sync_us(folder: &Path) -> io::Result<u64> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut latencies = Latencies::new();
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&[0x5a; APPEND_BYTES])?;
        file.sync_data()?;
        latencies.record(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(latencies.quantile_us(0.5))
}
