//! Random sequences of operations on an outbox, compared with its model and with separate counts.

use proptest::prelude::*;

use super::model::Model;
use super::*;

/// One operation. Sources are indices into [`SOURCES`].
#[derive(Debug, Clone)]
enum Step {
    /// `events` events of `len` bytes of text, each with this time to live.
    Push {
        source: usize,
        events: usize,
        len: usize,
        ttl: u64,
    },
    Answer {
        len: usize,
    },
    Mark {
        source: usize,
        lost: Option<u64>,
        possible: bool,
    },
    /// The source's history starts again in a new epoch.
    NewEpoch {
        source: usize,
    },
    Forget {
        source: usize,
    },
    Pass {
        millis: u64,
    },
    Flush {
        room: usize,
    },
}

const SOURCES: [Source; 4] = [Source(0), Source(1), Source(70), Source::NONE];

fn step() -> impl Strategy<Value = Step> {
    let source = || 0..SOURCES.len();
    prop_oneof![
        8 => (source(), 1usize..12, 0usize..60, 1u64..200)
            .prop_map(|(source, events, len, ttl)| Step::Push { source, events, len, ttl }),
        1 => (source(), 60usize..150, 0usize..4, 1u64..200)
            .prop_map(|(source, events, len, ttl)| Step::Push { source, events, len, ttl }),
        2 => (0usize..100).prop_map(|len| Step::Answer { len }),
        1 => (source(), prop::option::of(1u64..5), any::<bool>())
            .prop_map(|(source, lost, possible)| Step::Mark { source, lost, possible }),
        1 => source().prop_map(|source| Step::NewEpoch { source }),
        1 => source().prop_map(|source| Step::Forget { source }),
        2 => (1u64..100).prop_map(|millis| Step::Pass { millis }),
        5 => prop_oneof![0usize..40, 0usize..2000].prop_map(|room| Step::Flush { room }),
    ]
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let overflow = prop_oneof![
        5 => Just(Overflow::DropOldest),
        4 => Just(Overflow::DropNewest),
        1 => Just(Overflow::Close),
    ];
    (prop_oneof![0u32..8, 50u32..100], overflow)
        .prop_map(|(capacity, overflow)| limits(capacity, overflow))
}

/// The fate of the events of each source, counted outside the outbox.
#[derive(Debug)]
struct Account {
    pushed: u64,
    written: u64,
    lost: u64,
    expired: u64,
    forgotten: u64,
    /// Lost in the layer, by its gaps; `None` once that is unknown, or gaps were forgotten.
    lost_in_layer: Option<u64>,
}

/// The outbox, its model, and the counts.
struct Life {
    outbox: Outbox,
    model: Model,
    limits: Vec<Limits>,
    epochs: [u64; SOURCES.len()],
    offsets: [u64; SOURCES.len()],
    accounts: [Account; SOURCES.len()],
    now: u64,
    taken: Vec<u8>,
}

impl Life {
    fn new(limits: Vec<Limits>, max_bytes: usize, gaps: GapPolicy, head: Option<usize>) -> Self {
        let mut outbox = Outbox::new(max_bytes, gaps);
        let (answers, slots) = (Vec::new(), Vec::new());
        let mut model = Model { head: None, answers, slots, gaps, max_bytes };
        let mut taken = Vec::new();
        if let Some(written) = head {
            let frame = Frame::text(b"put back");
            model.head = Some((frame.bytes()[written..].to_vec(), frame.len()));
            taken.extend(&frame.bytes()[..written]);
            outbox.put_back(frame, written);
        }
        Self {
            outbox,
            model,
            limits,
            epochs: [0; SOURCES.len()],
            offsets: [0; SOURCES.len()],
            accounts: [(); SOURCES.len()].map(|()| Account {
                pushed: 0,
                written: 0,
                lost: 0,
                expired: 0,
                forgotten: 0,
                lost_in_layer: (gaps == GapPolicy::Notify).then_some(0),
            }),
            now: 0,
            taken,
        }
    }

    /// The next event of a source; odd ones keep a history.
    fn entry(&mut self, source: usize, len: usize, ttl: u64) -> QueuedEvent {
        self.offsets[source] += 1;
        let offset = self.offsets[source];
        let text = format!("{source}#{}.{offset}{}", self.epochs[source], ".".repeat(len));
        let position = Position { epoch: self.epochs[source].to_string().into(), offset };
        let position = (source % 2 == 1).then_some(position);
        QueuedEvent { expires: Millis(self.now + ttl), position, ..entry(&text) }
    }

