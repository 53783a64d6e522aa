//! The parts of the coordinator and the layer: subscriptions, answers and publications, each with
//! its own delay, as between machines.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::oracle::Oracle;
use crate::event::{Position, Publication, Recovery, Target};
use crate::group::GroupName;
use crate::hub::command::PromptCommand;
use crate::hub::tests::bench::{Bench, Requested};
use crate::hub::tests::fixture::{answer_to, position};
use crate::hub::{Join, Registry};

pub(super) struct Layer {
    registry: Arc<Registry>,
    /// What each shard has yet to be given, in the order of acceptance.
    lines: Vec<VecDeque<Publication>>,
    joins: Vec<VecDeque<Join>>,
    /// How far each group with history is.
    offsets: HashMap<GroupName, u64>,
}

impl Layer {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        let lines = (0..3).map(|_| VecDeque::new()).collect();
        let joins = (0..3).map(|_| VecDeque::new()).collect();
        Self { registry, lines, joins, offsets: HashMap::new() }
    }

    /// Numbers a publication and sends it on its way to the shards that want it by now.
    pub(super) fn accept(&mut self, mut publication: Publication) {
        let mut wanted = crate::hub::registry::ShardSet::all(3);
        if let Target::Group(name) = &publication.target {
            wanted = self.registry.shards_of(name);
            if name.as_str().starts_with('h') {
                let offset = self.offsets.entry(name.clone()).or_default();
                *offset += 1;
                publication.position = Some(position(*offset));
            }
        }
        for shard in wanted.iter() {
            self.lines[shard].push_back(publication.clone());
        }
    }

    /// Serves a shard's requests as the coordinator does.
    pub(super) fn take_requests(&mut self, bench: &mut Bench, most: usize) {
        let shard = bench.shard.context.index;
        for _ in 0..most {
            match bench.requests.try_recv() {
                Some(Requested::Join(join)) => {
                    for (name, _) in &join.groups {
                        self.registry.open(name, shard);
                    }
                    self.joins[shard].push_back(join);
                }
                Some(Requested::Release(groups)) => {
                    // A release must not overtake the joins before it.
                    for name in groups {
                        self.registry.close(&name, shard);
                    }
                }
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }

    /// Answers joins with the current positions, which publications in flight have not reached.
    pub(super) fn answer(
        &mut self,
        shard: usize,
        bench: &mut Bench,
        oracle: &mut Oracle,
        most: usize,
    ) {
        for _ in 0..most {
            let Some(join) = self.joins[shard].pop_front() else { return };
            let at = |name: &GroupName| -> Option<Position> {
                let offset = self.offsets.get(name).copied().unwrap_or_default();
                name.as_str().starts_with('h').then(|| position(offset))
            };
            for (name, _) in &join.groups {
                oracle.granted(join.to, name.as_str(), at(name).map(|at| at.offset));
            }
            let answered =
                answer_to(join, |name| Ok(Recovery { position: at(name), ..Recovery::default() }));
            bench.post(PromptCommand::Joined(Box::new(answered)));
            bench.turn();
        }
    }

    /// What a shard is given next.
    pub(super) fn due(&mut self, shard: usize, most: usize) -> Vec<Publication> {
        let line = &mut self.lines[shard];
        line.drain(..most.min(line.len())).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty) && self.joins.iter().all(VecDeque::is_empty)
    }
}
