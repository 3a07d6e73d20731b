//! Where the records of a partition came to lie among the parts it became, in a byte or two for each.

/// Records of a block: so many are looked through to find one.
const BLOCK: usize = 256;

/// The place of every record, found by its old offset.
#[derive(Debug)]
pub(crate) struct Moved {
    /// Each record as a number of seven bits a byte, the lowest first: 0 if it lies nowhere, or else one more than
    /// `distance * parts + part`, where the distance is counted from the record before it in its part.
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    /// Behind the last record in each part.
    next: Box<[i64]>,
    records: usize,
}

#[derive(Debug)]
struct Block {
    at: usize,
    /// Behind the last record in each part, before the block.
    next: Box<[i64]>,
}

impl Moved {
    /// Of no records yet, into so many parts.
    pub(crate) fn new(parts: usize) -> Self {
        Self { bytes: Vec::new(), blocks: Vec::new(), next: vec![0; parts].into(), records: 0 }
    }

    /// Where the next record lies: in which part, at what offset. Offsets grow within a part.
    pub(crate) fn push(&mut self, place: Option<(usize, i64)>) {
        if self.records.is_multiple_of(BLOCK) {
            self.blocks.push(Block { at: self.bytes.len(), next: self.next.clone() });
        }
        self.records += 1;
        let parts = self.next.len() as u64;
        let mut code = match place {
            Some((part, offset)) => {
                let next = &mut self.next[part];
                let distance = (offset - *next).unsigned_abs();
                *next = offset + 1;
                1 + distance * parts + part as u64
            }
            None => 0,
        };
        while code >= 0x80 {
            self.bytes.push((code & 0x7f) as u8 | 0x80);
            code >>= 7;
        }
        self.bytes.push(code as u8);
    }

    /// Where the record lies that lay at `offset`; none if it lies nowhere.
    pub(crate) fn find(&self, offset: i64) -> Option<(usize, i64)> {
        let index = usize::try_from(offset).ok().filter(|index| *index < self.records)?;
        let block = self.blocks.get(index / BLOCK)?;
        let mut next = block.next.clone();
        let parts = next.len() as u64;
        let mut codes = self.bytes.get(block.at..)?.iter();
        let mut found = None;
        for _ in 0..=index % BLOCK {
            let (mut code, mut shift) = (0_u64, 0);
            for byte in codes.by_ref() {
                code |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            found = code.checked_sub(1).map(|code| {
                let part = (code % parts) as usize;
                let offset = next[part] + (code / parts).cast_signed();
                next[part] = offset + 1;
                (part, offset)
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_is_found_where_it_lies_and_the_others_nowhere(
            parts in 1_usize..70,
            moves in prop::collection::vec(prop::option::of((any::<prop::sample::Index>(), 0_i64..300)), 0..900),
        ) {
            let mut moved = Moved::new(parts);
            let mut next = vec![0; parts];
            let mut expected = Vec::new();
            for step in moves {
                let place = step.map(|(part, skipped)| {
                    let part = part.index(parts);
                    // Most records follow the one before them.
                    let offset = next[part] + if skipped > 290 { skipped << 30 } else { skipped / 250 };
                    next[part] = offset + 1;
                    (part, offset)
                });
                moved.push(place);
                expected.push(place);
            }
            for (offset, place) in (0..).zip(&expected) {
                prop_assert_eq!(moved.find(offset), *place);
            }
            let beyond = i64::try_from(expected.len()).unwrap();
            prop_assert_eq!((moved.find(beyond), moved.find(-1)), (None, None));
        }
    }

    #[test]
    fn a_record_takes_a_byte_or_two() {
        for (parts, bytes_max) in [(2, 1), (8, 1), (64, 2)] {
            let mut moved = Moved::new(parts);
            let mut next = vec![0; parts];
            for record in 0..100_000_usize {
                let part = record.wrapping_mul(2_654_435_761) % parts;
                moved.push(Some((part, next[part])));
                next[part] += 1;
            }
            assert!(moved.bytes.len() <= 100_000 * bytes_max, "{parts} parts: {}", moved.bytes.len());
            let blocks: usize =
                moved.blocks.iter().map(|block| size_of::<Block>() + 8 * block.next.len()).sum();
            assert!(blocks <= 300_000, "{parts} parts: {blocks}");
        }
    }
}
