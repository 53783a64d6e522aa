//! One group's events as they come, from whatever instance has members of it.

use std::collections::HashSet;

use super::handle::Console;
use super::peers::Ask;
use super::tap_reading::{MAX_EVENTS, TapPage};
use crate::group::GroupName;

impl Console {
    /// What has come for a group since this reader last asked. The first question begins it.
    /// Contents are left out unless they are `open` to the reader.
    pub(crate) async fn tap(&self, group: &GroupName, reader: u64, open: bool) -> TapPage {
        let ask = Ask::Tap { group: group.to_string(), reader };
        let all = self.ask_everywhere::<TapPage>(&ask).await;
        let mut page = TapPage { silent: all.silent, ..TapPage::default() };
        let mut seen = HashSet::new();
        for (_, part) in all.answers {
            page.missed = page.missed.max(part.missed);
            // Every instance with members has each of them.
            page.events.extend(part.events.into_iter().filter(|it| seen.insert(it.id.clone())));
        }
        page.events.truncate(MAX_EVENTS);
        if !open {
            page.events.iter_mut().for_each(|event| event.data = None);
        }
        page
    }
}
