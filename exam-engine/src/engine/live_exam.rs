//! A published exam in memory: what a candidate's call needs, and the cells of running sessions.

use std::{
    cell::RefCell,
    sync::{Arc, RwLock},
};

use dashmap::DashMap;
use proto::{
    bank::v1::{PaperHalf, PaperItem},
    exam::v1::{self as wire, ruling::Kind},
};
use question_bank::{
    draw::{Drawer, Scratch},
    paper::Paper,
    release::read_paper_half,
};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use super::{Error, Result, exam_id};
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
    session::{ItemShape, Round, Rules, SectionRule, Session},
};

/// Sessions kept in memory, about 2 KiB each; beyond it sessions are loaded for each call, which is slower but right.
const MAX_CELLS: usize = 1_000_000;

type Cell = Arc<Mutex<Option<Session>>>;

/// A published exam.
pub struct LiveExam {
    /// Its name.
    pub id: ExamId,
    /// The rules of its sittings.
    pub rules: Rules,
    /// The paper half.
    pub half: PaperHalf,
    /// Number of log partitions.
    pub n_partitions: u32,
    /// Starts of a round are spread over this time.
    pub start_window_ms: u64,
    drawer: Drawer,
    shapes: Vec<ItemShape>,
    exam: RwLock<Arc<wire::Exam>>,
    cells: DashMap<CandidateId, Cell>,
    acting: Mutex<()>,
}

impl LiveExam {
    /// Takes an exam and its files.
    ///
    /// # Errors
    /// [`super::Error::Bank`] if the package is damaged.
    pub fn new(exam: wire::Exam, paper_half: &[u8], secret: &[u8; 32]) -> Result<Self> {
        let half = read_paper_half(paper_half, &exam.paper_hash)?;
        let spec = exam.spec.clone().unwrap_or_default();
        let rules = spec.rules.unwrap_or_default();
        let drawer = Drawer::new(&half, secret)?;
        Ok(Self {
            id: exam_id(&spec.exam_id)?,
            rules: session_rules(&rules, &drawer.plan().section_sizes),
            n_partitions: spec.n_partitions,
            start_window_ms: rules.start_window_ms,
            drawer,
            shapes: half.items.iter().map(shape).collect(),
            half,
            exam: RwLock::new(Arc::new(exam)),
            cells: DashMap::new(),
            acting: Mutex::default(),
        })
    }

    /// Returns the exam as stored.
    #[must_use]
    pub fn exam(&self) -> Arc<wire::Exam> {
        Arc::clone(&self.exam.read().expect("no panic under this lock"))
    }

    /// Returns what is shown of the standings.
    #[must_use]
    pub fn board(&self) -> wire::BoardState {
        let exam = self.exam();
        let mut newest_first = exam.rulings.iter().rev();
        let newest = newest_first.find_map(|ruling| match &ruling.kind {
            Some(Kind::Board(board)) => Some(board.state()),
            _ => None,
        });
        newest.unwrap_or(wire::BoardState::Live)
    }

    pub(super) fn check_not_final(&self) -> Result<()> {
        match self.board() {
            wire::BoardState::Final => Err(Error::ResultFinal),
            _ => Ok(()),
        }
    }

