//! Goes through a whole archive: chain, positions, counts.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt;

use super::{Archive, Error, Result, unavailable};
use crate::id::ExamId;

/// What the archive of a partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSummary {
    /// The partition.
    pub partition: u32,
    /// Segments.
    pub n_segments: u64,
    /// Last position; all from 1 on are there.
    pub last: u64,
    /// Hash of the last segment, which stands for all of them.
    pub hash: [u8; 32],
}

impl Archive {
    /// Returns the exams that have segments, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn exams(&self) -> Result<Vec<ExamId>> {
        let found = self
            .objects
            .list_with_delimiter(None)
            .await
            .map_err(|error| unavailable(&error))?;
        let names = found.common_prefixes.iter();
        Ok(names
            .filter_map(|name| ExamId::parse(name.as_ref()))
            .collect())
    }

    /// Checks every segment of an exam, and hands its entries over in the order of positions, partition by partition.
    ///
    /// # Errors
    /// [`Error::Missing`] names the first position that is not there, [`Error::Damaged`] the segment.
    pub async fn replay(
        &self,
        exam: &ExamId,
        mut entry: impl FnMut(u32, u64, &Bytes) -> Result<()>,
    ) -> Result<Vec<PartitionSummary>> {
        let mut summaries = Vec::new();
        for partition in self.partitions(exam).await? {
            let mut summary = PartitionSummary {
                partition,
                n_segments: 0,
                last: 0,
                hash: [0; 32],
            };
            for (first, _) in self.names(exam, partition).await? {
                if first != summary.last + 1 {
                    return Err(Error::Missing {
                        exam: exam.to_string(),
                        partition,
                        position: summary.last + 1,
                    });
                }
                let segment = self.segment(exam, partition, first).await?;
                if segment.previous != summary.hash {
                    return Err(segment.damaged("it does not go on from the segment before it"));
                }
                for (position, event) in (first..).zip(&segment.entries) {
                    entry(partition, position, event)?;
                }
                summary.n_segments += 1;
                summary.last = segment.last;
                summary.hash = segment.hash;
            }
            summaries.push(summary);
        }
        Ok(summaries)
    }

    async fn partitions(&self, exam: &ExamId) -> Result<BTreeSet<u32>> {
        let folder = object_store::path::Path::from(exam.as_str());
        let found = self
            .objects
            .list(Some(&folder))
            .try_collect::<Vec<_>>()
            .await;
        let found = found.map_err(|error| unavailable(&error))?;
        let partition = |object: object_store::ObjectMeta| {
            let parts = object.location.parts().nth(1)?;
            parts.as_ref().parse().ok()
        };
        Ok(found.into_iter().filter_map(partition).collect())
    }
}
