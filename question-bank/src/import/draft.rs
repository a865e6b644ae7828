//! A question as read, the checks that every form of file needs, and the item that comes out.

use std::collections::{BTreeSet, HashMap};

use super::{
    Import, ImportedItem, Problem, Severity,
    grammar::{KeyFault, asks_for_several, folded, key_text, letter, resolve_key},
    key_table::KeyTable,
};
use crate::item::{
    Band, Item, ItemOption, ItemType, MAX_OPTION_CHARS, MAX_OPTIONS, MAX_TEXT_CHARS, clean_text,
    refers_to_letters, refers_to_options,
};

/// Most numbers that one message lists; more would bury the rest.
const MAX_LISTED: usize = 20;
/// Longest piece of a document that a message quotes, characters.
const MAX_QUOTED_CHARS: usize = 30;

/// What the places of a document are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Paragraph,
    Row,
}

impl Unit {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Paragraph => ("đoạn", "paragraph"),
            Self::Row => ("dòng", "row"),
        }
    }
}

/// One question as read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) number: u32,
    pub(super) line: usize,
    pub(super) unit: Unit,
    pub(super) text: String,
    pub(super) options: Vec<String>,
    pub(super) key: Vec<u8>,
    pub(super) topic: String,
    pub(super) band: Band,
    pub(super) explanation: String,
    pub(super) problems: Vec<Problem>,
}

impl Draft {
    /// Reports something worth a look.
    pub(super) fn warn(&mut self, code: &'static str, vi: &str, en: &str) {
        self.report(code, Severity::Warning, vi, en);
    }

    /// Reports something that holds the item back.
    pub(super) fn hold(&mut self, code: &'static str, vi: &str, en: &str) {
        self.report(code, Severity::Error, vi, en);
    }

    fn report(&mut self, code: &'static str, severity: Severity, vi: &str, en: &str) {
        let (number, line) = (self.number, self.line);
        let (unit_vi, unit_en) = self.unit.names();
        self.problems.push(Problem {
            code,
            severity,
            line,
            message: format!(
                "câu {number} ({unit_vi} {line}): {vi} / no. {number} ({unit_en} {line}): {en}"
            ),
        });
    }

    /// Takes the key that the document states, or reports why it cannot be taken.
    pub(super) fn take_key(&mut self, raw: &str, numbers: bool) {
        let quoted = quoted(raw);
        match resolve_key(raw, &self.options, numbers) {
            Ok(key) => {
                if key.len() > 1 && !asks_for_several(&self.text) {
                    let letters = key_text(&key);
                    self.warn(
                        "several_keys",
                        &format!("có nhiều đáp án ({letters}) nhưng câu dẫn không nói chọn nhiều; hãy xem lại"),
                        &format!("several keys ({letters}) though the stem does not ask for several; please check"),
                    );
                }
                self.key = key;
            }
            Err(KeyFault::Missing) => self.hold(
                "key_missing",
                "chưa có đáp án; hãy điền chữ cái của phương án đúng",
                "no key; state the letter of the right option",
            ),
            Err(KeyFault::Unknown) => self.hold(
                "key_unknown_option",
                &format!("đáp án «{quoted}» không phải phương án nào của câu; hãy sửa đáp án"),
                &format!("the key «{quoted}» is none of the options; correct the key"),
            ),
            Err(KeyFault::Ambiguous) => self.hold(
                "key_ambiguous",
                &format!("đáp án «{quoted}» vừa là số thứ tự vừa là nội dung phương án; hãy ghi bằng chữ cái"),
                &format!("the key «{quoted}» is the number of one option and the text of another; use the letter"),
            ),
        }
    }

    /// Takes the key that a table has for this number.
    pub(super) fn take_key_from(&mut self, keys: &KeyTable) {
        let number = self.number;
        match keys.get(number) {
            Some(_) if keys.contradicts_itself(number) => self.hold(
                "key_repeated",
                "bảng đáp án ghi hai đáp án khác nhau cho câu này; hãy xóa một",
                "the key table has two different keys for it; delete one",
            ),
            Some(entry) => self.take_key(&entry.raw, false),
            None => self.hold(
                "item_without_key_in_table",
                "bảng đáp án không có câu này; hãy bổ sung",
                "the key table does not have it; add it",
            ),
        }
    }

