//! `exam exam key | predict | exclude | freeze | thaw | finalize | proposals | approve`: decisions on a published exam.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use proto::{
    exam::v1::{BoardRuling, BoardState, ExclusionRuling, PredictionRuling, Ruling, ruling},
    grader::v1::{Changes, Impact},
    key::v1::{
        ApproveRulingRequest, ItemChange, ItemKey, KeyChange, ListProposalsRequest,
        ProposeRulingRequest, Treatment, item_change::Change, propose_ruling_request::Kind,
        ruling_service_client::RulingServiceClient,
    },
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::{
    act::Reason,
    client::{self, Bearer, refusal},
    say, verify,
};

/// Persons shown one by one without a file for them.
const N_SHOWN: usize = 20;

/// What is decided.
#[derive(Debug, Subcommand)]
pub(super) enum DecideCommand {
    /// Sửa đáp án: xem trước hoặc đề xuất / correct the key: try out or propose.
    Key {
        /// CÂU:VIỆC, ghi nhiều lần được: 12:key=B, 12:key=AC, 12:accept=C (chấp nhận thêm), 12:text=Hà Nội, 12:full (mọi người được trọn điểm), 12:attempted (ai trả lời được trọn điểm), 12:drop (bỏ câu), 12:keep (chấm theo đáp án), 12:weight=150 / ITEM:WHAT, may be repeated.
        #[arg(long = "change", required_unless_present = "from_version")]
        changes: Vec<String>,
        /// Bắt đầu từ bản đáp án cũ này: để rút lại các lần sửa / start from this earlier version: to take corrections back.
        #[arg(long)]
        from_version: Option<u32>,
        /// Ghi danh sách thí sinh thay đổi vào tệp CSV này / write the persons concerned to this CSV file.
        #[arg(long)]
        listing: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Công bố con số của câu dự đoán / tell the quantity of the prediction.
    Predict {
        /// Con số / the quantity.
        quantity: u64,
        /// Đếm gì, ở đâu, lúc nào / what was counted, where and when.
        #[arg(long)]
        definition: String,
        #[command(flatten)]
        common: Common,
    },
    /// Danh sách không xếp hạng (tổ thư ký, người ra đề...), thay cho danh sách trước / who is left out of the ranking, in place of the list before.
    Exclude {
        /// Tệp có mỗi dòng một mã thí sinh (32 chữ số hex) / a file of candidate ids.
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Đóng băng bảng xếp hạng công khai / freeze the public standings.
    Freeze {
        #[command(flatten)]
        common: Common,
    },
    /// Mở lại bảng xếp hạng công khai / thaw the public standings.
    Thaw {
        #[command(flatten)]
        common: Common,
    },
    /// Công bố kết quả chính thức bằng kết luận đã ký của người kiểm tra / make the result final by the auditor's signed verdict.
    Finalize {
        /// Thư mục hồ sơ đã ký bằng `exam verify --sign` / the archive folder signed by `exam verify --sign`.
        #[arg(long)]
        archive: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Các đề xuất chờ duyệt / proposals waiting for approval.
    Proposals {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Duyệt một đề xuất của người khác / approve another person's proposal.
    Approve {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Mã đề xuất / name of the proposal.
        proposal: String,
        /// Họ tên người duyệt / your name.
        #[arg(long)]
        by: String,
    },
}

/// What all decisions say.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// Tên kỳ thi / name of the exam.
    #[arg(long = "exam")]
    id: String,
    /// Họ tên người đề xuất / your name.
    #[arg(long)]
    by: String,
    /// Lý do / reason.
    #[arg(long, value_enum, default_value = "organizer-error")]
    reason: Reason,
    /// Lời giải thích, thí sinh sẽ đọc / why, for the candidates to read.
    #[arg(long)]
    note: String,
    /// Chỉ xem điều gì sẽ thay đổi / only tell what would change.
    #[arg(long)]
    dry_run: bool,
}

type Client = RulingServiceClient<InterceptedService<Channel, Bearer>>;

pub(super) async fn run(
    data: &Path,
    server: &str,
    ca: Option<&Path>,
    command: DecideCommand,
) -> anyhow::Result<()> {
    // Who approves may have no other word than that.
    let is_approver = match command {
        DecideCommand::Approve { .. } => true,
        DecideCommand::Proposals { .. } => !data.join("secrets/organizer.token").exists(),
        _ => false,
    };
    let word = if is_approver {
        "approver.token"
    } else {
        "organizer.token"
    };
    let bearer = client::bearer_of(data, word)?;
    let channel = client::channel(server, ca).await?;
    let mut client = RulingServiceClient::with_interceptor(channel, bearer);
    let mut csv = None;
    let (kind, common) = match command {
        DecideCommand::Key {
            changes,
            from_version,
            listing,
            common,
        } => {
            csv = listing;
            let items = changes
                .iter()
                .map(|text| change(text))
                .collect::<anyhow::Result<_>>()?;
            let from_version = from_version.unwrap_or_default();
            (
                Kind::Key(KeyChange {
                    items,
                    from_version,
                }),
                common,
            )
        }
        DecideCommand::Predict {
            quantity,
            definition,
            common,
        } => (
            Kind::Prediction(PredictionRuling {
                quantity,
                definition,
            }),
            common,
        ),
        DecideCommand::Exclude { file, common } => (
            Kind::Exclusion(ExclusionRuling {
                candidates: read_ids(&file)?,
            }),
            common,
        ),
        DecideCommand::Freeze { common } => (board(BoardState::Frozen), common),
        DecideCommand::Thaw { common } => (board(BoardState::Live), common),
        DecideCommand::Finalize { archive, common } => {
            let (result_hash, verdict) = verify::read_verdict(&archive)?;
            let board = BoardRuling {
                state: BoardState::Final.into(),
                result_hash: result_hash.into(),
                verdict: verdict.into(),
                ..BoardRuling::default()
            };
            (Kind::Board(board), common)
        }
        DecideCommand::Proposals { id } => return proposals(&mut client, id).await,
        DecideCommand::Approve { id, proposal, by } => {
            return approve(&mut client, id, proposal, by).await;
        }
    };
    let request = ProposeRulingRequest {
        exam_id: common.id.clone(),
        by: common.by,
        reason: common.reason.to_wire().into(),
        note: common.note,
        dry_run: common.dry_run,
        kind: Some(kind),
    };
    let reply = client.propose_ruling(request).await;
    let reply = reply.map_err(|status| refusal(&status))?.into_inner();
    let impact = reply.impact.unwrap_or_default();
    if impact.total.is_some() {
        show(&impact); // the board changes no result
    }
    if let Some(file) = csv {
        write_listing(&file, &impact)?;
    }
    match (common.dry_run, reply.proposal_id) {
        (true, _) => {
            say("Chỉ xem trước, chưa có gì thay đổi / only tried out, nothing has changed")
        }
        (false, id) if id.is_empty() => say("Đã có hiệu lực / in force"),
        (false, id) => say(format_args!(
            "Đề xuất {id} chờ người khác duyệt: / proposal {id} waits for another person:\n  exam exam approve {} {id} --by …",
            common.id
        )),
    }
    Ok(())
}

fn board(state: BoardState) -> Kind {
    Kind::Board(BoardRuling {
        state: state.into(),
        ..BoardRuling::default()
    })
}

/// Reads one change of the key, as "12:accept=C".
fn change(text: &str) -> anyhow::Result<ItemChange> {
    let bad =
        || format!("«{text}»: dùng dạng 12:key=B; xem --help / write it like 12:key=B; see --help");
    let (item, what) = text.split_once(':').with_context(bad)?;
    let item_id = item.trim().parse().with_context(bad)?;
    let change = match what.split_once('=').unwrap_or((what, "")) {
        ("key", letters) => Change::RightOptions(options(letters).with_context(bad)?),
        ("accept", letters) => Change::Accept(options(letters).with_context(bad)?),
        ("text", accepted) if !accepted.is_empty() => Change::AcceptText(accepted.to_owned()),
        ("full", "") => Change::Treatment(Treatment::FullToAll.into()),
        ("attempted", "") => Change::Treatment(Treatment::FullToAttempted.into()),
        ("drop", "") => Change::Treatment(Treatment::Dropped.into()),
        ("keep", "") => Change::Treatment(Treatment::Unspecified.into()),
        ("weight", percent) => Change::WeightPercent(percent.parse().with_context(bad)?),
        _ => anyhow::bail!(bad()),
    };
    Ok(ItemChange {
        item_id,
        change: Some(change),
    })
}

/// Reads letters of options in canonical order: "AC" is the first and the third.
fn options(letters: &str) -> Option<u32> {
    let mut bits = 0;
    for letter in letters
        .chars()
        .filter(|letter| !matches!(letter, ',' | ' '))
    {
        let letter = letter.to_ascii_uppercase();
        letter.is_ascii_uppercase().then_some(())?;
        bits |= 1 << (u32::from(letter) - u32::from('A'));
    }
    (bits != 0).then_some(bits)
}

fn read_ids(file: &Path) -> anyhow::Result<Vec<bytes::Bytes>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("không đọc được / cannot read {}", file.display()))?;
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let id = hex::decode(line.trim()).ok().filter(|id| id.len() == 16);
            let id = id.with_context(|| {
                format!("dòng {number}: cần 32 chữ số hex / line {number}: 32 hexadecimal digits are expected")
            })?;
            Ok(id.into())
        })
        .collect()
}

