//! Edited code against histories of the old code: noticed where the edit is, or of no consequence.

use proptest::prelude::*;
use tidewheel_schemas::Event;

use super::properties::{happenings, live};
use super::script::{Op, Script, ops, scripts};
use super::world::machine;

#[derive(Debug, Clone)]
enum Edit {
    Insert(Op),
    Remove,
    Replace(Op),
    Swap,
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        ops().prop_map(Edit::Insert),
        Just(Edit::Remove),
        ops().prop_map(Edit::Replace),
        Just(Edit::Swap),
    ]
}

/// The edited script and the first location the edit can touch.
fn apply(script: &Script, edit: &Edit, at: &prop::sample::Index) -> Option<(Script, u32)> {
    let mut edited = script.clone();
    let length = script.ops.len();
    let place = match edit {
        Edit::Insert(_) => at.index(length + 1),
        Edit::Remove | Edit::Replace(_) if length > 0 => at.index(length),
        Edit::Swap if length > 1 => at.index(length - 1),
        Edit::Remove | Edit::Replace(_) | Edit::Swap => return None,
    };
    match edit {
        Edit::Insert(op) => edited.ops.insert(place, op.clone()),
        Edit::Remove => drop(edited.ops.remove(place)),
        Edit::Replace(op) => edited.ops[place] = op.clone(),
        Edit::Swap => edited.ops.swap(place, place + 1),
    }
    let before: u32 = script.ops[..place].iter().map(Op::width).sum();
    Some((edited, before + 1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_is_noticed_at_its_place_or_changes_no_decision(
        script in scripts(), happenings in happenings(), edit in edits(), at in any::<prop::sample::Index>(),
    ) {
        let log = live(&script, &happenings);
        let Some((edited, first)) = apply(&script, &edit, &at) else { return Ok(()) };
        match machine(&edited, &log) {
            Err(divergence) => {
                prop_assert!(divergence.location.0[0] >= first, "{:?} before {}", divergence, first);
                prop_assert!(divergence.expected != divergence.found, "{:?}", divergence);
            }
            // Accepted: then every record of the old code is one the new code stands by, up to the end.
            Ok(mut machine) => {
                prop_assert!(machine.is_finished());
                prop_assert!(machine.take_output().proposals.is_empty());
            }
        }
    }

    #[test]
    fn a_renamed_step_with_a_result_is_noticed_at_that_step(
        script in scripts(), happenings in happenings(), at in any::<prop::sample::Index>(),
    ) {
        let steps: Vec<_> =
            script.ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Step { .. })).map(|(place, _)| place).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let place = steps[at.index(steps.len())];
        let location: u32 = 1 + script.ops[..place].iter().map(Op::width).sum::<u32>();
        let log = live(&script, &happenings);
        // A cancel ends the step list early, then compensation has these locations.
        let is_cancelled = log.iter().any(|entry| matches!(&*entry.event, Event::RunCancelling(_)));
        let has_result = log.iter().any(|entry| match &*entry.event {
            Event::StepCompleted(event) => event.location.0[..] == [location],
            Event::StepFailed(event) => event.location.0[..] == [location],
            _ => false,
        });
        let mut edited = script;
        edited.ops[place] = Op::Step { name: 99 };
        let replayed = machine(&edited, &log);
        if has_result && !is_cancelled {
            let divergence = replayed.err().expect("a divergence");
            prop_assert_eq!(&divergence.location.0[..], &[location]);
            prop_assert_eq!(divergence.expected, "step `step99`");
        } else if let Err(divergence) = replayed {
            prop_assert!(is_cancelled, "{:?}", divergence);
        }
    }
}
