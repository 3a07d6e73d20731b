//! The promises, one function each. A function's name is what it checks.

use std::time::Duration;

use bytes::Bytes;
use tidewheel_schemas::limit::RECORD_BYTES_MAX;
use tidewheel_schemas::{
    Author, Entity, EventId, LogId, NewRecord, OutboxName, Record, RecordHeaders, TopicPartition,
};

use super::records::{foreign_record, fresh_topic, record, record_at, texts};
use crate::{Bounds, LogError, SharedLog, Tail};

async fn one_partition(log: &SharedLog) -> TopicPartition {
    let topic = fresh_topic();
    log.create_topic(&topic, 1).await.unwrap();
    TopicPartition::new(topic, 0)
}

async fn take(tail: &mut Box<dyn Tail>, count: usize) -> Vec<Record> {
    super::records::take(tail.as_mut(), count, Duration::from_secs(30)).await
}

/// All records, by reads of at most `page` records.
async fn read_all(log: &SharedLog, from: &TopicPartition, page: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let offset = records.last().map_or(0, |last| last.offset + 1);
        let next = log.read(from, offset, page).await.unwrap();
        assert!(next.len() <= page);
        if next.is_empty() {
            return records;
        }
        records.extend(next);
    }
}

/// Creating a topic again is fine with the same count, and refused with any other.
pub async fn a_topic_keeps_its_partition_count(log: &SharedLog) {
    let topic = fresh_topic();
    assert_eq!(log.partitions(&topic).await.unwrap(), None);
    log.create_topic(&topic, 3).await.unwrap();
    log.create_topic(&topic, 3).await.unwrap();
    assert_eq!(log.partitions(&topic).await.unwrap(), Some(3));
    match log.create_topic(&topic, 4).await {
        Err(LogError::PartitionCount { found: 3, expected: 4, .. }) => {}
        other => panic!("another partition count was answered with {other:?}"),
    }
    assert_eq!(log.partitions(&topic).await.unwrap(), Some(3));
}

/// Every operation on what does not exist says so.
pub async fn an_unknown_topic_or_partition_is_refused(log: &SharedLog) {
    let known = one_partition(log).await;
    for unknown in [TopicPartition::new(fresh_topic(), 0), TopicPartition::new(known.topic.clone(), 1)] {
        let outcomes = [
            log.append(&unknown, vec![record("lost")]).await.err(),
            log.read(&unknown, 0, 1).await.err(),
            log.tail(&unknown, 0).await.err(),
            log.bounds(&unknown).await.err(),
            log.offset_for_time(&unknown, 0).await.err(),
        ];
        for outcome in outcomes {
            match outcome {
                Some(LogError::UnknownPartition(named)) => assert_eq!(named, unknown),
                other => panic!("{unknown} was answered with {other:?}"),
            }
        }
    }
    assert_eq!(log.bounds(&known).await.unwrap(), Bounds { start: 0, end: 0 });
}

