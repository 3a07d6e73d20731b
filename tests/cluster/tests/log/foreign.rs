//! Records that other programs write, and other processes of our own.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidewheel_cluster::kafka;
use tidewheel_log::suite::{record, record_at};
use tidewheel_log::{Bounds, EventLog, KafkaLog};
use tidewheel_native::Kafka;
use tidewheel_schemas::{RecordHeaders, TopicPartition};

use crate::{one_partition, raw, take, texts};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Writes one record within a transaction, whose mark takes an offset of its own. Blocks.
fn transaction(kafka: &Kafka, to: &TopicPartition, text: &str, commits: bool) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", format!("foreign-{to}"))
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    let message: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(to.topic.as_str()).partition(0).payload(text.as_bytes());
    producer.send(message).map_err(|(error, _)| error).unwrap();
    producer.flush(TIMEOUT).unwrap();
    if commits {
        producer.commit_transaction(TIMEOUT).unwrap();
    } else {
        producer.abort_transaction(TIMEOUT).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marks_of_other_programs_transactions_leave_no_holes_and_hang_nobody() {
    let Some(kafka) = kafka::shared("transactions of other programs").await else { return };
    let log = kafka::log(kafka);
    let to = one_partition(&log).await;
    let mut tail = log.tail(&to, 0).await.unwrap();
    log.append(&to, vec![record("ours")]).await.unwrap();
    let place = to.clone();
    tokio::task::spawn_blocking(move || {
        transaction(kafka, &place, "theirs", true);
        transaction(kafka, &place, "given up", false);
    })
    .await
    .unwrap();
    // Ours, theirs, a mark, theirs, a mark that nothing follows.
    // The broker writes the marks after it has answered.
    for _ in 0..600 {
        if log.bounds(&to).await.unwrap().end >= 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(log.bounds(&to).await.unwrap(), Bounds { start: 0, end: 5 });
    let expected = ["ours", "theirs", "", "given up", ""];
    let found = log.read(&to, 0, 100).await.unwrap();
    assert_eq!(texts(&found), expected);
    assert_eq!(texts(&take(&mut tail, 5).await), expected);
    for (offset, record) in found.iter().enumerate() {
        assert_eq!(record.offset, offset as i64);
        assert_eq!(matches!(record.headers, RecordHeaders::Known(_)), offset == 0);
    }
    // From and up to every offset, the same.
    for offset in 0..=5 {
        let read = log.read(&to, offset as i64, 100).await.unwrap();
        assert_eq!(texts(&read), expected[offset..]);
        let one = log.read(&to, offset as i64, 1).await.unwrap();
        assert_eq!(texts(&one), expected[offset..].iter().take(1).copied().collect::<Vec<_>>());
    }
    let mut tail_at_mark = log.tail(&to, 4).await.unwrap();
    assert_eq!(texts(&take(&mut tail_at_mark, 1).await), [""]);
    assert_eq!(log.append(&to, vec![record("more")]).await.unwrap().first(), 5);
    for tail in [&mut tail, &mut tail_at_mark] {
        assert_eq!(texts(&take(tail, 1).await), ["more"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_other_programs_comes_back_as_foreign_records() {
    let Some(kafka) = kafka::shared("garbage of other programs").await else { return };
    let log = kafka::log(kafka);
    let to = one_partition(&log).await;
    log.append(&to, vec![record_at("ours", 5)]).await.unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let header = |key: &'static str, value: Option<&'static [u8]>| Header { key, value };
    let odd = [
        OwnedHeaders::new(),
        OwnedHeaders::new().insert(header("type", Some(&[0xff, 0xfe]))),
        OwnedHeaders::new().insert(header("type", None)),
        OwnedHeaders::new().insert(header("type", Some(b"run-started"))).insert(header("type", Some(b"x"))),
        OwnedHeaders::new().insert(header("", Some(b""))).insert(header("ünusual", Some(&[0; 1_000]))),
    ];
    let count = odd.len();
    for (number, headers) in odd.into_iter().enumerate() {
        let value = vec![0xee; number * 10];
        let mut message: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(to.topic.as_str()).partition(0).headers(headers);
        if number != 2 {
            message = message.payload(&value);
        }
        if number % 2 == 0 {
            message = message.key(&[0xc0, 0x80]);
        }
        producer.send(message).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
    let (place, address) = (to.clone(), kafka.address(0).expect("a broker"));
    let names: [&'static [u8]; 2] = [&[0xff, 0xfe], b"nul\0in it"];
    for name in names {
        let place = place.clone();
        tokio::task::spawn_blocking(move || raw::produce(address, &place, b"raw", (name, &[0xc0])))
            .await
            .unwrap();
    }
    let count = count + names.len();
    log.append(&to, vec![record_at("ours again", 6)]).await.unwrap();
    let found = log.read(&to, 0, 100).await.unwrap();
    assert_eq!(found.len(), count + 2);
    for record in &found[1..=count] {
        assert!(matches!(record.headers, RecordHeaders::Foreign(_)), "{record:?}");
    }
    assert_eq!(found[2].value.len(), 10);
    assert!(found[3].value.is_empty() && found[3].key[..] == [0xc0, 0x80]);
    let mut tail = log.tail(&to, 0).await.unwrap();
    assert_eq!(take(&mut tail, count + 2).await, found);
    assert_eq!(log.offset_for_time(&to, 6).await.unwrap(), count as i64 + 1);
    // Nothing of them is lost to who archives them, but for names that are not UTF-8.
    let kept = |name: &str, value: &'static [u8]| (name.to_owned(), bytes::Bytes::from_static(value));
    for (offset, expected) in [
        (1, vec![]),
        (2, vec![kept("type", &[0xff, 0xfe])]),
        (4, vec![kept("type", b"run-started"), kept("type", b"x")]),
        (5, vec![kept("", b""), kept("ünusual", &[0; 1_000])]),
        (6, vec![]),
    ] {
        assert_eq!(log.foreign_headers(&to, offset).await.unwrap(), expected, "at {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_append_to_one_partition_and_each_learns_where_its_records_lie() {
    let Some(kafka) = kafka::shared("two processes").await else { return };
    let first = kafka::log(kafka);
    let to = one_partition(&first).await;
    let logs = [first, kafka::log(kafka), kafka::log(kafka)];
    let append = async |who: usize, log: &KafkaLog| {
        let mut placed = Vec::new();
        let mut appends = Vec::new();
        for number in 0..300_usize {
            let batch: Vec<String> = (0..=number % 40).map(|part| format!("{who}.{number}.{part}")).collect();
            appends.push((batch.clone(), log.append(&to, batch.iter().map(|text| record(text)).collect())));
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for (batch, append) in appends {
            let appended = append.await.unwrap();
            placed.extend(batch.into_iter().enumerate().map(|(index, text)| (appended.offset(index), text)));
        }
        placed
    };
    let (one, two, three) = tokio::join!(append(0, &logs[0]), append(1, &logs[1]), append(2, &logs[2]));
    for placed in [&one, &two, &three] {
        assert!(placed.is_sorted_by_key(|(offset, _)| *offset), "a process's records are out of order");
    }
    let mut expected = [one, two, three].concat();
    expected.sort();
    let mut tail = logs[1].tail(&to, 0).await.unwrap();
    let found: Vec<_> = take(&mut tail, expected.len())
        .await
        .into_iter()
        .map(|record| (record.offset, String::from_utf8_lossy(&record.value).into_owned()))
        .collect();
    assert_eq!(found, expected);
}
