//! An address whose connections lead to a server that the test chooses, or nowhere.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards TCP connections, until dropped.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Forwarder {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, targets) = watch::channel(Some(target));
        tokio::spawn(serve(listener, Arc::new(targets)));
        Self { address, target }
    }

    /// Lets new connections lead to `target`. Those that exist stay.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Ends all connections, and new ones as soon as they are made.
    pub(crate) fn cut(&self) {
        self.target.send_replace(None);
    }
}

async fn serve(listener: TcpListener, targets: Arc<watch::Receiver<Option<SocketAddr>>>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut targets = (*targets).clone();
        tokio::spawn(async move {
            let Some(target) = *targets.borrow_and_update() else { return };
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = targets.wait_for(Option::is_none) => {}
            }
        });
    }
}
