//! The control: a process that holds the same sockets and writes the same bytes, and does no more.
//!
//! It is this program again, under the hidden command `control`, so that its CPU can be read apart.
//! Frames come ready made on its stdin; every socket gets each of them with one `send`, or all of a
//! batch with one `writev`. No groups, no queues, no clocks: what is left is the price of the kernel.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::websocket;

/// A browser that connects and then says nothing fails the run after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a batch is written to each socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Writes {
    /// One call for each frame.
    Single = 0,
    /// One call for the whole batch.
    Vectored = 1,
}

/// Frames to be written to every socket.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// In how many calls.
    pub writes: Writes,
    /// Whole frames.
    pub frames: Vec<Vec<u8>>,
}

enum Work {
    Adopt(TcpStream),
    Write(Arc<Batch>),
}

/// Runs the control with `threads` writers until stdin ends. The first line on stdout is the port,
/// the last one the number of write calls.
pub fn run(threads: usize) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    let (writers, handles): (Vec<_>, Vec<_>) = (0..threads.max(1))
        .map(|_| {
            let (sender, inbox) = mpsc::channel();
            (sender, thread::spawn(move || write(&inbox)))
        })
        .unzip();
    let doors = writers.clone();
    // Ends with the process: nothing that it holds needs to be put in order.
    thread::spawn(move || welcome(&listener, &doors));

    let mut stdin = io::stdin().lock();
    while let Some(batch) = Batch::read(&mut stdin)? {
        let batch = Arc::new(batch);
        for writer in &writers {
            let _ = writer.send(Work::Write(Arc::clone(&batch)));
        }
    }
    let stop = Arc::new(Batch { writes: Writes::Single, frames: Vec::new() });
    for writer in &writers {
        let _ = writer.send(Work::Write(Arc::clone(&stop)));
    }
    let ended = handles
        .into_iter()
        .map(|handle| handle.join().unwrap_or_else(|_| Err(io::Error::other("a writer panicked"))));
    println!("{}", ended.sum::<io::Result<u64>>()?);
    Ok(())
}

/// Shakes hands with one browser after the other and deals them out.
fn welcome(listener: &TcpListener, doors: &[Sender<Work>]) {
    for (stream, door) in listener.incoming().zip(doors.iter().cycle()) {
        let greeted = stream.and_then(|stream| greet(&stream).map(|()| stream));
        match greeted {
            Ok(stream) => {
                let _ = door.send(Work::Adopt(stream));
            }
            Err(error) => eprintln!("control: a browser could not be welcomed: {error}"),
        }
    }
}

fn greet(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    stream.write_all(&websocket::response())?;
    let mut head = [0; 4];
    reader.read_exact(&mut head)?;
    // A hello is longer than 125 bytes and shorter than 64 KiB: a 16-bit length and a mask follow.
    let rest = usize::from(u16::from_be_bytes([head[2], head[3]])) + 4;
    reader.read_exact(&mut vec![0; rest])
}

/// Owns some of the sockets and writes to them; the number of calls made.
fn write(inbox: &Receiver<Work>) -> io::Result<u64> {
    let welcome = websocket::text(br#"{"type":"welcome","groups":[]}"#);
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut calls = 0;
    for work in inbox {
        match work {
            Work::Adopt(mut stream) => {
                stream.write_all(&welcome)?;
                sockets.push(stream);
            }
            Work::Write(batch) if batch.frames.is_empty() => break,
            Work::Write(batch) => {
                let slices: Vec<_> = batch.frames.iter().map(|frame| IoSlice::new(frame)).collect();
                for socket in &mut sockets {
                    match batch.writes {
                        Writes::Single => {
                            for frame in &batch.frames {
                                socket.write_all(frame)?;
                                calls += 1;
                            }
                        }
                        Writes::Vectored => {
                            write_all_at_once(socket, &slices)?;
                            calls += 1;
                        }
                    }
                }
            }
        }
    }
    Ok(calls)
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

impl Batch {
    /// Onto the pipe: mode, number of frames, each with its length.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.writes as u8];
        bytes.extend_from_slice(&(self.frames.len() as u32).to_be_bytes());
        for frame in &self.frames {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    /// Off the pipe; `None` at its end.
    fn read(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut mode = [0];
        if pipe.read(&mut mode)? == 0 {
            return Ok(None);
        }
        let mut frames = Vec::new();
        for _ in 0..number(pipe)? {
            let mut frame = vec![0; number(pipe)?];
            pipe.read_exact(&mut frame)?;
            frames.push(frame);
        }
        let writes = if mode[0] == 0 { Writes::Single } else { Writes::Vectored };
        Ok(Some(Self { writes, frames }))
    }
}

fn number(pipe: &mut impl Read) -> io::Result<usize> {
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_off_the_pipe_as_they_went_in() {
        let one = Batch { writes: Writes::Single, frames: vec![b"a".to_vec(), b"bcd".to_vec()] };
        let two = Batch { writes: Writes::Vectored, frames: vec![vec![7; 300]] };
        let bytes = [one.encode(), two.encode()].concat();
        let mut pipe = bytes.as_slice();
        assert_eq!(Batch::read(&mut pipe).unwrap(), Some(one));
        assert_eq!(Batch::read(&mut pipe).unwrap(), Some(two));
        assert_eq!(Batch::read(&mut pipe).unwrap(), None);
        assert!(Batch::read(&mut &bytes[..9]).is_err());
    }
}
