//! The one binary. Everything lives in the library.

fn main() {}
