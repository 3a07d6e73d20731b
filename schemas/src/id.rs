//! Identifiers that are persisted: events, logs, runs and tokens. Each is 16 bytes, shown as a hyphenated UUID.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A string that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a valid {what}: expected a hyphenated UUID such as 018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081"
)]
pub struct ParseIdError {
    what: &'static str,
    text: String,
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl Ord for $name {
            /// By the bytes, as one number: maps of ids are looked into for every record.
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Wraps 16 bytes as they stand in a record.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes as they stand in a record; their order is the id's order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The same id as a UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = || ParseIdError { what: $what, text: text.chars().take(64).collect() };
                if text.len() != 36 {
                    return Err(error());
                }
                Uuid::try_parse(text).map(Self).map_err(|_| error())
            }
        }
    };
}

uuid_newtype!(
    /// Names one event for ever; the fold's deduplication compares these.
    EventId,
    "event id"
);
uuid_newtype!(
    /// Names one partition's log from its `LogCreated` on; a recreated log has another.
    LogId,
    "log id"
);
uuid_newtype!(
    /// Names one run. Carries the label of the datacenter the run lives in (12 bits).
    RunId,
    "run id"
);
uuid_newtype!(
    /// Names one access token for ever. No secret: it is shown in lists, logs and principals.
    TokenId,
    "token id"
);

/// Turns 16 bytes into a UUID of version 8 (custom), variant RFC 9562, keeping the other 122 bits.
const fn version_8(bytes: [u8; 16]) -> [u8; 16] {
    of_version(8, bytes)
}

