//! Frozen archives stay readable for ever: by this build, and by Python's fastavro, which knows nothing of us.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidewheel_archive::{Archive, JoinedLog, verify};

use crate::common::{all, log_of, place, sealed};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

#[tokio::test]
async fn the_archive_of_the_first_format_reads_as_the_log_it_was_made_of() {
    let archive = Archive::open(&format!("file://{}", fixture().display())).unwrap();
    let log = log_of([120, 30], 1).await;
    for (partition, records) in [(0, 120_i64), (1, 30)] {
        let report = verify(&*log, &archive, &place(partition)).await.unwrap();
        assert_eq!(
            (report.sound_to, report.compared, report.finding_count),
            (records, records.unsigned_abs(), 0)
        );
        let expected = all(&*log, &place(partition)).await;
        log.trim(&[(place(partition), records - 1)].into()).await.unwrap();
        let joined = JoinedLog::new(log.clone(), archive.clone());
        assert_eq!(all(&joined, &place(partition)).await, expected);
    }
}

#[tokio::test]
async fn python_reads_records_and_events_with_nothing_but_the_files() {
    let required = std::env::var("TIDEWHEEL_PYTHON").is_ok_and(|value| value == "require");
    let has_fastavro = Command::new("python3")
        .args(["-c", "import fastavro"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_fastavro {
        assert!(
            !required,
            "TIDEWHEEL_PYTHON=require, but python3 with fastavro is missing: pip install fastavro"
        );
        eprintln!(
            "skipped: python3 with fastavro is missing (TIDEWHEEL_PYTHON=require makes this a failure)"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&format!("file://{}", folder.path().display())).unwrap();
    sealed(&log_of([200, 90], 1).await, &archive).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_archive.py");
    for (folder, expected) in [(folder.path(), 290), (&fixture(), 150)] {
        let output = Command::new("python3").arg(&script).arg(folder).output().unwrap();
        let shown =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && shown.contains(&format!("{expected} records agree")), "{shown}");
    }
}
