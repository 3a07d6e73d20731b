//! A range of clustering keys as slices that CQL can select: columns of one order cannot be compared as one tuple
//! with columns of the other, so each slice fixes some leading columns and bounds the next one. Pure.

use crate::Value;

/// Rows whose leading columns equal `equal` and whose next column lies between the bounds, in the table's order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice<'a> {
    pub(super) equal: &'a [Value],
    /// The next column comes after this value.
    pub(super) after: Option<&'a Value>,
    /// The next column comes before this value.
    pub(super) before: Option<&'a Value>,
}

/// The lower end of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lower<'a> {
    /// A key or a prefix of one.
    pub(super) key: &'a [Value],
    /// Whether what begins with the key belongs to the range.
    pub(super) inclusive: bool,
}

/// The slices of the rows from `lower` up to, and without, `upper`, a key or a prefix of one. In the table's order.
pub(super) fn slices<'a>(lower: Option<Lower<'a>>, upper: Option<&'a [Value]>) -> Vec<Slice<'a>> {
    let from = lower.map_or(&[][..], |lower| lower.key);
    // How many leading values both ends share: only there can one slice have two bounds.
    let shared =
        upper.map_or(0, |upper| from.iter().zip(upper).take_while(|(left, right)| left == right).count());
    if upper.is_some_and(|upper| upper.len() == shared) {
        return Vec::new();
    }
    let mut out = Vec::new();
    if lower.is_none_or(|lower| lower.inclusive) && (from.len() > shared || upper.is_none()) {
        out.push(Slice { equal: from, after: None, before: None });
    }
    for depth in (shared..from.len()).rev() {
        let before = if depth == shared { upper.and_then(|upper| upper.get(depth)) } else { None };
        out.push(Slice { equal: &from[..depth], after: from.get(depth), before });
    }
    if let Some(upper) = upper {
        // Where the lower end is a prefix of the upper one, the slice at `shared` has no lower bound.
        let first = if from.len() > shared { shared + 1 } else { shared };
        for depth in first..upper.len() {
            out.push(Slice { equal: &upper[..depth], after: None, before: upper.get(depth) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Value>> {
        prop::collection::vec((0..4_i64).prop_map(Value::Int), length)
    }

    fn holds(slice: &Slice<'_>, key: &[Value]) -> bool {
        let next = &key[slice.equal.len().min(key.len())..];
        key.starts_with(slice.equal)
            && slice.after.is_none_or(|after| next.first().is_some_and(|value| value > after))
            && slice.before.is_none_or(|before| next.first().is_some_and(|value| value < before))
    }

    /// All keys of three columns, in order.
    fn universe() -> Vec<Vec<Value>> {
        let values = || (0..4_i64).map(Value::Int);
        let pairs = values().flat_map(|first| values().map(move |second| (first.clone(), second)));
        pairs
            .flat_map(|(first, second)| values().map(move |third| vec![first.clone(), second.clone(), third]))
            .collect()
    }

    proptest! {
        #[test]
        fn slices_are_the_range_in_order_and_each_key_once(
            from in proptest::option::of(key(0..=3)),
            cursor in proptest::option::of(key(3)),
            to in proptest::option::of(key(0..=3)),
        ) {
            let lower = match (&cursor, &from) {
                (Some(key), _) => Some(Lower { key, inclusive: false }),
                (None, Some(key)) => Some(Lower { key, inclusive: true }),
                (None, None) => None,
            };
            let belongs = |candidate: &Vec<Value>| {
                let above = lower.is_none_or(|lower| {
                    candidate.as_slice() > lower.key || lower.inclusive && candidate.as_slice() == lower.key
                });
                // Whatever begins with the upper end lies above it.
                above && to.as_ref().is_none_or(|to| candidate[..to.len()] < to[..])
            };
            let expected: Vec<_> = universe().into_iter().filter(belongs).collect();
            let mut found = Vec::new();
            // A range that ends before it begins is told from its encoding, before slices are made.
            let is_range = match (lower, &to) {
                (Some(lower), Some(to)) => lower.key < &to[..],
                _ => true,
            };
            if is_range {
                for slice in slices(lower, to.as_deref()) {
                    found.extend(universe().into_iter().filter(|key| holds(&slice, key)));
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
