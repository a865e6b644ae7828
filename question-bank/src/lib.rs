//! The question bank: from documents to items, releases, packages and papers. Values in, values out: no I/O, no clock.
//!
//! Reading order: [`item`] says what a question is, [`import`] reads it from Word and Excel files, [`release`] freezes a
//! bank and splits an exam package into paper half and key half, [`blueprint`] and [`draw`] make papers of it.

pub mod blueprint;
pub mod draw;
mod error;
pub mod import;
pub mod item;
pub mod paper;
pub mod release;

pub use error::{Error, Result};
