//! Draws of papers, with everything on that makes them slow: exclusion sets, a difficulty window, shuffles.
//!
//! Items of one band differ in facility as statistics would have it, so that a plain draw misses the window more
//! often than not. Source: the standard deviation of a paper's expected score among plain stratified draws from a
//! calibrated bank is about 0.8 points of 50.

use std::collections::HashMap;

use prost::Message;
use proto::bank::v1::{Blueprint, DifficultyWindow, PaperHalf};
use question_bank::{
    draw::{Drawer, Scratch},
    paper::Paper,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::bank::{Shape, paper_half};

/// Distance from the wanted sum of facilities that a paper may have.
pub const TOLERANCE_MILLI: u32 = 250;
/// Facilities of one band lie this far to both sides of the band's own.
const SPREAD_MILLI: i32 = 200;
/// Candidates that take turns, so that no draw is the one before.
const N_CANDIDATES: usize = 4_096;

/// Draws for one candidate after the other.
pub struct Workload {
    half: PaperHalf,
    drawer: Drawer,
    scratch: Scratch,
    candidates: Vec<[u8; 16]>,
    n_drawn: usize,
}

impl Workload {
    /// Makes a bank of this shape and prepares its draws.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut half = paper_half(&shape.package(&shape.release(seed)));
        for item in &mut half.items {
            let facility_milli = item
                .facility_milli
                .saturating_add_signed(rng.random_range(-SPREAD_MILLI..=SPREAD_MILLI));
            item.facility_milli = facility_milli.min(1_000);
        }
        let mut blueprint = shape.blueprint();
        blueprint.window = Some(DifficultyWindow {
            target_milli: expected_milli(&blueprint, &half),
            tolerance_milli: TOLERANCE_MILLI,
        });
        half.blueprint = blueprint.encode_to_vec().into();
        Self {
            drawer: Drawer::new(&half, &[7; 32]).expect("the package was made for draws"),
            half,
            scratch: Scratch::default(),
            candidates: (0..N_CANDIDATES).map(|_| rng.random()).collect(),
            n_drawn: 0,
        }
    }

    /// Returns the paper half that is drawn from.
    #[must_use]
    pub fn half(&self) -> &PaperHalf {
        &self.half
    }

    /// Draws the next paper: candidates take turns, each turn is a new attempt.
    pub fn draw(&mut self) -> Paper {
        let candidate = &self.candidates[self.n_drawn % N_CANDIDATES];
        let attempt =
            u32::try_from(self.n_drawn / N_CANDIDATES + 1).expect("fewer than 2^44 draws");
        self.n_drawn += 1;
        self.drawer
            .draw(candidate, attempt, &mut self.scratch)
            .expect("the package was proven feasible")
    }
}

/// Returns the mean over all papers of the sum of facilities.
fn expected_milli(blueprint: &Blueprint, half: &PaperHalf) -> u32 {
    let mut pools: HashMap<(&str, i32), (u32, u32)> = HashMap::new();
    for item in &half.items {
        let (sum_milli, n_items) = pools.entry((&item.topic, item.band)).or_default();
        *sum_milli += item.facility_milli;
        *n_items += 1;
    }
    blueprint
        .sections
        .iter()
        .flat_map(|section| &section.strata)
        .map(|stratum| {
            let (sum_milli, n_items) = pools[&(stratum.topic.as_str(), stratum.band)];
            stratum.quota * sum_milli / n_items
        })
        .sum()
}
