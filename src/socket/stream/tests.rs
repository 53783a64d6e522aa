use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::*;

fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    (Stream::from_std(socket, &Settings::default()).unwrap(), peer)
}

/// Polls until `done` or for five seconds at most.
fn wait_until(poll: &mut Poll, mut done: impl FnMut(&mio::event::Event) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut events = Events::with_capacity(8);
    while Instant::now() < deadline {
        poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
        if events.iter().any(&mut done) {
            return;
        }
    }
    panic!("no such readiness within five seconds");
}

#[test]
fn sets_socket_options_for_small_messages_and_a_short_kernel_queue() {
    let (stream, _peer) = pair();
    let Stream::Tcp(socket) = &stream;
    let options = SockRef::from(socket);
    let settings = Settings::default();
    assert!(options.tcp_nodelay().unwrap());
    assert!(options.nonblocking().unwrap());
    assert_eq!(options.tcp_notsent_lowat().unwrap(), settings.notsent_lowat);
    assert_eq!(options.tcp_user_timeout().unwrap(), Some(settings.ping + settings.ping_grace));
}

#[test]
fn a_full_socket_would_block_and_signals_when_it_is_writable() {
    let (mut stream, mut peer) = pair();
    let mut poll = Poll::new().unwrap();
    stream.register(poll.registry(), Token(7)).unwrap();

    let block = [b'x'; 4096];
    let mut written = 0;
    let error = loop {
        match stream.try_write_vectored(&[IoSlice::new(&block), IoSlice::new(&block)]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // The edge of the first room is over and done with before more is made.
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();

    let mut read = vec![0; written];
    peer.read_exact(&mut read).unwrap();
    wait_until(&mut poll, |event| event.token() == Token(7) && event.is_writable());
    assert!(stream.try_write_vectored(&[IoSlice::new(b"more")]).unwrap() > 0);
}

#[test]
fn reports_the_end_of_either_direction() {
    let (mut stream, mut peer) = pair();
    let mut poll = Poll::new().unwrap();
    stream.register(poll.registry(), Token(7)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(stream.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);

    peer.write_all(b"hello").unwrap();
    wait_until(&mut poll, |event| event.is_readable());
    assert_eq!(stream.try_read(&mut buffer).unwrap(), 5);

    stream.shut_down_write().unwrap();
    assert_eq!(peer.read(&mut buffer).unwrap(), 0, "the peer sees the end");
    drop(peer);
    wait_until(&mut poll, |event| event.is_read_closed());
    assert_eq!(stream.try_read(&mut buffer).unwrap(), 0);
}
