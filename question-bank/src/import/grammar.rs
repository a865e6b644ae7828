//! The words and signs by which question files tell stems, options, keys and topics apart.
//!
//! Everything here looks at the beginning of one line and returns what it is and where its text begins; whether that
//! makes sense at this point of the document is decided by the caller.

use crate::item::{Band, clean_text};

/// `Câu 12 [TH]:` at the beginning of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuestionLabel {
    pub(super) number: u32,
    pub(super) band: Band,
    /// A sign such as `:` closes the label; without one, "Câu 5" may also be the beginning of a sentence.
    pub(super) closed: bool,
    /// Where the stem begins.
    pub(super) text_start: usize,
}

/// `B.` at the beginning of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OptionLabel {
    /// 0 for A.
    pub(super) index: u8,
    pub(super) lower_case: bool,
    /// An asterisk stands before the letter or before the text.
    pub(super) asterisk: bool,
    /// A dot or bracket follows, not a sign that a sentence may have as well.
    pub(super) firm: bool,
    /// Where the letter stands.
    pub(super) letter: usize,
    /// Where the option's text begins.
    pub(super) text_start: usize,
}

/// A heading as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// It can only be a heading.
    Sure(String),
    /// `II. ...`: a heading if the Roman numbers rise through the document.
    Roman(u32, String),
}

const QUESTION_WORDS: [&str; 9] = [
    "câu hỏi số",
    "câu hỏi",
    "câu số",
    "câu",
    "cau",
    "bài",
    "question",
    "ques",
    "q",
];
const TOPIC_WORDS: [&str; 11] = [
    "chuyên đề",
    "chủ đề",
    "chương",
    "phần",
    "phan",
    "nhóm",
    "lĩnh vực",
    "section",
    "chapter",
    "topic",
    "part",
];
const KEY_WORDS: [&str; 12] = [
    "đáp án đúng",
    "đáp án",
    "phương án đúng",
    "câu trả lời đúng",
    "trả lời",
    "đ/án",
    "đ/a",
    "đa",
    "answer key",
    "correct answer",
    "answer",
    "key",
];
const EXPLANATION_WORDS: [&str; 7] = [
    "lời giải",
    "giải thích",
    "hướng dẫn giải",
    "hướng dẫn chi tiết",
    "explanation",
    "căn cứ",
    "giải chi tiết",
];

/// Reads along a line.
struct Scanner<'a> {
    chars: &'a [char],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(chars: &'a [char]) -> Self {
        let mut scanner = Self { chars, at: 0 };
        scanner.skip_spaces();
        scanner
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_spaces(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.at > start
    }

    fn eat(&mut self, accepted: &[char]) -> Option<char> {
        let found = self.peek().filter(|c| accepted.contains(c))?;
        self.at += 1;
        Some(found)
    }

    /// Eats one of some words, in any case, that no letter follows; longer ones stand first in the list.
    fn word(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.one_word(word))
    }

    fn one_word(&mut self, word: &str) -> bool {
        let start = self.at;
        for expected in word.chars() {
            let matches = if expected == ' ' {
                self.skip_spaces()
            } else {
                let found = self.peek().and_then(|c| c.to_lowercase().next());
                self.at += 1;
                found == Some(expected)
            };
            if !matches {
                self.at = start;
                return false;
            }
        }
        if self.peek().is_some_and(char::is_alphabetic) {
            self.at = start;
            return false;
        }
        true
    }

    /// Eats a number of at most five digits.
    fn number(&mut self) -> Option<u32> {
        let n_digits = self.chars[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        if !(1..=5).contains(&n_digits) {
            return None;
        }
        let digits: String = self.chars[self.at..self.at + n_digits].iter().collect();
        self.at += n_digits;
        digits.parse().ok()
    }

    /// Eats a Roman number up to XXXIX in capitals.
    fn roman(&mut self) -> Option<u32> {
        let digits: String = self.chars[self.at..]
            .iter()
            .take_while(|c| matches!(c, 'I' | 'V' | 'X'))
            .collect();
        let next = self.chars.get(self.at + digits.len());
        let value = (1..40).find(|n| to_roman(*n) == digits)?;
        // "Xã hội" begins with no number.
        if next.is_some_and(|c| c.is_alphanumeric()) {
            return None;
        }
        self.at += digits.len();
        Some(value)
    }

    /// Eats `[NB]`, `(TH)`.
    fn band(&mut self) -> Option<Band> {
        let close = match self.peek()? {
            '[' => ']',
            '(' => ')',
            _ => return None,
        };
        let inner = &self.chars[self.at + 1..];
        let n_inner = inner.iter().take(20).position(|c| *c == close)?;
        let text: String = inner[..n_inner].iter().collect();
        // Digits in brackets are marks or references, not bands.
        let band = Band::parse(&text).filter(|_| text.chars().any(char::is_alphabetic))?;
        self.at += n_inner + 2;
        Some(band)
    }

    /// Eats the second sign of "Câu 1.:", but not the dots of a gap at the beginning of a stem.
    fn second_sign(&mut self) {
        let next = self.chars.get(self.at + 1);
        if matches!(self.peek(), Some(':' | '.')) && next != Some(&'.') {
            self.at += 1;
        }
    }

    fn rest(&self) -> String {
        self.chars[self.at.min(self.chars.len())..].iter().collect()
    }
}

