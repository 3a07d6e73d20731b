//! Which partition a routing key belongs to, computed as Kafka's Java client does. Not how keys are built.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// Murmur2 as in `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(bytes: &[u8]) -> i32 {
    // Java's `int length` wraps above 2 GiB; keys are limited to far less.
    let mut hash = SEED ^ (bytes.len() as u32);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^= hash >> 15;
    hash.cast_signed()
}

/// The partition of `key` in a topic of `partitions` partitions: from 0, below `partitions`. A topic said to have
/// no partitions is treated as having one.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    // Kafka's `toPositive` clears the sign bit; it is not the absolute value.
    (murmur2(key).cast_unsigned() & 0x7fff_ffff) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (key, murmur2, partition of 12), printed by kafka-clients 4.1.0 (`Utils.murmur2`, `Utils.toPositive`);
    /// six of them also stand in its `UtilsTest`.
    const FROM_JAVA: &[(&str, i32, u32)] = &[
        ("", 275646681, 9),
        ("a", -1563381124, 4),
        ("21", -973932308, 0),
        ("abc", 479470107, 3),
        ("abcd", -1323649548, 8),
        ("foobar", -790332482, 6),
        ("a-little-bit-long-string", -985981536, 8),
        ("a-little-bit-longer-string", -1486304829, 11),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 5),
        ("018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081", 430668331, 7),
        ("näh🦀", -1326651915, 5),
        ("partition/0", 1714261313, 5),
    ];

    #[test]
    fn keys_hash_as_in_the_java_client() {
        for (key, hash, partition) in FROM_JAVA {
            assert_eq!(murmur2(key.as_bytes()), *hash, "murmur2 of {key:?}");
            assert_eq!(partition_for(key.as_bytes(), 12), *partition, "partition of {key:?}");
        }
    }

    #[test]
    fn bytes_above_127_hash_as_in_the_java_client() {
        let ascending: Vec<u8> = (0..=255).collect();
        assert_eq!((murmur2(&ascending), partition_for(&ascending, 12)), (-1948347274, 10));
        assert_eq!((murmur2(&[0xff; 256]), partition_for(&[0xff; 256], 12)), (1214980833, 9));
    }

    proptest::proptest! {
        #[test]
        fn a_partition_is_always_below_the_count(key: Vec<u8>, partitions in 1_u32..=u32::MAX) {
            proptest::prop_assert!(partition_for(&key, partitions) < partitions);
        }
    }
}
