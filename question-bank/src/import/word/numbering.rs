//! The labels of automatic lists (`Câu 1:`, `A.`), which stand nowhere in a document's text.
//!
//! Source: ECMA-376 part 1, 17.9 (numbering).

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};

use super::xml::{Fault, attribute, events, local_name};
use crate::import::grammar::to_roman;

/// Levels of a list that Word has.
const N_LEVELS: usize = 9;

/// How a level counts.
#[derive(Clone, Debug)]
struct Level {
    start: u32,
    style: String,
    /// With `%1` for the number of the first level.
    text: String,
}

impl Default for Level {
    fn default() -> Self {
        Self {
            start: 1,
            style: "decimal".to_owned(),
            text: String::new(),
        }
    }
}

type Levels = HashMap<usize, Level>;

/// One use of a list definition, with what it changes.
#[derive(Clone, Debug, Default)]
struct List {
    definition: u32,
    starts: HashMap<usize, u32>,
    levels: Levels,
}

/// The lists of a document and how far each has counted.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    definitions: HashMap<u32, Levels>,
    lists: HashMap<u32, List>,
    counters: HashMap<u32, [Option<u32>; N_LEVELS]>,
    started: HashSet<(u32, usize)>,
}

impl Numbering {
    /// Reads `word/numbering.xml`.
    pub(super) fn read(xml: &str) -> Result<Self, Fault> {
        let mut numbering = Self::default();
        let mut definition = None;
        let mut list: Option<(u32, List)> = None;
        let mut level = 0;
        let mut reader = events(xml);
        loop {
            match reader.read_event()? {
                Event::Start(element) => match local_name(&element) {
                    "abstractNum" => definition = number(&element, "abstractNumId"),
                    "num" => list = number(&element, "numId").map(|id| (id, List::default())),
                    "lvl" | "lvlOverride" => level = level_of(&element),
                    name => {
                        if let Some((_, list)) = &mut list {
                            list.read(name, level, &element);
                        } else if let Some(id) = definition {
                            let levels = numbering.definitions.entry(id).or_default();
                            read_level(levels, name, level, &element);
                        }
                    }
                },
                Event::End(element) => match element.local_name().into_inner() {
                    "abstractNum" => definition = None,
                    "num" => numbering.lists.extend(list.take()),
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        Ok(numbering)
    }

    /// Counts one paragraph of a list on and returns its label; "" for bullets and unknown lists.
    pub(super) fn next_label(&mut self, list_id: u32, level: usize) -> String {
        let level = level.min(N_LEVELS - 1);
        let Some(list) = self.lists.get(&list_id) else {
            return String::new();
        };
        let silent = Levels::new();
        let definition = self.definitions.get(&list.definition).unwrap_or(&silent);
        let level_at = |at: usize| list.levels.get(&at).or_else(|| definition.get(&at));
        let start_at = |at: usize| {
            let own = list.starts.get(&at).copied();
            own.or_else(|| level_at(at).map(|l| l.start)).unwrap_or(1)
        };
        let counters = self.counters.entry(list.definition).or_default();
        let restarts = list.starts.contains_key(&level) && self.started.insert((list_id, level));
        counters[level] = match counters[level] {
            Some(count) if !restarts => Some(count.saturating_add(1)),
            _ => Some(start_at(level)),
        };
        counters[level + 1..].fill(None);
        let Some(shown) = level_at(level).filter(|l| l.style != "bullet" && l.style != "none")
        else {
            return String::new();
        };
        let mut label = shown.text.clone();
        for (at, counter) in counters.iter().enumerate().take(level + 1) {
            let style = level_at(at).map_or("decimal", |l| l.style.as_str());
            let count = counter.unwrap_or_else(|| start_at(at));
            label = label.replace(&format!("%{}", at + 1), &counted(count, style));
        }
        label
    }
}

impl List {
    fn read(&mut self, name: &str, level: usize, element: &BytesStart<'_>) {
        match name {
            "abstractNumId" => self.definition = number(element, "val").unwrap_or(0),
            "startOverride" => {
                self.starts
                    .extend(number(element, "val").map(|start| (level, start)));
            }
            _ => read_level(&mut self.levels, name, level, element),
        }
    }
}

fn read_level(levels: &mut Levels, name: &str, level: usize, element: &BytesStart<'_>) {
    if !matches!(name, "start" | "numFmt" | "lvlText") {
        return;
    }
    let level = levels.entry(level).or_default();
    match name {
        "start" => level.start = number(element, "val").unwrap_or(1),
        "numFmt" => level.style = attribute(element, "val").unwrap_or_default(),
        _ => level.text = attribute(element, "val").unwrap_or_default(),
    }
}

fn level_of(element: &BytesStart<'_>) -> usize {
    let level = attribute(element, "ilvl").and_then(|v| v.parse().ok());
    level.unwrap_or(0).min(N_LEVELS - 1)
}

fn number(element: &BytesStart<'_>, name: &str) -> Option<u32> {
    attribute(element, name)?.parse().ok()
}

fn counted(count: u32, style: &str) -> String {
    match style {
        "upperLetter" => letters(count),
        "lowerLetter" => letters(count).to_lowercase(),
        "upperRoman" if count < 40 => to_roman(count),
        "lowerRoman" if count < 40 => to_roman(count).to_lowercase(),
        "decimalZero" => format!("{count:02}"),
        _ => count.to_string(),
    }
}

/// Counts A … Z, AA, BB as Word does.
fn letters(count: u32) -> String {
    let Some(position) = count.checked_sub(1) else {
        return String::new();
    };
    let letter = char::from(b'A' + u8::try_from(position % 26).unwrap_or(0));
    // A damaged start value must not make a label of a gigabyte.
    let n_times = (position / 26).min(9) as usize + 1;
    letter.to_string().repeat(n_times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERING: &str = r#"<w:numbering xmlns:w="w">
        <w:abstractNum w:abstractNumId="7">
          <w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="Câu %1:"/></w:lvl>
          <w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="upperLetter"/><w:lvlText w:val="%2."/></w:lvl>
          <w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="•"/></w:lvl>
        </w:abstractNum>
        <w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>
        <w:num w:numId="2"><w:abstractNumId w:val="7"/>
          <w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride></w:num></w:numbering>"#;

    #[test]
    fn labels_count_on_and_deeper_levels_begin_again() {
        let mut numbering = Numbering::read(NUMBERING).unwrap();
        let labels: Vec<String> = [
            (1, 0),
            (1, 1),
            (1, 1),
            (1, 0),
            (1, 1),
            (2, 0),
            (2, 0),
            (1, 0),
            (1, 2),
            (9, 0),
        ]
        .iter()
        .map(|(list, level)| numbering.next_label(*list, *level))
        .collect();
        assert_eq!(
            labels,
            [
                "Câu 1:", "A.", "B.", "Câu 2:", "A.", "Câu 5:", "Câu 6:", "Câu 7:", "", ""
            ]
        );
    }
}
