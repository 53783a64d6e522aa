//! The control: a process that holds the same sockets and writes the same bytes, and does no more.
//!
//! It is this program again, under the hidden command `control`, so that its CPU can be read apart.
//! Each line on its stdin is a batch, its messages parted by tabs; every socket gets each message
//! with one `send`, or all of a batch with one `writev`. No groups, no queues, no clocks: what is
//! left is the cost of the kernel.

use std::io::{self, BufRead, IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use clap::Args;
use groupcast::frame::Frame;
use groupcast::protocol;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{accept_hdr, handshake::server};

/// A browser that connects and then sends nothing fails the run after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between the messages of a batch: JSON has none.
pub const SEPARATOR: char = '\t';

/// The control's own flags.
#[derive(Debug, Args)]
pub struct Control {
    /// Threads that write.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// One call for a whole batch, not one for each message.
    #[arg(long)]
    vectored: bool,
}

enum Work {
    Adopt(TcpStream),
    Write(Arc<Vec<Frame>>),
}

impl Control {
    /// Serves until stdin ends. The first line on stdout is the port.
    pub fn run(&self) -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        println!("{}", listener.local_addr()?.port());
        let vectored = self.vectored;
        let (writers, handles): (Vec<_>, Vec<_>) = (0..self.threads.max(1))
            .map(|_| {
                let (sender, inbox) = mpsc::channel();
                (sender, thread::spawn(move || write(&inbox, vectored)))
            })
            .unzip();
        let adopters = writers.clone();
        // Ends with the process: nothing that it holds needs to be put in order.
        thread::spawn(move || welcome(&listener, &adopters));
        let send = |frames: Vec<Frame>| {
            let frames = Arc::new(frames);
            for writer in &writers {
                let _ = writer.send(Work::Write(Arc::clone(&frames)));
            }
        };
        for line in io::stdin().lock().lines() {
            send(line?.split(SEPARATOR).map(|message| Frame::text(message.as_bytes())).collect());
        }
        // An empty batch ends a writer.
        send(Vec::new());
        let panicked = |_| Err(io::Error::other("a writer panicked"));
        handles.into_iter().try_for_each(|handle| handle.join().unwrap_or_else(panicked))
    }
}

/// Shakes hands with one browser after the other and deals them out.
fn welcome(listener: &TcpListener, writers: &[Sender<Work>]) {
    for (stream, writer) in listener.incoming().zip(writers.iter().cycle()) {
        match stream.and_then(shake_hands) {
            Ok(stream) => {
                let _ = writer.send(Work::Adopt(stream));
            }
            Err(error) => eprintln!("control: a browser could not be welcomed: {error}"),
        }
    }
}

/// The handshake and the hello.
fn shake_hands(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
    let subprotocol = |_: &server::Request, mut response: server::Response| {
        let value = HeaderValue::from_static(protocol::V1);
        response.headers_mut().insert("sec-websocket-protocol", value);
        Ok(response)
    };
    let accepted = accept_hdr(stream, subprotocol);
    let mut websocket = accepted.map_err(|error| io::Error::other(error.to_string()))?;
    websocket.read().map_err(io::Error::other)?;
    Ok(websocket.into_inner())
}

/// Owns some of the sockets and writes to them.
fn write(inbox: &Receiver<Work>, vectored: bool) -> io::Result<()> {
    let welcome = Frame::text(br#"{"type":"welcome","groups":[]}"#);
    let mut sockets: Vec<TcpStream> = Vec::new();
    for work in inbox {
        match work {
            Work::Adopt(mut stream) => {
                stream.write_all(welcome.bytes())?;
                sockets.push(stream);
            }
            Work::Write(frames) if frames.is_empty() => break,
            Work::Write(frames) => {
                let slices: Vec<_> = frames.iter().map(|f| IoSlice::new(f.bytes())).collect();
                for socket in &mut sockets {
                    if vectored {
                        write_all_at_once(socket, &slices)?;
                    } else {
                        frames.iter().try_for_each(|frame| socket.write_all(frame.bytes()))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Sockets are blocking and their buffers all but empty, so one call takes all or the run is void.
fn write_all_at_once(socket: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<()> {
    let written = socket.write_vectored(slices)?;
    let whole: usize = slices.iter().map(|slice| slice.len()).sum();
    if written == whole {
        return Ok(());
    }
    Err(io::Error::other(format!("a socket took {written} of {whole} bytes")))
}
