//! Garbage, truncated and foreign files in an archive's folder: named, and never believed.

use std::fs;
use std::path::{Path, PathBuf};

use tidewheel_archive::{Archive, ArchiveError, Catalog, verify};

use crate::common::{log_of, place, sealed};

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn whatever_is_wrong_with_a_file_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&format!("file://{}", folder.path().display())).unwrap();
    let log = log_of([300, 0], 1).await;
    sealed(&log, &archive).await.unwrap();
    let clean = verify(&*log, &archive, &place(0)).await.unwrap();
    assert_eq!((clean.ranges, clean.records, clean.compared, clean.sound_to), (6, 300, 300, 300));
    let path = files(folder.path(), "avro")[2].clone();
    let whole = fs::read(&path).unwrap();
    let other = fs::read(&files(folder.path(), "avro")[3]).unwrap();
    let mut cases = vec![Vec::new(), b"not an Avro file at all".to_vec(), other];
    cases.extend([1, 100, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    cases.extend((0..whole.len()).step_by(97).map(|at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        flipped
    }));
    for bytes in cases {
        fs::write(&path, bytes).unwrap();
        let report = verify(&*log, &archive, &place(0)).await.unwrap();
        assert_eq!((report.finding_count, report.sound_to, report.ranges), (1, 100, 5), "{report:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(report.findings[0].what.contains(name), "{report:?}");
    }
    fs::remove_file(&path).unwrap();
    let report = verify(&*log, &archive, &place(0)).await.unwrap();
    assert!(report.findings[0].what.contains("missing"), "{report:?}");
    fs::write(&path, whole).unwrap();
    assert_eq!(verify(&*log, &archive, &place(0)).await.unwrap(), clean);
}

#[tokio::test]
async fn strangers_are_passed_over_unless_they_stand_under_a_name_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&format!("file://{}", folder.path().display())).unwrap();
    let log = log_of([120, 0], 1).await;
    sealed(&log, &archive).await.unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let manifest = files(folder.path(), "json")[1].clone();
    let beside = manifest.parent().unwrap().join("holiday.avro");
    fs::write(&beside, "not ours").unwrap();
    let catalog = Catalog::load(&archive, None).await.unwrap();
    assert_eq!((catalog.chains.len(), catalog.others.len()), (1, 2));
    assert_eq!(verify(&*log, &archive, &place(0)).await.unwrap().finding_count, 0);
    let whole = fs::read(&manifest).unwrap();
    for bytes in [&b""[..], b"{}", b"garbage", &whole[..40]] {
        fs::write(&manifest, bytes).unwrap();
        match Catalog::load(&archive, None).await {
            Err(ArchiveError::Foreign { object, .. }) => {
                assert!(object.ends_with(manifest.file_name().unwrap().to_str().unwrap()), "{object}");
            }
            other => panic!("garbage was answered with {other:?}"),
        }
        let report = verify(&*log, &archive, &place(0)).await.unwrap();
        assert_eq!(report.finding_count, 1);
    }
}
