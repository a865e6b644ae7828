//! `exam verify`: an archive examined by the second implementation, and the auditor's word on it.

use std::{fs, path::Path};

use anyhow::Context;

use super::say;
use crate::{files, secrets::Key};

/// The auditor's word, beside the archive's files: two lines, what the result hashes to and the signature.
const FILE: &str = "verdict.txt";

/// Control candidates of every exam.
const N_CONTROLS: u64 = 3;

pub(super) fn run(
    folder: &Path,
    sign: Option<&Path>,
    without_controls: bool,
) -> anyhow::Result<()> {
    let archive = verifier::Archive::read(folder)?;
    let verdict = verifier::verify(&archive)?;
    say(&verdict);
    anyhow::ensure!(
        verdict.ok(),
        "kết quả sai, không ký / the result is wrong, it is not signed"
    );
    if let Some(key) = sign {
        anyhow::ensure!(
            verdict.n_control_attempts >= N_CONTROLS || without_controls,
            "chỉ có {0} trong {N_CONTROLS} thí sinh kiểm soát đã thi; nếu biết vì sao, thêm --without-controls / only {0} of {N_CONTROLS} control candidates have sat; if you know why, add --without-controls",
            verdict.n_control_attempts
        );
        let key = Key::load(key)?;
        let signature = verifier::sign_verdict(&archive, &key.0)?;
        let result = fs::read(folder.join("result.tsv"))?;
        let text = format!(
            "result {}\nverdict {}\n",
            blake3::hash(&result),
            hex::encode(signature)
        );
        files::write(&folder.join(FILE), text.as_bytes())?;
        say(format_args!(
            "Đã ký / signed: {}",
            folder.join(FILE).display()
        ));
    }
    Ok(())
}

/// Returns the hash of the result and the signature on it.
pub(super) fn read_verdict(folder: &Path) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let file = folder.join(FILE);
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "không đọc được {0}; người kiểm tra chạy `exam verify <thư mục> --sign <verdict.key>` trước / cannot read {0}; the auditor runs `exam verify <folder> --sign <verdict.key>` first",
            file.display()
        )
    })?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let bytes = line.and_then(|line| hex::decode(line.trim()).ok());
        bytes.with_context(|| format!("{}: {name}", file.display()))
    };
    Ok((field("result ")?, field("verdict ")?))
}