const fn of_version(version: u8, mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

fn hash_16(domain: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain.as_bytes());
    for part in parts {
        // Lengths keep ("ab","c") and ("a","bc") apart.
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    bytes
}

impl EventId {
    /// An id for an external event that came without an idempotency key.
    pub const fn random(random: [u8; 16]) -> Self {
        Self::from_bytes(version_8(random))
    }

    /// The id every retry of one request shares: derived from the namespace, what the request is aimed at
    /// (`start/<workflow>`, `signal/<run id>`, ...) and the caller's idempotency key.
    pub fn idempotent(namespace: &str, target: &str, idempotency_key: &str) -> Self {
        Self::from_bytes(version_8(hash_16(
            "tidewheel event idempotent v1",
            &[namespace.as_bytes(), target.as_bytes(), idempotency_key.as_bytes()],
        )))
    }

    /// The id of the `seq`-th event authored under the claim at offset `claim` of the partition `log_id`.
    pub fn engine(log_id: LogId, claim: i64, seq: u64) -> Self {
        Self::from_bytes(version_8(hash_16(
            "tidewheel event engine v1",
            &[log_id.as_bytes(), &claim.to_be_bytes(), &seq.to_be_bytes()],
        )))
    }

    /// The id of the message that the outbox entry (`offset`, `index`) of the partition `log_id` becomes.
    pub fn outbox(log_id: LogId, offset: i64, index: u32) -> Self {
        Self::from_bytes(version_8(hash_16(
            "tidewheel event outbox v1",
            &[log_id.as_bytes(), &offset.to_be_bytes(), &index.to_be_bytes()],
        )))
    }
}

impl LogId {
    /// A fresh log id.
    pub const fn random(random: [u8; 16]) -> Self {
        Self::from_bytes(version_8(random))
    }
}

impl TokenId {
    /// A fresh id.
    pub const fn random(random: [u8; 16]) -> Self {
        Self::from_bytes(version_8(random))
    }

    /// The id every retry of one creation shares, by who asks and the idempotency key given.
    pub fn idempotent(principal: &str, idempotency_key: &str) -> Self {
        Self::from_bytes(version_8(hash_16(
            "tidewheel token idempotent v1",
            &[principal.as_bytes(), idempotency_key.as_bytes()],
        )))
    }
}

/// Largest datacenter label: 12 bits.
pub const DATACENTER_LABEL_MAX: u16 = 0x0fff;

impl RunId {
    /// A fresh id: 48 bits of `unix_ms`, the 12-bit `datacenter` label, 62 random bits; ids sort by time. A UUID of
    /// version 7 (RFC 9562), which tells it from one that derives from a key.
    pub fn fresh(datacenter: u16, unix_ms: u64, random: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&random);
        Self::labelled(7, bytes, datacenter)
    }

    /// The time in a fresh id, milliseconds since 1970; none in an id that derives from a key without a time.
    pub fn fresh_ms(&self) -> Option<u64> {
        let (bytes, is_fresh) = (self.as_bytes(), self.as_uuid().get_version_num() == 7);
        is_fresh.then(|| bytes[..6].iter().fold(0, |time, byte| (time << 8) | u64::from(*byte)))
    }

    /// The id of the run that `key` names, so that starting twice is a duplicate the fold sees.
    pub fn keyed(namespace: &str, datacenter: u16, workflow: &str, key: &str) -> Self {
        let label = datacenter & DATACENTER_LABEL_MAX;
        let hash = hash_16(
            "tidewheel run keyed v1",
            &[namespace.as_bytes(), &label.to_be_bytes(), workflow.as_bytes(), key.as_bytes()],
        );
        Self::labelled(8, hash, label)
    }

    /// The id of the run that a request without a key starts; every retry of the request shares it.
    ///
    /// An idempotency key that begins with a UUID of version 7 gives the id its time, which makes it a fresh one: readers
    /// may know without a lookup that there is no such run yet. Others give an id that derives from them as from a key.
    pub fn idempotent(namespace: &str, datacenter: u16, workflow: &str, idempotency_key: &str) -> Self {
        let label = datacenter & DATACENTER_LABEL_MAX;
        let begins = idempotency_key.get(..36).and_then(|text| text.parse::<Self>().ok());
        let Some(unix_ms) = begins.and_then(|begins| begins.fresh_ms()) else {
            // No key can be this text, since keys hold no control characters.
            return Self::keyed(namespace, label, workflow, &format!("\0idempotency\0{idempotency_key}"));
        };
        let hash = hash_16(
            "tidewheel run idempotent v1",
            &[namespace.as_bytes(), &label.to_be_bytes(), workflow.as_bytes(), idempotency_key.as_bytes()],
        );
        Self::fresh(label, unix_ms, std::array::from_fn(|index| hash[index]))
    }

    fn labelled(version: u8, mut bytes: [u8; 16], datacenter: u16) -> Self {
        let label = datacenter & DATACENTER_LABEL_MAX;
        bytes[6] = (label >> 8) as u8;
        bytes[7] = (label & 0xff) as u8;
        Self::from_bytes(of_version(version, bytes))
    }

    /// The hyphenated text without an allocation, as routing keys hold it.
    pub fn to_text(&self) -> [u8; 36] {
        let mut text = [0; 36];
        self.as_uuid().hyphenated().encode_lower(&mut text);
        text
    }

    /// The label of the datacenter this run lives in.
    pub const fn datacenter(&self) -> u16 {
        let bytes = self.as_bytes();
        (((bytes[6] & 0x0f) as u16) << 8) | bytes[7] as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "018f3a6e-7c1d-7001-8a2b-3c4d5e6f7081";

    #[test]
    fn a_start_s_id_has_the_time_of_its_idempotency_key_and_no_other_key_shares_it() {
        let id = RunId::idempotent("default", 5, "order", KEY);
        assert_eq!(id, RunId::idempotent("default", 5, "order", KEY));
        assert_eq!((id.fresh_ms(), id.datacenter()), (Some(0x018f_3a6e_7c1d), 5));
        let line = RunId::idempotent("default", 5, "order", &format!("{KEY}#2"));
        assert_eq!(line.fresh_ms(), id.fresh_ms());
        let others = [
            line,
            RunId::idempotent("other", 5, "order", KEY),
            RunId::idempotent("default", 6, "order", KEY),
            RunId::idempotent("default", 5, "parcel", KEY),
            RunId::idempotent("default", 5, "order", &KEY.to_uppercase()),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn an_idempotency_key_without_a_time_gives_an_id_without_one() {
        let random = KEY.replace("-7001-", "-4001-");
        for key in ["once", random.as_str(), &KEY[..35], "é18f3a6e-7c1d-7001-8a2b-3c4d5e6f708é"] {
            let id = RunId::idempotent("default", 5, "order", key);
            assert_eq!((id.fresh_ms(), id.datacenter()), (None, 5), "{key}");
            assert_ne!(id, RunId::keyed("default", 5, "order", key));
        }
    }

    /// They are in logs, and a retry may come after an upgrade.
    #[test]
    fn derived_ids_are_the_same_in_every_build() {
        let derived = [
            RunId::keyed("default", 1, "order", "4711"),
            RunId::idempotent("default", 1, "order", "2f1c"),
            RunId::idempotent("default", 1, "order", KEY),
        ];
        let expected = [
            "9e0868dd-893b-8001-8bba-ab99eda51b7d",
            "fc12361a-5d09-8001-aff8-6087508431c4",
            "018f3a6e-7c1d-7001-9bf5-ec458b83d9ac",
        ];
        assert_eq!(derived.map(|id| id.to_string()), expected);
    }
}
