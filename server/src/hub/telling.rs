//! What each is told of the members: all of it at first, then what has changed, as much as they may see.

use std::{collections::HashMap, time::Duration};

use voip_protocol::{
    SessionId,
    control::{Member, MembersChange, ServerEvent, ServerMessage, Snapshot},
    limits::MAX_MEMBERS_TOLD,
};

use super::{super::Presence, Hub, Output, Session};

impl Hub {
    /// Tells everybody as much of the news as they may see.
    pub(super) fn tell_news(&mut self, now: Duration, out: &mut Vec<Output>) {
        let due: Vec<_> = self
            .news
            .iter()
            .filter(|(_, news)| news.due().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for organization in due {
            let viewers = self.sessions_of(organization);
            let Some(news) = self.news.get_mut(&organization) else { continue };
            let told = news.take(now, viewers.len());
            let channels =
                told.channels(|id| self.sessions.get(&id).and_then(|session| session.member.channel));
            // Those who see the same of the channels in question are told the same.
            let mut alike: HashMap<Vec<bool>, Vec<SessionId>> = HashMap::new();
            for viewer in viewers {
                let sees = channels.iter().map(|channel| self.sessions[&viewer].sees(*channel));
                let sees = sees.chain([told.in_between.contains(&viewer)]).collect();
                alike.entry(sees).or_default().push(viewer);
            }
            for viewers in alike.into_values() {
                let viewer = &self.sessions[&viewers[0]];
                let in_between = told.in_between.contains(&viewers[0]);
                let changed = told.changed.iter().filter_map(|(id, before)| {
                    let member = viewer.view_of(&self.sessions.get(id)?.member);
                    let is_news = in_between
                        || before.is_none_or(|before| viewer.sees_of(before) != Presence::of(&member));
                    is_news.then_some(member)
                });
                for change in in_parts(changed.collect(), &told.gone) {
                    out.push(Output::Broadcast(viewers.clone(), ServerEvent::Members(change)));
                }
            }
        }
    }

    /// Tells somebody who has connected what there is, in messages of a size that nobody has to keep room for.
    pub(super) fn send_snapshot(&self, id: SessionId, out: &mut Vec<Output>) {
        let session = &self.sessions[&id];
        let tenant = &self.tenants[&session.organization];
        let others = self.sessions.iter().filter(|(other, session)| {
            **other != id && session.organization == self.sessions[&id].organization
        });
        let mut members = std::iter::once(&session.member)
            .chain(others.map(|(_, other)| &other.member))
            .map(|member| session.view_of(member));
        let snapshot = Snapshot {
            session: id,
            voice: session.voice.clone(),
            server_version: env!("CARGO_PKG_VERSION").into(),
            organization: tenant.organization.clone(),
            permissions: session.permissions,
            channels: tenant.visible(&session.in_channels),
            members: members.by_ref().take(MAX_MEMBERS_TOLD).collect(),
        };
        let rest = in_parts(members.collect(), &[]).map(ServerEvent::Members);
        let events = std::iter::once(ServerEvent::Snapshot(Box::new(snapshot))).chain(rest);
        out.push(Output::Begin(id, events.map(ServerMessage::Event).collect()));
    }
}

impl Session {
    /// Another's entry, without the channel where that may not be seen.
    pub(super) fn view_of(&self, other: &Member) -> Member {
        let Presence { channel, talking, .. } = self.sees_of(Presence::of(other));
        Member { channel, talking, ..other.clone() }
    }

    fn sees_of(&self, other: Presence) -> Presence {
        let channel = other.channel.filter(|channel| self.sees(*channel));
        Presence { channel, talking: other.talking && channel.is_some(), ..other }
    }
}

/// In messages that hold no more than they may.
fn in_parts(changed: Vec<Member>, gone: &[SessionId]) -> impl Iterator<Item = MembersChange> {
    let count = changed.len().max(gone.len()).div_ceil(MAX_MEMBERS_TOLD);
    let mut changed = changed.into_iter();
    (0..count).map(move |part| MembersChange {
        changed: changed.by_ref().take(MAX_MEMBERS_TOLD).collect(),
        gone: gone.iter().skip(part * MAX_MEMBERS_TOLD).take(MAX_MEMBERS_TOLD).copied().collect(),
    })
}
