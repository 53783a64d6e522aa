//! Shards under churn: random joins, leaves, publications, slow readers, late layers. A naive model
//! knows for each connection what it must see; see `oracle`.

mod dice;
mod layer;
mod oracle;

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::fixture::{group, member};
use super::peer::{Got, Peer};
use crate::event::{ConnectionId, Control, Except, Target};
use crate::protocol::Encoding;

use dice::{Dice, settings};
use layer::Layer;
use oracle::Oracle;

/// Steps of one run.
const STEPS: usize = 250;

/// How long runs last, each with its own seed.
const TIME: Duration = Duration::from_secs(5);

/// Groups by policy: `o` drops the oldest, `n` the newest, `c` closes, `h` keeps history.
const GROUPS: [&str; 6] = ["o.1", "o.2", "n.1", "c.1", "h.1", "h.2"];

const USERS: [&str; 3] = ["ana", "ben", "eva"];

struct Client {
    peer: Peer,
    shard: usize,
    user: &'static str,
    /// Reads in one step of so many.
    reads: u64,
}

struct Run {
    dice: Dice,
    shards: Vec<Bench>,
    layer: Layer,
    oracle: Oracle,
    clients: Vec<Client>,
    number: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let registry = std::sync::Arc::default();
        let bench = |index| Bench::numbered(index, settings(), 8, std::sync::Arc::clone(&registry));
        let shards: Vec<_> = (0..3).map(bench).collect();
        let layer = Layer::new(registry);
        let (oracle, clients) = (Oracle::default(), Vec::new());
        Self { dice: Dice(seed), shards, layer, oracle, clients, number: 0 }
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0 if self.clients.len() < 12 => self.arrive(),
            1 if self.clients.len() > 6 => self.vanish(),
            0..=3 => self.join(),
            4 | 5 => self.leave(),
            6..=12 => self.publish(),
            13 => self.let_time_pass(),
            14..=16 => self.carry(),
            _ => self.read(),
        }
    }

    fn arrive(&mut self) {
        let (user, v1) = (self.dice.pick(&USERS), self.dice.roll(4) > 0);
        let encoding = if v1 { Encoding::V1 } else { Encoding::Plain(0) };
        let shard = self.dice.roll(self.shards.len() as u64) as usize;
        let first = self.dice.pick(&GROUPS);
        let peer = self.shards[shard].arrive_by(user, encoding, &[first], true, 0);
        self.oracle.arrives(peer.id, v1);
        self.oracle.asks(peer.id, first);
        let reads = self.dice.pick(&[1, 2, 6, 40]);
        self.clients.push(Client { peer, shard, user, reads });
    }

    /// A client disconnects without a close.
    fn vanish(&mut self) {
        let at = self.dice.roll(self.clients.len() as u64) as usize;
        let id = self.clients.swap_remove(at).peer.id;
        self.oracle.gone(id);
    }

    fn join(&mut self) {
        let name = self.dice.pick(&GROUPS);
        let Some(client) = self.dice.any(&self.clients) else { return };
        if !self.oracle.holds(client.peer.id, name) {
            let control = Control::Join(member(&client.peer), group(name));
            let (id, shard) = (client.peer.id, client.shard);
            self.shards[shard].control(control);
            self.shards[shard].turn();
            self.oracle.asks(id, name);
        }
    }

    fn leave(&mut self) {
        let name = self.dice.pick(&GROUPS);
        let Some(client) = self.dice.any(&self.clients) else { return };
        let (id, shard) = (client.peer.id, client.shard);
        self.shards[shard].control(Control::Leave(member(&client.peer), group(name)));
        self.shards[shard].turn();
        self.oracle.leaves(id, name);
    }

    /// A few publications to one target, which the layer has accepted when this ends.
    fn publish(&mut self) {
        let target = match self.dice.roll(8) {
            0 => Target::All,
            1 => Target::User(self.dice.pick(&USERS).into()),
            _ => Target::Group(group(self.dice.pick(&GROUPS))),
        };
        for _ in 0..=self.dice.roll(4) {
            self.number += 1;
            let size = self.dice.pick(&[60, 300, 1500]);
            let mut publication = self.shards[0].publication(target.clone(), self.number, size);
            if self.dice.roll(4) == 0
                && let Some(client) = self.dice.any(&self.clients)
            {
                publication.except = match self.dice.roll(2) {
                    0 => Except { connections: vec![client.peer.id], ..Except::default() },
                    _ => Except { users: vec![client.user.into()], ..Except::default() },
                };
            }
            self.layer.accept(publication);
        }
    }

    fn let_time_pass(&mut self) {
        let time = Duration::from_millis(self.dice.roll(3000));
        for shard in 0..self.shards.len() {
            self.shards[shard].now += time;
            self.shards[shard].turn();
        }
    }

    /// The layer delivers some accepted publications, and answers some requests.
    fn carry(&mut self) {
        for shard in 0..self.shards.len() {
            let requests = self.dice.roll(6) as usize;
            self.layer.take_requests(&mut self.shards[shard], requests);
            let answers = self.dice.roll(4) as usize;
            self.layer.answer(shard, &mut self.shards[shard], &mut self.oracle, answers);
            let carried = self.dice.roll(8) as usize;
            self.deliver(shard, carried);
            self.shards[shard].turn();
        }
    }

    fn deliver(&mut self, shard: usize, most: usize) {
        for publication in self.layer.due(shard, most) {
            let here = self.clients.iter().filter(|client| client.shard == shard);
            for Client { peer, user, .. } in here {
                self.oracle.sent(peer.id, user, &publication);
            }
            self.shards[shard].publish(publication);
        }
    }

    fn read(&mut self) {
        for at in (0..self.clients.len()).rev() {
            let reads = self.clients[at].reads;
            if self.dice.roll(reads) == 0 {
                self.read_one(at);
            }
        }
    }

    fn read_one(&mut self, at: usize) {
        let Client { peer, shard, .. } = &mut self.clients[at];
        let (id, shard) = (peer.id, *shard);
        for got in peer.drain() {
            match got {
                Got::Json(frame) => self.oracle.received(id, &frame),
                Got::Close(code) => self.oracle.closed(id, code),
                Got::End => {
                    assert!(self.oracle.may_end(id), "an end without a close frame");
                    self.clients.swap_remove(at);
                    self.oracle.gone(id);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        self.shards[shard].turn();
    }

    /// Delivers and reads everything; then nothing may be missing.
    fn settle(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for shard in 0..self.shards.len() {
                self.layer.take_requests(&mut self.shards[shard], usize::MAX);
                self.layer.answer(shard, &mut self.shards[shard], &mut self.oracle, usize::MAX);
                self.deliver(shard, 32);
                self.shards[shard].turn();
            }
            for at in (0..self.clients.len()).rev() {
                self.read_one(at);
            }
            let ids: Vec<ConnectionId> = self.clients.iter().map(|client| client.peer.id).collect();
            if self.layer.is_idle() && ids.iter().all(|id| self.oracle.is_complete(*id)) {
                return;
            }
            assert!(Instant::now() < deadline, "{}", self.oracle.missing(&ids));
        }
    }

    /// All clients leave; the shard keeps nothing of them.
    fn end(&mut self) {
        while !self.clients.is_empty() {
            self.vanish();
        }
        let (layer, oracle) = (&mut self.layer, &mut self.oracle);
        for (shard, bench) in self.shards.iter_mut().enumerate() {
            bench.turn_until("all connections have ended", |bench| {
                layer.take_requests(bench, usize::MAX);
                layer.answer(shard, bench, oracle, usize::MAX);
                bench.shard.connections.is_empty() && !bench.shard.requests.is_waiting()
            });
            layer.take_requests(bench, usize::MAX);
            assert_eq!(bench.shard.joins.len(), 0, "something is still held back");
            assert!(GROUPS.iter().all(|name| bench.shard.groups.find(&group(name)).is_none()));
        }
        assert_eq!(self.shards[0].registry.groups(), 0, "a group is open without members");
    }
}

#[test]
fn every_connection_receives_what_the_model_predicts_or_a_gap() {
    let began = Instant::now();
    let (mut gaps, mut positions) = (0, 0);
    for seed in 1.. {
        // Shown only if the run fails.
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.settle();
        gaps += run.oracle.gaps;
        positions += run.oracle.positions;
        run.end();
        if began.elapsed() > TIME {
            println!("{seed} runs, {gaps} gaps, {positions} positions");
            break;
        }
    }
    assert!(gaps > 0 && positions > 0, "{gaps} gaps, {positions} positions: nothing was tried");
}
