//! The report for programs.

use serde_json::{Value, json};

use super::{
    limits::Limits,
    report::{Flag, Report, SharedAnswer},
    words,
};

/// Name of this layout; a change of meaning gets a new number.
const FORMAT: &str = "khoa-bang integrity 1";

impl Report {
    /// Returns the report as one line of JSON; a number that is not finite is null.
    #[must_use]
    pub fn to_json(&self) -> String {
        let [vi, en] = words::NOTICE;
        let families = self.families.iter().map(|family| {
            json!({
                "scope": family.scope.name(),
                "n_pairs": family.n_pairs,
                "n_evaluated": family.n_evaluated,
            })
        });
        let cut_blocks = self.cut_blocks.iter().map(|block| {
            json!({
                "scope": block.scope.name(),
                "name": block.name,
                "n_attempts": block.n_attempts,
                "n_left_out": block.n_left_out,
                "n_answers": block.n_answers,
            })
        });
        let value = json!({
            "format": FORMAT,
            "notice": { "vi": vi, "en": en },
            "exam_id": self.exam_id,
            "key_version": self.key_version,
            "limits": limits(&self.limits),
            "is_complete": self.is_complete,
            "n_attempts": self.n_attempts,
            "n_halvings": self.n_halvings,
            "n_pairs_tested": self.n_pairs_tested,
            "families": families.collect::<Vec<_>>(),
            "n_cut_blocks": self.n_cut_blocks,
            "cut_blocks": cut_blocks.collect::<Vec<_>>(),
            "n_flags_left_out": self.n_flags_left_out,
            "flags": self.flags.iter().map(flag).collect::<Vec<_>>(),
        });
        value.to_string()
    }
}

fn limits(limits: &Limits) -> Value {
    let known = limits.known_addresses.iter();
    let known = known.map(|(tag, persons)| (format!("{tag:016x}"), Value::from(*persons)));
    json!({
        "alpha": limits.alpha,
        "rare_share": limits.rare_share,
        "near_shared": limits.near_shared,
        "far_shared": limits.far_shared,
        "block_steps": limits.block_steps,
        "total_steps": limits.total_steps,
        "n_partners": limits.n_partners,
        "overlap_slack_ms": limits.overlap_slack_ms,
        "min_double_wrong": limits.min_double_wrong,
        "max_per_address": limits.max_per_address,
        "known_addresses": Value::Object(known.collect()),
        "max_per_device": limits.max_per_device,
        "min_effort": limits.min_effort,
        "min_timed": limits.min_timed,
        "max_flags": limits.max_flags,
        "max_places": limits.max_places,
    })
}

fn flag(flag: &Flag) -> Value {
    let attempts = flag.attempts.iter().map(|id| {
        json!({
            "candidate": format!("{:?}", id.candidate),
            "attempt": id.attempt,
        })
    });
    let facts = flag.facts.iter();
    let facts = facts.map(|fact| (fact.name.to_owned(), json!(fact.value)));
    json!({
        "kind": flag.kind.name(),
        "scope": flag.scope.name(),
        "n_attempts": flag.n_attempts,
        "attempts": attempts.collect::<Vec<_>>(),
        "p_value": flag.p_value,
        "p_any": flag.p_any,
        "false_share": flag.false_share,
        "facts": Value::Object(facts.collect()),
        "shared": flag.shared.iter().map(shared).collect::<Vec<_>>(),
    })
}

fn shared(answer: &SharedAnswer) -> Value {
    json!({
        "item_id": answer.item_id,
        "options": answer.letters(),
        "share": answer.share,
        "positions": answer.positions.map(|at| u32::from(at) + 1),
        "at_ms": answer.at_ms,
    })
}
