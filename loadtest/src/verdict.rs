//! What became of every promise: what candidates were told against what the archive holds.
//!
//! The archive is read twice: here, promise by promise, and by [`verifier`], which draws, scores and
//! ranks everything anew. Invariant: one lost answer, one wrong chain or one wrong rank fails the run.
//! Start at [`give`].

mod log;

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use anyhow::{Context, Result};
pub(crate) use log::Log;
use log::Logged;
use proto::exam::v1::{EndedBy, StandingRow};
use serde::Serialize;

/// Differences kept for printing: enough to see the kind of a fault that hits everybody.
const MAX_KEPT: usize = 20;

/// An answer for which the engine gave a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Number within the attempt.
    pub(crate) seq: u32,
    /// Position on the paper.
    pub(crate) position: u32,
    /// Canonical bytes of the response.
    pub(crate) response: Vec<u8>,
}

/// How an attempt ended, as its candidate knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The engine never let it start.
    NeverStarted,
    /// The engine confirmed the submission.
    Submitted {
        /// Number of answers.
        last_seq: u32,
        /// Head of the chain.
        chain: [u8; 32],
    },
    /// The candidate walked away.
    Abandoned,
    /// Time was over before the submission was confirmed.
    OutOfTime,
    /// The candidate never learned: only what was acknowledged is known.
    Unknown,
}

/// Everything one candidate was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The candidate.
    pub(crate) candidate: [u8; 16],
    /// Area code.
    pub(crate) area: Arc<str>,
    /// Number of the attempt, 0 if none started.
    pub(crate) attempt: u32,
    /// By rising seq.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// What the candidate saw that must not happen.
    pub(crate) problems: Vec<String>,
}

impl Told {
    /// Begins with nothing told.
    pub(crate) fn nothing(candidate: [u8; 16], area: Arc<str>) -> Self {
        Self {
            candidate,
            area,
            attempt: 0,
            acknowledged: Vec::new(),
            ending: Ending::NeverStarted,
            problems: Vec::new(),
        }
    }
}

/// Differences: the first ones, and the number of all.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Differences {
    /// The first ones.
    pub(crate) kept: Vec<String>,
    /// All.
    pub(crate) n_found: u64,
}

impl Differences {
    /// Notes one.
    pub(crate) fn push(&mut self, what: impl fmt::Display) {
        self.n_found += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(what.to_string());
        }
    }
}

/// The verdict and the numbers it rests on.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Nothing differs.
    pub(crate) ok: bool,
    /// Candidates of the run.
    pub(crate) n_candidates: u64,
    /// Answers acknowledged.
    pub(crate) n_acknowledged: u64,
    /// Of those, found in the archive.
    pub(crate) n_found: u64,
    /// Attempts whose submission was confirmed.
    pub(crate) n_submitted: u64,
    /// Attempts abandoned on purpose.
    pub(crate) n_abandoned: u64,
    /// Attempts that ran out of time.
    pub(crate) n_out_of_time: u64,
    /// Attempts whose end the candidate never learned.
    pub(crate) n_unknown: u64,
    /// Attempts that never started.
    pub(crate) n_never_started: u64,
    /// What differs.
    pub(crate) differences: Differences,
    /// What the verifier said of the archive.
    pub(crate) verifier: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.ok { "ok" } else { "FAILED" };
        write!(
            f,
            "verdict: {word} ({} candidates, {} of {} acknowledged answers found, {} submitted, {} abandoned, \
             {} out of time, {} unknown, {} never started, {} differences)",
            self.n_candidates,
            self.n_found,
            self.n_acknowledged,
            self.n_submitted,
            self.n_abandoned,
            self.n_out_of_time,
            self.n_unknown,
            self.n_never_started,
            self.differences.n_found,
        )
    }
}

/// Reads the archive and gives the verdict. `differences` are those found before; `top` are rows of
/// the nationwide standings from the first one on, as the engine showed them after the close.
pub(crate) fn give(
    told: &[Told],
    top: &[StandingRow],
    archive: &Path,
    differences: Differences,
) -> Result<Verdict> {
    let log = Log::read(&archive.join("log.bin"))?;
    let mut verdict = compare(told, &log, differences);
    let result = std::fs::read_to_string(archive.join("result.tsv")).context("read result.tsv")?;
    compare_top(top, &result, &mut verdict.differences);
    match verifier::verify_folder(archive) {
        Ok(verified) => {
            if !verified.ok() {
                verdict.differences.push("the verifier found differences");
            }
            verdict.verifier = verified.to_string();
        }
        Err(error) => {
            let error = anyhow::Error::from(error).context("verify the archive");
            verdict.differences.push(format!("{error:#}"));
        }
    }
    verdict.ok = verdict.differences.n_found == 0;
    Ok(verdict)
}

