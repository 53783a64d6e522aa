//! Places for HTTP connections: who gets one, and who loses one when they run out.
//!
//! One address must not block a listener for everyone. So connections are accepted immediately;
//! those without a place wait, and addresses take turns. When places run short, the address with
//! the most silent connections loses its oldest one, and the last quarter is for others than an
//! address that fills the rest alone: nobody who is new has to wait until that one's are old enough
//! to lose their places. Only silent connections count: one with a request in progress never loses
//! its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::address::Address;
use crate::fair_queue::FairQueue;

/// How long a connection may be silent without losing its place: a slow network, or many users
/// behind one address, must not look like an attack.
const MIN_SILENCE: Duration = Duration::from_secs(3);

/// The places of one listener. Clones share them.
#[derive(Clone)]
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    capacity: usize,
    min_silence: Duration,
    table: Mutex<Table>,
}

struct Table {
    next_id: u64,
    held: HashMap<u64, Occupancy>,
    /// Silent connections by address; none is zero.
    silent: HashMap<Address, usize>,
    /// Connections without a place.
    waiting: FairQueue<Address, (IpAddr, oneshot::Sender<Place>)>,
}

struct Occupancy {
    address: Address,
    /// Requests in progress.
    busy: usize,
    silent_since: Instant,
    evict: watch::Sender<bool>,
}

/// A connection's place, given back when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Place(Arc<Holder>);

struct Holder {
    shared: Arc<Shared>,
    id: u64,
    peer: IpAddr,
    evicted: watch::Receiver<bool>,
}

/// Marks the connection as busy until it is dropped.
pub(crate) struct Busy(Place);

/// The answer to a request for a place.
pub(crate) enum Granted {
    Now(Place),
    /// A place later. The channel closes if too many wait.
    Later(oneshot::Receiver<Place>),
}

impl Places {
    /// `capacity` places, and at most `max_waiting` connections that wait for one.
    pub(crate) fn new(capacity: usize, max_waiting: usize) -> Self {
        Self::with_silence(capacity, max_waiting, MIN_SILENCE)
    }

    fn with_silence(capacity: usize, max_waiting: usize, min_silence: Duration) -> Self {
        let (held, silent) = Default::default();
        let table = Table { next_id: 0, held, silent, waiting: FairQueue::new(max_waiting) };
        Self(Arc::new(Shared { capacity, min_silence, table: Mutex::new(table) }))
    }

    /// Requests a place for a connection of `peer`. Returns also how many others lose theirs.
    pub(crate) fn ask(&self, peer: IpAddr) -> (Granted, usize) {
        let mut table = self.0.table.lock();
        let address = Address::of(peer);
        let short = table.held.len() >= self.0.share();
        let evicted = if short { usize::from(table.evict(self.0.min_silence)) } else { 0 };
        // While there are free places, those who wait are of addresses that fill their share.
        if table.held.len() < self.0.capacity && !table.fills_share(&address, self.0.share()) {
            return (Granted::Now(table.hold(&self.0, peer)), evicted);
        }
        let (place, granted) = oneshot::channel();
        table.waiting.push(address, (peer, place));
        (Granted::Later(granted), evicted)
    }

    /// Evicts connections for waiting ones; to be called regularly. Returns how many.
    pub(crate) fn relieve(&self) -> usize {
        let mut table = self.0.table.lock();
        let wanted = table.waiting.len();
        (0..wanted).take_while(|_| table.evict(self.0.min_silence)).count()
    }
}

impl Shared {
    /// The places that the silent connections of one address may fill.
    fn share(&self) -> usize {
        self.capacity - self.capacity / 4
    }
}

impl Table {
    fn fills_share(&self, address: &Address, share: usize) -> bool {
        self.silent.get(address).is_some_and(|count| *count >= share)
    }

    fn hold(&mut self, shared: &Arc<Shared>, peer: IpAddr) -> Place {
        self.next_id += 1;
        let (id, address) = (self.next_id, Address::of(peer));
        let (evict, evicted) = watch::channel(false);
        self.held.insert(id, Occupancy { address, busy: 0, silent_since: Instant::now(), evict });
        *self.silent.entry(address).or_default() += 1;
        Place(Arc::new(Holder { shared: Arc::clone(shared), id, peer, evicted }))
    }

    /// Evicts the oldest silent connection of the address with the most, if it has been silent for
    /// long enough. It keeps its place until it has ended, and is evicted only once.
    fn evict(&mut self, min_silence: Duration) -> bool {
        let Some((address, _)) = self.silent.iter().max_by_key(|(_, count)| **count) else {
            return false;
        };
        let address = *address;
        let silent = |held: &&mut Occupancy| {
            held.address == address && held.busy == 0 && !*held.evict.borrow()
        };
        let oldest = self.held.values_mut().filter(silent).min_by_key(|held| held.silent_since);
        let Some(oldest) = oldest.filter(|held| held.silent_since.elapsed() >= min_silence) else {
            return false;
        };
        oldest.evict.send_replace(true);
        self.forget_silent(address);
        true
    }

    fn forget_silent(&mut self, address: Address) {
        if let Some(count) = self.silent.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.silent.remove(&address);
            }
        }
    }
}

impl Place {
    /// The peer of the connection: a browser, or the proxy in front of the gateway.
    pub(crate) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Protects the place while the gateway works for the connection.
    pub(crate) fn busy(&self) -> Busy {
        let mut table = self.0.shared.table.lock();
        if let Some(held) = table.held.get_mut(&self.0.id) {
            held.busy += 1;
            if held.busy == 1 && !*held.evict.borrow() {
                let address = held.address;
                table.forget_silent(address);
            }
        }
        Busy(self.clone())
    }