fn show(impact: &Impact) {
    let total = impact.total.clone().unwrap_or_default();
    say(format_args!(
        "{} lượt thi đổi điểm, {} giải đổi người nhận / {0} attempts change their score, {1} prizes go to others",
        impact.n_attempts, impact.n_prizes
    ));
    say(
        "tỉnh / area\tngười / persons\tđổi điểm / scores\ttăng / higher\tthành đạt / now pass\tthành trượt / now fail\tđổi hạng / ranks",
    );
    say(row("tất cả / all", &total));
    for area in &impact.areas {
        say(row(&area.area, area));
    }
    if impact.listing.is_empty() {
        return;
    }
    say("mã / candidate\ttỉnh / area\tđiểm / score\thạng / rank");
    for change in impact.listing.iter().take(N_SHOWN) {
        say(format_args!(
            "{}\t{}\t{} → {}\t{} → {}",
            hex::encode(&change.candidate),
            change.area,
            change.score_before,
            change.score_after,
            change.rank_before,
            change.rank_after
        ));
    }
    if impact.listing.len() > N_SHOWN {
        say(format_args!(
            "… và {0} người nữa, --listing ghi đến 1.000 người / … and {0} more, --listing writes up to 1,000",
            impact.listing.len() - N_SHOWN
        ));
    }
}

