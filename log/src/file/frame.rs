//! Frames: one record, or one topic, as it lies in a group. Frozen bytes.
//!
//! `length u32, kind u8, ...`, little-endian, the length counting what follows it. A record: `topic number,
//! partition, offset` (varints), headers, `key length` (varint), key, value. A topic: `number, partitions`
//! (varints), name.

use tidewheel_schemas::{NewRecord, RecordHeaders};

use super::bytes::{Input, LastText, Malformed, put_bytes, put_varint};
use super::header::{peek_recorded_at_us, put_headers, take_headers};

const RECORD: u8 = 1;
const TOPIC: u8 = 2;

/// Where a record lies: the log's own numbers for topic and partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub topic: u32,
    pub partition: u32,
    pub offset: i64,
}

/// A frame whose place is known and whose rest is not read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'bytes> {
    Record(Place, RecordBody<'bytes>),
    Topic { number: u32, partitions: u32, name: &'bytes str },
}

/// The rest of a record's frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordBody<'bytes>(Input<'bytes>);

impl<'bytes> RecordBody<'bytes> {
    /// Headers, key and value.
    pub fn parts(
        mut self,
        texts: &mut LastText,
    ) -> Result<(RecordHeaders, &'bytes [u8], &'bytes [u8]), Malformed> {
        let headers = take_headers(&mut self.0, texts)?;
        let key = self.0.bytes("key")?;
        Ok((headers, key, self.0.rest()))
    }

    /// The time of the record; none if its headers are foreign.
    pub fn recorded_at_us(mut self) -> Result<Option<i64>, Malformed> {
        peek_recorded_at_us(&mut self.0)
    }
}

/// Appends a record's frame.
pub(crate) fn put_record(into: &mut Vec<u8>, place: Place, record: &NewRecord) {
    framed(into, RECORD, |into| {
        put_varint(into, u64::from(place.topic));
        put_varint(into, u64::from(place.partition));
        put_varint(into, place.offset.cast_unsigned());
        put_headers(into, &record.headers);
        put_bytes(into, &record.key);
        into.extend_from_slice(&record.value);
    });
}

/// Appends a topic's frame.
pub(crate) fn put_topic(into: &mut Vec<u8>, number: u32, partitions: u32, name: &str) {
    framed(into, TOPIC, |into| {
        put_varint(into, u64::from(number));
        put_varint(into, u64::from(partitions));
        into.extend_from_slice(name.as_bytes());
    });
}

fn framed(into: &mut Vec<u8>, kind: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    into.push(kind);
    put(into);
    // A batch is bounded far below 4 GiB (limits.rs).
    let length = u32::try_from(into.len() - start - 4).unwrap_or(u32::MAX);
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Takes the next frame off `input`; none at its end.
pub(crate) fn take_frame<'bytes>(input: &mut Input<'bytes>) -> Result<Option<Frame<'bytes>>, Malformed> {
    if input.rest().is_empty() {
        return Ok(None);
    }
    let length = input.u32("length of a frame")?;
    let length = usize::try_from(length).map_err(|_| Malformed("length of a frame"))?;
    let mut body = Input::new(input.take(length, "frame")?);
    match body.byte("kind of a frame")? {
        RECORD => {
            let place = Place {
                topic: body.varint_u32("topic")?,
                partition: body.varint_u32("partition")?,
                offset: i64::try_from(body.varint("offset")?).map_err(|_| Malformed("offset"))?,
            };
            Ok(Some(Frame::Record(place, RecordBody(body))))
        }
        TOPIC => {
            let number = body.varint_u32("topic")?;
            let partitions = body.varint_u32("number of partitions")?;
            let name = std::str::from_utf8(body.rest()).map_err(|_| Malformed("name of a topic"))?;
            Ok(Some(Frame::Topic { number, partitions, name }))
        }
        _ => Err(Malformed("kind of a frame: written by a newer version of Tidewheel")),
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