/// An append answers the offset of its first record; the others follow.
pub async fn batches_lie_at_consecutive_offsets_as_given(log: &SharedLog) {
    let to = one_partition(log).await;
    assert_eq!(log.append(&to, vec![record("a")]).await.unwrap().first(), 0);
    assert_eq!(log.append(&to, vec![record("b"), record("c"), record("d")]).await.unwrap().first(), 1);
    assert_eq!(log.append(&to, vec![record("e")]).await.unwrap().first(), 4);
    let records = read_all(log, &to, 100).await;
    assert_eq!(texts(&records), ["a", "b", "c", "d", "e"]);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

/// The order of the calls decides, not the order of awaiting.
pub async fn batches_lie_in_the_order_submitted_without_awaiting(log: &SharedLog) {
    let to = one_partition(log).await;
    let mut sent = Vec::new();
    let mut appends = Vec::new();
    for number in 0..300 {
        let batch: Vec<String> = (0..=number % 3).map(|part| format!("{number}.{part}")).collect();
        appends.push((sent.len(), log.append(&to, batch.iter().map(|text| record(text)).collect())));
        sent.extend(batch);
    }
    for (first, append) in appends.into_iter().rev() {
        let appended = append.await.unwrap();
        let first = i64::try_from(first).unwrap();
        assert_eq!([0, 1, 2].map(|index| appended.offset(index)), [first, first + 1, first + 2]);
    }
    assert_eq!(texts(&read_all(log, &to, 64).await), sent);
}

/// Batches of different appenders never mix, and each appender's own order holds.
pub async fn concurrent_appenders_interleave_whole_batches(log: &SharedLog) {
    let to = one_partition(log).await;
    let mut appenders = tokio::task::JoinSet::new();
    for appender in 0..4 {
        let (log, to) = (SharedLog::clone(log), to.clone());
        appenders.spawn(async move {
            for number in 0..50 {
                let part = |part: &str| record(&format!("{appender}.{number}.{part}"));
                log.append(&to, vec![part("first"), part("second")]).await.unwrap();
            }
        });
    }
    appenders.join_all().await;
    let found = texts(&read_all(log, &to, 1_000).await);
    assert_eq!(found.len(), 400);
    for appender in 0..4 {
        let prefix = format!("{appender}.");
        let own: Vec<&String> = found.iter().filter(|text| text.starts_with(&prefix)).collect();
        let expected: Vec<String> = (0..50)
            .flat_map(|number| ["first", "second"].map(|part| format!("{appender}.{number}.{part}")))
            .collect();
        assert!(own.into_iter().eq(&expected), "the records of appender {appender} are out of order");
    }
    for pair in found.chunks(2) {
        let stems: Vec<_> = pair.iter().filter_map(|text| text.rsplit_once('.')).collect();
        assert_eq!((stems[0].0, stems[0].1, stems[1].1), (stems[1].0, "first", "second"));
    }
}

/// Submission happens in the call; nobody has to poll.
pub async fn a_dropped_append_is_still_appended(log: &SharedLog) {
    let to = one_partition(log).await;
    drop(log.append(&to, vec![record("dropped")]));
    assert_eq!(log.append(&to, vec![record("awaited")]).await.unwrap().first(), 1);
    assert_eq!(texts(&read_all(log, &to, 10).await), ["dropped", "awaited"]);
}

/// The same records whichever way, from every offset, in pages of every size.
pub async fn reads_tails_and_bounds_agree(log: &SharedLog) {
    let to = one_partition(log).await;
    let sent: Vec<String> = (0..40).map(|number| format!("record {number}")).collect();
    for batch in sent.chunks(3) {
        log.append(&to, batch.iter().map(|text| record(text)).collect()).await.unwrap();
    }
    assert_eq!(log.bounds(&to).await.unwrap(), Bounds { start: 0, end: 40 });
    for page in [1, 2, 7, 40, 100] {
        assert_eq!(texts(&read_all(log, &to, page).await), sent);
    }
    for offset in [0, 1, 2, 20, 39] {
        let from = usize::try_from(offset).unwrap();
        let mut tail = log.tail(&to, offset).await.unwrap();
        assert_eq!(texts(&take(&mut tail, 40 - from).await), sent[from..]);
    }
    assert!(log.read(&to, 40, 10).await.unwrap().is_empty());
}

/// A tail at the end waits, and gets what comes, in order, no more than asked for.
pub async fn a_tail_follows_the_partition_as_it_grows(log: &SharedLog) {
    let to = one_partition(log).await;
    log.append(&to, vec![record("before")]).await.unwrap();
    let mut tails = [log.tail(&to, 0).await.unwrap(), log.tail(&to, 1).await.unwrap()];
    let appender = {
        let (log, to) = (SharedLog::clone(log), to.clone());
        tokio::spawn(async move {
            for number in 0..100 {
                log.append(&to, vec![record(&number.to_string()), record("between")]).await.unwrap();
            }
        })
    };
    let from_start = take(&mut tails[0], 201).await;
    let from_end = take(&mut tails[1], 200).await;
    appender.await.unwrap();
    assert_eq!(from_start[1..], from_end[..]);
    let offsets: Vec<i64> = from_start.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..201).collect::<Vec<_>>());
    let one = tokio::time::timeout(Duration::from_millis(20), tails[0].next(1)).await;
    assert!(one.is_err(), "a tail answered though nothing was there");
}

