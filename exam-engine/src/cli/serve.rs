//! `exam serve`: the start-up story, top to bottom, with the drain at its end.

use std::{io::Write, path::Path, sync::Arc};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{DurabilityArgument, ServeArguments};
use crate::{
    clock::{Clock, SteadyClock, StoreClock, SystemClock},
    engine, files,
    secrets::Secrets,
    server::{Role, Server, Setup},
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
    let setup = setup(arguments)?;
    let secrets = Secrets::load(&data.join("secrets")).with_context(unusable)?;
    let has_store = setup.has(Role::Engine) || setup.has(Role::Control);
    let (mut keeping, mut embedded) = (None, None);
    let store: Option<(Arc<dyn SessionStore>, Arc<dyn Clock>)> = match &arguments.redis {
        _ if !has_store => None,
        Some(url) => {
            let store: Arc<dyn SessionStore> =
                Arc::new(RedisStore::open(url, redis_options(arguments)?).await?);
            let clock = StoreClock::start(Arc::clone(&store), Arc::new(SystemClock)).await?;
            keeping = Some(tokio::spawn(Arc::clone(&clock).keep()));
            Some((store, clock))
        }
        None if arguments.durability == DurabilityArgument::Replicated => anyhow::bail!(
            "--durability replicated cần Redis có bản sao, hãy thêm --redis / --durability replicated needs a Redis with a replica, add --redis"
        ),
        None => {
            let clock = Arc::new(SteadyClock::start(&SystemClock));
            let store =
                EmbeddedStore::open(&data.join("live"), clock.clone()).with_context(unusable)?;
            let store = Arc::new(store);
            embedded = Some(Arc::clone(&store));
            Some((store, clock))
        }
    };
    let settings = arguments.port.settings();
    let scheme = settings.tls.as_ref().map_or("http", |_| "https");
    let server = match Server::start_roles(data, store, &secrets, setup, settings).await {
        Err(error @ engine::Error::File(_)) => Err(error).with_context(unusable)?,
        other => other?, // it says itself what to do
    };
    let listener = TcpListener::bind(&arguments.listen)
        .await
        .with_context(|| format!("không mở được cổng {0}, hãy chọn cổng khác bằng --listen / cannot listen on {0}, choose another by --listen", arguments.listen))?;
    let address = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Scripts wait for this line; a server whose output nobody reads serves all the same.
    let _ = writeln!(std::io::stdout(), "listening on {scheme}://{address}");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.serve(listener, shutdown).await;
    if let Some(keeping) = keeping {
        keeping.abort();
    }
    if let Some(store) = embedded {
        store.close(); // a stream that still looks at the log must not keep the mark of a clean stop away
    }
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

/// Finds settings that do not go together.
fn setup(arguments: &ServeArguments) -> anyhow::Result<Setup> {
    let setup = Setup {
        roles: arguments.roles.iter().copied().collect(),
        engines: arguments.engine.clone(),
        graders: arguments.grader.clone(),
        archive: arguments.archive.clone(),
        accept_new_secrets: arguments.accept_new_secrets,
        ..Setup::default()
    };
    let (engine, control) = (setup.has(Role::Engine), setup.has(Role::Control));
    anyhow::ensure!(
        setup.has(Role::Grader) || !setup.graders.is_empty(),
        "tiến trình không chấm cần biết máy chấm ở đâu, hãy thêm --grader URL / a process without the role grader must know where it is, add --grader URL"
    );
    anyhow::ensure!(
        !setup.has(Role::Grader) || engine || !setup.engines.is_empty(),
        "máy chấm cần engine để đọc nhật ký, hãy thêm --engine URL / a grader reads logs from engines, add --engine URL"
    );
    anyhow::ensure!(
        engine == control || arguments.redis.is_some(),
        "engine và control ở hai tiến trình phải dùng chung Redis, hãy thêm --redis URL / engine and control in two processes share a Redis, add --redis URL"
    );
    Ok(setup)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    #[track_caller]
    fn check(words: &str, expected: Result<&[Role], &str>) {
        let all = format!("exam serve {words}");
        let Command::Serve(arguments) = Arguments::try_parse_from(all.split_whitespace())
            .unwrap()
            .command
        else {
            panic!("{all}");
        };
        match (setup(&arguments), expected) {
            (Ok(setup), Ok(roles)) => assert_eq!(setup.roles, roles.iter().copied().collect()),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{words}: {found:?}"),
        }
    }

    #[test]
    fn roles_that_cannot_work_together_are_refused_with_the_flag_to_add() {
        check("", Ok(&Role::ALL));
        check("--redis redis://r", Ok(&Role::ALL));
        check(
            "--role engine --redis redis://r --grader http://g",
            Ok(&[Role::Engine]),
        );
        check(
            "--role grader --engine http://a,http://b",
            Ok(&[Role::Grader]),
        );
        check(
            "--role control,grader --redis redis://r --engine http://a",
            Ok(&[Role::Control, Role::Grader]),
        );
        check("--role engine --redis redis://r", Err("--grader"));
        check("--role grader", Err("--engine"));
        check("--role engine --grader http://g", Err("--redis"));
        check("--role control --grader http://g", Err("--redis"));
    }
}