/// Writes a number from 1 to 39 in Roman digits.
pub(super) fn to_roman(number: u32) -> String {
    let tens = "X".repeat((number / 10) as usize);
    let ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"][(number % 10) as usize];
    tens + ones
}

/// Recognizes `Câu 1:`, `Câu 1 [NB].`, `Bài 2)`, `Question 3`.
pub(super) fn question_label(chars: &[char]) -> Option<QuestionLabel> {
    let mut line = Scanner::new(chars);
    if !line.word(&QUESTION_WORDS) {
        return None;
    }
    line.skip_spaces();
    let number = line.number()?;
    finish_label(line, number)
}

/// Recognizes `12.` and `12)`, the label of files that do without the word.
pub(super) fn bare_number_label(chars: &[char]) -> Option<QuestionLabel> {
    let mut line = Scanner::new(chars);
    let number = line.number()?;
    // "2.5 lít" and "1.000" are numbers of a sentence.
    let signs: Vec<char> = line.chars[line.at..].iter().copied().take(2).collect();
    let separated = matches!(signs.first(), Some('.' | ')' | '/' | ':'))
        && !signs.get(1).is_some_and(char::is_ascii_digit);
    if !separated {
        return None;
    }
    finish_label(line, number)
}

fn finish_label(mut line: Scanner<'_>, number: u32) -> Option<QuestionLabel> {
    if line.peek().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let number_end = line.at;
    line.skip_spaces();
    let mut band = line.band();
    line.skip_spaces();
    let signed = line.eat(&[':', '.', ')', '-', '–', '—', '/']).is_some();
    line.second_sign();
    line.skip_spaces();
    if band.is_none() {
        band = line.band();
        if band.is_some() {
            line.eat(&[':', '.']);
            line.skip_spaces();
        }
    }
    let closed = signed || band.is_some() || line.peek().is_none();
    // "Câu 1, 2 và 3" speaks of questions.
    if !closed && line.at == number_end {
        return None;
    }
    Some(QuestionLabel {
        number,
        band: band.unwrap_or_default(),
        closed,
        text_start: line.at,
    })
}

/// Recognizes `A.`, `b)`, `*C.`, `(D)`, `B .`, `A. *`.
pub(super) fn option_label(chars: &[char]) -> Option<OptionLabel> {
    let mut line = Scanner::new(chars);
    let mut asterisk = line.eat(&['*']).is_some();
    line.skip_spaces();
    let in_brackets = line.eat(&['(']).is_some();
    let letter = line.at;
    let (index, lower_case) = letter_index(line.peek()?)?;
    line.at += 1;
    line.skip_spaces();
    let sign = line.eat(&['.', ')', ':', '-', '/'])?;
    let spaced = line.skip_spaces();
    let firm = matches!(sign, '.' | ')');
    if (in_brackets && sign != ')') || (!firm && !spaced && line.peek().is_some()) {
        return None;
    }
    if line.eat(&['*']).is_some() {
        asterisk = true;
        line.skip_spaces();
    }
    Some(OptionLabel {
        index,
        lower_case,
        asterisk,
        firm,
        letter,
        text_start: line.at,
    })
}

