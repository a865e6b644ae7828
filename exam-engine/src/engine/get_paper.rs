//! Shows a candidate the own paper: texts in the drawn order, and nothing that tells canonical order or keys.

use proto::bank::v1::PaperItem;

use super::{Engine, LiveExam, Result, Trust};
use crate::{clock::Timestamp, session::Session, token::SessionRef};

/// One section as shown: its number in the blueprint, and its items with the order of their options.
pub struct SectionView<'a> {
    /// Title, may be empty.
    pub title: &'a str,
    /// Mark of each item, decimal.
    pub mark: &'a str,
    /// Items in paper order; the bytes are canonical indices in the order shown. Empty while the section has not begun.
    pub items: Vec<(&'a PaperItem, &'a [u8])>,
    /// Number of items.
    pub n_items: usize,
    /// Time of its own, with the candidate's accommodation; 0 for none.
    pub time_ms: u64,
}

/// A paper as shown.
pub struct PaperView<'a> {
    /// In paper order.
    pub sections: Vec<SectionView<'a>>,
}

impl Engine {
    /// Returns what `show` makes of the caller's paper.
    ///
    /// # Errors
    /// If another device has taken over, or a newer attempt has begun.
    pub async fn get_paper<T>(
        &self,
        caller: &SessionRef,
        show: impl FnOnce(&Session, PaperView<'_>) -> T + Send,
    ) -> Result<T> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(None)
        };
        self.transact(&exam, caller.candidate, Trust::Memory, decide, |session| {
            show(session, exam.view(session, self.clock.now()))
        })
        .await
    }
}

impl LiveExam {
    /// Sections that are to be taken in their own time are not shown before they begin.
    fn view<'a>(&'a self, session: &'a Session, now: Timestamp) -> PaperView<'a> {
        let is_timed = self.rules.has_timed_sections();
        let (present, _) = session.section_at(&self.rules, now);
        let mut shown = session
            .paper
            .shown()
            .map(|(entry, order)| (&self.half.items[entry.index as usize], order));
        let sections = self
            .drawer()
            .blueprint()
            .sections
            .iter()
            .zip(&self.drawer().plan().section_sizes);
        let sections = (0u16..)
            .zip(sections)
            .map(|(number, (section, size))| {
                let items: Vec<_> = shown.by_ref().take(*size).collect();
                SectionView {
                    title: &section.title,
                    mark: &section.mark,
                    items: if is_timed && number > present {
                        Vec::new()
                    } else {
                        items
                    },
                    n_items: *size,
                    time_ms: session.section_time_ms(&self.rules, number),
                }
            })
            .collect();
        PaperView { sections }
    }
}
