//! One record written byte by byte, as no client library would. Nothing else of Kafka's protocol.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidewheel_schemas::TopicPartition;

/// CRC-32C, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

/// Kafka's signed numbers of variable length.
fn put_number(into: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_number(into, bytes.len() as i64);
    into.extend_from_slice(bytes);
}

fn batch(value: &[u8], header: (&[u8], &[u8])) -> Vec<u8> {
    // Attributes, time and offset beside the batch's, no key.
    let mut record = vec![0, 0, 0, 1];
    put_bytes(&mut record, value);
    put_number(&mut record, 1);
    put_bytes(&mut record, header.0);
    put_bytes(&mut record, header.1);
    let mut summed = Vec::new();
    summed.extend([0_u8; 2 + 4]);
    summed.extend(1_700_000_000_000_i64.to_be_bytes());
    summed.extend(1_700_000_000_000_i64.to_be_bytes());
    // No producer id, epoch and sequence.
    summed.extend([0xff_u8; 8 + 2 + 4]);
    summed.extend(1_i32.to_be_bytes());
    put_bytes(&mut summed, &record);
    let mut batch = vec![0_u8; 8];
    batch.extend((4 + 1 + 4 + summed.len() as i32).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(checksum(&summed).to_be_bytes());
    batch.extend(summed);
    batch
}

/// Writes a record with this value and one header. Blocks.
pub fn produce(broker: SocketAddr, to: &TopicPartition, value: &[u8], header: (&[u8], &[u8])) {
    let records = batch(value, header);
    let mut body = Vec::new();
    // Produce, version 7, then correlation, no client id, no transaction, acks=all.
    body.extend([0_u8, 0, 0, 7, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    body.extend(10_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    let topic = to.topic.as_str();
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(to.partition.to_be_bytes());
    body.extend((records.len() as i32).to_be_bytes());
    body.extend(records);
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&(body.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, one topic with its name, one partition with its number, then the error.
    let error_at = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[error_at..error_at + 2], [0, 0], "the broker refused the record: {answer:?}");
}
