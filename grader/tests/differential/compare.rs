//! Both graders over the same exam, and where they differ.

use std::{collections::HashMap, sync::Arc};

use grader::{Applied, CandidateId, Finished, Fold, Of, Package, Row, View, control_candidate};
use prost::Message;
use verifier::{AttemptScore, BoardPlace, BoardRow, Boards, Scope, Scorer};

use crate::{
    contest::{AREAS, Contest, Sitting},
    policy::{EXAM_ID, Policy},
};

/// Most differences that are told.
const MOST: usize = 3;

/// One exam as each side has read it.
pub(crate) struct Graders {
    pub(crate) package: Arc<Package>,
    pub(crate) scorer: Scorer,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) n_above_zero: u64,
    pub(crate) n_ranks: u64,
    pub(crate) differences: Vec<String>,
}

impl Graders {
    /// Lets both read an exam; none if both refuse it.
    pub(crate) fn new(policy: &Policy) -> Result<Option<Self>, String> {
        Self::of(policy, policy)
    }

    /// Lets the product read one exam and the second implementation another.
    pub(crate) fn of(ours: &Policy, theirs: &Policy) -> Result<Option<Self>, String> {
        let (exam, paper, key) = ours.publish();
        let package = Package::load(&exam, &paper.encode_to_vec(), &key.encode_to_vec());
        let (exam, paper, key) = theirs.publish();
        let ranking = Boards::of_rows(theirs.rules(), theirs.quantity(), []);
        let scorer = ranking.and_then(|_| Scorer::new(&exam, &paper, &key));
        match (package, scorer) {
            (Ok(package), Ok(scorer)) => Ok(Some(Self {
                package: Arc::new(package),
                scorer,
            })),
            (Err(_), Err(_)) => Ok(None),
            (Ok(_), Err(error)) => Err(format!("only the verifier refuses the exam: {error}")),
            (Err(error), Ok(_)) => Err(format!("only the product refuses the exam: {error}")),
        }
    }
}

impl Found {
    fn note(&mut self, difference: impl FnOnce() -> String) {
        if self.differences.len() < MOST {
            self.differences.push(difference());
        }
    }
}

/// Grades what `ours` has in its log by the product, and what `theirs` has by the second implementation.
pub(crate) fn differences(
    policy: &Policy,
    graders: &Graders,
    ours: &Contest,
    theirs: &Contest,
) -> Found {
    let package = &graders.package;
    let mut found = Found::default();
    let mut fold = Fold::new(Arc::clone(package));
    for entry in ours.log(package.n_partitions()) {
        let applied = fold.apply_entry(&entry).expect("the log has no gap");
        if !matches!(applied, Applied::Folded) {
            found.note(|| format!("{applied:?}: {entry:?}"));
        }
    }
    let mut rows = Vec::new();
    let left_out = left_out(policy);
    for sitting in &theirs.sittings {
        let score = graders.scorer.score(&sitting.paper, &sitting.answers);
        let score = score.expect("a paper of this exam");
        let finished = fold
            .live()
            .attempt(&sitting.candidate.into(), sitting.attempt);
        match finished {
            Some(finished) => compare_scores(package, sitting, finished, &score, &mut found),
            None => found.note(|| format!("{}: not graded", name(sitting))),
        }
        found.n_above_zero += u64::from(score.quanta > 0);
        if !sitting.voided && !left_out.contains(&sitting.candidate) {
            rows.push(row(sitting, &score));
        }
    }
    let boards =
        Boards::of_rows(policy.rules(), policy.quantity(), rows).expect("read once already");
    compare_boards(policy, &boards, fold.live(), None, &mut found);
    compare_boards(
        policy,
        &boards,
        fold.public(),
        policy.cutoff_ms(),
        &mut found,
    );
    found
}

fn left_out(policy: &Policy) -> Vec<[u8; 16]> {
    let controls = (0..3).map(|number| *control_candidate(EXAM_ID, number).as_bytes());
    controls.chain(policy.excluded()).collect()
}

fn name(sitting: &Sitting) -> String {
    let candidate = CandidateId::from(sitting.candidate);
    format!("{candidate:?} attempt {}", sitting.attempt)
}