fn row(name: &str, changes: &Changes) -> String {
    format!(
        "{name}\t{}\t{}\t{}\t{}\t{}\t{}",
        changes.n_persons,
        changes.n_scores,
        changes.n_higher,
        changes.n_now_pass,
        changes.n_now_fail,
        changes.n_ranks
    )
}

fn write_listing(file: &Path, impact: &Impact) -> anyhow::Result<()> {
    let mut writer = csv::WriterBuilder::new().delimiter(b';').from_path(file)?;
    writer.write_record([
        "ma",
        "tinh",
        "diem_truoc",
        "diem_sau",
        "hang_truoc",
        "hang_sau",
    ])?;
    for change in &impact.listing {
        writer.write_record([
            &hex::encode(&change.candidate),
            &change.area,
            &change.score_before,
            &change.score_after,
            &change.rank_before.to_string(),
            &change.rank_after.to_string(),
        ])?;
    }
    Ok(writer.flush()?)
}

async fn proposals(client: &mut Client, id: String) -> anyhow::Result<()> {
    let reply = client
        .list_proposals(ListProposalsRequest { exam_id: id })
        .await;
    let proposals = reply
        .map_err(|status| refusal(&status))?
        .into_inner()
        .proposals;
    for proposal in &proposals {
        let ruling = proposal.ruling.clone().unwrap_or_default();
        say(format_args!(
            "{}\t{}",
            proposal.proposal_id,
            describe(&ruling)
        ));
        for changed in &proposal.keys {
            let pair = [changed.before.as_ref(), changed.after.as_ref()];
            let [before, after] = pair.map(|key| key.map_or_else(String::new, key_words));
            say(format_args!("  {before}  →  {after}"));
        }
        show(&proposal.impact.clone().unwrap_or_default());
    }
    Ok(())
}

