//! Reference numbers of the indices, for tests: 30 simulated persons and 20 items, indices by aberrance 0.3.0.

use super::person_fit::ItemCurve;

/// One person of the reference data.
pub(crate) struct Person {
    pub(crate) right: Vec<bool>,
    pub(crate) theta: f64,
    pub(crate) lz: f64,
    pub(crate) lz_star: f64,
    pub(crate) lz_p: f64,
    pub(crate) lz_star_p: f64,
    pub(crate) effort: f64,
}

/// Returns the rows behind the header line; a field that is no number is NaN.
pub(crate) fn rows(text: &str) -> Vec<Vec<f64>> {
    let line = |line: &str| {
        line.split(',')
            .map(|field| field.parse().unwrap_or(f64::NAN))
            .collect()
    };
    text.lines().skip(1).map(line).collect()
}

/// Returns the items' curves.
pub(crate) fn items() -> Vec<ItemCurve> {
    rows(include_str!(
        "../../testdata/integrity/similarity-items.csv"
    ))
    .iter()
    .map(|row| ItemCurve {
        a: row[1],
        b: row[2],
        c: row[3],
    })
    .collect()
}

/// Returns the persons, the first one first.
pub(crate) fn persons() -> Vec<Person> {
    let text = include_str!("../../testdata/integrity/similarity-persons.csv");
    let digits = text.lines().skip(1).map(|line| {
        let digits = line.split(',').nth(1).expect("answers stand second");
        digits.bytes().map(|digit| digit == b'1').collect()
    });
    rows(text)
        .iter()
        .zip(digits)
        .map(|(row, right)| Person {
            right,
            theta: row[2],
            lz: row[4],
            lz_star: row[5],
            lz_p: row[6],
            lz_star_p: row[7],
            effort: row[8],
        })
        .collect()
}

/// Returns the two persons that a row begins with, by their numbers.
pub(crate) fn pair<'a>(persons: &'a [Person], row: &[f64]) -> [&'a Person; 2] {
    [row[0], row[1]].map(|wanted| {
        let mut numbered = (1u32..).zip(persons);
        let is_it = |(number, _): &(u32, &Person)| f64::from(*number) >= wanted;
        numbered.find(is_it).expect("the person is known").1
    })
}

/// Returns the relative difference.
pub(crate) fn close(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs()
}

/// Prints the largest relative difference from the reference and checks it: its numbers have ten digits.
#[track_caller]
pub(crate) fn check(what: &str, worst: f64) {
    println!("largest relative difference, {what}: {worst:.1e}");
    assert!(worst < 1e-6, "{what}: {worst:e}");
}