    /// The key taken from a table stands; people hear where the questions state another.
    pub(super) fn compare_key(&mut self, stated: &str, numbers: bool) {
        if self.key.is_empty() || clean_text(stated).is_empty() {
            return;
        }
        if resolve_key(stated, &self.options, numbers).as_ref() == Ok(&self.key) {
            return;
        }
        let (stated, key) = (quoted(stated), key_text(&self.key));
        self.warn(
            "key_disagrees",
            &format!("câu hỏi ghi đáp án «{stated}» nhưng bảng đáp án ghi {key}; đã lấy {key}, hãy xem lại"),
            &format!("the questions say «{stated}» but the key table says {key}; {key} was taken, please check"),
        );
    }

    fn check_texts(&mut self) {
        let n_chars = self.text.chars().count();
        if n_chars == 0 {
            self.hold(
                "text_missing",
                "câu dẫn trống; hãy nhập câu dẫn",
                "the stem is empty; fill it in",
            );
        }
        if n_chars > MAX_TEXT_CHARS {
            self.hold(
                "text_too_long",
                &format!("câu dẫn dài {n_chars} ký tự, tối đa {MAX_TEXT_CHARS}; có thể thiếu «Câu n:» ở giữa"),
                &format!("the stem has {n_chars} characters, at most {MAX_TEXT_CHARS}; a «Câu n:» may be missing"),
            );
        }
        for index in 0..self.options.len() {
            let n_chars = self.options[index].chars().count();
            let name = option_name(index);
            if n_chars == 0 {
                self.hold(
                    "text_missing",
                    &format!("phương án {name} trống; hãy nhập hoặc xóa"),
                    &format!("option {name} is empty; fill it in or delete it"),
                );
            }
            if n_chars > MAX_OPTION_CHARS {
                self.hold(
                    "text_too_long",
                    &format!("phương án {name} dài {n_chars} ký tự, tối đa {MAX_OPTION_CHARS}; hãy rút gọn"),
                    &format!("option {name} has {n_chars} characters, at most {MAX_OPTION_CHARS}; shorten it"),
                );
            }
        }
        if std::iter::once(&self.text)
            .chain(&self.options)
            .any(|text| tells_key(text))
        {
            self.hold(
                "key_in_text",
                "lời câu hỏi chứa «Đáp án: ...», thí sinh sẽ đọc thấy; hãy đưa xuống dòng riêng",
                "the text contains «Đáp án: ...», which candidates would read; put it on a line of its own",
            );
        }
    }

    fn check_options(&mut self) {
        let n_options = self.options.len();
        if n_options < 2 {
            self.hold(
                "too_few_options",
                &format!("chỉ đọc được {n_options} phương án; hãy xem các chữ cái A., B. đầu dòng"),
                &format!("only {n_options} options found; check the letters A., B. at the beginning of lines"),
            );
        }
        if n_options > MAX_OPTIONS {
            self.hold(
                "too_many_options",
                &format!(
                    "có {n_options} phương án, tối đa {MAX_OPTIONS}; có thể thiếu «Câu n:» ở giữa"
                ),
                &format!("{n_options} options, at most {MAX_OPTIONS}; a «Câu n:» may be missing"),
            );
        }
        if let Some((first, second)) = self.options_alike() {
            let (a, b) = (option_name(first), option_name(second));
            let vi = format!("phương án {a} và {b} giống nhau; hãy sửa một");
            let en = format!("options {a} and {b} are the same; change one");
            let right = |index: usize| self.key.iter().any(|k| usize::from(*k) == index);
            if right(first) || right(second) {
                self.hold("options_alike", &vi, &en);
            } else {
                self.warn("options_alike", &vi, &en);
            }
        }
    }

    fn options_alike(&self) -> Option<(usize, usize)> {
        let mut seen = HashMap::new();
        self.options.iter().enumerate().find_map(|(index, option)| {
            let earlier = seen.insert(folded(option), index);
            earlier
                .filter(|_| !option.is_empty())
                .map(|first| (first, index))
        })
    }

    fn item_type(&self) -> ItemType {
        let mut texts: Vec<String> = self.options.iter().map(|o| folded(o)).collect();
        texts.sort();
        if texts == ["sai", "đúng"] || texts == ["false", "true"] {
            ItemType::TrueFalse
        } else if self.key.len() > 1 || asks_for_several(&self.text) {
            ItemType::MultipleChoice
        } else {
            ItemType::SingleChoice
        }
    }

