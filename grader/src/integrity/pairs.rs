//! Which pairs of attempts are worth an exact comparison: those that share rare wrong answers.
//!
//! All pairs of a million attempts are 5 · 10¹¹, so only pairs are looked at that sat at the same time behind one
//! address, in one unit or in one area, and of them only those that an inverted index of rare wrong answers brings
//! together. Work in a place is bounded by steps, memory by its size. A pair belongs to the narrowest scope it shares.

use std::cmp::Reverse;

use super::{
    limits::Limits,
    model::Model,
    report::{CutBlock, Scope},
    sheet::{Sheets, Stop},
    sitting::Sitting,
};

/// The attempts of one place, by rising index.
pub(crate) struct Block {
    scope: Scope,
    name: String,
    members: Vec<u32>,
}

/// What a place gave.
#[derive(Default)]
pub(crate) struct Candidates {
    /// Pairs to compare, the lower index first.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Steps taken.
    pub(crate) n_steps: u64,
    pub(crate) cut: Option<CutBlock>,
}

/// A rare wrong answer and those of a place who gave it.
struct Posting {
    begin: usize,
    len: usize,
}

/// Returns the places of a scope with two attempts or more, in a fixed order.
pub(crate) fn blocks(sheets: &Sheets, scope: Scope) -> Vec<Block> {
    let codes = sheets.collector.areas.codes();
    let mut by_code: Vec<usize> = (0..codes.len()).collect();
    by_code.sort_unstable_by_key(|&area| &codes[area]);
    let mut rank_of = vec![0u64; codes.len()];
    for (rank, &area) in (1..).zip(&by_code) {
        rank_of[area] = rank;
    }
    let groups = sheets.groups(|sitting| match scope {
        Scope::Address => sitting.address_tag,
        Scope::Unit => u64::from(sitting.unit),
        Scope::Area => rank_of[usize::from(sitting.area)],
        Scope::Exam => 1,
    });
    let name = |key: u64, first: u32| match scope {
        Scope::Address => format!("{key:016x}"),
        Scope::Unit => key.to_string(),
        Scope::Area => codes[usize::from(sheets.sitting(first).area)].clone(),
        Scope::Exam => String::new(),
    };
    let blocks = groups.into_iter().map(|(key, members)| Block {
        scope,
        name: name(key, members[0]),
        members,
    });
    blocks.collect()
}

/// Returns the narrowest scope two attempts share.
fn narrowest(a: &Sitting, b: &Sitting) -> Scope {
    if a.address_tag != 0 && a.address_tag == b.address_tag {
        Scope::Address
    } else if a.unit != 0 && a.unit == b.unit {
        Scope::Unit
    } else if a.area == b.area {
        Scope::Area
    } else {
        Scope::Exam
    }
}

fn overlap(a: &Sitting, b: &Sitting, slack_ms: u64) -> bool {
    a.started_at_ms < b.ended_at_ms.saturating_add(slack_ms)
        && b.started_at_ms < a.ended_at_ms.saturating_add(slack_ms)
}

impl Block {
    /// Counts the pairs that sat at the same time; a person's own attempts among them, so never too few.
    pub(crate) fn n_pairs(&self, sheets: &Sheets, slack_ms: u64) -> u64 {
        let of = |at: &u32| sheets.sitting(*at);
        let mut starts: Vec<u64> = self.members.iter().map(|at| of(at).started_at_ms).collect();
        let mut ends: Vec<u64> = self
            .members
            .iter()
            .map(|at| of(at).ended_at_ms.saturating_add(slack_ms))
            .collect();
        starts.sort_unstable();
        ends.sort_unstable();
        let (mut n_over, mut apart) = (0usize, 0u64);
        for start in starts {
            while ends.get(n_over).is_some_and(|end| *end <= start) {
                n_over += 1;
            }
            apart += n_over as u64;
        }
        let n = self.members.len() as u64;
        n * (n - 1) / 2 - apart
    }

