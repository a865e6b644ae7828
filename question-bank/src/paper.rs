//! One candidate's paper: which items in which order, and which option stands where.

use prost::bytes::Bytes;

/// One item of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperEntry {
    /// Index into the paper half's items.
    pub index: u32,
    /// Number of the item in its bank.
    pub item_id: u32,
    /// Number of its options.
    pub n_options: u8,
}

/// A paper as drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// In paper order.
    pub entries: Vec<PaperEntry>,
    /// For each item in paper order, one byte an option in the order shown: its canonical index.
    pub option_order: Bytes,
    /// First 8 bytes of the paper's hash.
    pub form_code: [u8; 8],
    /// No acceptable paper was met within the tries.
    pub repaired: bool,
}

impl Paper {
    /// Puts a paper together and hashes it.
    #[must_use]
    pub fn new(entries: Vec<PaperEntry>, option_order: Vec<u8>, repaired: bool) -> Self {
        let mut text = Vec::with_capacity(21 + entries.len() * 5 + option_order.len());
        text.extend_from_slice(b"khoa-bang form v1");
        let mut rest = option_order.as_slice();
        for entry in &entries {
            let (order, later) = rest.split_at(entry.n_options as usize);
            text.extend_from_slice(&entry.item_id.to_le_bytes());
            text.push(entry.n_options);
            text.extend_from_slice(order);
            rest = later;
        }
        let mut form_code = [0; 8];
        form_code.copy_from_slice(&blake3::hash(&text).as_bytes()[..8]);
        Self {
            entries,
            option_order: option_order.into(),
            form_code,
            repaired,
        }
    }

    /// Returns the items with their shown option order, in paper order.
    pub fn shown(&self) -> impl Iterator<Item = (PaperEntry, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let end = start + entry.n_options as usize;
            let order = &self.option_order[start..end];
            start = end;
            (*entry, order)
        })
    }
}
