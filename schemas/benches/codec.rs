//! Encoding and decoding of one event: ours, and apache-avro's with a cached schema beside it.
fn main() {}
