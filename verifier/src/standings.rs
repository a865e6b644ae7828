//! From the log to what is ranked: every attempt redrawn, checked and scored.
//!
//! Start at [`Standings::new`]. Source: `docs/FORMATS.md`, section 5.

use std::collections::HashSet;

use proto::exam::v1::EndedBy;

use crate::{
    Archive, DifferenceKind, Error, Paper,
    archive::{Attempt, AttemptId, newest_answers},
    attempt::{self, Forms},
    control::{self, ControlMarkings},
    difference::Differences,
    draw::Plan,
    rank::Standing,
    ruling::Decisions,
    score::Marking,
};

/// Everything that is ranked.
pub(crate) struct Standings {
    pub(crate) ranked: Vec<Standing>,
    /// Persons left out by a ruling who would have a row.
    pub(crate) n_excluded: usize,
    pub(crate) n_papers: u64,
    pub(crate) n_control_attempts: u64,
}

impl Standings {
    /// Redraws, checks and scores every attempt.
    pub(crate) fn new(
        archive: &Archive,
        marking: &Marking,
        decisions: &Decisions,
        differences: &mut Differences,
    ) -> Result<Self, Error> {
        let exam_id = &archive.spec.exam_id;
        let plan = Plan::new(&archive.paper_half, &archive.secret, exam_id)?;
        let forms = Forms::new(&archive.paper_half);
        let controls = ControlMarkings::new(archive)?;
        let mut excluded = HashSet::new();
        let mut standings = Self {
            ranked: Vec::new(),
            n_excluded: 0,
            n_papers: 0,
            n_control_attempts: 0,
        };
        for (id, attempt) in archive.attempts() {
            let paper = match plan.draw(&id.candidate, id.attempt) {
                Ok(paper) => paper,
                Err(error) => {
                    differences.push(DifferenceKind::PaperInfeasible, id, "a paper", error);
                    continue;
                }
            };
            standings.n_papers += 1;
            attempt::check(exam_id, id, attempt, &paper, &forms, differences);
            if let Some(number) = archive.controls.number(&id.candidate) {
                let is_checked =
                    control::check(number, id, attempt, &paper, &controls, differences);
                standings.n_control_attempts += u64::from(is_checked);
                continue;
            }
            let Some(standing) = standing(id, attempt, &paper, marking) else {
                continue;
            };
            if decisions.excluded.contains(&id.candidate) {
                excluded.insert(id.candidate);
            } else {
                standings.ranked.push(standing);
            }
        }
        standings.n_excluded = excluded.len();
        Ok(standings)
    }
}

/// Returns what is ranked of an attempt; none if it has not ended or does not count.
fn standing(
    id: AttemptId,
    attempt: &Attempt,
    paper: &Paper,
    marking: &Marking,
) -> Option<Standing> {
    let ended = attempt.ended.as_ref().filter(|_| !attempt.course.voided)?;
    let newest = newest_answers(&attempt.answers);
    Some(Standing {
        candidate: id.candidate,
        attempt: id.attempt,
        area: attempt.started.area.clone(),
        unit: attempt.started.unit,
        round: attempt.started.round,
        score: marking.score(paper, &newest),
        prediction: marking.prediction(paper, &newest),
        net_time_ms: ended
            .ended_at_ms
            .saturating_sub(attempt.started_at_ms)
            .saturating_sub(attempt.course.idle_ms),
        submitted_at_ms: ended.ended_at_ms,
        ended_by: match ended.by() {
            EndedBy::Unspecified => "unspecified", // reported by the log
            EndedBy::Candidate => "candidate",
            EndedBy::Deadline => "deadline",
            EndedBy::Organizer => "organizer",
        },
        form_code: paper.form_code,
    })
}
