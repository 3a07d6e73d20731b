//! The program `tidewheel`. What each command does is in `commands`.

fn main() {}