    /// Finds the pairs to compare, in at most `max_steps`.
    pub(crate) fn search(
        &self,
        sheets: &Sheets,
        model: &Model,
        limits: &Limits,
        max_steps: u64,
        stop: Stop,
    ) -> Candidates {
        let entries = self.entries(sheets, model, limits);
        let (postings, n_all) = postings(&entries, max_steps);
        let n_steps = postings.iter().map(steps).sum();
        let mut found = Candidates {
            n_steps,
            ..Candidates::default()
        };
        if postings.len() < n_all {
            found.cut = Some(CutBlock {
                scope: self.scope,
                name: self.name.clone(),
                n_attempts: self.members.len() as u64,
                n_left_out: (n_all - postings.len()) as u64,
                n_answers: n_all as u64,
            });
        }
        let of_member = by_member(&entries, &postings, self.members.len());
        let mut counts = vec![0u16; self.members.len()];
        let mut touched: Vec<u32> = Vec::new();
        for (a, own) in of_member.iter().enumerate() {
            if stop.now() {
                break;
            }
            // behind its own place in a list stand those with a higher index
            for &(place, end) in own {
                for (_, b) in &entries[place + 1..end] {
                    if counts[*b as usize] == 0 {
                        touched.push(*b);
                    }
                    counts[*b as usize] += 1;
                }
            }
            self.choose(sheets, limits, a, &counts, &mut touched);
            found.pairs.extend(
                touched
                    .iter()
                    .take(limits.n_partners)
                    .map(|&b| (self.members[a], self.members[b as usize])),
            );
            for (_, b) in own
                .iter()
                .flat_map(|&(place, end)| &entries[place + 1..end])
            {
                counts[*b as usize] = 0;
            }
            touched.clear();
        }
        found
    }

    /// Lists (answer, member) for every rare wrong answer, sorted.
    fn entries(&self, sheets: &Sheets, model: &Model, limits: &Limits) -> Vec<(u32, u32)> {
        let mut entries = Vec::new();
        for (member, &at) in (0u32..).zip(&self.members) {
            for answer in &sheets.sitting(at).answers {
                if answer.is_wrong()
                    && model.share(answer.item_idx, answer.chosen) <= limits.rare_share
                {
                    let key = u32::from(answer.item_idx) << 16 | u32::from(answer.chosen);
                    entries.push((key, member));
                }
            }
        }
        entries.sort_unstable();
        entries
    }

    /// Leaves those to be compared with `a`: enough in common, at the same time, another person, no narrower scope;
    /// most in common first.
    fn choose(
        &self,
        sheets: &Sheets,
        limits: &Limits,
        a: usize,
        counts: &[u16],
        touched: &mut Vec<u32>,
    ) {
        let least = match self.scope {
            Scope::Address | Scope::Unit => limits.near_shared,
            Scope::Area | Scope::Exam => limits.far_shared,
        };
        let of_a = sheets.sitting(self.members[a]);
        touched.retain(|&b| {
            let of_b = sheets.sitting(self.members[b as usize]);
            counts[b as usize] >= least
                && of_a.person != of_b.person
                && overlap(of_a, of_b, limits.overlap_slack_ms)
                && narrowest(of_a, of_b) == self.scope
        });
        let rank = |b: &u32| (Reverse(counts[*b as usize]), *b);
        if touched.len() > limits.n_partners && limits.n_partners > 0 {
            touched.select_nth_unstable_by_key(limits.n_partners - 1, rank);
            touched.truncate(limits.n_partners);
        }
        touched.sort_unstable_by_key(rank);
    }
}

fn steps(posting: &Posting) -> u64 {
    let len = posting.len as u64;
    len * (len - 1) / 2
}

/// Returns the answers shared by the fewest, as many as the steps allow, and how many are shared at all.
fn postings(entries: &[(u32, u32)], max_steps: u64) -> (Vec<Posting>, usize) {
    let mut begin = 0;
    let mut postings: Vec<Posting> = Vec::new();
    for group in entries.chunk_by(|a, b| a.0 == b.0) {
        if group.len() > 1 {
            let len = group.len();
            postings.push(Posting { begin, len });
        }
        begin += group.len();
    }
    let n_all = postings.len();
    postings.sort_unstable_by_key(|posting| (posting.len, posting.begin));
    let mut left = max_steps;
    let within = postings.iter().take_while(|posting| {
        let enough = left.checked_sub(steps(posting));
        left = enough.unwrap_or(0);
        enough.is_some()
    });
    let n_within = within.count();
    postings.truncate(n_within);
    (postings, n_all)
}

/// Returns, for each member, its places in the lists of entries, and where each list ends.
fn by_member(
    entries: &[(u32, u32)],
    postings: &[Posting],
    n_members: usize,
) -> Vec<Vec<(usize, usize)>> {
    let mut of_member = vec![Vec::new(); n_members];
    for posting in postings {
        let end = posting.begin + posting.len;
        for place in posting.begin..end {
            of_member[entries[place].1 as usize].push((place, end));
        }
    }
    of_member
}