    fn take(&mut self, step: &Step) -> Result<(), Disconnect> {
        match *step {
            Step::Push { source, events, len, ttl } => {
                for _ in 0..events {
                    self.push(source, len, ttl)?;
                }
            }
            Step::Answer { len } => {
                let answer = Frame::text(&vec![b'!'; len]);
                let outcome = self.outbox.push_answer(answer.clone());
                assert_eq!(outcome, self.model.push_answer(answer));
                outcome?;
            }
            Step::Mark { source, lost, possible } => {
                let gap = Gap { reason: GapReason::Layer, lost, range: None, possible };
                let outcome = self.outbox.mark(SOURCES[source], gap.clone());
                assert_eq!(outcome, self.model.mark(SOURCES[source], gap));
                outcome?;
                let lost_in_layer = &mut self.accounts[source].lost_in_layer;
                *lost_in_layer = lost_in_layer.zip(lost).map(|(before, lost)| before + lost);
            }
            Step::NewEpoch { source } => {
                self.epochs[source] += 1;
                self.offsets[source] = 0;
            }
            Step::Forget { source } => {
                let forgotten = self.outbox.forget(SOURCES[source]);
                assert_eq!(forgotten, self.model.forget(SOURCES[source]));
                self.accounts[source].forgotten += u64::from(forgotten);
                self.accounts[source].lost_in_layer = None;
            }
            Step::Pass { millis } => self.now += millis,
            Step::Flush { room } => self.flush(room),
        }
        Ok(())
    }

    fn push(&mut self, source: usize, len: usize, ttl: u64) -> Result<(), Disconnect> {
        let entry = self.entry(source, len, ttl);
        let limits = self.limits[source];
        let outcome = self.outbox.push(SOURCES[source], entry.clone(), &limits);
        assert_eq!(outcome, self.model.push(SOURCES[source], entry, &limits));
        let lost = outcome?;
        let account = &mut self.accounts[source];
        account.pushed += 1;
        account.lost += u64::from(lost.capacity + lost.bytes);
        assert!(self.outbox.queue.waiting(SOURCES[source]) <= limits.capacity);
        Ok(())
    }

    fn flush(&mut self, room: usize) {
        let mut socket = Socket::with_room(room);
        let flushed = flush(&mut self.outbox, Millis(self.now), &mut socket);
        let (taken, expired) = self.model.flush(Millis(self.now), room);
        assert_eq!(String::from_utf8_lossy(&socket.taken), String::from_utf8_lossy(&taken));
        assert_eq!(flushed.bytes, taken.len() as u64);
        assert_eq!(flushed.expired.len(), expired.len());
        for (source, events) in flushed.expired {
            assert_eq!(expired.get(&source), Some(&events));
            let at = SOURCES.iter().position(|known| *known == source).unwrap();
            self.accounts[at].expired += u64::from(events);
        }
        self.taken.extend(taken);
    }

    fn assert_within_bounds(&self) {
        let model = &self.model;
        let events: usize = SOURCES.iter().map(|source| model.events(*source)).sum();
        let head = usize::from(model.head.is_some());
        assert_eq!(self.outbox.len(), head + model.answers.len() + events + model.marks());
        let answers: usize = model.answers.iter().map(Frame::len).sum();
        let head = model.head.as_ref().map_or(0, |(_, whole)| *whole);
        assert_eq!(self.outbox.bytes(), head + answers + model.event_bytes());
        assert!(model.event_bytes() <= model.max_bytes);
        // A batch of expired events may stand as marks beyond the lane.
        assert!(model.answers.len() + model.marks() <= LANE + 64);
        let backlog: u32 = self.outbox.backlog().map(|(_, events)| events).sum();
        assert_eq!(backlog as usize, events);
    }

    /// Writes all the rest; then every event has been written, or is accounted for and reported.
    fn settle(mut self) {
        self.flush(usize::MAX);
        assert!(self.outbox.is_empty());
        let texts = payloads(&self.taken);
        for (at, account) in self.accounts.iter_mut().enumerate() {
            let own = texts.iter().filter(|text| text.starts_with(&format!("{at}#")));
            account.written = own.count() as u64;
            let ends = account.written + account.lost + account.expired + account.forgotten;
            assert_eq!(account.pushed, ends, "source {at}: {account:?}");
            if let Some(lost_in_layer) = account.lost_in_layer {
                let gap = format!("<{} ", SOURCES[at].0);
                let gaps = texts.iter().filter_map(|text| text.strip_prefix(&gap));
                let lost = gaps.map(|gap| gap.trim_end_matches('>').split(' ').nth(1).unwrap());
                let reported: u64 = lost.map(|lost| lost.parse::<u64>().unwrap()).sum();
                assert_eq!(reported, account.lost + account.expired + lost_in_layer, "source {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_its_model(
        steps in prop::collection::vec(step(), 1..60),
        limits in prop::collection::vec(some_limits(), SOURCES.len()),
        max_bytes in prop_oneof![60usize..600, 600usize..6000],
        gaps in prop::sample::select(vec![GapPolicy::Notify, GapPolicy::Count]),
        head in prop::option::of(1usize..10),
    ) {
        let mut life = Life::new(limits, max_bytes, gaps, head);
        for step in &steps {
            if let Err(disconnect) = life.take(step) {
                assert_eq!(disconnect, Disconnect::SLOW);
                life.outbox.finish(disconnect.frame());
                life.model.finish(disconnect.frame());
                life.flush(usize::MAX);
                assert!(life.outbox.is_empty());
                return Ok(());
            }
            life.assert_within_bounds();
        }
        life.settle();
    }
}
