// Who is where, kept up to date by the server's events. The same rules as `Room::apply` in the engine.

import type { Member, Room, RoomChange } from '../host/types';

/** The room after one change. Whoever is not known is passed over: the next snapshot tells. */
export function applyChange(room: Room, change: RoomChange): Room {
  switch (change.event) {
    case 'member_online': {
      const known = room.members.some((member) => member.session === change.data.session);
      return known
        ? update(room, change.data.session, () => change.data)
        : { ...room, members: [...room.members, change.data] };
    }
    case 'member_offline':
      return { ...room, members: room.members.filter((member) => member.session !== change.data.session) };
    case 'member_moved': {
      const { session, channel } = change.data;
      return update(room, session, (member) => ({ ...member, channel, talking: false }));
    }
    case 'member_state': {
      const { session, muted, deafened } = change.data;
      return update(room, session, (member) => ({
        ...member,
        muted,
        deafened,
        talking: member.talking && !muted,
      }));
    }
    case 'member_talking': {
      const { session, talking } = change.data;
      return update(room, session, (member) => ({ ...member, talking }));
    }
  }
}

const MANAGE_USERS = 1 << 13;
const ADMINISTRATOR = 1 << 17;

/** Whether one may see and change the accounts of the organization. */
export function managesUsers(room: Room): boolean {
  return (room.permissions & (MANAGE_USERS | ADMINISTRATOR)) !== 0;
}

/** One's own entry. */
export function ownMember(room: Room): Member | undefined {
  return room.members.find((member) => member.session === room.session);
}

/** Those in a channel, by name. */
export function membersOf(room: Room, channel: number | null): Member[] {
  return room.members
    .filter((member) => member.channel === channel)
    .sort((a, b) => a.display_name.localeCompare(b.display_name) || a.session - b.session);
}

function update(room: Room, session: number, change: (member: Member) => Member): Room {
  if (!room.members.some((member) => member.session === session)) return room;
  return { ...room, members: room.members.map((member) => (member.session === session ? change(member) : member)) };
}
