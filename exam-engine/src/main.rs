//! exam.
fn main() {}
