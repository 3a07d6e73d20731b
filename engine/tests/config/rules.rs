//! One promise of the configuration's fold each.

use tidewheel_engine::config::{ConfigEntity, ConfigFoldError};
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_schemas::event::{FoldRaised, NamespaceCreated, TokenCreated, TokenRevoked, TokenRotated};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Author, ConfigEvent, Entity, Event, RecordHeaders, TokenId, encode};

use crate::world::{World, event_id, hash, ingest, name, token_id};

fn created(number: u8) -> ConfigEvent {
    TokenCreated {
        name: name("billing"),
        hash: hash(number),
        roles: vec![name("producer"), name("of-a-later-version")],
        namespaces: Some(vec![name("billing")]),
    }
    .into()
}

fn rotated(number: u8, expected_version: Option<i64>) -> ConfigEvent {
    TokenRotated { hash: hash(number), previous_until_us: 99, expected_version }.into()
}

fn token() -> Entity {
    Entity::Token(token_id(1))
}

/// Folds events about one token by one author; the verdicts.
fn verdicts(author: &Author, events: &[ConfigEvent]) -> Vec<Verdict> {
    let world = World::new(1);
    let mut fold = world.begun(0);
    (1..)
        .zip(events)
        .map(|(offset, event)| {
            let record = world.record(offset, event_id(offset as u8), token(), author.clone(), event);
            fold.apply(&record).expect("the fold is total").verdict
        })
        .collect()
}

#[test]
fn a_token_is_created_rotated_against_its_version_and_revoked_for_ever() {
    let revoked: ConfigEvent = TokenRevoked { reason: "lost".to_owned() }.into();
    let events = [
        rotated(1, None),
        created(1),
        created(2),
        rotated(2, Some(7)),
        rotated(3, Some(1)),
        rotated(4, None),
        revoked.clone(),
        revoked,
        rotated(5, None),
    ];
    assert_eq!(
        verdicts(&ingest("token:root"), &events),
        [
            Verdict::Rejected(Rejection::TokenNotFound),
            Verdict::Accepted,
            Verdict::Rejected(Rejection::TokenExists),
            Verdict::Rejected(Rejection::VersionConflict),
            Verdict::Accepted,
            Verdict::Accepted,
            Verdict::Accepted,
            Verdict::Rejected(Rejection::TokenRevoked),
            Verdict::Rejected(Rejection::TokenRevoked),
        ]
    );
}

#[test]
fn a_rotation_keeps_the_secret_before_and_no_older_one() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    for (offset, event) in [(1, created(1)), (2, rotated(2, None)), (3, rotated(3, None))] {
        fold.apply(&world.record(offset, event_id(offset as u8), token(), ingest("a"), &event)).unwrap();
    }
    let token = &fold.tokens()[&token_id(1)];
    let previous = token.previous.expect("the secret before");
    assert_eq!((token.hash, previous.hash, previous.until_us), (hash(3), hash(2), 99));
    assert_eq!((token.version, &*token.created_by), (3, "a"));
}

#[test]
fn nobody_but_a_request_from_outside_changes_the_configuration() {
    let engine = Author::Engine { claim: 0, seq: 0, seen: 0, idle: false };
    let candidate = Author::Candidate { process: "p".into() };
    for author in [engine, candidate] {
        assert_eq!(verdicts(&author, &[created(1)]), [Verdict::Rejected(Rejection::WrongAuthor)]);
    }
}

