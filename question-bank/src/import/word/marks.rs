//! How a document marks its right options: by a vote over all its questions, never from one alone.

use std::collections::HashMap;

use super::{
    questions::{Choice, Question},
    styles::Format,
};
use crate::import::grammar::asks_for_several;

/// Ways to mark, the deliberate ones first: they win a tie, since bold letters are often mere typography.
const MARKS: [Mark; 6] = [
    Mark::Asterisk,
    Mark::Underline,
    Mark::Highlight,
    Mark::Colour,
    Mark::Bold,
    Mark::Italic,
];
const SCOPES: [Scope; 3] = [Scope::Either, Scope::Letter, Scope::Text];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Asterisk,
    Underline,
    Highlight,
    Colour,
    Bold,
    Italic,
}

/// What of an option carries the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Letter,
    Text,
    Either,
}

/// The way in which a document marks its right options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    mark: Mark,
    scope: Scope,
    /// The colour that most options have.
    usual_colour: Option<[u8; 3]>,
}

/// Finds the one way to mark that is unambiguous in the most questions, if that is more than half of them.
pub(super) fn vote(questions: &[Question]) -> Option<Sign> {
    let voters: Vec<&Question> = questions.iter().filter(|q| q.choices.len() > 1).collect();
    let usual_colour = usual_colour(&voters);
    let mut best = None;
    let mut n_best = voters.len() / 2;
    for mark in MARKS {
        for scope in SCOPES {
            let sign = Sign {
                mark,
                scope,
                usual_colour,
            };
            let n_clear = voters.iter().filter(|q| sign.is_clear(q)).count();
            if n_clear > n_best {
                best = Some(sign);
                n_best = n_clear;
            }
        }
    }
    best
}

fn usual_colour(questions: &[&Question]) -> Option<[u8; 3]> {
    let mut counts: HashMap<Option<[u8; 3]>, usize> = HashMap::new();
    for choice in questions.iter().flat_map(|q| &q.choices) {
        *counts.entry(choice.letter.colour).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(colour, n)| (*n, *colour))
        .and_then(|(colour, _)| colour)
}

impl Sign {
    /// Returns the options that carry the mark.
    pub(super) fn marked(&self, question: &Question) -> Vec<u8> {
        (0..u8::MAX)
            .zip(&question.choices)
            .filter(|(_, choice)| self.marks(choice))
            .map(|(index, _)| index)
            .collect()
    }

    /// Returns how the mark looks, in Vietnamese and English.
    pub(super) fn names(&self) -> (&'static str, &'static str) {
        match self.mark {
            Mark::Asterisk => ("có dấu *", "marked by *"),
            Mark::Underline => ("được gạch chân", "underlined"),
            Mark::Highlight => ("được tô nền", "highlighted"),
            Mark::Colour => ("được tô màu chữ", "coloured"),
            Mark::Bold => ("được in đậm", "bold"),
            Mark::Italic => ("được in nghiêng", "italic"),
        }
    }

    fn is_clear(&self, question: &Question) -> bool {
        let n_marked = self.marked(question).len();
        let several =
            n_marked > 1 && n_marked < question.choices.len() && asks_for_several(&question.stem);
        n_marked == 1 || several
    }

    fn marks(&self, choice: &Choice) -> bool {
        if self.mark == Mark::Asterisk {
            return choice.asterisk;
        }
        let letter = self.is_in(&choice.letter);
        match self.scope {
            Scope::Letter => letter,
            Scope::Text => self.is_in_text(choice),
            Scope::Either => letter || self.is_in_text(choice),
        }
    }

    /// The mark is on the whole text; a closing full stop may have escaped it.
    fn is_in_text(&self, choice: &Choice) -> bool {
        let mut letters = choice
            .chars
            .iter()
            .zip(&choice.formats)
            .filter(|(c, _)| c.is_alphanumeric())
            .map(|(_, format)| format)
            .peekable();
        letters.peek().is_some() && letters.all(|format| self.is_in(format))
    }

    fn is_in(&self, format: &Format) -> bool {
        match self.mark {
            Mark::Asterisk => false,
            Mark::Underline => format.underline,
            Mark::Highlight => format.highlight,
            Mark::Colour => format.colour != self.usual_colour,
            Mark::Bold => format.bold,
            Mark::Italic => format.italic,
        }
    }
}
