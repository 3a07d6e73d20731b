//! The file of a sealed range: an Avro object container, one Avro record for each record of the log, lossless.
//!
//! Written and read by hand: the format is small, the same records must give the same bytes (a file is named by its
//! checksum), and offsets must be found without inflating what lies before them. Frozen, schema and all.

mod read;
mod write;

pub use read::{Malformed, Reader};
pub use write::{Packed, Writer};

/// The schema of the container's records. Its first record type is the archived record.
pub const SCHEMA: &str = include_str!("../record.avsc");

pub(crate) const MAGIC: [u8; 4] = *b"Obj\x01";
/// Metadata of ours begin with this; a writer schema is `tidewheel.schema.<id>`.
pub(crate) const META: &str = "tidewheel.";
/// Every reader of Avro has it: the specification requires `null` and `deflate`.
pub(crate) const CODEC: &str = "deflate";
/// A block is closed when it has grown to this size.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// More than any block that [`Writer`] makes: it holds a record of at most 1 MiB and its headers beyond its size.
pub(crate) const BLOCK_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidewheel_schemas::testing::any_headers;
    use tidewheel_schemas::{LogId, Record, RecordHeaders, Topic, TopicPartition};

    use super::*;

    fn place() -> TopicPartition {
        TopicPartition::new(Topic::new("t"), 1)
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let headers = prop_oneof![
            4 => any_headers().prop_map(RecordHeaders::Known),
            1 => ".{0,20}".prop_map(RecordHeaders::Foreign),
        ];
        let bytes = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        (headers, bytes(), bytes(), 0_usize..4).prop_map(|(headers, key, value, repeat)| Record {
            offset: 0,
            headers,
            key,
            // Some are far larger than a block, so that files have several.
            value: if repeat == 3 { value.repeat(1_500).into() } else { value },
        })
    }

    fn packed(records: &[Record], from: i64) -> Packed {
        let mut writer = Writer::new(place(), LogId::from_bytes([3; 16]), from);
        records.iter().for_each(|record| writer.push(record, &[]));
        writer.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_record_comes_back_as_it_was(
            mut records in prop::collection::vec(any_record(), 1..40), from in 0_i64..1 << 40,
        ) {
            for (record, offset) in records.iter_mut().zip(from..) {
                record.offset = offset;
            }
            let packed = packed(&records, from);
            prop_assert_eq!(packed.to, from + records.len() as i64);
            let mut reader = Reader::open(packed.bytes.clone(), from).unwrap();
            prop_assert_eq!(reader.read(usize::MAX, usize::MAX).unwrap(), records.clone());
            prop_assert!(reader.read(1, 1).unwrap().is_empty());
            // From any offset on, in pages.
            for (index, expected) in records.iter().enumerate().step_by(3) {
                let mut reader = Reader::open(packed.bytes.clone(), from).unwrap();
                reader.skip_to(expected.offset).unwrap();
                prop_assert_eq!(&reader.read(2, 1 << 20).unwrap()[0], &records[index]);
            }
        }

        #[test]
        fn any_change_is_an_error_and_never_a_panic(
            at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>(),
        ) {
            let record = |offset| Record {
                offset,
                key: Bytes::from_static(b"key"),
                headers: RecordHeaders::Foreign("x".to_owned()),
                value: Bytes::from_static(b"a value a value a value"),
            };
            let whole = packed(&(0..40).map(record).collect::<Vec<_>>(), 0).bytes;
            let mut flipped = whole.to_vec();
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            for bytes in [flipped.into(), whole.slice(..cut.index(whole.len()))] {
                // The checksum of the file is what tells for sure; here nothing may panic or allocate without end.
                if let Ok(mut reader) = Reader::open(bytes, 0) {
                    let _ = reader.read(usize::MAX, usize::MAX);
                }
            }
        }
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        let record = Record {
            offset: 7,
            key: Bytes::from_static(b"k"),
            headers: RecordHeaders::Foreign("somebody else's".to_owned()),
            value: Bytes::from_static(b"v"),
        };
        let records = [record];
        assert_eq!(packed(&records, 7).bytes, packed(&records, 7).bytes);
    }
}
