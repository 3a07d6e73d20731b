//! Avro's binary form for the Rust types that events are made of. Which record has which fields is not said here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::Location;
use crate::id::{EventId, LogId, RunId};
use crate::name::Name;
use crate::payload::{CONTENT_TYPE_JSON, ContentType, Failure, Payload};
use crate::token::TokenHash;

/// A value that has no place in the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// A number above the range of its Avro type.
    #[error("the number {0} is above the range of its field")]
    Number(u64),
    /// A location without coordinates, or with a coordinate 0.
    #[error("a location needs at least one coordinate, and coordinates count from 1")]
    Location,
}

/// Bytes that are not the Avro value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub struct Malformed {
    /// How many bytes of the value were read before.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Payloads up to this size are copied out, so that a small one does not keep the buffer it was read into alive.
const COPIED_BYTES_MAX: usize = 1024;

/// Room reserved ahead for a list, whatever length the bytes claim.
const RESERVED_ITEMS_MAX: usize = 256;

/// What is left of a value that is being read.
pub(super) struct Input<'a> {
    value: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads `value` from byte `from` on; nothing is left when it is shorter.
    pub(super) fn new(value: &'a Bytes, from: usize) -> Self {
        Self { value, rest: value.get(from..).unwrap_or_default() }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes of the value were read.
    pub(super) const fn at(&self) -> usize {
        self.value.len() - self.rest.len()
    }

    /// The whole value.
    pub(super) const fn value(&self) -> &'a Bytes {
        self.value
    }

    pub(super) const fn malformed(&self, problem: &'static str) -> Malformed {
        Malformed { at: self.at(), problem }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.malformed("the value ends early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        let mut zigzag = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err(self.malformed("a number has more than 64 bits"))
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        i32::try_from(self.long()?).map_err(|_| self.malformed("a number is out of range"))
    }

    pub(super) fn natural<N: TryFrom<i64>>(&mut self) -> Result<N, Malformed> {
        N::try_from(self.long()?).map_err(|_| self.malformed("a count is negative or out of range"))
    }

    pub(super) fn natural_int(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.int()?).map_err(|_| self.malformed("a count is negative"))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("a boolean is neither 0 nor 1")),
        }
    }

    pub(super) fn slice(&mut self) -> Result<&'a [u8], Malformed> {
        let length: usize = self.natural()?;
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.malformed("a length is beyond the end"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let slice = self.slice()?;
        std::str::from_utf8(slice).map_err(|_| self.malformed("a text is not UTF-8"))
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.long()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(self.malformed("an optional field is neither absent nor present")),
        }
    }

    pub(super) fn fixed<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or_else(|| self.malformed("the value ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The number of items in the next block of a list or map; 0 at its end.
    fn block(&mut self) -> Result<usize, Malformed> {
        let count = self.long()?;
        if count < 0 {
            // A negative count is followed by the block's size in bytes, which only skipping needs.
            self.natural::<u64>()?;
        }
        usize::try_from(count.unsigned_abs())
            .ok()
            .filter(|items| *items <= self.rest.len())
            .ok_or_else(|| self.malformed("a list claims more items than there are bytes"))
    }
}

/// A Rust type with one Avro form.
pub(super) trait Wire: Sized {
    /// Appends the Avro form.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable>;

    /// Reads the Avro form.
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed>;

    /// About how many bytes the form takes, to reserve them at once.
    fn size_hint(&self) -> usize {
        10
    }
}

pub(super) fn write_long(number: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

pub(super) fn write_natural(number: u64, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    write_long(i64::try_from(number).map_err(|_| Unencodable::Number(number))?, out);
    Ok(())
}

/// Writes a number whose Avro type is `int`.
pub(super) fn write_natural_int(number: u32, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let number = i32::try_from(number).map_err(|_| Unencodable::Number(u64::from(number)))?;
    write_long(i64::from(number), out);
    Ok(())
}

pub(super) fn write_slice(slice: &[u8], out: &mut Vec<u8>) {
    write_long(slice.len() as i64, out);
    out.extend_from_slice(slice);
}

impl Wire for i64 {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_long(*self, out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.long()
    }
}

impl Wire for i32 {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_long(i64::from(*self), out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.int()
    }
}

impl Wire for bool {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        out.push(u8::from(*self));
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.boolean()
    }

    fn size_hint(&self) -> usize {
        1
    }
}

impl Wire for String {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_slice(self.as_bytes(), out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.text().map(str::to_owned)
    }

    fn size_hint(&self) -> usize {
        self.len() + 4
    }
}

impl Wire for Name {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_slice(self.as_bytes(), out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let text = input.text()?;
        Self::new(text).map_err(|_| input.malformed("a name breaks the rule of names"))
    }

    fn size_hint(&self) -> usize {
        self.len() + 2
    }
}

impl Wire for Payload {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_slice(self.content_type.as_str().as_bytes(), out);
        write_slice(&self.data, out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let content_type = match input.text()? {
            CONTENT_TYPE_JSON => ContentType::json(),
            other => ContentType::new(other),
        };
        let slice = input.slice()?;
        let data = if slice.len() <= COPIED_BYTES_MAX {
            Bytes::copy_from_slice(slice)
        } else {
            input.value.slice_ref(slice)
        };
        Ok(Self { content_type, data })
    }

    fn size_hint(&self) -> usize {
        self.content_type.as_str().len() + self.data.len() + 8
    }
}

impl Wire for Failure {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        self.code.write(out)?;
        self.message.write(out)
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Self { code: Wire::read(input)?, message: Wire::read(input)? })
    }

    fn size_hint(&self) -> usize {
        self.code.size_hint() + self.message.size_hint()
    }
}

