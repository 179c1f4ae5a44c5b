//! A TCP proxy whose link can be slow, black or cut.

use super::RUNTIME;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    Up,
    /// Every chunk of bytes waits so long, in each direction.
    Slow(Duration),
    /// Nothing passes and nothing is closed; bytes that came meanwhile are delivered when the link is up again.
    Black,
    /// All connections are closed and new ones at once.
    Cut,
}

/// A listening proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    listen: SocketAddr,
    link: watch::Sender<Link>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Forwards connections to `to`, from `listen` (such as a broker's [`crate::services::Kafka::proxy_listen`]) or a
    /// free port.
    pub async fn start(listen: Option<&str>, to: &str) -> Self {
        let (listen, to) = (listen.unwrap_or("127.0.0.1:0").to_owned(), to.to_owned());
        let (link, state) = watch::channel(Link::Up);
        let listener = RUNTIME.spawn(async move { TcpListener::bind(listen).await }).await.unwrap().unwrap();
        let listen = listener.local_addr().unwrap();
        let task = RUNTIME.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                RUNTIME.spawn(forward(client, to.clone(), state.clone()));
            }
        });
        Self { listen, link, task }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.listen.to_string()
    }

    /// Changes the link, for the connections that are open as well.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.link.send_replace(Link::Cut);
    }
}

async fn forward(client: TcpStream, to: String, link: watch::Receiver<Link>) {
    if *link.borrow() == Link::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // whichever direction ends first takes the other along: both halves are dropped, both sockets closed
    tokio::select! {
        () = pump(from_client, to_server, link.clone()) => {}
        () = pump(from_server, to_client, link) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = tokio::select! {
            read = from.read(&mut chunk) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => length,
            },
            _ = link.wait_for(|l| *l == Link::Cut) => return,
        };
        let now = *link.borrow_and_update();
        match now {
            Link::Up => {}
            Link::Slow(pause) => tokio::time::sleep(pause).await,
            Link::Black => {
                let Ok(_) = link.wait_for(|l| *l != Link::Black).await else { return };
            }
            Link::Cut => return,
        }
        if *link.borrow() == Link::Cut || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