/// `next` may be dropped at any point, as `select!` does.
pub async fn a_dropped_wait_of_a_tail_loses_nothing(log: &SharedLog) {
    let to = one_partition(log).await;
    let mut tail = log.tail(&to, 0).await.unwrap();
    let mut found = Vec::new();
    for number in 0..50 {
        let append = log.append(&to, vec![record(&number.to_string())]);
        // Ready or not, the wait ends here.
        let waited = tokio::time::timeout(Duration::from_micros(number * 10), tail.next(10)).await;
        if let Ok(records) = waited {
            found.extend(records.unwrap());
        }
        append.await.unwrap();
    }
    found.extend(take(&mut tail, 50 - found.len()).await);
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(texts(&found), expected);
}

/// When an append has answered, every way of reading has the record.
pub async fn an_acknowledged_record_is_visible_at_once(log: &SharedLog) {
    let to = one_partition(log).await;
    for number in 0..30 {
        let offset = log.append(&to, vec![record(&number.to_string())]).await.unwrap().first();
        assert!(log.bounds(&to).await.unwrap().end > offset);
        assert_eq!(texts(&log.read(&to, offset, 1).await.unwrap()), [number.to_string()]);
    }
}

/// The end itself may be asked for, one more may not: the log was cut or is another one.
pub async fn an_offset_beyond_the_end_is_refused(log: &SharedLog) {
    let to = one_partition(log).await;
    log.append(&to, vec![record("only")]).await.unwrap();
    assert!(log.tail(&to, 1).await.is_ok());
    for outcome in [log.read(&to, 2, 1).await.err(), log.tail(&to, 2).await.err()] {
        match outcome {
            Some(LogError::BeyondEnd { asked: 2, end: 1, .. }) => {}
            other => panic!("an offset beyond the end was answered with {other:?}"),
        }
    }
}

/// One record too large, and nothing of its batch is appended; the largest allowed one is.
pub async fn a_record_over_the_limit_is_refused_with_its_batch(log: &SharedLog) {
    let to = one_partition(log).await;
    let sized = |bytes: usize| NewRecord { value: Bytes::from(vec![b'x'; bytes]), ..record("") };
    match log.append(&to, vec![record("small"), sized(RECORD_BYTES_MAX + 1)]).await {
        Err(LogError::TooLarge { limit, .. }) => assert_eq!(limit, RECORD_BYTES_MAX),
        other => panic!("a record over the limit was answered with {other:?}"),
    }
    let key_bytes = record("").key.len();
    assert_eq!(log.append(&to, vec![sized(RECORD_BYTES_MAX - key_bytes)]).await.unwrap().first(), 0);
    let records = read_all(log, &to, 10).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.len(), RECORD_BYTES_MAX - key_bytes);
}

/// Times need not ascend, and foreign records have none.
pub async fn the_first_record_at_or_after_a_time_is_found(log: &SharedLog) {
    let to = one_partition(log).await;
    assert_eq!(log.offset_for_time(&to, 0).await.unwrap(), 0);
    let records = vec![
        foreign_record("foreign"),
        record_at("1", 1_000_000),
        record_at("2", 3_000_000),
        record_at("3", 2_000_000),
        foreign_record("foreign"),
        record_at("5", 4_000_000),
    ];
    log.append(&to, records).await.unwrap();
    for (time_us, offset) in [
        (0, 1),
        (1_000_000, 1),
        (1_000_001, 2),
        (2_000_000, 2),
        (3_000_001, 5),
        (4_000_000, 5),
        (4_000_001, 6),
    ] {
        assert_eq!(log.offset_for_time(&to, time_us).await.unwrap(), offset, "at {time_us}");
    }
}

