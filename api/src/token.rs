//! Access tokens as text: how a secret is made, read, checked and hashed. What a token may do is said in `auth`.

use std::fmt;

use subtle::ConstantTimeEq;
use tidewheel_schemas::{TokenHash, TokenId};

/// What every token's text begins with, so that scanners of source code and logs find leaked ones.
pub const PREFIX: &str = "twk_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of 128 bits in base 62.
const WORD_DIGITS: usize = 22;
/// Digits of 32 bits in base 62.
const CHECKSUM_DIGITS: usize = 6;
const ID_AT: usize = PREFIX.len();
const SECRET_AT: usize = ID_AT + WORD_DIGITS + 1;
const CHECKSUM_AT: usize = SECRET_AT + 2 * WORD_DIGITS + 1;
const LENGTH: usize = CHECKSUM_AT + CHECKSUM_DIGITS;

/// The purpose of the hash, so that it is of no use anywhere else.
const HASH_CONTEXT: &str = "tidewheel 2026 access token secret v1";

/// A token with its secret: `twk_<id>_<secret>_<checksum>`, in digits and letters. Shown once, kept nowhere; `Debug`
/// shows the id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    token_id: TokenId,
    secret: [u8; 32],
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It has another form.
    #[error("it is not of the form twk_<id>_<secret>_<checksum>")]
    Form,
    /// It was mistyped or cut.
    #[error("its checksum is wrong: it was mistyped or cut")]
    Checksum,
}

impl Secret {
    /// A token of this id whose secret is `random`: 32 bytes of high entropy.
    pub const fn new(token_id: TokenId, random: [u8; 32]) -> Self {
        Self { token_id, secret: random }
    }

    /// The token's id, which is no secret.
    pub const fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// The text, to be shown once to whoever asked for it.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        push(&mut text, u128::from_be_bytes(*self.token_id.as_bytes()), WORD_DIGITS);
        text.push('_');
        let (words, _) = self.secret.as_chunks::<16>();
        for word in words {
            push(&mut text, u128::from_be_bytes(*word), WORD_DIGITS);
        }
        let checksum = crc32fast::hash(text.as_bytes());
        text.push('_');
        push(&mut text, u128::from(checksum), CHECKSUM_DIGITS);
        text
    }

    /// Reads a text. Nothing is looked up for one whose checksum is wrong.
    ///
    /// # Errors
    /// When it is no token; the error tells nothing of the text.
    pub fn parse(text: &str) -> Result<Self, NoToken> {
        let separated = |at: usize| text.as_bytes().get(at) == Some(&b'_');
        if text.len() != LENGTH
            || !text.is_ascii()
            || !text.starts_with(PREFIX)
            || !separated(SECRET_AT - 1)
            || !separated(CHECKSUM_AT - 1)
        {
            return Err(NoToken::Form);
        }
        let number = |from: usize, digits: usize| number(&text.as_bytes()[from..from + digits]);
        let checksum = number(CHECKSUM_AT, CHECKSUM_DIGITS)?;
        if checksum != u128::from(crc32fast::hash(&text.as_bytes()[..CHECKSUM_AT - 1])) {
            return Err(NoToken::Checksum);
        }
        let token_id = TokenId::from_bytes(number(ID_AT, WORD_DIGITS)?.to_be_bytes());
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&number(SECRET_AT, WORD_DIGITS)?.to_be_bytes());
        secret[16..].copy_from_slice(&number(SECRET_AT + WORD_DIGITS, WORD_DIGITS)?.to_be_bytes());
        Ok(Self { token_id, secret })
    }

    /// The hash that records hold. A fast one is enough, for the secret is random and long: there is nothing to guess.
    pub fn hash(&self) -> TokenHash {
        let mut hasher = blake3::Hasher::new_derive_key(HASH_CONTEXT);
        hasher.update(self.token_id.as_bytes());
        hasher.update(&self.secret);
        TokenHash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Whether two hashes are the same, in a time that does not depend on them.
pub fn is_same(one: &TokenHash, other: &TokenHash) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn push(text: &mut String, mut number: u128, digits: usize) {
    let mut reversed = [0_u8; WORD_DIGITS];
    for digit in reversed.iter_mut().take(digits) {
        // The remainder is below the number of digits there are.
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text.extend(reversed[..digits].iter().rev().copied().map(char::from));
}

fn number(digits: &[u8]) -> Result<u128, NoToken> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return Err(NoToken::Form),
        };
        number.checked_mul(62).and_then(|number| number.checked_add(u128::from(value))).ok_or(NoToken::Form)
    })
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").field("token_id", &self.token_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_secret() -> impl Strategy<Value = Secret> {
        (any::<[u8; 16]>(), any::<[u8; 32]>())
            .prop_map(|(token_id, random)| Secret::new(TokenId::from_bytes(token_id), random))
    }

    proptest! {
        #[test]
        fn a_token_reads_back_from_its_text(secret in any_secret()) {
            let text = secret.text();
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            prop_assert_eq!(Secret::parse(&text), Ok(secret));
        }

        #[test]
        fn a_changed_character_is_noticed(secret in any_secret(), at in 0..LENGTH, with in "[0-9A-Za-z_]") {
            let mut text = secret.text();
            prop_assume!(text[at..=at] != with);
            text.replace_range(at..=at, &with);
            prop_assert!(Secret::parse(&text).is_err(), "{}", text);
        }

        #[test]
        fn any_text_is_a_token_or_not(text in ".{0,120}") {
            let _ = Secret::parse(&text);
        }

        #[test]
        fn the_secret_is_in_no_debug_output(secret in any_secret()) {
            let shown = format!("{secret:?} {:?} {:?}", secret.hash(), Secret::parse("twk_x"));
            let text = secret.text();
            for part in [&text[SECRET_AT..SECRET_AT + WORD_DIGITS], &text[SECRET_AT + WORD_DIGITS..CHECKSUM_AT - 1]] {
                prop_assert!(!shown.contains(part));
            }
        }

        #[test]
        fn another_id_or_another_secret_has_another_hash(one in any_secret(), other in any_secret()) {
            prop_assume!(one != other);
            prop_assert!(!is_same(&one.hash(), &other.hash()));
            let mixed = Secret { token_id: other.token_id, ..one };
            prop_assert!(!is_same(&one.hash(), &mixed.hash()) || one.token_id == other.token_id);
            prop_assert!(is_same(&one.hash(), &one.hash()));
        }
    }

    #[test]
    fn the_form_is_frozen() {
        // Computed apart from this code, with Python's blake3 and zlib.
        let secret = Secret::new(TokenId::from_bytes([1; 16]), std::array::from_fn(|index| index as u8));
        assert_eq!(
            secret.text(),
            "twk_01tRy6czI6jAOLpZvq3hw1_000SYW7RiJxkEgOGusQGwp0UJg4EBGO3cQWJhXqJNbv5_2CHRny"
        );
        let hash: String = secret.hash().as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "f5f75382");
        assert_eq!(Secret::parse(&secret.text()), Ok(secret));
    }
}
