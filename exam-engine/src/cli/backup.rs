//! `exam backup` and `exam restore`.
//!
//! Only the live store comes over the connection. Keys and secrets are copied from the data folder, which the command
//! can read anyway, so they never travel. The dump comes first: files only grow, so every session has its exam.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context;
use proto::exam::v1::{DumpStoreRequest, operator_service_client::OperatorServiceClient};

use super::{client, say};
use crate::{
    archive::{Archive, Policy},
    backup::{self, Backup, DUMP},
    store::{DumpSummary, EmbeddedStore},
};

pub(super) fn run(
    data: &Path,
    server: &str,
    ca: Option<&Path>,
    archive: Option<&str>,
    target: &Path,
) -> anyhow::Result<()> {
    let new = Backup::begin(target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if let Err(error) = runtime.block_on(fill(&new, data, server, ca, archive)) {
        new.discard();
        return Err(error);
    }
    let (n_files, n_bytes) = new.keep()?;
    say(format_args!(
        "Đã sao lưu {n_files} tệp, {n_bytes} byte vào {0}; trong đó có đáp án và khóa bí mật, hãy cất giữ như két / \
         backed up {n_files} files, {n_bytes} bytes to {0}; keys and secrets are in it, keep it as in a safe",
        target.display()
    ));
    Ok(())
}

async fn fill(
    new: &Backup,
    data: &Path,
    server: &str,
    ca: Option<&Path>,
    archive: Option<&str>,
) -> anyhow::Result<()> {
    dump(new, data, server, ca).await.context(
        "không chụp được kho dữ liệu bài thi; nếu máy chủ dùng Redis, hãy chép tệp AOF của Redis cùng thư mục dữ liệu khi đã dừng máy chủ / \
         cannot dump the live store; if the server uses Redis, stop it and copy Redis's append-only file with the data folder",
    )?;
    let path = new.path(DUMP);
    let summary = EmbeddedStore::read_dump(&mut BufReader::new(File::open(&path)?))?;
    new.copy_files(data)?;
    let place = archive.map_or_else(|| data.join("archive"), PathBuf::from);
    if archive.is_some_and(|place| place.starts_with("s3://")) {
        say("Nhật ký trong bucket không được chép / the log in the bucket is not copied");
        return Ok(());
    }
    copy_archive(new, &place, &summary).await
}

async fn dump(new: &Backup, data: &Path, server: &str, ca: Option<&Path>) -> anyhow::Result<()> {
    let bearer = client::bearer(data)?;
    let channel = client::channel(server, ca).await?;
    let mut client = OperatorServiceClient::with_interceptor(channel, bearer);
    let reply = client.dump_store(DumpStoreRequest {}).await;
    let mut pieces = reply
        .map_err(|status| client::refusal(&status))?
        .into_inner();
    let (mut file, path) = (new.create(DUMP)?, new.path(DUMP));
    while let Some(piece) = pieces
        .message()
        .await
        .map_err(|status| client::refusal(&status))?
    {
        backup::append(&mut file, &path, &piece.data)?;
    }
    file.sync_all()?;
    Ok(())
}

/// Copies the segments that the dump's store knows of: what was archived after it never happened to that store.
async fn copy_archive(new: &Backup, place: &Path, summary: &DumpSummary) -> anyhow::Result<()> {
    let mut covered = std::collections::BTreeMap::new();
    if place.exists() {
        let archive = Archive::in_folder(place, Policy::default())?;
        for ((exam, partition), end) in &summary.ends {
            for segment in archive.raw_segments(exam, *partition).await? {
                if segment.last > *end {
                    break;
                }
                let name = format!("archive/{}", segment.name);
                let mut file = new.create(&name)?;
                backup::append(&mut file, &new.path(&name), &segment.bytes)?;
                file.sync_all()?;
                covered.insert((exam.clone(), *partition), segment.last);
            }
        }
    }
    for ((exam, partition), forgotten) in &summary.trimmed {
        let archived = covered
            .get(&(exam.clone(), *partition))
            .copied()
            .unwrap_or(0);
        anyhow::ensure!(
            archived >= *forgotten,
            "thiếu nhật ký đã lưu: kỳ thi {exam}, phân vùng {partition}, có đến {archived}, cần {forgotten}; hãy chỉ --archive như của `serve` / \
             the archived log is missing: exam {exam}, partition {partition}, there up to {archived}, needed {forgotten}; name it by --archive as for `serve`"
        );
    }
    Ok(())
}

pub(super) fn restore(folder: &Path, data: &Path) -> anyhow::Result<()> {
    let n_files = backup::restore(folder, data)?;
    say(format_args!(
        "Đã dựng lại {n_files} tệp vào {0}; hãy tắt máy chủ cũ trước khi chạy `exam --data {0} serve` / \
         restored {n_files} files to {0}; stop the old server before you run `exam --data {0} serve`",
        data.display()
    ));
    Ok(())
}
