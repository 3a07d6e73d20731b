//! A writing process is killed again and again: what it had acknowledged is there, in order, and nothing else is.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidewheel_log::suite::record;
use tidewheel_log::{EventLog, FileLog, FileLogOptions};
use tidewheel_schemas::{Topic, TopicPartition};

const FOLDER: &str = "TIDEWHEEL_TEST_KILLED_LOG";
const ROUNDS: u32 = 60;
const PARTITIONS: u32 = 3;

fn options(folder: &str) -> FileLogOptions {
    // Small segments, so that kills fall into their beginnings and ends, too.
    FileLogOptions { segment_bytes: 32 << 10, ..FileLogOptions::new(folder) }
}

fn partition(number: u32) -> TopicPartition {
    TopicPartition::new(Topic::new("killed"), number)
}

/// What the record at this place must say.
fn text(partition: u32, offset: i64) -> String {
    format!("{partition}/{offset}/{}", "x".repeat(usize::try_from(offset % 97).unwrap()))
}

/// Not a test of its own: the process that [`acknowledged_records_survive_any_kill`] starts and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = FileLog::open(options(&folder)).unwrap();
        log.create_topic(&Topic::new("killed"), PARTITIONS).await.unwrap();
        let mut next = Vec::new();
        for number in 0..PARTITIONS {
            next.push(log.bounds(&partition(number)).await.unwrap().end);
        }
        println!("ready");
        loop {
            let mut appends = Vec::new();
            for (number, next) in (0..PARTITIONS).zip(&mut next) {
                for length in 1..=3 {
                    let batch = (*next..*next + length).map(|offset| record(&text(number, offset))).collect();
                    *next += length;
                    appends.push((number, *next, log.append(&partition(number), batch)));
                }
            }
            for (number, end, append) in appends {
                let first = append.await.unwrap();
                assert!(first.first() < end);
                println!("ack {number} {end}");
                std::io::stdout().flush().unwrap();
            }
        }
    });
}

#[tokio::test]
async fn acknowledged_records_survive_any_kill() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut acknowledged = [0_i64; PARTITIONS as usize];
    let mut seed = 0x9e37_79b9_u64;
    let mut total_acks = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::child_that_writes_until_it_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FOLDER, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        // Acknowledgements are read as they come, so that the child never waits for the pipe.
        let reader = std::thread::spawn(move || {
            let mut acks = Vec::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut words = line.split(' ');
                if let (Some("ack"), Some(partition), Some(end)) = (words.next(), words.next(), words.next())
                {
                    // The kill may have cut the last line.
                    if let (Ok(partition), Ok(end)) = (partition.parse::<usize>(), end.parse::<i64>()) {
                        acks.push((partition, end));
                    }
                }
            }
            acks
        });
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_micros(2_000 + (seed >> 33) % 90_000);
        let start = Instant::now();
        while start.elapsed() < delay {
            std::thread::sleep(Duration::from_micros(200));
            assert!(child.try_wait().unwrap().is_none(), "round {round}: the child ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let acks = reader.join().unwrap();
        total_acks += acks.len();
        for (partition, end) in acks {
            assert!(end > acknowledged[partition]);
            acknowledged[partition] = end;
        }

        let log = FileLog::open(options(path)).unwrap();
        log.create_topic(&Topic::new("killed"), PARTITIONS).await.unwrap();
        for (number, acknowledged) in (0..PARTITIONS).zip(acknowledged) {
            let end = log.bounds(&partition(number)).await.unwrap().end;
            assert!(end >= acknowledged, "round {round}: {end} is left of {acknowledged} acknowledged");
            // What the kill was about, every round; everything, at the end.
            let from = if round + 1 == ROUNDS { 0 } else { (acknowledged - 300).max(0) };
            let mut next = from;
            while next < end {
                for found in log.read(&partition(number), next, 1_000).await.unwrap() {
                    assert_eq!(found.offset, next);
                    assert_eq!(&*found.value, text(number, next).as_bytes());
                    next += 1;
                }
            }
        }
        if round + 1 == ROUNDS {
            log.verify().unwrap();
        }
    }
    assert!(total_acks > 0, "no round lived long enough to acknowledge anything");
}