/// Tells a key in few words, as "câu / item 12: AC, bỏ / dropped".
fn key_words(key: &ItemKey) -> String {
    let letters = |options: u32| -> String {
        ('A'..='Z')
            .zip(0..u32::BITS)
            .filter(|(_, option)| options >> option & 1 == 1)
            .map(|(letter, _)| letter)
            .collect()
    };
    let mut words = vec![format!(
        "câu / item {}: {}",
        key.item_id,
        letters(key.right_options)
    )];
    let sets = key.accepted.iter();
    words.extend(sets.map(|set| format!("hoặc / or {}", letters(*set))));
    let sequences = key.sequences.iter();
    words.extend(sequences.map(|order| format!("{:?}", order.as_ref())));
    words.extend(key.blanks.iter().map(|blank| blank.accepted.join(" | ")));
    words.extend(match key.treatment() {
        Treatment::Unspecified => None,
        Treatment::FullToAll => Some("trọn điểm cho mọi người / full to all".to_owned()),
        Treatment::FullToAttempted => Some("trọn điểm nếu trả lời / full if answered".to_owned()),
        Treatment::Dropped => Some("bỏ / dropped".to_owned()),
    });
    words.extend((key.weight_percent != 0).then(|| format!("{} %", key.weight_percent)));
    words.join(", ")
}

async fn approve(
    client: &mut Client,
    exam_id: String,
    proposal_id: String,
    by: String,
) -> anyhow::Result<()> {
    let request = ApproveRulingRequest {
        exam_id,
        proposal_id,
        by,
    };
    let reply = client.approve_ruling(request).await;
    let ruling = reply
        .map_err(|status| refusal(&status))?
        .into_inner()
        .ruling;
    say(format_args!(
        "Đã có hiệu lực / in force: {}",
        describe(&ruling.unwrap_or_default())
    ));
    Ok(())
}

fn describe(ruling: &Ruling) -> String {
    let what = match &ruling.kind {
        Some(ruling::Kind::Key(key)) => format!(
            "đáp án bản {0}, câu {1:?} / key version {0}, items {1:?}",
            key.key_version, key.item_ids
        ),
        Some(ruling::Kind::Prediction(prediction)) => {
            format!(
                "dự đoán / prediction {}: {}",
                prediction.quantity, prediction.definition
            )
        }
        Some(ruling::Kind::Exclusion(exclusion)) => format!(
            "không xếp hạng {0} người / {0} persons left out",
            exclusion.candidates.len()
        ),
        Some(ruling::Kind::Board(board)) => format!("{:?}", board.state()),
        None => String::new(),
    };
    format!(
        "quyết định / ruling {}: {what}; {} ({})",
        ruling.number, ruling.note, ruling.proposed_by
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_the_key_are_read() {
        #[track_caller]
        fn check(text: &str, expected: Option<&Change>) {
            let read = change(text).ok();
            assert!(read.as_ref().is_none_or(|read| read.item_id == 12));
            assert_eq!(
                read.and_then(|read| read.change).as_ref(),
                expected,
                "{text}"
            );
        }
        check("12:key=AC", Some(&Change::RightOptions(0b101)));
        check("12:accept=b", Some(&Change::Accept(0b10)));
        check(
            "12:text=Hà Nội",
            Some(&Change::AcceptText("Hà Nội".to_owned())),
        );
        check(
            "12:full",
            Some(&Change::Treatment(Treatment::FullToAll.into())),
        );
        check(
            "12:drop",
            Some(&Change::Treatment(Treatment::Dropped.into())),
        );
        check("12:weight=150", Some(&Change::WeightPercent(150)));
        for wrong in [
            "",
            "12",
            "12:",
            "x:full",
            "12:key=",
            "12:key=1",
            "12:full=3",
            "12:text=",
            "12:luck",
        ] {
            check(wrong, None);
        }
    }
}
