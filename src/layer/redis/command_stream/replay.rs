//! Hands on commands, each at its place among publications and none left out.
//!
//! Commands are numbered. One whose number is not the next, or a probe that names a newer one than
//! has arrived, shows that some were lost on the way here; they are read from the stream before
//! anything else is delivered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::applied::AppliedCommands;
use super::recent::Recent;
use super::stream::{CommandChunk, CommandStream};
use crate::event::{Control, Member, Stamp};
use crate::layer::Incoming;
use crate::layer::envelope::CommandMark;
use crate::layer::redis::script::ScriptError;

/// Time between two attempts to read the stream.
const RETRY: Duration = Duration::from_millis(25);

/// Behind every place.
const END: Stamp = Stamp { generation: u64::MAX, number: u64::MAX };

/// The coordinator no longer reads the inbox.
pub(in crate::layer::redis) struct InboxClosed;

/// What one instance has received of the stream.
pub(in crate::layer::redis) struct CommandReplay {
    stream: Arc<CommandStream>,
    inbox: mpsc::Sender<Incoming>,
    /// The place of the newest command handed on; `None` until the first contact with Redis.
    cursor: Option<Stamp>,
    applied: AppliedCommands,
}

impl CommandReplay {
    pub(in crate::layer::redis) fn new(
        stream: Arc<CommandStream>,
        inbox: mpsc::Sender<Incoming>,
    ) -> Self {
        Self { stream, inbox, cursor: None, applied: AppliedCommands::new() }
    }

    /// A command arrived.
    pub(in crate::layer::redis) async fn receive(
        &mut self,
        control: Control,
        mark: Option<CommandMark>,
    ) -> Result<(), InboxClosed> {
        let Some((mark, place)) = mark.and_then(|mark| mark.place.map(|place| (mark, place)))
        else {
            // From an older release, which does not number commands.
            return self.hand_on(Incoming::Control(control, None)).await;
        };
        if self.cursor.is_none_or(|cursor| place > cursor.next()) {
            self.catch_up(place).await?;
        }
        // A script appends it, and no script can sign: one that Redis does not know is not
        // believed. Otherwise it would pass for the stamp of connections to come.
        let place = self.cursor.map_or(place, |cursor| place.min(cursor.next()));
        // Otherwise it was read from the stream already, or Redis does not have it: then only its
        // id decides.
        if self.cursor.map(Stamp::next) == Some(place) {
            self.cursor = Some(place);
        }
        self.apply(control, mark, place).await
    }

    /// The newest command that must have arrived by now has this place.
    pub(in crate::layer::redis) async fn expect(
        &mut self,
        newest: Stamp,
    ) -> Result<(), InboxClosed> {
        match self.cursor {
            Some(cursor) if newest <= cursor => Ok(()),
            _ => self.catch_up(newest.next()).await,
        }
    }

    /// The subscription was lost and is complete again; `newest` was accepted before that. What
    /// arrived since begins with the command at `next`, if there is one.
    pub(in crate::layer::redis) async fn resubscribed(
        &mut self,
        newest: Stamp,
        next: Option<Stamp>,
    ) -> Result<(), InboxClosed> {
        let end = next.map_or(newest.next(), |next| next.min(newest.next()));
        match self.cursor {
            Some(cursor) if end > cursor.next() => self.catch_up(end).await,
            _ => Ok(()),
        }
    }

    /// Messages were lost that may have been commands.
    pub(in crate::layer::redis) async fn catch_up_to_the_end(&mut self) -> Result<(), InboxClosed> {
        match self.cursor {
            Some(_) => self.catch_up(END).await,
            None => Ok(()),
        }
    }

    /// Hands on what the stream has behind the cursor and before `end`.
    async fn catch_up(&mut self, end: Stamp) -> Result<(), InboxClosed> {
        let is_first = self.cursor.is_none();
        let mut cursor = self.cursor.unwrap_or_default();
        let mut read = cursor;
        loop {
            let Some(chunk) = self.read_after(read).await? else {
                let passed = if end == END { cursor } else { end.previous() };
                self.cursor = Some(cursor.max(passed));
                return self.report_missed().await;
            };
            let from = Stamp { number: chunk.from, ..chunk.newest };
            if chunk.missed && from < end && !is_first {
                tracing::error!(
                    "commands of back ends were missed: the stream no longer has them; closing all \
                     connections"
                );
                self.report_missed().await?;
            }
            for entry in chunk.entries {
                if entry.place >= end {
                    self.cursor = Some(cursor.max(end.previous()));
                    return Ok(());
                }
                // What another program appended may have any generation.
                cursor = cursor.max(entry.place);
                read = Stamp { number: entry.place.number, ..chunk.newest };
                match entry.command {
                    Some((control, mark)) if is_first => {
                        self.note_earlier(control, mark, entry.place).await?;
                    }
                    Some((control, mark)) => self.apply(control, mark, entry.place).await?,
                    None => {}
                }
            }
            if chunk.is_last {
                self.cursor = Some(cursor.max(chunk.newest.min(end.previous())));
                return Ok(());
            }
        }
    }

    /// Reads, and waits while Redis cannot be reached: what follows must not overtake a command.
    /// `None` = Redis refuses.
    async fn read_after(&self, place: Stamp) -> Result<Option<CommandChunk>, InboxClosed> {
        let mut is_told = false;
        loop {
            match self.stream.read_after(place).await {
                Ok(chunk) => return Ok(Some(chunk)),
                Err(ScriptError::Refused(error)) => {
                    tracing::error!(error, "commands cannot be read; closing all connections");
                    return Ok(None);
                }
                Err(ScriptError::Away(error)) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "commands not read yet; delivery waits");
                    }
                }
            }
            if self.inbox.is_closed() {
                return Err(InboxClosed);
            }
            sleep(RETRY).await;
        }
    }

    async fn apply(
        &mut self,
        control: Control,
        mark: CommandMark,
        place: Stamp,
    ) -> Result<(), InboxClosed> {
        let stamp = mark.accepted.unwrap_or(place);
        if !self.applied.admits(mark.id, stamp, &control) {
            return Ok(());
        }
        self.stream.redis_health().command_accepted(place);
        let recent = Recent::new(mark.id, stamp, place, control.clone());
        self.stream.recent.lock().insert(recent);
        self.hand_on(Incoming::Control(control, Some(stamp))).await
    }

    /// A command from before this instance had connections: it only outdates verdicts on the user.
    async fn note_earlier(
        &mut self,
        control: Control,
        mark: CommandMark,
        place: Stamp,
    ) -> Result<(), InboxClosed> {
        let stamp = mark.accepted.unwrap_or(place);
        self.applied.admits(mark.id, stamp, &control);
        match control {
            Control::Close(Member::User(sub), _) | Control::CloseSession(sub, ..) => {
                self.hand_on(Incoming::ClosedEarlier(sub)).await
            }
            Control::Close(Member::Connection(_), _) | Control::Join(..) | Control::Leave(..) => {
                Ok(())
            }
        }
    }

    async fn report_missed(&self) -> Result<(), InboxClosed> {
        self.stream.redis_health().count_missed_commands();
        self.hand_on(Incoming::CommandsMissed).await
    }

    async fn hand_on(&self, incoming: Incoming) -> Result<(), InboxClosed> {
        self.inbox.send(incoming).await.map_err(|_| InboxClosed)
    }
}
