//! A model of the outbox: one vector, searched linearly for everything.

use std::collections::HashMap;

use super::*;

#[derive(Debug, Clone)]
pub(super) enum Slot {
    Event { source: Source, entry: QueuedEvent },
    Mark { source: Source, gap: Gap },
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The rest of a partly written frame, and its whole length.
    pub(super) head: Option<(Vec<u8>, usize)>,
    pub(super) answers: Vec<Frame>,
    pub(super) slots: Vec<Slot>,
    pub(super) gaps: GapPolicy,
    pub(super) max_bytes: usize,
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
            Self::Mark { source, gap } => render(*source, &Notice::Gap(gap.clone())),
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
    pub(super) fn events(&self, of: Source) -> usize {
        self.slots.iter().filter(|slot| slot.source() == of && slot.event_len() > 0).count()
    }

    pub(super) fn marks(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Mark { .. })).count()
    }

    pub(super) fn event_bytes(&self) -> usize {
        self.slots.iter().map(Slot::event_len).sum()
    }

    fn fits(&self, source: Source, len: usize, limits: &Limits) -> bool {
        let head = self.head.as_ref().map_or(0, |(_, whole)| *whole);
        self.events(source) < limits.capacity as usize
            && head + self.event_bytes() + len <= self.max_bytes
    }

    /// Merges marks of one source without an event of that source between them.
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
        if self.gaps == GapPolicy::Notify {
            let gap = gap_of(entry.position, reason);
            self.slots.insert(at, Slot::Mark { source, gap });
            self.merge();
        }
    }

    pub(super) fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        if self.gaps == GapPolicy::Count {
            return Ok(());
        }
        self.within_lane(|model| {
            model.slots.push(Slot::Mark { source, gap });
            model.merge();
        })
    }

    pub(super) fn push(
        &mut self,
        source: Source,
        entry: QueuedEvent,
        limits: &Limits,
    ) -> Result<Lost, Disconnect> {
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

    pub(super) fn push_answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        let bytes: usize = self.answers.iter().map(Frame::len).sum();
        if self.answers.len() + self.marks() >= LANE || bytes >= self.max_bytes {
            return Err(Disconnect::SLOW);
        }
        self.answers.push(frame);
        Ok(())
    }

    pub(super) fn forget(&mut self, source: Source) -> u32 {
        let events = self.events(source);
        self.slots.retain(|slot| slot.source() != source);
        events as u32
    }

    pub(super) fn finish(&mut self, frame: Frame) {
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

    pub(super) fn flush(
        &mut self,
        now: Millis,
        mut room: usize,
    ) -> (Vec<u8>, HashMap<Source, u32>) {
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