    /// Waits until no organizer's action on attempts runs here, and begins one. Called twice with one id, the second finds
    /// nothing left to do, instead of reading and changing everything beside the first.
    pub async fn begin_action(&self) -> MutexGuard<'_, ()> {
        self.acting.lock().await
    }

    /// Returns where the exam stands.
    #[must_use]
    pub fn state(&self) -> wire::ExamState {
        self.exam.read().expect("no panic under this lock").state()
    }

    pub(super) fn set(&self, exam: wire::Exam) {
        *self.exam.write().expect("no panic under this lock") = Arc::new(exam);
    }

    /// Returns the title as shown.
    #[must_use]
    pub fn title(&self) -> String {
        let exam = self.exam.read().expect("no panic under this lock");
        exam.spec
            .as_ref()
            .map(|spec| spec.title.clone())
            .unwrap_or_default()
    }

    /// Draws the paper of an attempt.
    ///
    /// # Errors
    /// [`question_bank::Error::Infeasible`]; publication has proven that it does not happen.
    pub fn draw(&self, candidate: CandidateId, attempt: u32) -> question_bank::Result<Paper> {
        thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
        SCRATCH.with_borrow_mut(|scratch| self.drawer.draw(&candidate.0, attempt, scratch))
    }

    /// Returns the drawer.
    #[must_use]
    pub fn drawer(&self) -> &Drawer {
        &self.drawer
    }

    pub(super) fn shape(&self, index: u32) -> ItemShape {
        self.shapes[index as usize]
    }

    pub(super) fn key(&self, candidate: CandidateId) -> SessionKey {
        SessionKey {
            exam: self.id.clone(),
            partition: candidate.partition(self.n_partitions),
            candidate,
        }
    }

    /// Locks the candidate's cell; an empty one is to be filled from the store.
    ///
    /// The cell that is locked is the one that all others find: whoever waited for one that was forgotten meanwhile goes to
    /// the new one, so that no two copies of a session live side by side. (Beyond [`MAX_CELLS`] each call has its own, and
    /// the store's version check decides.)
    pub(super) async fn lock(&self, candidate: CandidateId) -> OwnedMutexGuard<Option<Session>> {
        loop {
            let cell = self.cell(candidate);
            let slot = Arc::clone(&cell).lock_owned().await;
            if self.is_known(candidate, &cell) {
                return slot;
            }
        }
    }

    fn is_known(&self, candidate: CandidateId, cell: &Cell) -> bool {
        if let Some(known) = self.cells.get(&candidate) {
            return Arc::ptr_eq(&known, cell);
        }
        if self.cells.len() >= MAX_CELLS {
            return true;
        }
        let known = self
            .cells
            .entry(candidate)
            .or_insert_with(|| Arc::clone(cell));
        Arc::ptr_eq(&known, cell)
    }

    fn cell(&self, candidate: CandidateId) -> Cell {
        if let Some(cell) = self.cells.get(&candidate) {
            return Arc::clone(&cell);
        }
        if self.cells.len() >= MAX_CELLS {
            return Cell::default();
        }
        Arc::clone(&self.cells.entry(candidate).or_default())
    }

    /// Returns how many running sessions are in memory here. Looks at each part of the table: not for every call.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.cells.len()
    }

    /// Frees all cells, also those of candidates who have ended at another engine.
    pub(super) fn forget_all(&self) {
        self.cells.retain(|_, cell| cell.try_lock().is_err()); // one that is locked is in use
    }

    /// Frees a cell; its lock must be held.
    pub(super) fn forget(&self, candidate: CandidateId) {
        self.cells.remove(&candidate);
    }
}

fn shape(item: &PaperItem) -> ItemShape {
    let count = |n: usize| u8::try_from(n).unwrap_or(u8::MAX); // the grader's check at publication allows far less
    ItemShape {
        item_type: item.r#type(),
        n_options: count(item.options.len()),
        n_targets: count(item.targets.len()),
        n_blanks: count(item.n_blanks as usize),
    }
}

fn session_rules(rules: &wire::ExamRules, section_sizes: &[usize]) -> Rules {
    let round = |round: &wire::Round| Round {
        round: round.round,
        opens_at: Timestamp(round.opens_at_ms),
        closes_at: Timestamp(round.closes_at_ms),
    };
    let mut end = 0;
    let section = |(section, size): (u32, &usize)| {
        end += size;
        let time = rules
            .section_times
            .iter()
            .find(|time| time.section == section);
        SectionRule {
            end: u16::try_from(end).expect("papers have at most 200 items"),
            time_ms: time.map_or(0, |time| time.time_ms),
        }
    };
    Rules {
        duration_ms: rules.duration_ms,
        grace_ms: rules.grace_ms,
        late_sync_ms: rules.late_sync_ms,
        forward_only: rules.navigation() == wire::Navigation::ForwardOnly,
        sections: (0..).zip(section_sizes).map(section).collect(),
        rounds: rules.rounds.iter().map(round).collect(),
        attempts_per_round: rules.attempts_per_round,
        attempts_in_all: rules.attempts_in_all,
    }
}
