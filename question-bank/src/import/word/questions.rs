//! Finds the questions in the lines of a document: number, stem, options, key line, explanation and topic.
//!
//! The text says what a line is; the state says whether that makes sense here: an option follows the one before it, a
//! number without a sign only counts if it is the next.

use super::{
    document::{Losses, Paragraph},
    styles::Format,
};
use crate::{
    import::grammar::{
        Heading, OptionLabel, QuestionLabel, bare_number_label, explanation_line, heading,
        inline_options, is_end, key_line, option_label, question_label,
    },
    item::{Band, clean_text},
};

/// A paragraph, or the part of one between two line breaks.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    line: usize,
    chars: Vec<char>,
    formats: Vec<Format>,
    is_heading: bool,
    losses: Losses,
    /// The line before it belongs to the same paragraph.
    continues: bool,
}

impl Line {
    /// Divides a paragraph at its line breaks.
    pub(super) fn split(paragraph: &Paragraph) -> Vec<Self> {
        let mut lines = vec![Self {
            line: paragraph.line,
            is_heading: paragraph.is_heading,
            losses: paragraph.losses,
            ..Self::default()
        }];
        for (c, format) in paragraph.chars.iter().zip(&paragraph.formats) {
            if *c == '\n' {
                lines.push(Self {
                    line: paragraph.line,
                    is_heading: paragraph.is_heading,
                    continues: true,
                    ..Self::default()
                });
            } else if let Some(line) = lines.last_mut() {
                line.chars.push(*c);
                line.formats.push(*format);
            }
        }
        lines
    }

    fn is_blank(&self) -> bool {
        self.chars.iter().all(|c| c.is_whitespace())
    }

    fn text(&self) -> String {
        self.chars.iter().collect()
    }
}

/// One option.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) asterisk: bool,
    pub(super) letter: Format,
    pub(super) chars: Vec<char>,
    pub(super) formats: Vec<Format>,
    lower_case: bool,
}

impl Choice {
    /// Reads the option that begins where the line's characters do.
    fn read(label: &OptionLabel, chars: &[char], formats: &[Format]) -> Self {
        Self {
            asterisk: label.asterisk,
            letter: formats.get(label.letter).copied().unwrap_or_default(),
            chars: chars[label.text_start..].to_vec(),
            formats: formats[label.text_start..].to_vec(),
            lower_case: label.lower_case,
        }
    }

    pub(super) fn clean_text(&self) -> String {
        clean_text(&self.chars.iter().collect::<String>())
    }

    fn join(&mut self, line: &Line) {
        self.chars.push(' ');
        self.formats
            .push(line.formats.first().copied().unwrap_or_default());
        self.chars.extend(&line.chars);
        self.formats.extend(&line.formats);
    }
}

/// One question as it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    pub(super) number: u32,
    pub(super) line: usize,
    pub(super) band: Band,
    pub(super) topic: String,
    pub(super) stem: String,
    pub(super) choices: Vec<Choice>,
    /// What a key line says.
    pub(super) key: Option<String>,
    pub(super) explanation: String,
    pub(super) losses: Losses,
    /// A letter is not the one after the letter before.
    pub(super) letters_out_of_order: bool,
    /// A paragraph without letter was joined to an option.
    pub(super) text_joined: bool,
    /// Key line or explanation have begun: no option can follow.
    is_answered: bool,
    follows_end: bool,
}

/// What a document holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) questions: Vec<Question>,
    /// Everything before the first question.
    pub(super) preamble: String,
}

/// Finds the questions of a document.
pub(super) fn read_questions(lines: &[Line]) -> Found {
    let has_words = lines
        .iter()
        .any(|l| question_label(&l.chars).is_some_and(|label| label.closed));
    let mut reader = QuestionReader {
        lines,
        has_words,
        found: Found::default(),
        topic: String::new(),
        n_roman: 0,
        is_open: false,
        is_ended: false,
    };
    for at in 0..lines.len() {
        reader.read(at);
    }
    // Behind the end, "Câu 3" without options is the explanation of question 3.
    reader
        .found
        .questions
        .retain(|q| !q.follows_end || !q.choices.is_empty());
    reader.found
}