#[test]
fn a_namespace_is_created_once_and_shown_with_who_did_it() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let event: ConfigEvent = NamespaceCreated { home: name("frankfurt") }.into();
    let entity = || Entity::Namespace(name("billing"));
    let mut apply = |offset, id| {
        fold.apply(&world.record(offset, event_id(id), entity(), ingest("token:root"), &event)).unwrap()
    };
    let first = apply(1, 1);
    assert_eq!(first.verdict, Verdict::Accepted);
    let Some(ConfigEntity::Namespace(namespace)) = first.after else { panic!("{:?}", first.after) };
    assert_eq!((namespace.home.as_str(), &*namespace.created_by), ("frankfurt", "token:root"));
    assert_eq!(apply(2, 1).verdict, Verdict::Duplicate(Ok(())));
    let other = apply(3, 2);
    assert_eq!(other.verdict, Verdict::Rejected(Rejection::NamespaceExists));
    let Some(ConfigEntity::Namespace(unchanged)) = other.after else { panic!("{:?}", other.after) };
    assert_eq!((unchanged.version, &unchanged.home), (1, &namespace.home));
}

#[test]
fn nothing_counts_before_the_log_was_created_and_a_second_creation_is_void() {
    let world = World::new(1);
    let mut fold = tidewheel_engine::config::ConfigFold::new(0);
    let early = world.record(0, event_id(1), token(), ingest("a"), &created(1));
    assert_eq!(fold.apply(&early).unwrap().verdict, Verdict::Rejected(Rejection::Void));
    let mut fold = world.begun(0);
    let second = tidewheel_schemas::Record { offset: 1, ..world.created(0) };
    assert_eq!(fold.apply(&second).unwrap().verdict, Verdict::Rejected(Rejection::Void));
    assert!(fold.tokens().is_empty());
}

#[test]
fn a_record_in_the_wrong_partition_or_under_another_key_is_refused() {
    let world = World::new(4);
    let number = partition_for(&token().routing_key(), 4);
    for partition in 0..4 {
        let mut fold = world.begun(partition);
        let record = world.record(1, event_id(1), token(), ingest("a"), &created(1));
        let verdict = fold.apply(&record).unwrap().verdict;
        if partition == number {
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            assert_eq!(verdict, Verdict::Rejected(Rejection::WrongPartition));
        }
    }
    // Another token's key, found so that it lies in the same partition.
    let other = (2..=255)
        .map(|number| Entity::Token(TokenId::random([number; 16])).routing_key())
        .find(|key| partition_for(key, 4) == number)
        .expect("a key of that partition");
    let mut fold = world.begun(number);
    let mut record = world.record(1, event_id(1), token(), ingest("a"), &created(1));
    record.key = other;
    assert_eq!(fold.apply(&record).unwrap().verdict, Verdict::Rejected(Rejection::WrongPartition));
}

#[test]
fn a_workflow_event_is_not_part_of_the_configuration() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let raised =
        world.record(1, event_id(1), Entity::Partition(0), ingest("a"), &FoldRaised { fold: 1 }.into());
    let RecordHeaders::Known(headers) = &raised.headers else { panic!("known headers") };
    let (envelope, _) = tidewheel_schemas::decode_config(headers, &raised.value).unwrap();
    let foreign = encode(&envelope, &Event::from(FoldRaised { fold: 2 })).unwrap();
    let foreign = tidewheel_schemas::Record {
        offset: 1,
        key: foreign.key,
        headers: foreign.headers,
        value: foreign.value,
    };
    assert_eq!(fold.apply(&foreign).unwrap().verdict, Verdict::Rejected(Rejection::NotInFold));
    assert_eq!(fold.control().fold, 1);
}

#[test]
fn a_fold_version_this_build_does_not_know_stops_the_partition() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let raised =
        world.record(1, event_id(1), Entity::Partition(0), ingest("a"), &FoldRaised { fold: 2 }.into());
    assert_eq!(fold.apply(&raised).unwrap().verdict, Verdict::Accepted);
    let next = world.record(2, event_id(2), token(), ingest("a"), &created(1));
    assert_eq!(fold.apply(&next), Err(ConfigFoldError::Newer { partition: 0, offset: 2, fold: 2 }));
}

#[test]
fn a_hash_is_in_no_debug_output() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    fold.apply(&world.record(1, event_id(1), token(), ingest("a"), &created(0xab))).unwrap();
    let text = format!("{fold:?}");
    assert!(text.contains("TokenHash(..)") && !text.contains("171, 171"), "{text}");
}