fn compare_scores(
    package: &Package,
    sitting: &Sitting,
    finished: &Finished,
    score: &AttemptScore,
    found: &mut Found,
) {
    let ours = AttemptScore {
        quanta: finished.score.quanta.into(),
        quanta_per_point: package.quanta_per_point().into(),
        printed: package.print(finished.score.quanta),
        n_correct: finished.score.n_correct.into(),
        passed: finished.score.passed,
        prediction: finished.prediction,
    };
    if ours != *score || finished.net_time_ms() != sitting.net_time_ms() {
        found.note(|| {
            format!(
                "{}: {ours:?} and {score:?}, answers {:?} to {:?}",
                name(sitting),
                sitting.answers,
                sitting.paper.items
            )
        });
    }
}

fn row(sitting: &Sitting, score: &AttemptScore) -> BoardRow {
    BoardRow {
        candidate: sitting.candidate,
        attempt: sitting.attempt,
        area: sitting.area.to_owned(),
        unit: sitting.unit,
        round: sitting.round,
        quanta: score.quanta,
        n_correct: score.n_correct,
        prediction: score.prediction,
        net_time_ms: sitting.net_time_ms(),
        submitted_at_ms: sitting.ended_at_ms,
    }
}

fn compare_boards(
    policy: &Policy,
    boards: &Boards,
    view: View<'_>,
    before_ms: Option<u64>,
    found: &mut Found,
) {
    let rules = policy.rules();
    let rounds = rules.rounds.iter().map(|round| round.round);
    for round in [None, Some(77)].into_iter().chain(rounds.map(Some)) {
        for scope in scopes(policy) {
            let of = match &scope {
                Scope::Country => Of::Country,
                Scope::Area(area) => Of::Area(area),
                Scope::Unit(unit) => Of::Unit(*unit),
                Scope::Group(group) => Of::Group(group),
            };
            let page = view.page(grader::Scope { round, of }, 0, usize::MAX);
            let mut ours = page.iter().map(place);
            let mut theirs = boards.rank(&scope, round, before_ms).into_iter();
            found.n_ranks += theirs.len() as u64;
            let both = std::iter::from_fn(|| Some((ours.next(), theirs.next())));
            let ranked = both.take_while(|pair| *pair != (None, None));
            if let Some((ours, theirs)) = ranked.into_iter().find(|(ours, theirs)| ours != theirs) {
                found.note(|| {
                    format!(
                        "{scope:?}, round {round:?}, before {before_ms:?}: {ours:?} and {theirs:?}"
                    )
                });
            }
        }
    }
    compare_standings(boards, view, before_ms, found);
}

fn place(row: &Row<'_>) -> BoardPlace {
    BoardPlace {
        rank: row.rank,
        candidate: *row.candidate.as_bytes(),
        attempt: row.counted.attempt.into(),
        quanta: row.counted.score.quanta.into(),
        n_correct: row.counted.score.n_correct.into(),
    }
}

/// The ranks that a person is told.
fn compare_standings(boards: &Boards, view: View<'_>, before_ms: Option<u64>, found: &mut Found) {
    let areas = AREAS.map(|area| boards.rank(&Scope::Area(area.to_owned()), None, before_ms));
    let in_area: HashMap<[u8; 16], u64> = areas
        .iter()
        .flatten()
        .map(|place| (place.candidate, place.rank))
        .collect();
    for place in boards.rank(&Scope::Country, None, before_ms) {
        let standing = view.standing(&place.candidate.into());
        let ours = standing.map(|standing| (standing.row.rank, Some(standing.area_rank)));
        if ours != Some((place.rank, in_area.get(&place.candidate).copied())) {
            found.note(|| format!("rank of {place:?}: {standing:?}"));
        }
    }
}

fn scopes(policy: &Policy) -> Vec<Scope> {
    let areas = AREAS
        .iter()
        .chain(&["99"])
        .map(|area| Scope::Area((*area).to_owned()));
    let groups = ["A", "B", "C", ""].map(|group| Scope::Group(group.to_owned()));
    let units = policy
        .rules()
        .units
        .iter()
        .map(|unit| Scope::Unit(unit.unit));
    let unknown = [0, 1_000].map(Scope::Unit);
    [Scope::Country]
        .into_iter()
        .chain(areas)
        .chain(groups)
        .chain(units)
        .chain(unknown)
        .collect()
}
