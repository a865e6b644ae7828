//! `exam receipt verify`: checks the slip of a submission, with nothing but the exam's published key; with the archive also
//! that the log holds exactly these answers.

use std::path::Path;

use anyhow::Context;
use verifier::Slip;

use super::say;

pub(super) fn verify(slip: &str, key: Option<&str>, archive: Option<&Path>) -> anyhow::Result<()> {
    let archive = archive.map(verifier::Archive::read).transpose()?;
    let key = match (key, &archive) {
        (Some(key), _) => {
            hex::decode(key).context("khóa cần 64 chữ số hex / a key has 64 hexadecimal digits")?
        }
        (None, Some(archive)) => archive.slip_key().to_vec(),
        (None, None) => anyhow::bail!("cần --key hoặc --archive / --key or --archive is needed"),
    };
    let slip =
        Slip::verify(slip, &key).context("biên nhận KHÔNG đúng / the slip is NOT genuine")?;
    say(format_args!(
        "Chữ ký đúng / the signature is genuine: {slip}"
    ));
    if let Some(archive) = &archive {
        slip.compare(archive)
            .context("hồ sơ lưu KHÁC biên nhận / the archive DIFFERS from the slip")?;
        say("Nhật ký có đúng các câu trả lời này / the log holds exactly these answers");
    }
    Ok(())
}
