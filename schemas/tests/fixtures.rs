//! Frozen records stay readable for ever: by this build, byte for byte, and by Python's fastavro.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidewheel_schemas::testing::{Fixture, config_to_json, to_json};
use tidewheel_schemas::{ConfigEvent, EventType, RecordHeaders, decode, decode_config, encode, registry};

/// Digests of every file in the folders of `fixtures`. A frozen file never changes; new ones belong to a new version.
const DIGEST_V1: &str = "6c41bc095c65a1c906dd2a73af5e9f2f9aa961786de92ac34ea393a09c8f7b14";
const DIGEST_V2: &str = "b1492abe355004fdd214b44eab7ddd68a76da02335fb44edb35270d989e83346";

const DIGEST_V3: &str = "6e6731cc7c70c6da2c3050c18419d279512c7f3fc503a8858c4767fa90a2f010";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// Of the types that came with the second schema of workflow events.
fn later_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v3")
}

/// Of the configuration's changes.
fn config_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v2")
}

#[test]
fn every_change_of_the_configuration_has_fixtures_that_decode_and_encode_to_the_same_bytes() {
    let fixtures = Fixture::read_all(&config_folder()).unwrap();
    assert_eq!(fixtures.len(), 2 * ConfigEvent::TYPES.len());
    for event_type in ConfigEvent::TYPES {
        for variant in ["full", "bare"] {
            let name = format!("{event_type}.{variant}");
            assert!(
                fixtures.iter().any(|(other, _)| *other == name),
                "{name}: run the example write_fixtures"
            );
        }
    }
    for (name, fixture) in fixtures {
        let headers = fixture.headers().unwrap();
        let (envelope, event) =
            decode_config(&headers, &fixture.value()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config_to_json(&envelope, &event), fixture.event, "{name}");
        assert_eq!(Fixture::of_config(&envelope, &event), fixture, "{name}");
    }
}

#[test]
fn every_fixture_decodes_to_its_expected_json_and_encodes_to_the_same_bytes() {
    let later = Fixture::read_all(&later_folder()).unwrap();
    for (name, fixture) in Fixture::read_all(&folder()).unwrap().into_iter().chain(later) {
        let headers = fixture.headers().unwrap();
        let (envelope, event) =
            decode(&headers, &fixture.value()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(to_json(&envelope, &event), fixture.event, "{name}");
        let record = encode(&envelope, &event).unwrap();
        assert_eq!(record.value, fixture.value(), "{name}");
        assert_eq!(record.key, fixture.key, "{name}");
        assert_eq!(record.headers, RecordHeaders::Known(headers), "{name}");
        assert_eq!(Fixture::of(&envelope, &event), fixture, "{name}");
    }
}

#[test]
fn every_event_type_and_author_has_fixtures_with_and_without_its_optional_fields() {
    let mut fixtures = Fixture::read_all(&folder()).unwrap();
    assert_eq!(fixtures.len(), 2 * registry::WORKFLOW_TYPES_V1);
    fixtures.extend(Fixture::read_all(&later_folder()).unwrap());
    let names: BTreeSet<&str> = fixtures.iter().map(|(name, _)| name.as_str()).collect();
    for event_type in EventType::WORKFLOW {
        for variant in ["full", "bare"] {
            let name = format!("{event_type}.{variant}");
            assert!(names.contains(name.as_str()), "{name} is missing: run the example write_fixtures");
        }
    }
    for author in ["Ingest", "Engine", "Outbox", "Candidate"] {
        assert!(
            fixtures.iter().any(|(_, fixture)| fixture.event["author"].get(author).is_some()),
            "{author}"
        );
    }
}

fn digest(folder: &Path) -> String {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let contents = fs::read(&path).unwrap();
        for part in [path.file_name().unwrap().as_encoded_bytes(), &contents] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[test]
fn no_frozen_file_changed() {
    for (folder, frozen) in [(folder(), DIGEST_V1), (config_folder(), DIGEST_V2), (later_folder(), DIGEST_V3)]
    {
        assert_eq!(
            digest(&folder),
            frozen,
            "{} is frozen: take the change back, and give what is new a new schema id",
            folder.display()
        );
    }
}

#[test]
fn python_fastavro_reads_and_writes_the_same_bytes() {
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
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_fixtures.py");
    for folder in [folder(), config_folder(), later_folder()] {
        let output = Command::new("python3").arg(&script).arg(&folder).output().unwrap();
        let shown =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{shown}");
        let expected = format!("{} fixtures agree", Fixture::read_all(&folder).unwrap().len());
        assert!(shown.contains(&expected), "{shown}");
    }
}