/// Finds options that follow the first on the same line: where each begins, for letters that rise by one.
pub(super) fn inline_options(chars: &[char], first_index: u8, lower_case: bool) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut wanted = first_index;
    for at in 1..chars.len() {
        if !chars[at - 1].is_whitespace() || chars[at].is_whitespace() {
            continue;
        }
        let fits = option_label(&chars[at..]).is_some_and(|label| {
            label.index == wanted && label.lower_case == lower_case && label.firm
        });
        if fits {
            starts.push(at);
            wanted += 1;
        }
    }
    starts
}

/// Recognizes `Đáp án: B`, `Đáp án đúng là: C. ...`, `ĐÁP ÁN A, C` and returns what it says.
pub(super) fn key_line(chars: &[char]) -> Option<String> {
    let mut line = Scanner::new(chars);
    if !line.word(&KEY_WORDS) {
        return None;
    }
    line.skip_spaces();
    let mut stated = line.word(&["là"]);
    line.skip_spaces();
    stated |= line.eat(&[':', '.', '-', '=']).is_some();
    line.skip_spaces();
    match leading_letters(&line.chars[line.at..]) {
        Some(letters) => Some(letters),
        None if stated => Some(clean_text(&line.rest())),
        None => None,
    }
}

/// Recognizes `Lời giải:` and the like, and returns what follows.
pub(super) fn explanation_line(chars: &[char]) -> Option<String> {
    let mut line = Scanner::new(chars);
    if !line.word(&EXPLANATION_WORDS) {
        return None;
    }
    line.skip_spaces();
    let closed = line.eat(&[':', '.', '-']).is_some();
    line.skip_spaces();
    (closed || line.peek().is_none()).then(|| line.rest())
}

/// Reports whether the line says that the paper ends here.
pub(super) fn is_end(text: &str) -> bool {
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    matches!(letters.as_str(), "HẾT" | "Hết" | "THEEND" | "END")
}

/// Recognizes a topic heading. A line that the document itself styles as a heading is one whatever it says.
pub(super) fn heading(chars: &[char], styled: bool) -> Option<Heading> {
    let mut line = Scanner::new(chars);
    let whole = clean_text(&line.rest());
    if line.eat(&['#']).is_some() {
        while line.eat(&['#']).is_some() {}
        return (line.skip_spaces() && line.peek().is_some())
            .then(|| Heading::Sure(clean_text(&line.rest())));
    }
    if line.word(&TOPIC_WORDS) {
        line.skip_spaces();
        let numbered =
            line.number().is_some() || line.roman().is_some() || section_letter(&mut line);
        line.skip_spaces();
        let signs: &[char] = if numbered {
            &[':', '.', '-', '–', ')']
        } else {
            &[':']
        };
        let closed = line.eat(signs).is_some();
        line.skip_spaces();
        if closed || (numbered && (styled || line.peek().is_none())) {
            let title = clean_text(&line.rest());
            return Some(Heading::Sure(if title.is_empty() { whole } else { title }));
        }
        return styled.then_some(Heading::Sure(whole));
    }
    let roman = line.roman();
    let numbered = roman.is_some() || (styled && line.number().is_some());
    let closed = numbered && line.eat(&['.', ':', ')', '-']).is_some() && line.skip_spaces();
    let title = clean_text(&line.rest());
    match roman {
        _ if styled && closed && !title.is_empty() => Some(Heading::Sure(title)),
        _ if styled && !whole.is_empty() => Some(Heading::Sure(whole)),
        Some(number) if closed && !title.is_empty() => Some(Heading::Roman(number, title)),
        _ => None,
    }
}