/// What happens in one partition is not seen in another.
pub async fn topics_and_partitions_are_independent(log: &SharedLog) {
    let (first, second) = (fresh_topic(), fresh_topic());
    log.create_topic(&first, 2).await.unwrap();
    log.create_topic(&second, 2).await.unwrap();
    let places: Vec<TopicPartition> = [&first, &second]
        .into_iter()
        .flat_map(|topic| (0..2).map(|partition| TopicPartition::new(topic.clone(), partition)))
        .collect();
    let appends: Vec<_> = (0..20)
        .flat_map(|number| places.iter().map(move |place| (number, place)))
        .map(|(number, place)| log.append(place, vec![record(&format!("{place} {number}"))]))
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    for place in &places {
        let expected: Vec<String> = (0..20).map(|number| format!("{place} {number}")).collect();
        assert_eq!(texts(&read_all(log, place, 7).await), expected);
    }
}

/// Keys, values, and headers of every author, in and out unchanged, fresh from memory and read back.
pub async fn every_header_and_byte_comes_back(log: &SharedLog) {
    let to = one_partition(log).await;
    let name = OutboxName { offset: 5, index: 2 };
    let source = LogId::random([9; 16]);
    let authors = [
        Author::Ingest { principal: "somebody ünusual".into() },
        Author::Engine { claim: 7, seq: u64::MAX, seen: 3, idle: true },
        Author::Engine { claim: 0, seq: 0, seen: 0, idle: false },
        Author::Outbox { source, partition: 3, name, predecessor: None },
        Author::Outbox { source, partition: 3, name, predecessor: Some(OutboxName { offset: 4, index: 0 }) },
        Author::Candidate { process: "node-1".into() },
    ];
    let mut sent = Vec::new();
    for (number, author) in (0_u8..).zip(authors) {
        let mut new = record_at("", i64::from(number) - 2);
        if let RecordHeaders::Known(headers) = &mut new.headers {
            headers.author = author;
            headers.event_id = EventId::random([number; 16]);
            if number % 2 == 1 {
                headers.entity = Entity::Partition(u32::from(number));
                new.key = headers.entity.routing_key();
            }
        }
        new.value = (0..=255).cycle().take(usize::from(number) * 200).collect();
        sent.push(new);
    }
    log.append(&to, sent.clone()).await.unwrap();
    let mut tail = log.tail(&to, 0).await.unwrap();
    for found in [take(&mut tail, sent.len()).await, read_all(log, &to, 2).await] {
        let found: Vec<NewRecord> = found
            .into_iter()
            .map(|Record { key, headers, value, .. }| NewRecord { key, headers, value })
            .collect();
        assert_eq!(found, sent);
    }
}

/// Two partitions with many records of some size, in batches; answers the texts of each.
async fn two_filled_partitions(log: &SharedLog) -> ([TopicPartition; 2], Vec<String>) {
    let topic = fresh_topic();
    log.create_topic(&topic, 2).await.unwrap();
    let places = [0, 1].map(|partition| TopicPartition::new(topic.clone(), partition));
    let sent: Vec<String> = (0..200).map(|number| format!("{number} {}", "x".repeat(100))).collect();
    for (batch, first) in sent.chunks(5).zip((0_i64..).step_by(5)) {
        for place in &places {
            let times = (first..).map(|number| number * 1_000_000);
            let records = batch.iter().zip(times).map(|(text, time_us)| record_at(text, time_us)).collect();
            log.append(place, records).await.unwrap();
        }
    }
    (places, sent)
}