    fn finish(self) -> ImportedItem {
        let item_type = self.item_type();
        let all_pinned = self.options.iter().any(|o| refers_to_letters(o));
        let options = self.options.into_iter().map(|text| ItemOption {
            pinned: all_pinned || refers_to_options(&text),
            text,
        });
        ImportedItem {
            number: self.number,
            line: self.line,
            item: Item {
                item_type,
                text: self.text,
                options: options.collect(),
                key: self.key,
                topic: self.topic,
                band: self.band,
                explanation: self.explanation,
                exclusion_sets: vec![],
            },
            problems: self.problems,
        }
    }
}

/// Checks the questions of a document against each other and turns them into items.
pub(super) fn finish(
    mut drafts: Vec<Draft>,
    announced: Option<u32>,
    keys: Option<&KeyTable>,
) -> Import {
    let mut problems = vec![];
    check_numbers(&mut drafts, keys.is_some());
    problems.extend(number_gaps(&drafts, announced));
    let of_others = keys.and_then(|keys| keys_of_others(&drafts, keys));
    if of_others.is_some() {
        // A table of other questions decides nothing: what it contradicts waits for a person.
        let problems = drafts.iter_mut().flat_map(|draft| &mut draft.problems);
        for problem in problems.filter(|problem| problem.code == "key_disagrees") {
            problem.severity = Severity::Error;
        }
    }
    problems.extend(of_others);
    problems.extend(keys.and_then(|keys| keys_without_item(&drafts, keys)));
    check_topics(&mut drafts);
    for draft in &mut drafts {
        draft.check_texts();
        draft.check_options();
    }
    check_duplicates(&mut drafts);
    Import {
        items: drafts.into_iter().map(Draft::finish).collect(),
        problems,
    }
}

/// A repeated number is harmless in itself, but a key table then names two questions at once.
fn check_numbers(drafts: &mut [Draft], by_table: bool) {
    let mut n_seen: HashMap<u32, usize> = HashMap::new();
    for draft in drafts.iter() {
        *n_seen.entry(draft.number).or_default() += 1;
    }
    let mut seen = BTreeSet::new();
    let mut topic = String::new();
    for draft in drafts {
        // Each part of a paper may begin at 1 again.
        if draft.topic != topic && draft.number == 1 {
            seen.clear();
        }
        topic.clone_from(&draft.topic);
        let again = !seen.insert(draft.number);
        if by_table && n_seen[&draft.number] > 1 {
            draft.hold(
                "number_repeated",
                "nhiều câu mang số này nên không biết bảng đáp án nói câu nào; hãy đánh số lại",
                "several questions have this number, so the key table may mean any; number them again",
            );
        } else if again {
            draft.warn(
                "number_repeated",
                "số câu lặp lại; hãy xem lại",
                "the number is repeated; please check",
            );
        }
    }
}

fn number_gaps(drafts: &[Draft], announced: Option<u32>) -> Vec<Problem> {
    let mut missing = vec![];
    let mut previous = 0;
    for draft in drafts {
        if draft.number > previous {
            missing.extend((previous + 1..draft.number).take(MAX_LISTED));
        }
        previous = draft.number;
    }
    let mut problems = vec![];
    if !missing.is_empty() {
        let list = number_list(&missing);
        problems.push(document_warning(
            "number_gap",
            drafts.first().map_or(1, |d| d.line),
            &format!("không thấy câu {list}; hãy xem có câu nào ghi sai «Câu n:»"),
            &format!("no question with number {list}; check for a mistyped «Câu n:»"),
        ));
    }
    let n_items = drafts.len();
    if let Some(announced) = announced.filter(|n| usize::try_from(*n) != Ok(n_items)) {
        problems.push(document_warning(
            "number_gap",
            1,
            &format!("tệp ghi {announced} câu nhưng đọc được {n_items} câu; hãy xem lại"),
            &format!(
                "the file announces {announced} questions but {n_items} were read; please check"
            ),
        ));
    }
    problems
}

