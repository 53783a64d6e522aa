//! SIGTERM and SIGINT: the first starts the drain, the second exits immediately.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The exit code that shells report for SIGINT: 128 + 2.
const INTERRUPTED: i32 = 130;

/// Handles signals from now on. The future ends at the first signal, the process at the second.
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, stop) = oneshot::channel();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "draining; a second signal exits immediately");
        let _ = asked.send(());
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "exiting without draining");
        #[expect(clippy::disallowed_methods, reason = "skipping the drain is what was asked for")]
        std::process::exit(INTERRUPTED);
    });
    Ok(async {
        // An error would mean that the task is gone, with the whole runtime.
        let _ = stop.await;
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