/// Below the start everything is refused, from it on nothing has changed, and appending goes on.
pub async fn what_is_trimmed_is_gone_and_the_rest_lies_where_it_was(log: &SharedLog) {
    let ([first, second], sent) = two_filled_partitions(log).await;
    let mut starts = [0, 0];
    for limits in [[70, 90], [120, 90], [30, 95], [200, 200]] {
        let limits = [(first.clone(), limits[0]), (second.clone(), limits[1])];
        log.trim(&limits.iter().cloned().collect()).await.unwrap();
        for ((place, limit), start) in limits.into_iter().zip(&mut starts) {
            let bounds = log.bounds(&place).await.unwrap();
            assert_eq!(bounds.end, 200);
            assert!(
                bounds.start >= *start && bounds.start <= limit.max(*start),
                "{bounds:?} {limit} {start}"
            );
            *start = bounds.start;
            let from = usize::try_from(*start).unwrap();
            let mut left = Vec::new();
            loop {
                let offset = *start + i64::try_from(left.len()).unwrap();
                let next = log.read(&place, offset, 30).await.unwrap();
                if next.is_empty() {
                    break;
                }
                left.extend(texts(&next));
            }
            assert_eq!(left, sent[from..]);
            let mut tail = log.tail(&place, *start).await.unwrap();
            assert_eq!(texts(&take(&mut tail, 200 - from).await), sent[from..]);
            for time in [0, *start, 150] {
                let found = log.offset_for_time(&place, time * 1_000_000).await.unwrap();
                assert_eq!(found, time.max(*start), "at {time} s");
            }
            if *start > 0 {
                let asked = *start - 1;
                for outcome in [log.read(&place, asked, 1).await.err(), log.tail(&place, asked).await.err()] {
                    match outcome {
                        Some(LogError::Trimmed { partition, asked: named, start: begins }) => {
                            assert_eq!((partition, named, begins), (place.clone(), asked, *start));
                        }
                        other => panic!("a trimmed offset was answered with {other:?}"),
                    }
                }
            }
        }
    }
    for place in [&first, &second] {
        assert_eq!(log.append(place, vec![record("after")]).await.unwrap().first(), 200);
        assert_eq!(texts(&log.read(place, 200, 10).await.unwrap()), ["after"]);
    }
}

/// It gets every record in order, and if one of them is gone, the error that says so.
pub async fn a_tail_that_a_trim_overtakes_skips_nothing(log: &SharedLog) {
    let ([place, other], sent) = two_filled_partitions(log).await;
    let mut tail = log.tail(&place, 0).await.unwrap();
    let mut found = tail.next(1).await.unwrap();
    log.trim(&[(place.clone(), 180), (other, 180)].into()).await.unwrap();
    let start = log.bounds(&place).await.unwrap().start;
    while found.len() < sent.len() {
        match tokio::time::timeout(Duration::from_secs(30), tail.next(7)).await.expect("a tail hangs") {
            Ok(records) => found.extend(records),
            Err(LogError::Trimmed { asked, start: begins, .. }) => {
                assert_eq!((asked, begins), (i64::try_from(found.len()).unwrap(), start));
                break;
            }
            Err(error) => panic!("a tail behind a trim ended with {error}"),
        }
    }
    assert_eq!(texts(&found), sent[..found.len()]);
}

/// Limits beyond the end and unknown partitions are refused before anything is removed; no limits remove nothing.
pub async fn a_trim_of_what_does_not_exist_removes_nothing(log: &SharedLog) {
    let ([place, _], sent) = two_filled_partitions(log).await;
    let unknown = TopicPartition::new(place.topic.clone(), 7);
    match log.trim(&[(place.clone(), 100), (unknown.clone(), 1)].into()).await {
        Err(LogError::UnknownPartition(named)) => assert_eq!(named, unknown),
        other => panic!("an unknown partition was answered with {other:?}"),
    }
    match log.trim(&[(place.clone(), 201)].into()).await {
        Err(LogError::BeyondEnd { asked: 201, end: 200, .. }) => {}
        other => panic!("a limit beyond the end was answered with {other:?}"),
    }
    log.trim(&std::collections::BTreeMap::new()).await.unwrap();
    assert_eq!(log.bounds(&place).await.unwrap(), Bounds { start: 0, end: 200 });
    assert_eq!(texts(&read_all(log, &place, 64).await), sent);
}
