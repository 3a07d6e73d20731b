//! A digest of a run's parts: lets a reader that loads header and parts apart notice a torn load.
//!
//! Kept by the fold wherever a part is put or removed, stored in the header row, checked by the loader.

use tidewheel_schemas::{EventId, Location};

use super::Run;

/// Count of a run's parts and XOR of a hash of each one's key and offset. The empty digest is of no parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartsDigest {
    /// How many parts there are.
    pub count: u64,
    /// XOR of the parts' hashes.
    pub hash: u64,
}

/// Names a part within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKey<'a> {
    /// An unread signal, by ordinal.
    Signal(u64),
    /// A timer, by location.
    Timer(&'a Location),
    /// A remembered event id.
    Remembered(&'a EventId),
}

/// FNV-1a, 64 bits. Persisted in header rows: never changed.
struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn hash(key: PartKey<'_>, offset: i64) -> u64 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    match key {
        PartKey::Signal(ordinal) => {
            fnv.bytes(&[1]);
            fnv.bytes(&ordinal.to_be_bytes());
        }
        PartKey::Timer(location) => {
            fnv.bytes(&[2]);
            for coordinate in location.0.iter() {
                fnv.bytes(&coordinate.to_be_bytes());
            }
        }
        PartKey::Remembered(event_id) => {
            fnv.bytes(&[3]);
            fnv.bytes(event_id.as_bytes());
        }
    }
    fnv.bytes(&offset.to_be_bytes());
    // FNV's high bits depend little on the last bytes: mix, so that XOR over many parts does not cancel out.
    let mut mixed = fnv.0;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

impl PartsDigest {
    /// Counts a part in: `offset` is that of the record that put it.
    pub fn add(&mut self, key: PartKey<'_>, offset: i64) {
        self.count = self.count.wrapping_add(1);
        self.hash ^= hash(key, offset);
    }

    /// Counts a part out; `offset` is the one it was added with.
    pub fn remove(&mut self, key: PartKey<'_>, offset: i64) {
        self.count = self.count.wrapping_sub(1);
        self.hash ^= hash(key, offset);
    }

    /// The digest of the parts a run holds, computed from nothing.
    pub fn of(run: &Run) -> Self {
        let mut digest = Self::default();
        for (ordinal, signal) in &run.unread {
            digest.add(PartKey::Signal(*ordinal), signal.offset);
        }
        for (location, timer) in &run.timers {
            digest.add(PartKey::Timer(location), timer.offset);
        }
        for (event_id, remembered) in &run.remembered {
            digest.add(PartKey::Remembered(event_id), remembered.offset);
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_what_was_added_leaves_nothing() {
        let location = Location::top(3);
        let mut digest = PartsDigest::default();
        digest.add(PartKey::Timer(&location), 7);
        digest.add(PartKey::Signal(7), 7);
        digest.remove(PartKey::Timer(&location), 7);
        digest.remove(PartKey::Signal(7), 7);
        assert_eq!(digest, PartsDigest::default());
    }

    #[test]
    fn a_part_put_again_by_another_record_changes_the_digest() {
        let location = Location::top(3);
        let (mut first, mut second) = (PartsDigest::default(), PartsDigest::default());
        first.add(PartKey::Timer(&location), 7);
        second.add(PartKey::Timer(&location), 8);
        assert_ne!(first, second);
    }

    #[test]
    fn the_persisted_hash_does_not_change() {
        let mut digest = PartsDigest::default();
        digest.add(PartKey::Signal(1), 2);
        assert_eq!(digest, PartsDigest { count: 1, hash: 0x10c3_6864_b194_dad9 });
    }
}
