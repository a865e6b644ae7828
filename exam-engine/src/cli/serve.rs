//! `exam serve`: the start-up story, top to bottom, with the drain at its end.

use std::{io::Write, path::Path, sync::Arc};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{DurabilityArgument, ServeArguments};
use crate::{
    clock::{SteadyClock, SystemClock},
    files,
    secrets::Secrets,
    server::Server,
    store::{EmbeddedStore, RedisOptions, RedisStore, SessionStore},
};

pub(super) fn run(data: &Path, arguments: &ServeArguments) -> anyhow::Result<()> {
    files::make_folder(data)
        .context("không tạo được thư mục dữ liệu / cannot make the data folder")?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(data, arguments))
}

async fn serve(data: &Path, arguments: &ServeArguments) -> anyhow::Result<()> {
    let unusable = || {
        format!(
            "không dùng được thư mục dữ liệu, hãy xem quyền đọc và ghi / cannot use the data folder, check that it may be read and written: {}",
            data.display()
        )
    };
    let secrets = Secrets::load(&data.join("secrets")).with_context(unusable)?;
    let clock = Arc::new(SteadyClock::start(&SystemClock));
    let store: Arc<dyn SessionStore> = match &arguments.redis {
        Some(url) => Arc::new(RedisStore::open(url, redis_options(arguments)?).await?),
        None if arguments.durability == DurabilityArgument::Replicated => anyhow::bail!(
            "--durability replicated cần Redis có bản sao, hãy thêm --redis / --durability replicated needs a Redis with a replica, add --redis"
        ),
        None => {
            Arc::new(EmbeddedStore::open(&data.join("live"), clock.clone()).with_context(unusable)?)
        }
    };
    let server = Server::start(data, store, clock, &secrets).with_context(unusable)?;
    let listener = TcpListener::bind(&arguments.listen)
        .await
        .with_context(|| format!("không mở được cổng {0}, hãy chọn cổng khác bằng --listen / cannot listen on {0}, choose another by --listen", arguments.listen))?;
    let address = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Scripts wait for this line; a server whose output nobody reads serves all the same.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.serve(listener, shutdown).await;
    Ok(())
}

fn redis_options(arguments: &ServeArguments) -> anyhow::Result<RedisOptions> {
    let ca = arguments.redis_ca.as_ref().map(|file| {
        std::fs::read(file).with_context(|| {
            format!(
                "không đọc được tệp của --redis-ca / cannot read the file of --redis-ca: {}",
                file.display()
            )
        })
    });
    Ok(RedisOptions {
        practice: arguments.practice,
        replicated: arguments.durability == DurabilityArgument::Replicated,
        ca: ca.transpose()?,
    })
}