/// Where most numbers of table and questions do not meet, the table was probably made for other questions.
fn keys_of_others(drafts: &[Draft], keys: &KeyTable) -> Option<Problem> {
    let of_items: BTreeSet<u32> = drafts.iter().map(|d| d.number).collect();
    let of_keys: BTreeSet<u32> = keys.numbers().collect();
    let n_both = of_items.intersection(&of_keys).count();
    let n_all = of_items.union(&of_keys).count();
    if n_both * 2 >= n_all {
        return None;
    }
    let (n_items, n_keys) = (of_items.len(), of_keys.len());
    Some(document_warning(
        "key_table_mismatch",
        keys.get(*of_keys.first()?)?.line,
        &format!(
            "bảng đáp án ({n_keys} câu) và câu hỏi ({n_items} câu) chỉ chung {n_both} số câu; có lẽ là đáp án của đề khác"
        ),
        &format!(
            "the key table ({n_keys} numbers) and the questions ({n_items}) share only {n_both} numbers; it may be the key of another paper"
        ),
    ))
}

fn keys_without_item(drafts: &[Draft], keys: &KeyTable) -> Option<Problem> {
    let numbers: BTreeSet<u32> = drafts.iter().map(|d| d.number).collect();
    let extra: Vec<u32> = keys.numbers().filter(|n| !numbers.contains(n)).collect();
    let line = keys.get(*extra.first()?)?.line;
    let list = number_list(&extra);
    Some(document_warning(
        "key_without_item",
        line,
        &format!("bảng đáp án có câu {list} nhưng tệp câu hỏi không có; hãy xem lại"),
        &format!("the key table has number {list}, which the questions do not have; please check"),
    ))
}

fn check_topics(drafts: &mut [Draft]) {
    if drafts.iter().all(|d| d.topic.is_empty()) {
        return;
    }
    for draft in drafts.iter_mut().filter(|d| d.topic.is_empty()) {
        draft.warn(
            "topic_missing",
            "chưa có chủ đề trong khi các câu khác có; hãy bổ sung",
            "no topic though others have one; add it",
        );
    }
}

fn check_duplicates(drafts: &mut [Draft]) {
    let mut seen: HashMap<(String, Vec<String>), (u32, usize)> = HashMap::new();
    for draft in drafts {
        let mut options: Vec<String> = draft.options.iter().map(|o| folded(o)).collect();
        options.sort();
        let content = (folded(&draft.text), options);
        if content.0.is_empty() {
            continue;
        }
        let Some((number, line)) = seen.get(&content) else {
            seen.insert(content, (draft.number, draft.line));
            continue;
        };
        let (unit_vi, unit_en) = draft.unit.names();
        draft.hold(
            "duplicate_item",
            &format!("trùng câu {number} ({unit_vi} {line}); hãy xóa một"),
            &format!("the same as no. {number} ({unit_en} {line}); delete one"),
        );
    }
}

/// Makes a warning about the document as a whole.
pub(super) fn document_warning(code: &'static str, line: usize, vi: &str, en: &str) -> Problem {
    Problem {
        code,
        severity: Severity::Warning,
        line,
        message: format!("{vi} / {en}"),
    }
}

fn number_list(numbers: &[u32]) -> String {
    let listed: Vec<String> = numbers
        .iter()
        .take(MAX_LISTED)
        .map(u32::to_string)
        .collect();
    let more = if numbers.len() > MAX_LISTED {
        ", …"
    } else {
        ""
    };
    listed.join(", ") + more
}

fn option_name(index: usize) -> String {
    u8::try_from(index).map_or_else(
        |_| (index + 1).to_string(),
        |index| letter(index).to_string(),
    )
}

