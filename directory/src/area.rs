//! Provinces by map edition, and where each old one went.
//!
//! Invariant: an area is named by (edition, code), never by the code alone: seven codes changed their meaning on
//! 2025-07-01. Codes are strings with leading zeros. Sources and licences: `data/SOURCES.md`.

use std::sync::LazyLock;

/// A map edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edition {
    /// The 63 provinces and cities until 2025-06-30.
    Vn63,
    /// The 34 since 2025-07-01, with Đồng Nai a city as of 2026-04-30.
    Vn34,
}

/// A province or a city of that level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Code in its edition, two digits.
    pub code: String,
    /// Full official name.
    pub name: String,
    /// Name without the unit word.
    pub short_name: String,
}

impl Edition {
    /// Reads the edition's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "vn-63" => Some(Self::Vn63),
            "vn-34" => Some(Self::Vn34),
            _ => None,
        }
    }

    /// Returns all areas, by code.
    #[must_use]
    pub fn areas(self) -> &'static [Area] {
        static VN_63: LazyLock<Vec<Area>> =
            LazyLock::new(|| read(include_str!("../data/vn-63.csv")));
        static VN_34: LazyLock<Vec<Area>> =
            LazyLock::new(|| read(include_str!("../data/vn-34.csv")));
        match self {
            Self::Vn63 => &VN_63,
            Self::Vn34 => &VN_34,
        }
    }

    /// Returns the area of a code.
    #[must_use]
    pub fn area(self, code: &str) -> Option<&'static Area> {
        self.areas().iter().find(|area| area.code == code)
    }
}

/// Returns the code in edition `vn-34` of an area of edition `vn-63`; each old area lies in exactly one new one.
#[must_use]
pub fn vn_34_of(vn_63_code: &str) -> Option<&'static str> {
    static CROSSWALK: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let text = include_str!("../data/vn-63-to-34.csv");
        records(text)
            .map(|row| (row[0].to_owned(), row[2].to_owned()))
            .collect()
    });
    CROSSWALK
        .iter()
        .find(|(old, _)| old == vn_63_code)
        .map(|(_, new)| new.as_str())
}

fn read(text: &'static str) -> Vec<Area> {
    records(text)
        .map(|row| Area {
            code: row[0].to_owned(),
            name: row[1].to_owned(),
            short_name: row[2].to_owned(),
        })
        .collect()
}

fn records(text: &'static str) -> impl Iterator<Item = csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes())
        .into_records()
        .map(|row| row.expect("the data compiled in is well formed"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn both_editions_are_whole_and_every_old_area_has_one_new_home() {
        assert_eq!(
            (Edition::Vn63.areas().len(), Edition::Vn34.areas().len()),
            (63, 34)
        );
        let homes: HashSet<&str> = Edition::Vn63
            .areas()
            .iter()
            .map(|area| vn_34_of(&area.code).unwrap_or_else(|| panic!("{} has no home", area.name)))
            .collect();
        let new: HashSet<&str> = Edition::Vn34
            .areas()
            .iter()
            .map(|area| area.code.as_str())
            .collect();
        assert_eq!(homes, new);
    }

    #[test]
    fn a_code_means_different_areas_in_different_editions() {
        let name = |edition: Edition, code| edition.area(code).map(|area| area.short_name.as_str());
        assert_eq!(name(Edition::Vn63, "15"), Some("Yên Bái"));
        assert_eq!(name(Edition::Vn34, "15"), Some("Lào Cai"));
        assert_eq!(vn_34_of("15"), Some("15"));
        assert_eq!(name(Edition::Vn34, "02"), None);
        assert_eq!(vn_34_of("02"), Some("08"));
    }
}