/// Compares what was told with the log.
fn compare(told: &[Told], log: &Log, differences: Differences) -> Verdict {
    let mut verdict = Verdict {
        n_candidates: told.len() as u64,
        differences,
        ..Verdict::default()
    };
    for told in told {
        count(&mut verdict, &told.ending);
        let who = hex::encode(told.candidate);
        for problem in &told.problems {
            verdict.differences.push(format!("{who}: {problem}"));
        }
        match log.attempt(&told.candidate, told.attempt) {
            Some(logged) => compare_attempt(told, logged, &who, &mut verdict),
            None if told.attempt == 0 => {
                verdict.differences.push(format!("{who}: never started"));
            }
            None => {
                verdict.n_acknowledged += told.acknowledged.len() as u64;
                let n = told.acknowledged.len();
                let what = format!("{who}: the whole attempt is lost, {n} acknowledged answers");
                verdict.differences.push(what);
            }
        }
    }
    verdict.ok = verdict.differences.n_found == 0;
    verdict
}

fn count(verdict: &mut Verdict, ending: &Ending) {
    let counter = match ending {
        Ending::NeverStarted => &mut verdict.n_never_started,
        Ending::Submitted { .. } => &mut verdict.n_submitted,
        Ending::Abandoned => &mut verdict.n_abandoned,
        Ending::OutOfTime => &mut verdict.n_out_of_time,
        Ending::Unknown => &mut verdict.n_unknown,
    };
    *counter += 1;
}

fn compare_attempt(told: &Told, logged: &Logged, who: &str, verdict: &mut Verdict) {
    for answer in &told.acknowledged {
        verdict.n_acknowledged += 1;
        let found = logged.answers.get(&answer.seq);
        match found {
            Some((position, response))
                if *position == answer.position && *response == answer.response =>
            {
                verdict.n_found += 1;
            }
            Some(_) => {
                let what = format!("{who}: acknowledged answer {} is another one", answer.seq);
                verdict.differences.push(what);
            }
            None => {
                let what = format!("{who}: acknowledged answer {} is lost", answer.seq);
                verdict.differences.push(what);
            }
        }
    }
    if logged.area != *told.area {
        let what = format!(
            "{who}: from area {}, counted in {:?}",
            told.area, logged.area
        );
        verdict.differences.push(what);
    }
    if let Err(what) = compare_ending(told, logged) {
        verdict.differences.push(format!("{who}: {what}"));
    }
}

fn compare_ending(told: &Told, logged: &Logged) -> Result<(), String> {
    let ended = logged.ended.as_ref().ok_or("the attempt never ended")?;
    let last_acknowledged = told.acknowledged.last().map_or(0, |a| a.seq);
    if ended.last_seq < last_acknowledged {
        let last_seq = ended.last_seq;
        return Err(format!(
            "ended with {last_seq} answers, {last_acknowledged} were acknowledged"
        ));
    }
    let by = ended.by();
    match &told.ending {
        Ending::Submitted { last_seq, chain } => {
            if by != EndedBy::Candidate {
                return Err(format!("submitted, but ended by {}", by.as_str_name()));
            }
            if ended.last_seq != *last_seq {
                let found = ended.last_seq;
                return Err(format!("submitted {last_seq} answers, {found} are stored"));
            }
            if ended.chain != chain[..] {
                return Err("the chain is not the one that was submitted".to_owned());
            }
        }
        Ending::Abandoned if by == EndedBy::Candidate => {
            return Err("abandoned, but ended as if submitted".to_owned());
        }
        // A submission on its way may have come in time without its reply.
        Ending::Abandoned | Ending::OutOfTime | Ending::Unknown | Ending::NeverStarted => {}
    }
    Ok(())
}

