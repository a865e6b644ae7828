//! Scores, standings and counts of an exam: a pure fold over its log.
//!
//! A [`Package`] holds the checked halves of a published exam, a [`Fold`] takes the log entry by entry and can at
//! any time tell scores, ranks, counts and the [`result_file`]. Everything but [`service`] is values in, values
//! out: no clock, no I/O, no async.
//! Invariants: two folds of the same log are byte-identical ([`state_hash`]), whatever the interleaving of its
//! partitions and wherever they were interrupted; standings equal a full sort by the exam's rule at every log
//! position; no log entry can make the fold panic.
//! Start at [`Fold::apply`]. Source: docs/FORMATS.md sections 3 to 6.

mod package;

mod fold;

mod attempt;
pub mod correction;
mod counts;
mod prize;
mod quarantine;
mod result;
mod rule;
pub mod ruling;
mod score;
mod snapshot;
mod standing;
mod unit;

pub mod statistics;

mod error;
mod id;
pub mod integrity;
pub mod service;

#[cfg(test)]
mod fixture;

pub use attempt::{Answers, Chosen, Finished};
pub use error::{Error, Result};
pub use fold::{Applied, Fold, Group, Place, Row, Standing, View};
pub use id::{CandidateId, partition_of};
pub use package::{Item, MAX_OPTIONS, Package};
pub use prize::{Winner, winners};
pub use quarantine::{Quarantined, Reason};
pub use result::{ResultFile, result_file};
pub use rule::{Given, Share};
pub use ruling::Rulings;
pub use score::{Grade, Score, decimal};
pub use snapshot::{load, save, state_hash};
pub use standing::{
    Of, Scope,
    key::{KeyLayout, RankFacts, SortKey},
    order::Order,
    rules::{StandingRules, control_candidate},
};
pub use unit::{
    Unit, Units,
    ranking::{Among, UnitFigures, UnitRanking, Unranked},
    tally::Tally,
};
