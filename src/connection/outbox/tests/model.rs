//! The outbox against a vector that is searched from end to end for everything.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Slot {
    Event { source: Source, entry: Entry },
    Mark { source: Source, gap: Gap },
}

#[derive(Debug, Clone)]
struct Model {
    /// What is left of a partly written frame, and its whole length.
    head: Option<(Vec<u8>, usize)>,
    answers: Vec<Frame>,
    slots: Vec<Slot>,
    gaps: Gaps,
    max_bytes: usize,
}

impl Slot {
    fn source(&self) -> Source {
        match self {
            Self::Event { source, .. } | Self::Mark { source, .. } => *source,
        }
    }

    fn frame(&self) -> Frame {
        match self {
            Self::Event { entry, .. } => entry.frame.clone(),
            Self::Mark { source, gap } => render(*source, gap),
        }
    }

    fn event_len(&self) -> usize {
        match self {
            Self::Event { entry, .. } => entry.frame.len(),
            Self::Mark { .. } => 0,
        }
    }
}

impl Model {
    fn events(&self, of: Source) -> usize {
        self.slots.iter().filter(|slot| slot.source() == of && slot.event_len() > 0).count()
    }

    fn marks(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Mark { .. })).count()
    }

    fn event_bytes(&self) -> usize {
        self.slots.iter().map(Slot::event_len).sum()
    }

    fn fits(&self, source: Source, len: usize, limits: &Limits) -> bool {
        let head = self.head.as_ref().map_or(0, |(_, whole)| *whole);
        self.events(source) < limits.capacity as usize
            && head + self.event_bytes() + len <= self.max_bytes
    }

    /// Merges marks of one source that no event of that source stands between.
    fn merge(&mut self) {
        for older in 0..self.slots.len() {
            let source = self.slots[older].source();
            let newer = (older + 1..self.slots.len()).find(|at| self.slots[*at].source() == source);
            let Some(newer) = newer else { continue };
            if let (Slot::Mark { gap: a, .. }, Slot::Mark { gap: b, .. }) =
                (&self.slots[older], &self.slots[newer])
                && a.range.as_ref().map(|(p, _)| &p.epoch)
                    == b.range.as_ref().map(|(p, _)| &p.epoch)
            {
                let gap = Gap {
                    reason: a.reason,
                    lost: a.lost.and_then(|a| Some(a + b.lost?)),
                    range: a.range.clone().map(|(p, _)| (p, b.range.as_ref().unwrap().1)),
                    possible: a.possible && b.possible,
                };
                self.slots[older] = Slot::Mark { source, gap };
                self.slots.remove(newer);
                return self.merge();
            }
        }
    }

    /// Makes a change that may need a mark; refused if that finds the lane full.
    fn within_lane(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), Disconnect> {
        let mut changed = self.clone();
        change(&mut changed);
        let full = self.answers.len() + self.marks() >= LANE;
        if full && changed.marks() > self.marks() {
            return Err(Disconnect::SLOW);
        }
        *self = changed;
        Ok(())
    }

    fn lose(&mut self, at: usize, reason: GapReason) {
        let Slot::Event { source, entry } = self.slots.remove(at) else { unreachable!() };
        if self.gaps == Gaps::Told {
            let gap = gap_of(entry.position, reason);
            self.slots.insert(at, Slot::Mark { source, gap });
            self.merge();
        }
    }

    fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        if self.gaps == Gaps::Counted {
            return Ok(());
        }
        self.within_lane(|model| {
            model.slots.push(Slot::Mark { source, gap });
            model.merge();
        })
    }

    fn push(&mut self, source: Source, entry: Entry, limits: &Limits) -> Result<Lost, Disconnect> {
        let len = entry.frame.len();
        let mut lost = Lost::default();
        while !self.fits(source, len, limits) {
            if limits.overflow == Overflow::Close {
                return Err(Disconnect::SLOW);
            }
            match self.events(source) < limits.capacity as usize {
                true => lost.bytes += 1,
                false => lost.capacity += 1,
            }
            let mut without = self.clone();
            without.slots.retain(|slot| slot.source() != source);
            if limits.overflow == Overflow::DropNewest || !without.fits(source, len, limits) {
                self.mark(source, gap_of(entry.position, GapReason::Slow))?;
                return Ok(lost);
            }
            let mut slots = self.slots.iter();
            let oldest = slots.position(|slot| slot.source() == source && slot.event_len() > 0);
            self.within_lane(|model| model.lose(oldest.unwrap(), GapReason::Slow))?;
        }
        self.slots.push(Slot::Event { source, entry });
        Ok(lost)
    }

    fn push_answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        let bytes: usize = self.answers.iter().map(Frame::len).sum();
        if self.answers.len() + self.marks() >= LANE || bytes >= self.max_bytes {
            return Err(Disconnect::SLOW);
        }
        self.answers.push(frame);
        Ok(())
    }

    fn forget(&mut self, source: Source) -> u32 {
        let events = self.events(source);
        self.slots.retain(|slot| slot.source() != source);
        events as u32
    }

    fn finish(&mut self, frame: Frame) {
        self.answers = vec![frame];
        self.slots.clear();
    }

    /// Loses what has expired among the next 64; counts it by source.
    fn expire(&mut self, now: Millis, expired: &mut HashMap<Source, u32>) {
        let mut at = 0;
        while at < self.slots.len().min(64) {
            match &self.slots[at] {
                Slot::Event { source, entry } if entry.expires <= now => {
                    *expired.entry(*source).or_default() += 1;
                    self.lose(at, GapReason::Expired);
                    // Whatever merged, nothing before this place has expired.
                    at = 0;
                }
                _ => at += 1,
            }
        }
    }

    fn flush(&mut self, now: Millis, mut room: usize) -> (Vec<u8>, HashMap<Source, u32>) {
        let (mut taken, mut expired) = (Vec::new(), HashMap::new());
        loop {
            self.expire(now, &mut expired);
            let waiting: Vec<_> = self.waiting().into_iter().take(64).flatten().collect();
            let written = waiting.len().min(room);
            if written == 0 {
                return (taken, expired);
            }
            taken.extend(&waiting[..written]);
            room -= written;
            self.drop_front(written);
        }
    }

    /// What is left to write of each frame, in order.
    fn waiting(&self) -> Vec<Vec<u8>> {
        let head = self.head.iter().map(|(rest, _)| rest.clone());
        let answers = self.answers.iter().cloned();
        let frames = answers.chain(self.slots.iter().map(Slot::frame));
        head.chain(frames.map(|frame| frame.bytes().to_vec())).collect()
    }

    fn drop_front(&mut self, mut written: usize) {
        while written > 0 {
            let (rest, whole) = self.head.take().unwrap_or_else(|| {
                let next = match self.answers.is_empty() {
                    false => self.answers.remove(0),
                    true => self.slots.remove(0).frame(),
                };
                (next.bytes().to_vec(), next.len())
            });
            if written < rest.len() {
                self.head = Some((rest[written..].to_vec(), whole));
                return;
            }
            written -= rest.len();
        }
    }
}

