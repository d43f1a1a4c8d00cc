// Who is where, kept up to date by the server's events. The same rules as `Room::apply` in the engine.

import type { Member, MembersChange, Room } from '../host/types';

/** The room after a change. */
export function applyChange(room: Room, { changed, gone }: MembersChange): Room {
  if (changed.length === 0 && gone.length === 0) return room;
  const members = new Map(room.members.map((member) => [member.session, member]));
  for (const session of gone) members.delete(session);
  for (const member of changed) members.set(member.session, member);
  return { ...room, members: [...members.values()] };
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
