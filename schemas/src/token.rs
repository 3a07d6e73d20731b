//! What records hold of a token's secret: its hash. How secrets are made and checked is said in `api`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Hash of a token's secret. Its text is hexadecimal; `Debug` shows none of it.
///
/// Comparing two with `==` takes a time that depends on them, which is of no use to who guesses secrets, since a hash
/// tells nothing of what hashes close to it; the check of a secret compares in constant time all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Wraps 32 bytes as they stand in a record.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in a record.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash(..)")
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            serializer.serialize_str(&text)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = TokenHash;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("32 bytes, or 64 hexadecimal digits")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<TokenHash, E> {
                bytes.try_into().map(TokenHash).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TokenHash, E> {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                let (pairs, rest) = text.as_bytes().as_chunks::<2>();
                let bytes: Option<Vec<u8>> = pairs
                    .iter()
                    .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?).map(|byte| byte as u8))
                    .collect();
                match bytes {
                    Some(bytes) if rest.is_empty() => self.visit_bytes(&bytes),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str("other text"), &self)),
                }
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_shows_nothing_of_itself_in_debug_output() {
        assert_eq!(format!("{:?}", TokenHash::from_bytes([0xab; 32])), "TokenHash(..)");
    }

    #[test]
    fn a_hash_as_text_reads_back_and_other_texts_are_refused() {
        let hash = TokenHash::from_bytes(std::array::from_fn(|index| index as u8 * 7));
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&text).unwrap(), hash);
        for text in ["\"\"", "\"00\"", &format!("\"{}\"", "g".repeat(64)), &format!("\"{}\"", "0".repeat(65))]
        {
            assert!(serde_json::from_str::<TokenHash>(text).is_err(), "{text}");
        }
    }
}
