//! What a process and its children have used of the machine, as Linux tells it in `/proc`. Elsewhere nothing is known.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// What was used since a process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// User and system time. Microseconds.
    pub cpu_us: u64,
    /// Bytes that the process dirtied and the system wrote, as the system charges them; 0 if it does not tell. A write
    /// into a file that the page cache holds in large folios is charged the whole folio, whatever goes to the disk.
    pub written_bytes: u64,
    /// Bytes written to the disk that holds the process's working folder, by the whole machine; 0 if not known.
    pub disk_written_bytes: u64,
    /// Memory held now.
    pub resident_bytes: u64,
}

impl Usage {
    /// Of one process and, for written bytes and time, of those of its children that it has waited for; `None` when
    /// there is no such process.
    pub fn of_process(id: u32) -> Option<Self> {
        let stat = Stat::read(id)?;
        let written = fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        let written = written.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        Some(Self {
            cpu_us: stat.ticks.saturating_mul(1_000_000 / rustix::param::clock_ticks_per_second().max(1)),
            written_bytes: written.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0),
            disk_written_bytes: disk_written_bytes(Path::new(&format!("/proc/{id}/cwd"))).unwrap_or(0),
            resident_bytes: stat.resident_pages.saturating_mul(rustix::param::page_size() as u64),
        })
    }

    /// Of a process and everything it started that still runs; `None` when there is no such process.
    pub fn of_tree(id: u32) -> Option<Self> {
        let own = Self::of_process(id)?;
        let others = descendants(id).into_iter().filter_map(Self::of_process);
        Some(others.fold(own, Self::plus))
    }

    /// Of this process alone.
    pub fn of_self() -> Option<Self> {
        Self::of_process(std::process::id())
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.saturating_add(other.cpu_us),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            // The processes of one server share a disk, and each tells what the whole machine wrote to it.
            disk_written_bytes: if self.disk_written_bytes > other.disk_written_bytes {
                self.disk_written_bytes
            } else {
                other.disk_written_bytes
            },
            resident_bytes: self.resident_bytes.saturating_add(other.resident_bytes),
        }
    }

    /// What was used since `earlier`; the memory is that held now.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.saturating_sub(earlier.cpu_us),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            disk_written_bytes: self.disk_written_bytes.saturating_sub(earlier.disk_written_bytes),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// Ids of the running processes that `id` started, and that those started.
pub fn descendants(id: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for other in ids {
        if let Some(stat) = Stat::read(other) {
            children.entry(stat.parent).or_default().push(other);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![id];
    while let Some(next) = open.pop() {
        // Taken out, so that ids that are given anew meanwhile cannot make this go round.
        let below = children.remove(&next).unwrap_or_default();
        open.extend(&below);
        found.extend(below);
    }
    found
}

/// Bytes written so far to the disk that holds `path`; `None` where there is none of its own, such as in memory.
fn disk_written_bytes(path: &Path) -> Option<u64> {
    const SECTOR_BYTES: u64 = 512;
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let disks = fs::read_to_string("/proc/diskstats").ok()?;
    let written = disks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.first()?.parse() == Ok(major) && fields.get(1)?.parse() == Ok(minor);
        if is_it { fields.get(9)?.parse::<u64>().ok() } else { None }
    });
    written.map(|sectors| sectors.saturating_mul(SECTOR_BYTES))
}

struct Stat {
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// The fields are those of proc(5), counted from 1; the second, a name, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let after_name = text.get(text.rfind(')')? + 1..)?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            ticks: field(14)?.saturating_add(field(15)?),
            resident_pages: field(24)?,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_shifts_no_field() {
        let text = "7 (a) b) (c) S 3 7 7 0 -1 4194560 1 0 0 0 40 2 9 9 20 0 1 0 100 4096 25 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.resident_pages), (3, 42, 25));
    }

    #[test]
    fn a_tree_holds_the_children_of_children() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo started; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        let below = descendants(std::process::id());
        let grandchildren = descendants(shell.id());
        let tree = Usage::of_tree(shell.id()).unwrap();
        let own = Usage::of_process(shell.id()).unwrap();
        for id in &grandchildren {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*id).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert!(below.contains(&shell.id()));
        assert_eq!(grandchildren.len(), 1);
        assert!(below.contains(&grandchildren[0]));
        assert!(tree.resident_bytes > own.resident_bytes);
    }

    #[test]
    fn time_and_memory_of_this_process_are_known_and_grow() {
        let before = Usage::of_self().unwrap();
        let mut sum = 0_u64;
        while Usage::of_self().unwrap().since(before).cpu_us == 0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(before.resident_bytes > 0);
        assert_eq!(Usage::of_process(u32::MAX), None);
    }
}
