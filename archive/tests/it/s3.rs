//! An archive in a bucket, on a server of S3's protocol that somebody else wrote (Python's moto).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tidewheel_archive::{Archive, ArchiveError, JoinedLog, trim, verify};

use crate::common::{all, log_of, place, sealed};

/// A server on a free port that ends with the test.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// `None` where Python has no moto and nobody asked for it.
    fn start() -> Option<Self> {
        let python = std::env::var("TIDEWHEEL_S3_PYTHON").ok();
        let program = python.as_deref().unwrap_or("python3");
        let has_moto = Command::new(program)
            .args(["-c", "import moto.server"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !has_moto {
            assert!(
                python.is_none(),
                "TIDEWHEEL_S3_PYTHON={program} has no moto: pip install 'moto[server]'"
            );
            eprintln!("skipped: python3 has no moto (TIDEWHEEL_S3_PYTHON names a Python that has it)");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3_server.py");
        let mut process =
            Command::new(program).arg(script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("ready ")?.to_owned())).unwrap();
        Some(Self { process, address })
    }
}

#[test]
fn a_bucket_holds_an_archive_as_a_folder_does() {
    let Some(server) = Server::start() else { return };
    // The environment is the process's: the test runs again as a process of its own.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3::child_that_archives_to_a_bucket", "--nocapture"])
        .env("TIDEWHEEL_TEST_BUCKET", "s3://facts/deep/er")
        .env("AWS_ENDPOINT_URL", &server.address)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test-key-id")
        .env("AWS_SECRET_ACCESS_KEY", "geheim")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("the bucket holds it"), "{said}");
    assert!(!said.contains("geheim") && !said.contains("test-key-id"), "{said}");
}

/// Not a test of its own: the process that the one above starts.
#[tokio::test]
async fn child_that_archives_to_a_bucket() {
    let Ok(location) = std::env::var("TIDEWHEEL_TEST_BUCKET") else { return };
    let archive = Archive::open(&location).unwrap();
    let log = log_of([300, 120], 1).await;
    let expected = all(&*log, &place(0)).await;
    let (first, second) = tokio::join!(sealed(&log, &archive), sealed(&log, &archive));
    assert_eq!((first.unwrap()[0].to, second.unwrap()[0].to), (300, 300));
    let report = verify(&*log, &archive, &place(0)).await.unwrap();
    assert_eq!((report.sound_to, report.compared, report.finding_count), (300, 300, 0));
    trim(&log, &archive, &[(place(0), 299), (place(1), 119)].into()).await.unwrap();
    assert_eq!(all(&JoinedLog::new(Arc::clone(&log), archive), &place(0)).await, expected);
    // A bucket that does not exist is an error, not an empty archive.
    let nowhere = Archive::open("s3://no-such-bucket/x").unwrap();
    let error = verify(&*log, &nowhere, &place(1)).await;
    assert!(matches!(error, Err(ArchiveError::Store { .. })), "{error:?}");
    println!("the bucket holds it");
}