impl Wire for Location {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        let mut length = self.0.len().checked_sub(1).ok_or(Unencodable::Location)?;
        for coordinate in self.0.iter() {
            length += coordinate.checked_ilog10().ok_or(Unencodable::Location)? as usize + 1;
        }
        write_long(length as i64, out);
        for (index, coordinate) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            let mut unit = 10_u32.pow(coordinate.ilog10());
            while unit > 0 {
                out.push(b'0' + (coordinate / unit % 10) as u8);
                unit /= 10;
            }
        }
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let text = input.text()?;
        text.parse().map_err(|_| input.malformed("a location is not dotted numbers from 1"))
    }

    fn size_hint(&self) -> usize {
        self.0.len() * 11 + 2
    }
}

macro_rules! fixed {
    ($($id:ident: $bytes:literal),+) => {$(
        impl Wire for $id {
            fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
                out.extend_from_slice(self.as_bytes());
                Ok(())
            }

            fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
                input.fixed().map(Self::from_bytes)
            }

            fn size_hint(&self) -> usize {
                $bytes
            }
        }
    )+};
}
fixed!(EventId: 16, LogId: 16, RunId: 16, TokenHash: 32);

impl<T: Wire> Wire for Option<T> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.write(out)?;
            }
        }
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match input.long()? {
            0 => Ok(None),
            1 => T::read(input).map(Some),
            _ => Err(input.malformed("an optional field is neither absent nor present")),
        }
    }

    fn size_hint(&self) -> usize {
        1 + self.as_ref().map_or(0, Wire::size_hint)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        if !self.is_empty() {
            write_long(self.len() as i64, out);
            for item in self {
                item.write(out)?;
            }
        }
        out.push(0);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut items = Self::new();
        loop {
            let count = input.block()?;
            if count == 0 {
                return Ok(items);
            }
            items.reserve(count.min(RESERVED_ITEMS_MAX));
            for _ in 0..count {
                items.push(T::read(input)?);
            }
        }
    }

    fn size_hint(&self) -> usize {
        11 + self.iter().map(Wire::size_hint).sum::<usize>()
    }
}

impl Wire for BTreeMap<String, String> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        if !self.is_empty() {
            write_long(self.len() as i64, out);
            for (key, value) in self {
                key.write(out)?;
                value.write(out)?;
            }
        }
        out.push(0);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut map = Self::new();
        loop {
            let count = input.block()?;
            if count == 0 {
                return Ok(map);
            }
            for _ in 0..count {
                if map.insert(String::read(input)?, String::read(input)?).is_some() {
                    return Err(input.malformed("a map has the same key twice"));
                }
            }
        }
    }

    fn size_hint(&self) -> usize {
        11 + self.iter().map(|(key, value)| key.size_hint() + value.size_hint()).sum::<usize>()
    }
}

impl Wire for Arc<str> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_slice(self.as_bytes(), out);
        Ok(())
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.text().map(Into::into)
    }
}