/// A step of a connection's life. Sources are indices into [`SOURCES`].
#[derive(Debug, Clone)]
enum Step {
    /// So many events, each with so many bytes of text, that may wait so long.
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
    /// The source's history begins anew.
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

/// What became of the events of each source, counted from outside.
#[derive(Debug)]
struct Account {
    pushed: u64,
    written: u64,
    lost: u64,
    expired: u64,
    forgotten: u64,
    /// Told by the layer's gaps; `None` once that is not known, or gaps were forgotten.
    told_else: Option<u64>,
}

/// The outbox, its model, and the books.
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
    fn new(limits: Vec<Limits>, max_bytes: usize, gaps: Gaps, head: Option<usize>) -> Self {
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
                told_else: (gaps == Gaps::Told).then_some(0),
            }),
            now: 0,
            taken,
        }
    }

    /// The next event of a source; odd ones keep a history.
    fn entry(&mut self, source: usize, len: usize, ttl: u64) -> Entry {
        self.offsets[source] += 1;
        let offset = self.offsets[source];
        let text = format!("{source}#{}.{offset}{}", self.epochs[source], ".".repeat(len));
        let position = Position { epoch: self.epochs[source].to_string().into(), offset };
        let position = (source % 2 == 1).then_some(position);
        Entry { expires: Millis(self.now + ttl), position, ..entry(&text) }
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
                let told_else = &mut self.accounts[source].told_else;
                *told_else = told_else.zip(lost).map(|(before, lost)| before + lost);
            }
            Step::NewEpoch { source } => {
                self.epochs[source] += 1;
                self.offsets[source] = 0;
            }
            Step::Forget { source } => {
                let forgotten = self.outbox.forget(SOURCES[source]);
                assert_eq!(forgotten, self.model.forget(SOURCES[source]));
                self.accounts[source].forgotten += u64::from(forgotten);
                self.accounts[source].told_else = None;
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
        assert!(self.outbox.waiting(SOURCES[source]) <= limits.capacity);
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

    /// Writes all the rest; then every event has been written or is accounted for, and told.
    fn settle(mut self) {
        self.flush(usize::MAX);
        assert!(self.outbox.is_empty());
        let texts = payloads(&self.taken);
        for (at, account) in self.accounts.iter_mut().enumerate() {
            let own = texts.iter().filter(|text| text.starts_with(&format!("{at}#")));
            account.written = own.count() as u64;
            let ends = account.written + account.lost + account.expired + account.forgotten;
            assert_eq!(account.pushed, ends, "source {at}: {account:?}");
            if let Some(told_else) = account.told_else {
                let gap = format!("<{} ", SOURCES[at].0);
                let gaps = texts.iter().filter_map(|text| text.strip_prefix(&gap));
                let lost = gaps.map(|gap| gap.trim_end_matches('>').split(' ').nth(1).unwrap());
                let told: u64 = lost.map(|lost| lost.parse::<u64>().unwrap()).sum();
                assert_eq!(told, account.lost + account.expired + told_else, "source {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_outbox_does_what_its_model_does(
        steps in prop::collection::vec(step(), 1..60),
        limits in prop::collection::vec(some_limits(), SOURCES.len()),
        max_bytes in prop_oneof![60usize..600, 600usize..6000],
        gaps in prop::sample::select(vec![Gaps::Told, Gaps::Counted]),
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
