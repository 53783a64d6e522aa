//! A delivery allocates nothing while sockets accept what is written.

use allocation_counter::measure;

use super::bench::Bench;
use super::peer::Got;
use crate::protocol::Encoding;

/// Allocations of one turn that delivers `count` publications to `members`, half of them plain.
fn allocations(members: usize, count: u64) -> u64 {
    let mut bench = Bench::new();
    let mut peers: Vec<_> = (0..members)
        .map(|n| {
            let encoding = if n % 2 == 0 { Encoding::V1 } else { Encoding::Plain(0) };
            let peer = bench.arrive(&format!("u{n}"), encoding, &["g"]);
            bench.grant_all();
            peer
        })
        .collect();
    let mut cost = 0;
    // The first turns grow the batch to its size; the last is measured.
    for _ in 0..3 {
        for n in 0..count {
            bench.publish(bench.to_group("g", n));
        }
        cost = measure(|| bench.turn()).count_total;
    }
    for peer in &mut peers {
        let events = peer.drain().iter().filter(|got| matches!(got, Got::Json(_))).count() as u64;
        assert!(events >= 3 * count, "everything was delivered immediately");
        assert!(
            !bench
                .shard
                .connections
                .keys()
                .any(|key| bench.shard.connections[key].socket.has_waiting())
        );
    }
    cost
}

#[test]
fn a_delivery_allocates_nothing_per_receiver() {
    let (few, many) = (allocations(4, 10), allocations(200, 10));
    assert_eq!(few, many, "allocations of a turn to 4 members and to 200");
    assert!(few <= 80, "{few} for ten publications in two encodings");
}

#[test]
fn an_idle_turn_allocates_nothing() {
    let mut bench = Bench::new();
    let _peers: Vec<_> = (0..20).map(|n| bench.connect(&format!("u{n}"), &["g"])).collect();
    bench.turn();
    assert_eq!(measure(|| bench.turn()).count_total, 0);
}