/// The standings shown must be the first rows of the result file.
fn compare_top(top: &[StandingRow], result: &str, differences: &mut Differences) {
    let mut lines = result
        .lines()
        .skip_while(|line| !line.starts_with("rank\t"));
    let columns: BTreeMap<&str, usize> = lines
        .next()
        .unwrap_or_default()
        .split('\t')
        .enumerate()
        .map(|(index, name)| (name, index))
        .collect();
    for row in top {
        let fields: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        let field = |name| {
            columns
                .get(name)
                .and_then(|i| fields.get(*i))
                .copied()
                .unwrap_or_default()
        };
        let shown = (
            row.rank.to_string(),
            hex::encode(&row.candidate),
            row.score.as_str(),
        );
        let written = (
            field("rank").to_owned(),
            field("candidate").to_owned(),
            field("score"),
        );
        if shown != written {
            differences.push(format!(
                "standings show {shown:?}, result.tsv has {written:?}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{
        Answered, Ended, Event, LogEntry, Response, Started, event::Kind, response::Value,
    };

    use super::*;

    const CANDIDATE: [u8; 16] = [7; 16];
    const CHAIN: [u8; 32] = [9; 32];

    fn entry(kind: Kind) -> LogEntry {
        LogEntry {
            event: Some(Event {
                candidate: CANDIDATE.to_vec().into(),
                attempt: 1,
                kind: Some(kind),
                ..Event::default()
            }),
            ..LogEntry::default()
        }
    }

    fn started(area: &str) -> LogEntry {
        let area = area.to_owned();
        entry(Kind::Started(Started {
            area,
            ..Started::default()
        }))
    }

    fn answered(seq: u32, position: u32, bits: u32) -> LogEntry {
        let value = Some(Value::Chosen(bits));
        entry(Kind::Answered(Answered {
            seq,
            position,
            response: Some(Response { value }),
            ..Answered::default()
        }))
    }

    fn ended(by: EndedBy, last_seq: u32, chain: [u8; 32]) -> LogEntry {
        entry(Kind::Ended(Ended {
            by: by.into(),
            last_seq,
            chain: chain.to_vec().into(),
            ended_at_ms: 1,
            cause: None,
        }))
    }

    fn acknowledged(seq: u32, position: u32, bits: u8) -> Acknowledged {
        Acknowledged {
            seq,
            position,
            response: vec![1, bits, 0, 0, 0],
        }
    }

    fn submitted() -> Told {
        Told {
            attempt: 1,
            acknowledged: vec![acknowledged(1, 0, 4), acknowledged(2, 1, 2)],
            ending: Ending::Submitted {
                last_seq: 2,
                chain: CHAIN,
            },
            ..Told::nothing(CANDIDATE, "01".into())
        }
    }

    fn whole() -> Vec<LogEntry> {
        vec![
            started("01"),
            answered(1, 0, 4),
            answered(2, 1, 2),
            ended(EndedBy::Candidate, 2, CHAIN),
        ]
    }

    #[track_caller]
    fn check(told: Told, log: Vec<LogEntry>, expected: &str) {
        let mut all = Log::default();
        log.into_iter().for_each(|entry| all.apply(entry));
        let verdict = compare(&[told], &all, Differences::default());
        let found = verdict.differences.kept.join("; ");
        if expected.is_empty() {
            assert_eq!(found, "");
            assert!(verdict.ok);
        } else {
            assert!(
                found.contains(expected),
                "{found:?} does not say {expected:?}"
            );
            assert!(!verdict.ok);
            assert!(verdict.to_string().starts_with("verdict: FAILED ("));
        }
    }

    #[test]
    fn kept_promises_pass() {
        check(submitted(), whole(), "");
        let told = Told {
            ending: Ending::Unknown,
            ..submitted()
        };
        let mut log = whole();
        log.insert(3, answered(3, 2, 1)); // stored, its reply was lost
        log[4] = ended(EndedBy::Deadline, 3, [1; 32]);
        check(told, log, "");
    }

    #[test]
    fn the_numbers_stand_in_the_line() {
        let mut log = Log::default();
        whole().into_iter().for_each(|entry| log.apply(entry));
        let verdict = compare(&[submitted()], &log, Differences::default());
        assert_eq!(
            verdict.to_string(),
            "verdict: ok (1 candidates, 2 of 2 acknowledged answers found, 1 submitted, 0 abandoned, \
             0 out of time, 0 unknown, 0 never started, 0 differences)"
        );
    }

    #[test]
    fn a_lost_acknowledged_answer_fails() {
        let mut log = whole();
        log.remove(2);
        check(submitted(), log, "acknowledged answer 2 is lost");
    }

    #[test]
    fn a_changed_acknowledged_answer_fails() {
        let mut log = whole();
        log[1] = answered(1, 0, 1);
        check(submitted(), log, "acknowledged answer 1 is another one");
        let mut log = whole();
        log[1] = answered(1, 3, 4);
        check(submitted(), log, "acknowledged answer 1 is another one");
    }

    #[test]
    fn an_attempt_counted_in_another_area_fails() {
        let mut log = whole();
        log[0] = started("79");
        check(submitted(), log, "from area 01, counted in \"79\"");
    }

    #[test]
    fn a_wrong_chain_fails() {
        let mut log = whole();
        log[3] = ended(EndedBy::Candidate, 2, [8; 32]);
        check(
            submitted(),
            log,
            "the chain is not the one that was submitted",
        );
    }

    #[test]
    fn a_submission_that_ended_otherwise_fails() {
        let mut log = whole();
        log[3] = ended(EndedBy::Deadline, 2, CHAIN);
        check(
            submitted(),
            log,
            "submitted, but ended by ENDED_BY_DEADLINE",
        );
        let mut log = whole();
        log[3] = ended(EndedBy::Candidate, 3, CHAIN);
        check(submitted(), log, "submitted 2 answers, 3 are stored");
    }

    #[test]
    fn an_end_before_the_last_acknowledged_answer_fails() {
        let mut log = whole();
        log[3] = ended(EndedBy::Deadline, 1, CHAIN);
        let told = Told {
            ending: Ending::OutOfTime,
            ..submitted()
        };
        check(told, log, "ended with 1 answers, 2 were acknowledged");
    }

    #[test]
    fn an_abandoned_attempt_ends_without_its_candidate() {
        let told = || Told {
            ending: Ending::Abandoned,
            ..submitted()
        };
        for by in [EndedBy::Deadline, EndedBy::Organizer] {
            let mut log = whole();
            log[3] = ended(by, 2, CHAIN);
            check(told(), log, "");
        }
        check(told(), whole(), "abandoned, but ended as if submitted");
        let mut log = whole();
        log.pop();
        check(told(), log, "the attempt never ended");
    }

    #[test]
    fn a_lost_attempt_and_a_seen_problem_fail() {
        check(
            submitted(),
            Vec::new(),
            "the whole attempt is lost, 2 acknowledged answers",
        );
        check(
            Told::nothing(CANDIDATE, "01".into()),
            whole(),
            "never started",
        );
        let told = Told {
            problems: vec!["the deadline moved earlier".to_owned()],
            ..submitted()
        };
        check(told, whole(), "the deadline moved earlier");
    }

    #[test]
    fn standings_shown_must_be_the_written_ones() {
        let row = |rank, score: &str| StandingRow {
            rank,
            candidate: CANDIDATE.to_vec().into(),
            score: score.to_owned(),
            ..StandingRow::default()
        };
        let who = hex::encode(CANDIDATE);
        let result = format!(
            "khoa-bang result\t1\npersons\t2\nrank\tarea_rank\tcandidate\tarea\tattempt\tscore\n\
             1\t1\t{who}\t01\t1\t9.50\n2\t1\t{who}\t01\t1\t9.00\n"
        );
        let found = |top: &[StandingRow]| {
            let mut differences = Differences::default();
            compare_top(top, &result, &mut differences);
            differences.n_found
        };
        assert_eq!(found(&[row(1, "9.50"), row(2, "9.00")]), 0);
        assert_eq!(found(&[row(1, "9.50"), row(1, "9.00")]), 1);
        assert_eq!(found(&[row(1, "9.00")]), 1);
        assert_eq!(found(&[row(1, "9.50"), row(2, "9.00"), row(3, "8.00")]), 1);
    }

    #[test]
    fn twenty_differences_are_kept_and_all_are_counted() {
        let mut differences = Differences::default();
        (0..50).for_each(|i| differences.push(i));
        assert_eq!((differences.kept.len(), differences.n_found), (20, 50));
    }
}