    /// Waits until another connection needs the place more.
    pub(crate) async fn evicted(&self) {
        let mut evicted = self.0.evicted.clone();
        // The sender lives as long as the place does.
        let _ = evicted.wait_for(|evicted| *evicted).await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let holder = &self.0.0;
        let mut table = holder.shared.table.lock();
        let Some(held) = table.held.get_mut(&holder.id) else { return };
        held.busy -= 1;
        if held.busy == 0 && !*held.evict.borrow() {
            held.silent_since = Instant::now();
            let address = held.address;
            *table.silent.entry(address).or_default() += 1;
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut table = self.shared.table.lock();
        if let Some(held) = table.held.remove(&self.id)
            && held.busy == 0
            && !*held.evict.borrow()
        {
            table.forget_silent(held.address);
        }
        let mut gone = Vec::new();
        while table.held.len() < self.shared.capacity {
            let Table { silent, waiting, .. } = &mut *table;
            let share = self.shared.share();
            let may = |address: &Address| silent.get(address).is_none_or(|count| *count < share);
            let Some((peer, waiting)) = waiting.pop_of(may) else { break };
            let place = table.hold(&self.shared, peer);
            if let Err(place) = waiting.send(place) {
                gone.push(place);
            }
        }
        // Dropping a place takes the lock.
        drop(table);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOG: [u8; 4] = [192, 0, 2, 1];
    const OTHER: [u8; 4] = [192, 0, 2, 2];

    fn places(capacity: usize, max_waiting: usize) -> Places {
        Places::with_silence(capacity, max_waiting, Duration::ZERO)
    }

    fn now(places: &Places, peer: [u8; 4]) -> Place {
        match places.ask(peer.into()).0 {
            Granted::Now(place) => place,
            Granted::Later(_) => panic!("there is a place"),
        }
    }

    fn later(places: &Places, peer: [u8; 4]) -> oneshot::Receiver<Place> {
        match places.ask(peer.into()).0 {
            Granted::Now(_) => panic!("there is no place"),
            Granted::Later(granted) => granted,
        }
    }

    fn is_evicted(place: &Place) -> bool {
        *place.0.evicted.borrow()
    }

    #[test]
    fn evicts_no_connection_while_there_are_free_places() {
        let places = places(8, 8);
        let held: Vec<_> = (0..6).map(|_| now(&places, HOG)).collect();
        assert!(!held.iter().any(is_evicted));
    }

    #[test]
    fn evicts_the_oldest_silent_connection_of_the_address_with_most() {
        let places = places(8, 8);
        let other = now(&places, OTHER);
        let hog: Vec<_> = (0..5).map(|_| now(&places, HOG)).collect();
        let newcomer = now(&places, OTHER);
        assert!(is_evicted(&hog[0]) && !hog[1..].iter().any(is_evicted));
        assert!(!is_evicted(&other) && !is_evicted(&newcomer));
    }

    #[test]
    fn keeps_the_last_quarter_for_others_than_the_address_that_fills_the_rest() {
        let places = Places::with_silence(8, 8, Duration::from_secs(3600));
        let hog: Vec<_> = (0..6).map(|_| now(&places, HOG)).collect();
        let mut waiting = later(&places, HOG);
        let others = (now(&places, OTHER), now(&places, OTHER));
        let mut full = later(&places, OTHER);
        drop(others.0);
        full.try_recv().expect("a place of the last quarter");
        assert!(waiting.try_recv().is_err());
        // A request in progress is no silent connection.
        let _busy = hog[0].busy();
        drop(others.1);
        waiting.try_recv().expect("a place for an address below its share");
    }

    #[test]
    fn keeps_active_and_recent_connections() {
        let places = places(2, 8);
        let (first, second) = (now(&places, HOG), now(&places, HOG));
        let busy = (first.busy(), second.busy());
        let _waiting = later(&places, OTHER);
        assert!(!is_evicted(&first) && !is_evicted(&second));
        drop(busy);
        assert_eq!(places.relieve(), 1);
        assert!(is_evicted(&first) ^ is_evicted(&second));

        let patient = Places::with_silence(1, 8, Duration::from_secs(3600));
        let young = now(&patient, HOG);
        let _waiting = later(&patient, OTHER);
        assert_eq!((patient.relieve(), is_evicted(&young)), (0, false));
    }

    #[test]
    fn gives_free_places_to_addresses_in_turn() {
        let places = Places::with_silence(1, 8, Duration::from_secs(3600));
        let held = now(&places, HOG);
        let mut hogs: Vec<_> = (0..3).map(|_| later(&places, HOG)).collect();
        let mut other = later(&places, OTHER);
        drop(held);
        drop(hogs[0].try_recv().expect("the first who waited"));
        drop(other.try_recv().expect("the other address is next"));
        assert!(hogs[1].try_recv().is_ok());
    }

    #[test]
    fn closes_the_newest_waiting_connection_of_the_address_with_most_when_too_many_wait() {
        let places = Places::with_silence(1, 2, Duration::from_secs(3600));
        let held = now(&places, HOG);
        let mut hogs: Vec<_> = (0..2).map(|_| later(&places, HOG)).collect();
        let mut other = later(&places, OTHER);
        assert!(hogs[1].try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        drop(held);
        drop(hogs[0].try_recv().expect("a place"));
        other.try_recv().expect("a place");
    }

    #[test]
    fn keeps_a_place_whose_waiting_connection_has_gone() {
        let places = Places::with_silence(1, 8, Duration::from_secs(3600));
        let held = now(&places, HOG);
        drop(later(&places, HOG));
        let mut patient = later(&places, OTHER);
        drop(held);
        patient.try_recv().expect("the place of the one who has gone");
    }
}
