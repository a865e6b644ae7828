//! Shows a candidate the own paper: texts in the drawn order, and nothing that tells canonical order or keys.

use proto::bank::v1::PaperItem;

use super::{Engine, LiveExam, Result};
use crate::{session::Session, token::SessionRef};

/// One section as shown: its number in the blueprint, and its items with the order of their options.
pub struct SectionView<'a> {
    /// Title, may be empty.
    pub title: &'a str,
    /// Mark of each item, decimal.
    pub mark: &'a str,
    /// Items in paper order; the bytes are canonical indices in the order shown.
    pub items: Vec<(&'a PaperItem, &'a [u8])>,
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
        self.transact(&exam, caller.candidate, decide, |session| {
            show(session, exam.view(session))
        })
        .await
    }
}

impl LiveExam {
    fn view<'a>(&'a self, session: &'a Session) -> PaperView<'a> {
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
        let sections = sections
            .map(|(section, size)| SectionView {
                title: &section.title,
                mark: &section.mark,
                items: shown.by_ref().take(*size).collect(),
            })
            .collect();
        PaperView { sections }
    }
}