struct QuestionReader<'a> {
    lines: &'a [Line],
    /// Questions are labelled by a word ("Câu 1"), so that bare numbers are lists within them.
    has_words: bool,
    found: Found,
    topic: String,
    n_roman: u32,
    /// The last question takes more lines.
    is_open: bool,
    is_ended: bool,
}

impl QuestionReader<'_> {
    fn read(&mut self, at: usize) {
        let line = &self.lines[at];
        if line.is_blank() {
            self.add_losses(line);
        } else if is_end(&line.text()) {
            self.is_open = false;
            self.is_ended = true;
        } else if let Some(label) = self.question_label(line) {
            self.begin_question(at, &label);
        } else if let Some(label) = self.option_label(line) {
            self.read_options(at, &label);
        } else if let Some(topic) = self.topic(line) {
            self.topic = topic;
            self.is_open = false;
        } else {
            self.read_text(at);
        }
    }

    /// Returns the question that takes more lines.
    fn open(&mut self) -> Option<&mut Question> {
        self.found.questions.last_mut().filter(|_| self.is_open)
    }

    fn add_losses(&mut self, line: &Line) {
        if let Some(question) = self.open().filter(|q| !q.is_answered) {
            question.losses.add(line.losses);
        }
    }

    fn question_label(&mut self, line: &Line) -> Option<QuestionLabel> {
        let next = self
            .found
            .questions
            .last()
            .map_or(1, |q| q.number.saturating_add(1));
        if self.has_words {
            return question_label(&line.chars)
                .filter(|label| label.closed || label.number == next);
        }
        let is_complete = self
            .open()
            .is_none_or(|q| q.choices.len() > 1 || q.is_answered);
        bare_number_label(&line.chars).filter(|_| is_complete)
    }

    fn begin_question(&mut self, at: usize, label: &QuestionLabel) {
        let line = &self.lines[at];
        self.found.questions.push(Question {
            number: label.number,
            line: line.line,
            band: label.band,
            topic: self.topic.clone(),
            losses: line.losses,
            follows_end: self.is_ended,
            ..Question::default()
        });
        self.is_open = true;
        self.read_stem(at, label.text_start);
    }

    /// Adds a line to the stem, or divides it where options stand behind the stem on the same line.
    fn read_stem(&mut self, at: usize, start: usize) {
        let lines = self.lines;
        let (chars, formats) = (&lines[at].chars[start..], &lines[at].formats[start..]);
        let mut starts = inline_options(chars, 0, false);
        starts.truncate(self.next_option(at, false).map_or(usize::MAX, usize::from));
        if starts.len() < 2 {
            starts.clear();
        }
        let stem_end = starts.first().copied().unwrap_or(chars.len());
        let Some(question) = self.open() else {
            return;
        };
        question.stem.push(' ');
        question.stem.extend(&chars[..stem_end]);
        question.add_choices(chars, formats, &starts);
    }

    /// Returns the letter with which the next line that is not blank begins, if it does.
    fn next_option(&self, at: usize, lower_case: bool) -> Option<u8> {
        let next = self.lines[at + 1..].iter().find(|l| !l.is_blank())?;
        option_label(&next.chars)
            .filter(|l| l.lower_case == lower_case)
            .map(|l| l.index)
    }

    /// Recognizes an option that can stand here.
    fn option_label(&mut self, line: &Line) -> Option<OptionLabel> {
        let question = self.open().filter(|q| !q.is_answered)?;
        let label = option_label(&line.chars)?;
        let n_choices = question.choices.len();
        let is_next = usize::from(label.index) == n_choices;
        // A letter may be skipped by mistake; "I." behind D is a Roman number.
        let is_near = label.firm && usize::from(label.index) < n_choices + 3;
        let fits = match question.choices.first() {
            None => is_next,
            Some(first) if first.lower_case == label.lower_case => is_next || is_near,
            // Statements a), b), c) came first; the options begin here.
            Some(first) => first.lower_case && label.index == 0,
        };
        fits.then_some(label)
    }

    fn read_options(&mut self, at: usize, label: &OptionLabel) {
        let lines = self.lines;
        let line = &lines[at];
        let mut starts = inline_options(&line.chars, label.index + 1, label.lower_case);
        if let Some(next) = self.next_option(at, label.lower_case) {
            starts.truncate(usize::from(next.saturating_sub(label.index + 1)));
        }
        starts.insert(0, 0);
        let Some(question) = self.open() else {
            return;
        };
        question.losses.add(line.losses);
        if question
            .choices
            .first()
            .is_some_and(|c| c.lower_case != label.lower_case)
        {
            question.take_choices_for_statements();
        }
        question.letters_out_of_order |= usize::from(label.index) != question.choices.len();
        question.add_choices(&line.chars, &line.formats, &starts);
    }

    /// Recognizes a topic that can begin here: never between a stem and its options, unless the document says so.
    fn topic(&mut self, line: &Line) -> Option<String> {
        let n_choices = self.open().map(|q| q.choices.len());
        match heading(&line.chars, line.is_heading)? {
            Heading::Sure(topic) => (line.is_heading || n_choices != Some(0)).then_some(topic),
            Heading::Roman(number, topic) => {
                let is_next = number == self.n_roman + 1 && n_choices.is_none_or(|n| n > 1);
                self.n_roman += u32::from(is_next);
                is_next.then_some(topic)
            }
        }
    }

    fn read_text(&mut self, at: usize) {
        let line = &self.lines[at];
        let text = line.text();
        let is_first = self.found.questions.is_empty();
        let Some(question) = self.open() else {
            if is_first {
                self.found.preamble.push_str(&text);
                self.found.preamble.push(' ');
            }
            return;
        };
        if let Some(key) = key_line(&line.chars).filter(|_| question.key.is_none()) {
            question.key = Some(key);
            question.is_answered = true;
        } else if let Some(explanation) =
            explanation_line(&line.chars).filter(|_| !question.choices.is_empty())
        {
            question.explanation.push_str(&explanation);
            question.is_answered = true;
        } else if question.is_answered {
            question.explanation.push(' ');
            question.explanation.push_str(&text);
        } else if let Some(last) = question.choices.last_mut() {
            last.join(line);
            question.text_joined |= !line.continues;
            question.losses.add(line.losses);
        } else {
            question.losses.add(line.losses);
            self.read_stem(at, 0);
        }
    }
}

