//! People's places: today the administrative map editions of Vietnam. Pure: data compiled in, no I/O.

pub mod area;