/// Eats the letter of "Phần A:".
fn section_letter(line: &mut Scanner<'_>) -> bool {
    let letter = line.peek().is_some_and(|c| c.is_ascii_uppercase());
    let alone = !line
        .chars
        .get(line.at + 1)
        .is_some_and(|c| c.is_alphanumeric());
    if letter && alone {
        line.at += 1;
    }
    letter && alone
}

/// Returns the number of questions that a title announces ("100 câu hỏi").
pub(super) fn announced_count(text: &str) -> Option<u32> {
    let lower = clean_text(text).to_lowercase();
    let words: Vec<&str> = lower.split(' ').collect();
    words
        .windows(2)
        .find(|pair| pair[1].trim_end_matches([',', '.', ';', ')', ':']) == "câu")
        .and_then(|pair| pair[0].trim_start_matches('(').parse().ok())
}

/// Reports whether a stem says that several options are right ("chọn các đáp án đúng", "chọn nhiều phương án").
pub(super) fn asks_for_several(stem: &str) -> bool {
    let lower = clean_text(stem).to_lowercase();
    let english = [
        "select all",
        "choose all",
        "all that apply",
        "select two",
        "choose two",
    ];
    if english.iter().any(|phrase| lower.contains(phrase)) || lower.contains("nhiều đáp án đúng")
    {
        return true;
    }
    lower.match_indices("chọn ").any(|(at, verb)| {
        // "lựa chọn các nhà thầu" is no request.
        let rest = &lower[at + verb.len()..];
        !lower[..at].ends_with("lựa ") && QUANTITIES.iter().any(|q| names_answers_after(rest, q))
    })
}

const QUANTITIES: [&str; 12] = [
    "tất cả các",
    "tất cả những",
    "tất cả",
    "một hoặc nhiều",
    "các",
    "những",
    "nhiều",
    "hai",
    "ba",
    "2",
    "3",
    "4",
];

fn names_answers_after(rest: &str, quantity: &str) -> bool {
    let answers = [
        "đáp án",
        "phương án",
        "câu trả lời",
        "câu đúng",
        "ý ",
        "lựa chọn",
        "khẳng định",
        "phát biểu",
        "nội dung đúng",
    ];
    rest.strip_prefix(quantity)
        .and_then(|rest| rest.strip_prefix(' '))
        .is_some_and(|rest| answers.iter().any(|answer| rest.starts_with(answer)))
}

/// Why a stated key is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyFault {
    /// Nothing is stated.
    Missing,
    /// It names no option of the item.
    Unknown,
    /// It is the number of one option and the text of another.
    Ambiguous,
}

/// Finds the options that a stated key names: by letters, by the text of an option, and by numbers where the form
/// uses them.
pub(super) fn resolve_key(
    raw: &str,
    options: &[String],
    numbers: bool,
) -> Result<Vec<u8>, KeyFault> {
    let raw = clean_text(raw);
    if raw.is_empty() {
        return Err(KeyFault::Missing);
    }
    let by_text = option_with_text(&raw, options);
    let by_position = letters(&raw).or_else(|| if numbers { positions(&raw) } else { None });
    match (by_position, by_text) {
        (Some(key), Some(index)) if key != [index] => Err(KeyFault::Ambiguous),
        (Some(key), _) if key.iter().all(|i| usize::from(*i) < options.len()) => Ok(key),
        (None, Some(index)) => Ok(vec![index]),
        _ => Err(KeyFault::Unknown),
    }
}

fn option_with_text(raw: &str, options: &[String]) -> Option<u8> {
    let wanted = match folded(raw).as_str() {
        "đ" => "đúng".to_owned(),
        "s" => "sai".to_owned(),
        text => text.to_owned(),
    };
    let index = options.iter().position(|o| folded(o) == wanted)?;
    u8::try_from(index).ok()
}