/// Shortens a piece of the document for a message; the sign between the two languages stays unique.
pub(super) fn quoted(text: &str) -> String {
    let text = clean_text(text).replace(" / ", "/");
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn tells_key(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["đáp án:", "đáp án đúng:", "đáp án đúng là", "đáp án là:"]
        .iter()
        .any(|phrase| lower.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(number: u32, text: &str, options: &[&str], key: &[u8]) -> Draft {
        Draft {
            number,
            line: number as usize * 10,
            unit: Unit::Paragraph,
            text: text.to_owned(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            key: key.to_vec(),
            topic: String::new(),
            band: Band::Unstated,
            explanation: String::new(),
            problems: vec![],
        }
    }

    #[track_caller]
    fn check(drafts: Vec<Draft>, expected: &[(u32, &str, Severity)]) {
        let import = finish(drafts, None, None);
        let found: Vec<(u32, &str, Severity)> = import
            .items
            .iter()
            .flat_map(|item| {
                item.problems
                    .iter()
                    .map(|p| (item.number, p.code, p.severity))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn options_alike_hold_an_item_back_only_if_one_of_them_is_right() {
        check(
            vec![
                draft(1, "Hỏi 1?", &["x", "X.", "y"], &[1]),
                draft(2, "Hỏi 2?", &["x", "X.", "y"], &[2]),
            ],
            &[
                (1, "options_alike", Severity::Error),
                (2, "options_alike", Severity::Warning),
            ],
        );
    }

    #[test]
    fn too_much_and_too_little_are_held_back() {
        let long = "x".repeat(MAX_TEXT_CHARS + 1);
        let many: Vec<String> = (0..13).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(
            vec![
                draft(1, &long, &["x", "y"], &[0]),
                draft(2, "", &["x", "y"], &[0]),
                draft(3, "Một?", &["x"], &[0]),
                draft(4, "Nhiều?", &many, &[0]),
                draft(5, "Trống?", &["x", "", "y"], &[0]),
                draft(6, "Lộ?", &["x", "y Đáp án: A"], &[0]),
            ],
            &[
                (1, "text_too_long", Severity::Error),
                (2, "text_missing", Severity::Error),
                (3, "too_few_options", Severity::Error),
                (4, "too_many_options", Severity::Error),
                (5, "text_missing", Severity::Error),
                (6, "key_in_text", Severity::Error),
            ],
        );
    }

    #[test]
    fn the_same_question_with_other_options_is_another_question() {
        check(
            vec![
                draft(1, "Nhận định nào đúng?", &["x", "y"], &[0]),
                draft(2, "Nhận định nào đúng?", &["x", "z"], &[0]),
                draft(3, "nhận định nào đúng", &["Y", "X"], &[1]),
            ],
            &[(3, "duplicate_item", Severity::Error)],
        );
    }

    #[test]
    fn a_repeated_number_is_fatal_only_under_a_key_table() {
        let drafts = || {
            vec![
                draft(1, "Hỏi 1?", &["x", "y"], &[0]),
                draft(1, "Hỏi 2?", &["x", "y"], &[0]),
            ]
        };
        check(drafts(), &[(1, "number_repeated", Severity::Warning)]);
        let import = finish(drafts(), None, Some(&KeyTable::default()));
        assert!(import.items.iter().all(ImportedItem::held_back));
    }

    #[test]
    fn numbers_that_are_missing_or_too_few_are_reported_for_the_document() {
        let drafts = vec![
            draft(1, "Hỏi 1?", &["x", "y"], &[0]),
            draft(4, "Hỏi 2?", &["x", "y"], &[0]),
        ];
        let mut keys = KeyTable::default();
        keys.read_list(7, "1-A 4-B 9-A");
        let import = finish(drafts, Some(100), Some(&keys));
        let messages: Vec<&str> = import.problems.iter().map(|p| p.message.as_str()).collect();
        assert!(
            messages[0].starts_with("không thấy câu 2, 3;"),
            "{messages:?}"
        );
        assert!(
            messages[1].starts_with("tệp ghi 100 câu nhưng đọc được 2 câu"),
            "{messages:?}"
        );
        assert!(
            messages[2].starts_with("bảng đáp án có câu 9"),
            "{messages:?}"
        );
    }

    #[test]
    fn options_that_name_letters_pin_all_of_an_item() {
        let pinned = |options: &[&str]| -> Vec<bool> {
            let item = draft(1, "Hỏi?", options, &[0]).finish().item;
            item.options.iter().map(|o| o.pinned).collect()
        };
        assert_eq!(
            pinned(&["x", "y", "Cả hai đáp án trên"]),
            [false, false, true]
        );
        assert_eq!(pinned(&["x", "y", "Cả A và B"]), [true, true, true]);
    }

    #[test]
    fn two_options_right_and_wrong_are_a_statement() {
        let item_type =
            |text: &str, options: &[&str]| draft(1, text, options, &[0]).finish().item.item_type;
        assert_eq!(item_type("Hỏi?", &["Sai", "Đúng."]), ItemType::TrueFalse);
        assert_eq!(item_type("Hỏi?", &["Sai", "Không"]), ItemType::SingleChoice);
        assert_eq!(
            item_type("Chọn các đáp án đúng", &["x", "y"]),
            ItemType::MultipleChoice
        );
    }
}
