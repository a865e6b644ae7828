//! How probable each response is for persons of like score: the proportions by item and score band.
//!
//! Persons are cut into bands of equal size by the share of their paper that is right; equal shares stay together.
//! The proportion in a band is drawn towards the one over all bands, so that a response nobody of a band gave is
//! not impossible there. Blanks are left out: leaving an item out is no evidence. A pair that is looked at is part of
//! its own proportions, which makes the test milder, never sharper.

use std::collections::HashMap;

use super::sheet::{Sheets, Stop};
use crate::id::BuildIdHasher;

/// Persons in a band, at least: a proportion of a tenth is then known to ± 4 percent points.
const PERSONS_PER_BAND: usize = 60;
/// Most bands: one more would change no proportion by more than its error in an exam of 100,000.
const MAX_BANDS: usize = 16;
/// Most responses of an item told apart; multiple choices of 12 options have 4,095, and few are ever given. The rest
/// counts as one response, which makes agreement in it look more probable than it is.
const MAX_RESPONSES: usize = 32;
/// How many persons of the whole exam a band borrows.
const BORROWED: f64 = 5.0;
/// How many times each known response counts before anybody gave it.
const PRIOR: f64 = 0.5;

/// One item's responses.
#[derive(Debug, Default)]
struct ItemModel {
    /// By rising bits; whatever is not here is the last category.
    responses: Vec<u16>,
    /// Over all bands, by category.
    shares: Vec<f64>,
    /// By band, then category.
    by_band: Vec<f64>,
    /// That two persons of these bands agree, by band, then band.
    agreement: Vec<f64>,
}

/// Probabilities of responses.
#[derive(Debug)]
pub(crate) struct Model {
    n_bands: usize,
    /// By sheet.
    bands: Vec<u8>,
    items: Vec<ItemModel>,
}

impl ItemModel {
    fn category(&self, chosen: u16) -> usize {
        self.responses
            .binary_search(&chosen)
            .unwrap_or(self.responses.len())
    }
}

impl Model {
    /// Counts responses; what it returns after a stop is not to be used.
    pub(crate) fn new(sheets: &Sheets, stop: Stop) -> Self {
        let (bands, n_bands) = bands(sheets);
        let mut items = responses(sheets, stop);
        for item in &mut items {
            let n_categories = item.responses.len() + 1;
            item.shares = vec![0.0; n_categories];
            item.by_band = vec![0.0; n_categories * n_bands];
        }
        for (at, (sheet, &band)) in sheets.all.iter().zip(&bands).enumerate() {
            if stop.at(at) {
                break;
            }
            for answer in sheet
                .sitting
                .answers
                .iter()
                .filter(|answer| answer.chosen != 0)
            {
                let item = &mut items[usize::from(answer.item_idx)];
                let category = item.category(answer.chosen);
                let n_categories = item.shares.len();
                item.shares[category] += 1.0;
                item.by_band[usize::from(band) * n_categories + category] += 1.0;
            }
        }
        for (at, item) in items.iter_mut().enumerate() {
            if stop.at(at) {
                break;
            }
            item.settle(n_bands);
        }
        Self {
            n_bands,
            bands,
            items,
        }
    }

    /// Returns how probable it was that a person chose so.
    pub(crate) fn p(&self, sheet: u32, item_idx: u16, chosen: u16) -> f64 {
        let item = &self.items[usize::from(item_idx)];
        let band = usize::from(self.bands[sheet as usize]);
        item.by_band[band * item.shares.len() + item.category(chosen)]
    }

    /// Returns how probable it was that two persons answer an item alike.
    pub(crate) fn p_alike(&self, a: u32, b: u32, item_idx: u16) -> f64 {
        let [a, b] = [a, b].map(|sheet| usize::from(self.bands[sheet as usize]));
        self.items[usize::from(item_idx)].agreement[a * self.n_bands + b]
    }

    /// Returns the share of a response among all answers to the item.
    pub(crate) fn share(&self, item_idx: u16, chosen: u16) -> f64 {
        let item = &self.items[usize::from(item_idx)];
        item.shares[item.category(chosen)]
    }
}

impl ItemModel {
    /// Turns counts into probabilities.
    fn settle(&mut self, n_bands: usize) {
        let n_categories = self.shares.len();
        let known = |category: usize| f64::from(u8::from(category + 1 < n_categories)) * PRIOR;
        let total: f64 = (0..n_categories)
            .map(|at| self.shares[at] + known(at))
            .sum();
        for category in 0..n_categories {
            self.shares[category] = (self.shares[category] + known(category)) / total.max(1.0);
        }
        for band in self.by_band.chunks_mut(n_categories) {
            let n_persons: f64 = band.iter().sum();
            for (p, share) in band.iter_mut().zip(&self.shares) {
                *p = (*p + BORROWED * share) / (n_persons + BORROWED);
            }
        }
        let bands: Vec<&[f64]> = self.by_band.chunks(n_categories).collect();
        self.agreement = Vec::with_capacity(n_bands * n_bands);
        for a in &bands {
            for b in &bands {
                let p: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
                self.agreement.push(p.min(1.0));
            }
        }
    }
}

/// Returns the band of each sheet, and how many there are.
fn bands(sheets: &Sheets) -> (Vec<u8>, usize) {
    let n = sheets.all.len();
    let n_bands = (n / PERSONS_PER_BAND).clamp(1, MAX_BANDS);
    let mut sorted: Vec<u32> = sheets.all.iter().map(|sheet| sheet.right_ppm).collect();
    sorted.sort_unstable();
    let bands = sheets.all.iter().map(|sheet| {
        let below = sorted.partition_point(|&right| right < sheet.right_ppm);
        u8::try_from(below * n_bands / n).expect("few bands")
    });
    (bands.collect(), n_bands)
}

/// Finds the responses of each item that are told apart: the most frequent ones.
fn responses(sheets: &Sheets, stop: Stop) -> Vec<ItemModel> {
    let mut counts: HashMap<u32, u32, BuildIdHasher> = HashMap::default();
    for (at, sheet) in sheets.all.iter().enumerate() {
        if stop.at(at) {
            break;
        }
        for answer in sheet
            .sitting
            .answers
            .iter()
            .filter(|answer| answer.chosen != 0)
        {
            let response = u32::from(answer.item_idx) << 16 | u32::from(answer.chosen);
            *counts.entry(response).or_default() += 1;
        }
    }
    let mut sorted: Vec<(u32, u32)> = counts
        .into_iter()
        .map(|(response, count)| (response, u32::MAX - count))
        .collect();
    sorted.sort_unstable_by_key(|&(response, rareness)| (response >> 16, rareness, response));
    let mut items: Vec<ItemModel> = Vec::new();
    items.resize_with(sheets.collector.package.items().len(), ItemModel::default);
    for (response, _) in sorted {
        let known = &mut items[(response >> 16) as usize].responses;
        if known.len() < MAX_RESPONSES {
            known.push(u16::try_from(response & 0xffff).expect("16 bits"));
        }
    }
    for item in &mut items {
        item.responses.sort_unstable();
    }
    items
}
