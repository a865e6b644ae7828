//! `log.bin` of an archive, as far as promises ask for it.
//!
//! Invariant: if a number stands twice in an attempt, the first one stays, so a rewritten answer shows.
//! Source: docs/FORMATS.md, section 7.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use prost::Message;
use proto::exam::v1::{Ended, LogEntry, event::Kind};

use crate::chain::canonical;

/// An entry is one event: a few kilobytes at most.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// What the log holds of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    /// Area code it started with.
    pub(crate) area: String,
    /// Position and canonical response by seq.
    pub(crate) answers: HashMap<u32, (u32, Vec<u8>)>,
    /// Its end.
    pub(crate) ended: Option<Ended>,
}

/// Every attempt of the log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    attempts: HashMap<([u8; 16], u32), Logged>,
}

impl Log {
    /// Reads a log file to its end.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        Self::from_reader(BufReader::new(file))
    }

    fn from_reader(mut file: impl BufRead) -> Result<Self> {
        let mut log = Self::default();
        let mut bytes = Vec::new();
        while !file.fill_buf().context("read log.bin")?.is_empty() {
            let len = length(&mut file)?;
            ensure!(len <= MAX_ENTRY_BYTES, "an entry of log.bin is too long");
            bytes.resize(len, 0);
            file.read_exact(&mut bytes).context("log.bin is cut off")?;
            log.apply(LogEntry::decode(&bytes[..]).context("decode an entry of log.bin")?);
        }
        Ok(log)
    }

    /// Takes the next entry.
    pub(crate) fn apply(&mut self, entry: LogEntry) {
        let Some(event) = entry.event else { return };
        let Ok(candidate) = <[u8; 16]>::try_from(&event.candidate[..]) else {
            return;
        };
        let logged = self.attempts.entry((candidate, event.attempt)).or_default();
        match event.kind {
            Some(Kind::Answered(answer)) => {
                let response = canonical(answer.response.as_ref());
                let first = logged.answers.entry(answer.seq);
                first.or_insert((answer.position, response));
            }
            Some(Kind::Ended(ended)) => logged.ended = Some(ended),
            Some(Kind::Started(started)) => logged.area = started.area,
            Some(Kind::Reopened(_)) => logged.ended = None,
            _ => {}
        }
    }

    /// Returns an attempt.
    pub(crate) fn attempt(&self, candidate: &[u8; 16], attempt: u32) -> Option<&Logged> {
        self.attempts.get(&(*candidate, attempt))
    }
}

/// A length as a varint of at most 4 bytes.
fn length(file: &mut impl Read) -> Result<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let mut byte = [0];
        file.read_exact(&mut byte).context("log.bin is cut off")?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
    }
    anyhow::bail!("an entry of log.bin is too long")
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{Answered, Event};

    use super::*;

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (seq, position) in [(1, 5), (2, 6), (2, 7)] {
            let answer = Answered {
                seq,
                position,
                response: None,
                ..Answered::default()
            };
            let entry = LogEntry {
                event: Some(Event {
                    candidate: vec![1; 16].into(),
                    attempt: 3,
                    kind: Some(Kind::Answered(answer)),
                    ..Event::default()
                }),
                ..LogEntry::default()
            };
            bytes.extend_from_slice(&entry.encode_length_delimited_to_vec());
        }
        bytes
    }

    #[test]
    fn entries_are_read_and_the_first_of_a_number_stays() {
        let log = Log::from_reader(&bytes()[..]).unwrap();
        let logged = log.attempt(&[1; 16], 3).unwrap();
        assert_eq!(logged.answers[&1], (5, vec![0]));
        assert_eq!(logged.answers[&2], (6, vec![0]));
        assert!(log.attempt(&[1; 16], 1).is_none());
    }

    #[test]
    fn a_cut_log_is_an_error() {
        let bytes = bytes();
        assert!(Log::from_reader(&bytes[..bytes.len() - 1]).is_err());
        assert!(Log::from_reader(&[0xff; 8][..]).is_err());
    }
}
