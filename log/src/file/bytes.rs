//! Numbers and texts as bytes: what frames, headers and segment files are made of. Frozen.

use std::sync::Arc;

/// Bytes that are not what they should be; the text names the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// Appends `number` in 7-bit pieces, lowest first, the high bit saying that more follow.
pub(crate) fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Appends a signed number, small magnitudes short.
pub(crate) fn put_signed(into: &mut Vec<u8>, number: i64) {
    put_varint(into, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Appends bytes with their length in front.
pub(crate) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Takes parts off the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'bytes> {
    rest: &'bytes [u8],
}

impl<'bytes> Input<'bytes> {
    pub const fn new(bytes: &'bytes [u8]) -> Self {
        Self { rest: bytes }
    }

    pub const fn rest(&self) -> &'bytes [u8] {
        self.rest
    }

    pub fn take(&mut self, length: usize, what: &'static str) -> Result<&'bytes [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const LENGTH: usize>(&mut self, what: &'static str) -> Result<[u8; LENGTH], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub fn i64(&mut self, what: &'static str) -> Result<i64, Malformed> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let piece = u64::from(byte & 0x7f);
            if shift == 63 && piece > 1 {
                return Err(Malformed(what));
            }
            number |= piece << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed(what))
    }

    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.varint(what)?).map_err(|_| Malformed(what))
    }

    pub fn signed(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let folded = self.varint(what)?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    pub fn bytes(&mut self, what: &'static str) -> Result<&'bytes [u8], Malformed> {
        let length = usize::try_from(self.varint(what)?).map_err(|_| Malformed(what))?;
        self.take(length, what)
    }

    pub fn text(&mut self, what: &'static str) -> Result<&'bytes str, Malformed> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| Malformed(what))
    }
}

/// Texts that repeat from record to record (a principal) are allocated once per change, not per record.
#[derive(Debug, Default)]
pub(crate) struct LastText(Option<Arc<str>>);

impl LastText {
    pub fn shared(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => Arc::clone(last),
            Some(_) | None => {
                let fresh: Arc<str> = text.into();
                self.0 = Some(Arc::clone(&fresh));
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back(unsigned: u64, signed: i64, shift in 0..64_u32) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, unsigned >> shift);
            put_signed(&mut bytes, signed >> shift);
            let mut input = Input::new(&bytes);
            prop_assert_eq!(input.varint("unsigned"), Ok(unsigned >> shift));
            prop_assert_eq!(input.signed("signed"), Ok(signed >> shift));
            prop_assert!(input.rest().is_empty());
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes: Vec<u8>) {
            let mut input = Input::new(&bytes);
            while input.varint("number").is_ok() {}
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut input = Input::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
        assert_eq!(input.varint("number"), Err(Malformed("number")));
    }
}
