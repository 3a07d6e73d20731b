//! The fold of the configuration: what counts, in which order, and that it is total.

mod rules;
mod views;
mod world;

use proptest::prelude::*;
use tidewheel_engine::config::{ConfigFold, ConfigTransition};
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_schemas::event::{NamespaceCreated, TokenCreated, TokenRevoked, TokenRotated};
use tidewheel_schemas::{ConfigEvent, Entity, Record};

use world::{Shown, World, event_id, hash, name, token_id};

/// What somebody asks for: about one of a few things, under one of not many event ids.
#[derive(Debug, Clone)]
struct Asked {
    event_id: u8,
    thing: u8,
    what: u8,
    number: u8,
}

fn any_asked() -> impl Strategy<Value = Asked> {
    (0..40_u8, 0..4_u8, 0..5_u8, any::<u8>()).prop_map(|(event_id, thing, what, number)| Asked {
        event_id,
        thing,
        what,
        number,
    })
}

impl Asked {
    fn record(&self, world: &World, offset: i64) -> Record {
        // An event id belongs to one thing, as idempotency keys do.
        let id = self.event_id.wrapping_mul(4).wrapping_add(self.thing);
        let entity = if self.what == 0 {
            Entity::Namespace(name(&format!("namespace-{}", self.thing)))
        } else {
            Entity::Token(token_id(self.thing))
        };
        let event: ConfigEvent = match self.what {
            0 => NamespaceCreated { home: name("local") }.into(),
            1 | 2 => TokenCreated {
                name: name("a"),
                hash: hash(self.number),
                roles: vec![name("reader")],
                namespaces: None,
            }
            .into(),
            3 => TokenRotated {
                hash: hash(self.number),
                previous_until_us: i64::from(self.number),
                expected_version: self.number.is_multiple_of(3).then(|| i64::from(self.number % 4)),
            }
            .into(),
            _ => TokenRevoked { reason: String::new() }.into(),
        };
        world.record(offset, event_id(id), entity, world::ingest("token:a"), &event)
    }
}

/// Folds these after the log's first record.
fn fold(asked: &[Asked]) -> (ConfigFold, Vec<ConfigTransition>) {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let transitions = (1..)
        .zip(asked)
        .map(|(offset, asked)| fold.apply(&asked.record(&world, offset)).expect("the fold is total"))
        .collect();
    (fold, transitions)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_replay_gives_the_same_state_and_the_same_verdicts(asked in prop::collection::vec(any_asked(), 0..60)) {
        let (first, verdicts) = fold(&asked);
        let (second, again) = fold(&asked);
        prop_assert_eq!(first, second);
        prop_assert_eq!(verdicts, again);
    }

    #[test]
    fn a_repetition_changes_nothing_and_gets_the_first_answer(
        asked in prop::collection::vec(any_asked(), 1..40), from: prop::sample::Index, to: prop::sample::Index,
    ) {
        let from = from.index(asked.len());
        let to = from + 1 + to.index(asked.len() - from);
        let mut repeated = asked.clone();
        repeated.insert(to, asked[from].clone());
        let (once, verdicts) = fold(&asked);
        let (twice, again) = fold(&repeated);
        // What does not exist remembers nothing: asked again, it may exist.
        if verdicts[from].verdict == Verdict::Rejected(Rejection::TokenNotFound) {
            return Ok(());
        }
        prop_assert_eq!(Shown::of(&once), Shown::of(&twice));
        let first = match verdicts[from].verdict {
            Verdict::Accepted => Verdict::Duplicate(Ok(())),
            Verdict::Rejected(rejection) => Verdict::Duplicate(Err(rejection)),
            other => other,
        };
        prop_assert_eq!(again[to].verdict, first);
    }

    #[test]
    fn the_order_of_records_about_different_things_does_not_matter(
        asked in prop::collection::vec(any_asked(), 0..60),
    ) {
        let mut sorted = asked.clone();
        // Stable, so that each thing sees its own records in the same order.
        sorted.sort_by_key(|asked| (asked.what == 0, asked.thing));
        prop_assert_eq!(Shown::of(&fold(&asked).0), Shown::of(&fold(&sorted).0));
    }

    #[test]
    fn any_records_are_folded_and_engines_change_nothing(
        records in prop::collection::vec(world::any_record(), 0..30),
    ) {
        let world = World::new(1);
        let mut fold = world.begun(0);
        let begun = Shown::of(&fold);
        for (offset, record) in (1..).zip(records) {
            let is_of_engine = world::is_of_engine(&record);
            let before = Shown::of(&fold);
            let Ok(transition) = fold.apply(&Record { offset, ..record }) else {
                // Raised above this build: the only reason to stop.
                prop_assert!(fold.control().fold > tidewheel_engine::config::CONFIG_FOLD_VERSION);
                return Ok(());
            };
            prop_assert_eq!(transition.offset, offset);
            if is_of_engine {
                prop_assert!(matches!(transition.verdict, Verdict::Rejected(_)));
                prop_assert_eq!(before, Shown::of(&fold));
            }
        }
        prop_assert!(Shown::of(&fold).tokens.len() >= begun.tokens.len());
    }
}