/// Brings a text to the form in which two of them are compared: case and closing signs do not count.
pub(super) fn folded(text: &str) -> String {
    clean_text(text)
        .to_lowercase()
        .trim_end_matches(['.', ',', ';', ':', '?', '!', ' '])
        .to_owned()
}

/// Reads "A", "a, c", "A và C", "ACD" as option indices.
fn letters(text: &str) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    for token in key_tokens(text) {
        let indices: Option<Vec<u8>> = token.chars().map(|c| Some(letter_index(c)?.0)).collect();
        let indices = indices?;
        // Several letters in one word are a key only as "ACD": "Ba" is a word.
        let rising = indices.windows(2).all(|pair| pair[0] < pair[1]);
        if indices.len() > 1 && !(rising && token.chars().all(char::is_uppercase)) {
            return None;
        }
        found.extend(indices);
    }
    as_set(found)
}

/// Reads "2" and "1,3" as option indices.
fn positions(text: &str) -> Option<Vec<u8>> {
    let found: Option<Vec<u8>> = key_tokens(text)
        .map(|token| token.parse::<u8>().ok()?.checked_sub(1))
        .collect();
    as_set(found?)
}

fn key_tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', '/', '&', '+', ' ', '.', '(', ')', '-'])
        .filter(|token| !matches!(*token, "" | "và" | "and"))
}

fn as_set(mut indices: Vec<u8>) -> Option<Vec<u8>> {
    indices.sort_unstable();
    indices.dedup();
    (!indices.is_empty()).then_some(indices)
}

/// Returns the letters with which a line begins, as in "C. Hà Nội" or "A, C".
fn leading_letters(chars: &[char]) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    let mut at = 0;
    loop {
        let alone = !chars.get(at + 1).is_some_and(|c| c.is_alphanumeric());
        match chars
            .get(at)
            .copied()
            .filter(|c| letter_index(*c).is_some() && alone)
        {
            Some(letter) => found.push(letter.to_string()),
            None => break,
        }
        at += 1;
        let mut line = Scanner { chars, at };
        line.skip_spaces();
        let joined = line.eat(&[',', ';', '&', '/', '+']).is_some() || line.word(&["và", "and"]);
        line.skip_spaces();
        if !joined {
            break;
        }
        at = line.at;
    }
    (!found.is_empty()).then(|| found.join(","))
}

/// Returns the numbers and keys that a line of a key file lists: `1. B`, `1-A 2-C`, `Câu 3: A, D`.
pub(super) fn listed_keys(chars: &[char]) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut line = Scanner::new(chars);
    while line.peek().is_some() {
        line.word(&QUESTION_WORDS);
        line.skip_spaces();
        let Some(number) = line.number() else {
            skip_word(&mut line);
            continue;
        };
        line.skip_spaces();
        while line.eat(&['.', ':', '-', '–', ')']).is_some() {}
        line.skip_spaces();
        if let Some(letters) = leading_letters(&line.chars[line.at..]) {
            found.push((number, letters));
            skip_word(&mut line);
        }
    }
    found
}

fn skip_word(line: &mut Scanner<'_>) {
    let start = line.at;
    while line.peek().is_some_and(char::is_alphanumeric) {
        line.at += 1;
    }
    if line.at == start {
        line.at += 1;
    }
    line.skip_spaces();
}

/// Returns 0 for A and a up to 11 for L and l, and whether the letter is small.
pub(super) fn letter_index(letter: char) -> Option<(u8, bool)> {
    let index = match letter {
        'A'..='L' => u32::from(letter) - u32::from('A'),
        'a'..='l' => u32::from(letter) - u32::from('a'),
        _ => return None,
    };
    Some((u8::try_from(index).ok()?, letter.is_lowercase()))
}

/// Returns the capital letter of an option.
pub(super) fn letter(index: u8) -> char {
    char::from(b'A' + index.min(25))
}

