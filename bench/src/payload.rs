//! Payloads that differ in every request, so that an answer can be told from another request's.

/// Digits at the beginning of a payload that differ.
pub const MARK_BYTES: usize = 16;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A text of `length` bytes, at least [`MARK_BYTES`]: zeroes where the mark goes, then letters and digits that do
/// not compress well.
pub fn payload(length: usize, seed: u64) -> String {
    let mut state = seed;
    let letters = std::iter::repeat_with(|| {
        // splitmix64: any sequence without a pattern would do.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(ALPHABET[usize::try_from(mixed >> 58).unwrap_or(0)])
    });
    "0".repeat(MARK_BYTES).chars().chain(letters).take(length.max(MARK_BYTES)).collect()
}

/// The mark of a client's operation.
pub fn mark(client: usize, number: u64) -> [u8; MARK_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut rest = ((client as u64) << 40) | (number & ((1 << 40) - 1));
    let mut digits = [b'0'; MARK_BYTES];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest & 15).unwrap_or(0)];
        rest >>= 4;
    }
    digits
}

/// Bytes that hold payloads and are used again and again with another mark.
#[derive(Debug, Clone)]
pub struct Marked {
    bytes: Vec<u8>,
    marks: Vec<usize>,
}

impl Marked {
    /// `bytes` with the mark of every `payload` in them.
    pub fn new(bytes: Vec<u8>, payload: &str) -> Self {
        let marks = memchr::memmem::find_iter(&bytes, payload.as_bytes()).collect();
        Self { bytes, marks }
    }

    /// Puts a mark into every payload.
    pub fn mark(&mut self, digits: &[u8; MARK_BYTES]) {
        for start in &self.marks {
            if let Some(place) = self.bytes.get_mut(*start..start + MARK_BYTES) {
                place.copy_from_slice(digits);
            }
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_length_and_marks_differ() {
        assert_eq!((payload(256, 1).len(), payload(3, 1).len()), (256, MARK_BYTES));
        assert_ne!(payload(256, 1), payload(256, 2));
        assert_eq!(&mark(1, 0x2a), b"000001000000002a".as_slice());
        assert_ne!(mark(0, 1 << 39), mark(1, 1 << 39));
    }

    #[test]
    fn a_mark_is_put_into_every_payload_and_nowhere_else() {
        let text = payload(20, 7);
        let mut marked = Marked::new(format!("0000000000000000 {text},{text}").into_bytes(), &text);
        marked.mark(&mark(0, 0xabc));
        let wanted = format!("0000000000000abc{}", &text[MARK_BYTES..]);
        assert_eq!(marked.bytes(), format!("0000000000000000 {wanted},{wanted}").into_bytes());
    }
}
