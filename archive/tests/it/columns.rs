//! An archive as Parquet: what stands in the files, that they are written once, and that others read them.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use tidewheel_archive::{Archive, ArchiveError, Catalog, ColumnsManifest, Converted, write_columns};
use tidewheel_schemas::RecordHeaders;

use crate::common::{all, log_of, place, sealed};

fn at(folder: &Path) -> Archive {
    Archive::open(&format!("file://{}", folder.display())).unwrap()
}

async fn written(from: &Archive, into: &Archive, raw: bool) -> Result<Vec<Converted>, ArchiveError> {
    let mut converted = Vec::new();
    let ranges = write_columns(from, into, raw, |range| converted.push(range.clone())).await?;
    assert_eq!(ranges as usize, converted.len());
    Ok(converted)
}

fn file_of(folder: &Path, manifest: &ColumnsManifest) -> std::path::PathBuf {
    let partition = manifest.partition.to_string();
    folder.join(&manifest.topic).join(partition).join(manifest.log_id.to_string()).join(&manifest.file)
}

#[tokio::test]
async fn every_record_is_a_row_of_the_file_that_was_made_of_its_range() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, into) = (at(&folder.path().join("avro")), at(&folder.path().join("columns")));
    let log = log_of([120, 30], 1).await;
    sealed(&log, &archive).await.unwrap();
    let converted = written(&archive, &into, true).await.unwrap();
    let ranges: Vec<_> = Catalog::load(&archive, None).await.unwrap().chains;
    let ranges: Vec<_> = ranges.iter().flat_map(|chain| &chain.ranges).collect();
    assert_eq!(converted.len(), ranges.len());
    for (converted, range) in converted.iter().zip(ranges) {
        let manifest = &converted.manifest;
        assert!(converted.is_new);
        assert_eq!((&manifest.source, &manifest.source_sha256), (&range.file, &range.sha256));
        let file = std::fs::read(file_of(&folder.path().join("columns"), manifest)).unwrap();
        assert_eq!(file.len() as u64, manifest.bytes);
        let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
        let about = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let source = about.iter().find(|pair| pair.key == "tidewheel.source_sha256").unwrap();
        assert_eq!(source.value.as_ref(), Some(&range.sha256));
        let records = all(&*log, &place(range.partition)).await;
        let records = &records[usize::try_from(range.from).unwrap()..usize::try_from(range.to).unwrap()];
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), records.len());
        for (row, record) in rows.iter().zip(records) {
            let column = |name: &str| {
                row.get_column_iter()
                    .position(|(column, _)| column == name)
                    .unwrap_or_else(|| panic!("{name}"))
            };
            assert_eq!(row.get_string(column("topic")).unwrap(), range.topic.as_str());
            assert_eq!(row.get_int(column("partition")).unwrap(), i32::try_from(range.partition).unwrap());
            assert_eq!(row.get_long(column("offset")).unwrap(), record.offset);
            assert_eq!(row.get_bytes(column("key")).unwrap().data(), &record.key[..]);
            assert_eq!(row.get_bytes(column("value_bytes")).unwrap().data(), &record.value[..]);
            match &record.headers {
                RecordHeaders::Known(headers) => {
                    let text = |name: &str| row.get_string(column(name)).unwrap().clone();
                    assert_eq!(text("event_type"), headers.event_type.as_str());
                    assert_eq!(text("event_id"), headers.event_id.to_string());
                    assert_eq!(text("entity_kind") + "/" + &text("entity_id"), headers.entity.to_string());
                    let at = row.get_timestamp_micros(column("recorded_at")).unwrap();
                    assert_eq!(at, headers.recorded_at_us);
                    assert!(row.get_string(column("foreign")).is_err());
                    let value: serde_json::Value = serde_json::from_str(&text("value")).unwrap();
                    if text("event_type") == "run-signaled" {
                        assert_eq!(value["payload"]["data"]["number"], record.offset);
                        assert_eq!(
                            (text("author_kind"), text("author_name")),
                            ("ingest".into(), "somebody".into())
                        );
                        assert_eq!(text("namespace"), "default");
                    } else {
                        assert_eq!(value["partitions"], 2);
                    }
                }
                RecordHeaders::Foreign(reason) => {
                    assert_eq!(row.get_string(column("foreign")).unwrap(), reason);
                    assert!(row.get_string(column("event_type")).is_err());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_written_is_left_and_what_is_lost_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let columns = folder.path().join("columns");
    let (archive, into) = (at(&folder.path().join("avro")), at(&columns));
    let log = log_of([120, 0], 1).await;
    sealed(&log, &archive).await.unwrap();
    let first = written(&archive, &into, false).await.unwrap();
    let again = written(&archive, &into, false).await.unwrap();
    assert!(first.iter().all(|range| range.is_new) && again.iter().all(|range| !range.is_new));
    let lost = file_of(&columns, &first[1].manifest);
    std::fs::remove_file(&lost).unwrap();
    let mended = written(&archive, &into, false).await.unwrap();
    assert_eq!(mended.iter().map(|range| range.is_new).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(mended[1].manifest, first[1].manifest);
    // Killed between file and manifest.
    std::fs::remove_file(lost.with_extension("parquet.json")).unwrap();
    assert!(written(&archive, &into, false).await.unwrap()[1].is_new);
    let error = written(&archive, &into, true).await.unwrap_err().to_string();
    assert!(error.contains("`raw`"), "{error}");
    std::fs::remove_file(lost.with_extension("parquet.json")).unwrap();
    std::fs::write(&lost, b"something else").unwrap();
    let error = written(&archive, &into, false).await.unwrap_err().to_string();
    assert!(error.contains("another file") && error.contains(".parquet"), "{error}");
}

#[tokio::test]
async fn an_archive_and_its_columns_may_lie_in_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let archive = at(folder.path());
    let log = log_of([120, 30], 1).await;
    sealed(&log, &archive).await.unwrap();
    let before = Catalog::load(&archive, None).await.unwrap();
    written(&archive, &archive, false).await.unwrap();
    let after = Catalog::load(&archive, None).await.unwrap();
    assert_eq!(before.chains, after.chains);
    let report = tidewheel_archive::verify(&*log, &archive, &place(0)).await.unwrap();
    assert_eq!((report.sound_to, report.finding_count), (120, 0));
}

#[tokio::test]
async fn python_reads_the_columns_with_pyarrow() {
    let required = std::env::var("TIDEWHEEL_PYTHON").is_ok_and(|value| value == "require");
    let has_pyarrow = Command::new("python3")
        .args(["-c", "import pyarrow.parquet"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_pyarrow {
        assert!(
            !required,
            "TIDEWHEEL_PYTHON=require, but python3 with pyarrow is missing: pip install pyarrow"
        );
        eprintln!("skipped: python3 with pyarrow is missing (TIDEWHEEL_PYTHON=require makes this a failure)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (archive, into) = (at(&folder.path().join("avro")), at(&folder.path().join("columns")));
    sealed(&log_of([200, 90], 1).await, &archive).await.unwrap();
    written(&archive, &into, true).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_columns.py");
    let output = Command::new("python3").arg(&script).arg(folder.path()).output().unwrap();
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("290 rows agree"), "{shown}");
}