/// Writes a key as people do: "A, C".
pub(super) fn key_text(key: &[u8]) -> String {
    let letters: Vec<String> = key.iter().map(|i| letter(*i).to_string()).collect();
    letters.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[track_caller]
    fn check_question(line: &str, expected: Option<(u32, Band, &str)>) {
        let chars = chars(line);
        let found = question_label(&chars).map(|label| {
            let text: String = chars[label.text_start..].iter().collect();
            (label.number, label.band, text)
        });
        let expected = expected.map(|(number, band, text)| (number, band, text.to_owned()));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn question_labels_are_read_with_their_band() {
        check_question("Câu 1: Hỏi?", Some((1, Band::Unstated, "Hỏi?")));
        check_question("CÂU 10 . Hỏi?", Some((10, Band::Unstated, "Hỏi?")));
        check_question("Câu 3 [NB]: Hỏi?", Some((3, Band::Recognition, "Hỏi?")));
        check_question(
            "Câu 4 (VDC). Hỏi?",
            Some((4, Band::HighApplication, "Hỏi?")),
        );
        check_question("Câu 5: (TH) Hỏi?", Some((5, Band::Comprehension, "Hỏi?")));
        check_question("Question 6) Ask?", Some((6, Band::Unstated, "Ask?")));
        check_question(
            "Câu 19 Không gian?",
            Some((19, Band::Unstated, "Không gian?")),
        );
        check_question("Câu 7: (1) và (2)", Some((7, Band::Unstated, "(1) và (2)")));
        check_question("Câu", None);
        check_question("Câu 1a", None);
        check_question("Câu 1, 2 và 3 dựa vào bảng sau", None);
        check_question("Câu chuyện 3: Tấm Cám", None);
    }

    #[test]
    fn bare_numbers_are_labels_but_decimals_are_not() {
        assert_eq!(
            bare_number_label(&chars("12. Hỏi?")).map(|l| l.number),
            Some(12)
        );
        assert_eq!(
            bare_number_label(&chars("7) Hỏi?")).map(|l| l.number),
            Some(7)
        );
        assert_eq!(bare_number_label(&chars("2.5 lít nước")), None);
        assert_eq!(bare_number_label(&chars("34 tỉnh")), None);
    }

    #[track_caller]
    fn check_option(line: &str, expected: Option<(u8, bool, &str)>) {
        let chars = chars(line);
        let found = option_label(&chars).map(|label| {
            let text: String = chars[label.text_start..].iter().collect();
            (label.index, label.asterisk, text)
        });
        let expected = expected.map(|(index, asterisk, text)| (index, asterisk, text.to_owned()));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn option_labels_are_read_in_all_their_spellings() {
        check_option("A. Huế", Some((0, false, "Huế")));
        check_option("B .Huế", Some((1, false, "Huế")));
        check_option("*C. Huế", Some((2, true, "Huế")));
        check_option("D. * Huế", Some((3, true, "Huế")));
        check_option("(a) Huế", Some((0, false, "Huế")));
        check_option("b) Huế", Some((1, false, "Huế")));
        check_option("C - Huế", Some((2, false, "Huế")));
        check_option("C.", Some((2, false, "")));
        check_option("A-Rập", None);
        check_option("Anh. Em", None);
        check_option("M. Huế", None);
    }

    #[test]
    fn options_on_one_line_are_found_only_in_rising_order() {
        let line = chars("A. 15\tB. 30  C. 45 D.60");
        assert_eq!(inline_options(&line, 1, false), [6, 13, 19]);
        assert!(inline_options(&chars("A. Vitamin C. và D. khác"), 1, false).is_empty());
    }

    #[test]
    fn key_lines_are_read_with_or_without_text_behind() {
        for (line, expected) in [
            ("Đáp án: B", Some("B")),
            ("ĐÁP ÁN A, C", Some("A,C")),
            ("Đáp án đúng là: C. Hà Nội", Some("C")),
            ("Trả lời: a và d", Some("a,d")),
            ("Đáp án:", Some("")),
            ("Đáp án: Hà Nội", Some("Hà Nội")),
            ("Đáp án nào đúng?", None),
            ("A. Đáp án", None),
        ] {
            assert_eq!(key_line(&chars(line)).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn headings_lose_their_numbers() {
        for (line, styled, expected) in [
            ("Phần 1: Số học", false, Some("Số học")),
            ("PHẦN II. ĐỊA LÝ", false, Some("ĐỊA LÝ")),
            ("Chủ đề: An toàn", false, Some("An toàn")),
            ("# Lịch sử", false, Some("Lịch sử")),
            ("Phần I", false, Some("Phần I")),
            ("Phần 2 của Luật này", false, None),
            ("Phần lớn là: nước", false, None),
            ("Số học", true, Some("Số học")),
            ("1. Số học", true, Some("Số học")),
            ("Số học", false, None),
        ] {
            let expected = expected.map(|title| Heading::Sure(title.to_owned()));
            assert_eq!(heading(&chars(line), styled), expected, "{line}");
        }
        let roman = Heading::Roman(2, "Thương mại".to_owned());
        assert_eq!(heading(&chars("II. Thương mại"), false), Some(roman));
    }

    #[test]
    fn stems_that_ask_for_several_are_told_from_those_that_do_not() {
        for stem in [
            "Những sông nào? (chọn các đáp án đúng)",
            "Chọn nhiều phương án trả lời.",
            "Hãy chọn những phát biểu đúng",
            "Which? Select all that apply.",
        ] {
            assert!(asks_for_several(stem), "{stem}");
        }
        for stem in [
            "Việc lựa chọn các phương án kỹ thuật do ai quyết định?",
            "Chọn phương án đúng",
            "Hãy chọn đáp án đúng nhất trong các đáp án sau",
        ] {
            assert!(!asks_for_several(stem), "{stem}");
        }
    }

    #[track_caller]
    fn check_key(raw: &str, options: &[&str], numbers: bool, expected: Result<&[u8], KeyFault>) {
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        let found = resolve_key(raw, &options, numbers);
        assert_eq!(found, expected.map(<[u8]>::to_vec), "{raw}");
    }

    #[test]
    fn keys_are_letters_texts_or_numbers_and_never_a_guess() {
        let four = ["1", "2", "3", "10"];
        check_key("C, a", &four, false, Ok(&[0, 2]));
        check_key("ACD", &four, false, Ok(&[0, 2, 3]));
        check_key("B.", &four, false, Ok(&[1]));
        check_key("E", &four, false, Err(KeyFault::Unknown));
        check_key("Ba", &four, false, Err(KeyFault::Unknown));
        check_key(" ", &four, true, Err(KeyFault::Missing));
        check_key("2", &four, true, Ok(&[1]));
        check_key("10", &four, true, Err(KeyFault::Ambiguous));
        check_key("5", &four, true, Err(KeyFault::Unknown));
        check_key("1,3", &["x", "y", "z"], true, Ok(&[0, 2]));
        check_key("0", &["x", "y"], true, Err(KeyFault::Unknown));
        check_key("S", &["Đúng", "Sai"], false, Ok(&[1]));
        check_key("hà nội", &["Huế", "Hà Nội."], false, Ok(&[1]));
    }

    #[test]
    fn listed_keys_are_read_in_their_usual_spellings() {
        let keys = |text: &str| listed_keys(&chars(text));
        let pair = |number, key: &str| (number, key.to_owned());
        assert_eq!(
            keys("1-A 2-B\t3. C"),
            [pair(1, "A"), pair(2, "B"), pair(3, "C")]
        );
        assert_eq!(keys("Câu 4: A, D. Vì thế"), [pair(4, "A,D")]);
        assert_eq!(keys("5A 6 B"), [pair(5, "A"), pair(6, "B")]);
        assert!(keys("Luật số 24/2018/QH14 ban hành").is_empty());
    }

    #[test]
    fn an_announced_count_is_read_from_a_title() {
        assert_eq!(announced_count("BỘ 100 CÂU HỎI"), Some(100));
        assert_eq!(announced_count("170 câu, 4 chủ đề"), Some(170));
        assert_eq!(announced_count("Câu hỏi năm 2019"), None);
    }
}
