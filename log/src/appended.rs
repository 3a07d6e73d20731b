//! Where the records of an append lie. Not how they got there.

/// The offsets of one batch, in the order its records were given. Offsets ascend; where nobody else writes to the
/// partition they are consecutive, which costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    first: i64,
    /// The offset of every record, if they are not consecutive.
    scattered: Option<Box<[i64]>>,
}

impl Appended {
    /// A batch whose records lie side by side from `first` on.
    pub const fn consecutive(first: i64) -> Self {
        Self { first, scattered: None }
    }

    /// A batch between whose records others may lie. `None` for no offsets at all.
    pub fn at(offsets: Vec<i64>) -> Option<Self> {
        let first = *offsets.first()?;
        let is_consecutive = offsets.iter().zip(first..).all(|(found, expected)| *found == expected);
        let scattered = if is_consecutive { None } else { Some(offsets.into_boxed_slice()) };
        Some(Self { first, scattered })
    }

    /// The offset of the first record; for an empty batch, where it would lie.
    pub const fn first(&self) -> i64 {
        self.first
    }

    /// The offset of the record that stands at `index` in the batch, from 0.
    pub fn offset(&self, index: usize) -> i64 {
        match &self.scattered {
            None => self.first.saturating_add(i64::try_from(index).unwrap_or(i64::MAX)),
            Some(offsets) => offsets.get(index).or_else(|| offsets.last()).copied().unwrap_or(self.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_by_side_offsets_take_the_cheap_form() {
        let appended = Appended::at(vec![7, 8, 9]).unwrap();
        assert_eq!(appended, Appended::consecutive(7));
        assert_eq!([0, 1, 2].map(|index| appended.offset(index)), [7, 8, 9]);
    }

    #[test]
    fn offsets_with_others_between_them_are_kept_each() {
        let appended = Appended::at(vec![7, 9, 30]).unwrap();
        assert_eq!(appended.first(), 7);
        assert_eq!([0, 1, 2].map(|index| appended.offset(index)), [7, 9, 30]);
        assert_eq!(Appended::at(Vec::new()), None);
    }
}
