//! What every paper of an exam looks like, checked against a release before anybody sits it.
//!
//! Invariant: a blueprint that passed [`Plan::new`] yields a paper for every candidate. Start there.

use std::collections::HashMap;

use proto::bank::v1::{Blueprint, PaperItem, Section};

use crate::{Error, Result};

/// Most items on a paper: positions and option orders stay small in every log entry.
pub const MAX_PAPER_ITEMS: u32 = 200;
/// Most sections: their numbers are two bytes in the draw's seed, and nobody reads more on a page.
pub const MAX_SECTIONS: usize = 50;
/// Marks have at most this many decimals (docs/FORMATS.md, section 4).
pub const MARK_DECIMALS: usize = 4;

/// A cell to draw from: its items and how many of them.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Section it belongs to, from 0.
    pub section: usize,
    /// Indices into the paper half's items, by rising item id.
    pub pool: Vec<u32>,
    /// Number of items drawn.
    pub quota: usize,
}

/// A blueprint resolved against the items of a release.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cells in blueprint order.
    pub cells: Vec<Cell>,
    /// Items on every paper.
    pub n_items: usize,
    /// Items of each section.
    pub section_sizes: Vec<usize>,
}

impl Plan {
    /// Resolves a blueprint against items sorted by id.
    ///
    /// # Errors
    /// [`Error::Infeasible`] names the section and cell that cannot be filled, or the field that is out of range.
    pub fn new(blueprint: &Blueprint, items: &[PaperItem]) -> Result<Self> {
        if blueprint.sections.is_empty() || blueprint.sections.len() > MAX_SECTIONS {
            return Err(infeasible(format!(
                "cần từ 1 đến {MAX_SECTIONS} phần / 1 to {MAX_SECTIONS} sections are needed"
            )));
        }
        let mut cells = Vec::new();
        let mut section_sizes = Vec::new();
        let mut taken: HashMap<u32, usize> = HashMap::new();
        for (number, section) in blueprint.sections.iter().enumerate() {
            check_mark(section, number)?;
            let mut size = 0;
            for stratum in &section.strata {
                let pool: Vec<u32> = (0u32..)
                    .zip(items)
                    .filter(|(_, item)| {
                        item.topic == stratum.topic
                            && (stratum.any_band || item.band == stratum.band)
                    })
                    .map(|(index, _)| index)
                    .collect();
                let quota = stratum.quota as usize;
                let place = format!("phần {} «{}»", number + 1, stratum.topic);
                if quota == 0 {
                    return Err(infeasible(format!(
                        "{place}: số câu phải từ 1 / the quota must be at least 1"
                    )));
                }
                if pool.len() < quota {
                    return Err(infeasible(format!(
                        "{place}: cần {quota} câu nhưng ngân hàng chỉ có {} / {quota} items wanted, the release has {}",
                        pool.len(),
                        pool.len()
                    )));
                }
                for index in &pool {
                    if taken.insert(*index, cells.len()).is_some() {
                        return Err(infeasible(format!(
                            "{place}: trùng với một ô khác của ma trận / overlaps another cell of the blueprint"
                        )));
                    }
                }
                size += quota;
                cells.push(Cell {
                    section: number,
                    pool,
                    quota,
                });
            }
            if size == 0 {
                return Err(infeasible(format!(
                    "phần {} không có câu nào / section {} has no item",
                    number + 1,
                    number + 1
                )));
            }
            section_sizes.push(size);
        }
        let n_items = section_sizes.iter().sum();
        if n_items > MAX_PAPER_ITEMS as usize {
            return Err(infeasible(format!(
                "đề có {n_items} câu, tối đa {MAX_PAPER_ITEMS} / the paper has {n_items} items, at most {MAX_PAPER_ITEMS}"
            )));
        }
        Ok(Self {
            cells,
            n_items,
            section_sizes,
        })
    }

    /// Returns the section, from 0, of a position on the paper.
    #[must_use]
    pub fn section_of(&self, position: usize) -> usize {
        let mut end = 0;
        self.section_sizes
            .iter()
            .position(|size| {
                end += size;
                position < end
            })
            .unwrap_or(self.section_sizes.len())
    }
}

fn infeasible(what: String) -> Error {
    Error::Infeasible(what)
}

fn check_mark(section: &Section, number: usize) -> Result<()> {
    let mark = section.mark.as_str();
    let (whole, decimals) = mark.split_once('.').unwrap_or((mark, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let positive = mark.bytes().any(|b| (b'1'..=b'9').contains(&b));
    // Six digits of whole points keep every sum of quanta far inside an i64.
    if digits(whole)
        && whole.len() <= 6
        && digits(decimals)
        && decimals.len() <= MARK_DECIMALS
        && positive
    {
        return Ok(());
    }
    Err(infeasible(format!(
        "phần {}: điểm mỗi câu «{mark}» phải là số dương dạng 0.25, tối đa {MARK_DECIMALS} chữ số lẻ / section {}: the mark must be a positive decimal like 0.25",
        number + 1,
        number + 1
    )))
}

#[cfg(test)]
mod tests {
    use proto::bank::v1::Stratum;

    use super::*;

    fn items(topics: &[(&str, i32)]) -> Vec<PaperItem> {
        (1u32..)
            .zip(topics)
            .map(|(item_id, (topic, band))| PaperItem {
                item_id,
                topic: (*topic).to_owned(),
                band: *band,
                ..PaperItem::default()
            })
            .collect()
    }

    fn blueprint(mark: &str, strata: &[(&str, Option<i32>, u32)]) -> Blueprint {
        let strata = strata
            .iter()
            .map(|(topic, band, quota)| Stratum {
                topic: (*topic).to_owned(),
                band: band.unwrap_or_default(),
                any_band: band.is_none(),
                quota: *quota,
            })
            .collect();
        let section = Section {
            strata,
            mark: mark.to_owned(),
            ..Section::default()
        };
        Blueprint {
            sections: vec![section],
            ..Blueprint::default()
        }
    }

    #[track_caller]
    fn check(mark: &str, strata: &[(&str, Option<i32>, u32)], refused: Option<&str>) {
        let items = items(&[("sử", 1), ("sử", 1), ("sử", 2), ("địa", 1)]);
        let plan = Plan::new(&blueprint(mark, strata), &items);
        match (plan, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (plan, refused) => panic!("{plan:?} but expected {refused:?}"),
        }
    }

    #[test]
    fn quotas_marks_and_overlaps_are_checked() {
        check(
            "0.25",
            &[("sử", Some(1), 2), ("sử", Some(2), 1), ("địa", None, 1)],
            None,
        );
        check("1", &[("sử", Some(1), 3)], Some("the release has 2"));
        check("1", &[("văn", None, 1)], Some("the release has 0"));
        check(
            "1",
            &[("sử", None, 1), ("sử", Some(1), 1)],
            Some("overlaps"),
        );
        check("1", &[("sử", None, 0)], Some("at least 1"));
        check("1", &[], Some("no item"));
        for mark in ["0", "-1", "0,5", "1.23456", "", "1.", "9999999"] {
            check(mark, &[("sử", None, 1)], Some("positive decimal"));
        }
    }
}