impl Question {
    /// Adds the options that begin at some places of a line.
    fn add_choices(&mut self, chars: &[char], formats: &[Format], starts: &[usize]) {
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(chars.len());
            if let Some(label) = option_label(&chars[*start..end]) {
                self.choices.push(Choice::read(
                    &label,
                    &chars[*start..end],
                    &formats[*start..end],
                ));
            }
        }
    }

    /// Turns what looked like options a), b) into statements of the stem.
    fn take_choices_for_statements(&mut self) {
        for (letter, choice) in ('a'..).zip(std::mem::take(&mut self.choices)) {
            self.stem
                .push_str(&format!(" {letter}) {}", choice.clean_text()));
        }
        self.letters_out_of_order = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Question> {
        let lines: Vec<Line> = lines
            .iter()
            .enumerate()
            .map(|(at, text)| Line {
                line: at + 1,
                chars: text.chars().collect(),
                formats: vec![Format::default(); text.chars().count()],
                ..Line::default()
            })
            .collect();
        read_questions(&lines).questions
    }

    fn shown(question: &Question) -> String {
        let options: Vec<String> = question.choices.iter().map(Choice::clean_text).collect();
        format!(
            "{} {} | {}",
            question.number,
            clean_text(&question.stem),
            options.join(" | ")
        )
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let found: Vec<String> = read(lines).iter().map(shown).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn options_stand_on_lines_of_their_own_or_together() {
        check(
            &["Câu 1: Hỏi", "tiếp?", "A. x", "B. y"],
            &["1 Hỏi tiếp? | x | y"],
        );
        check(
            &["Câu 1: Hỏi?", "A. x\tB. y", "C. z   D. w"],
            &["1 Hỏi? | x | y | z | w"],
        );
        check(&["Câu 1: Hỏi? A. x B. y C. z"], &["1 Hỏi? | x | y | z"]);
        check(
            &["Câu 1: Vitamin A. hay B. là gì?", "A. x", "B. y"],
            &["1 Vitamin A. hay B. là gì? | x | y"],
        );
        check(
            &["Câu 1: Hỏi?", "A. tiêm B. xong", "B. y"],
            &["1 Hỏi? | tiêm B. xong | y"],
        );
    }

    #[test]
    fn bare_numbers_are_questions_only_where_no_word_labels_them() {
        check(
            &["1. Hỏi?", "1. ý", "A. x", "B. y", "2) Nữa?", "A. z", "B. w"],
            &["1 Hỏi? 1. ý | x | y", "2 Nữa? | z | w"],
        );
        check(
            &["Câu 1: Hỏi?", "1. ý", "2. ý", "A. x", "B. y"],
            &["1 Hỏi? 1. ý 2. ý | x | y"],
        );
    }

    #[test]
    fn small_letters_before_capital_ones_are_statements() {
        check(
            &["Câu 1: Hỏi?", "a) m", "b) n", "A. x", "B. y"],
            &["1 Hỏi? a) m b) n | x | y"],
        );
        check(&["Câu 1: Hỏi?", "a) m", "b) n"], &["1 Hỏi? | m | n"]);
    }

    #[test]
    fn a_number_without_sign_counts_only_if_it_is_the_next() {
        check(
            &[
                "Câu 1: Hỏi?",
                "A. x",
                "B. y",
                "Câu 2 Nữa?",
                "A. z",
                "B. w",
                "Câu 7 ở trên",
            ],
            &["1 Hỏi? | x | y", "2 Nữa? | z | w Câu 7 ở trên"],
        );
    }

    #[test]
    fn letters_that_repeat_or_skip_are_noticed() {
        let disorder = |lines: &[&str]| read(lines)[0].letters_out_of_order;
        assert!(!disorder(&["Câu 1: Hỏi?", "A. x", "B. y", "C. z"]));
        assert!(disorder(&["Câu 1: Hỏi?", "A. x", "B. y", "D. z"]));
        assert!(disorder(&["Câu 1: Hỏi?", "A. x", "B. y", "B. z"]));
        assert!(disorder(&[
            "Câu 1: Hỏi?",
            "A. x",
            "B. y",
            "Nữa?",
            "A. z",
            "B. w"
        ]));
    }

    #[test]
    fn key_lines_explanations_and_topics_belong_to_their_questions() {
        let questions = read(&[
            "Phần 1: Số học",
            "Câu 1: Hỏi?",
            "A. x",
            "B. y",
            "Đáp án: B",
            "vì thế",
            "II. không",
            "I. Hình học",
            "Câu 2: Hỏi?",
            "A. x",
            "B. y",
            "Lời giải: dễ",
            "A. sai",
            "HẾT",
            "Câu 1: xem sách",
            "Nguồn: sách",
        ]);
        let found: Vec<_> = questions
            .iter()
            .map(|q| {
                (
                    q.topic.as_str(),
                    q.key.as_deref(),
                    clean_text(&q.explanation),
                    q.choices.len(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("Số học", Some("B"), "vì thế II. không".to_owned(), 2),
                ("Hình học", None, "dễ A. sai".to_owned(), 2),
            ]
        );
    }
}
