// The channel tree as rows: what is visible, and where the arrow keys lead.

import type { Channel, Member, Room } from '../../host/types';
import { membersOf } from '../../lib/room';

/** May be joined. The bit of `Permissions::JOIN`. */
const JOIN = 2;
/** May see everything and go everywhere. The bit of `Permissions::ADMINISTRATOR`. */
const ADMINISTRATOR = 1 << 17;

/** A line of the tree. */
export type Row = { key: string; level: number; position: number; siblings: number; parent: string | null } & (
  | { kind: 'channel'; channel: Channel; count: number; expandable: boolean; expanded: boolean; joinable: boolean }
  | { kind: 'member'; member: Member }
);

export const channelKey = (id: number) => `c${id}`;
export const memberKey = (session: number) => `m${session}`;

/** The visible rows, from the top down. In a channel its people come before the channels below it. */
export function rows(room: Room, collapsed: ReadonlySet<number>): Row[] {
  const known = new Set(room.channels.map((channel) => channel.id));
  const children = new Map<number | null, Channel[]>();
  for (const channel of room.channels) {
    // A parent that one may not see has its children shown at the top.
    const parent = channel.parent !== null && known.has(channel.parent) ? channel.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), channel]);
  }

  const out: Row[] = [];
  const visit = (parent: Channel | null, level: number) => {
    const people = parent ? membersOf(room, parent.id) : [];
    const channels = children.get(parent?.id ?? null) ?? [];
    const siblings = people.length + channels.length;
    const parentKey = parent ? channelKey(parent.id) : null;
    people.forEach((member, index) => {
      const key = memberKey(member.session);
      out.push({ kind: 'member', key, level, position: index + 1, siblings, parent: parentKey, member });
    });
    channels.forEach((channel, index) => {
      const count = membersOf(room, channel.id).length;
      const expandable = count > 0 || children.has(channel.id);
      const expanded = expandable && !collapsed.has(channel.id);
      out.push({
        kind: 'channel',
        key: channelKey(channel.id),
        level,
        position: people.length + index + 1,
        siblings,
        parent: parentKey,
        channel,
        count,
        expandable,
        expanded,
        joinable: mayJoin(room, channel),
      });
      if (expanded) visit(channel, level + 1);
    });
  };
  visit(null, 1);
  return out;
}

function mayJoin(room: Room, channel: Channel): boolean {
  return ((room.permissions | channel.permissions) & ADMINISTRATOR) !== 0 || (channel.permissions & JOIN) !== 0;
}

/** What a key does in the tree. */
export type Action =
  | { do: 'focus'; key: string }
  | { do: 'expand' | 'collapse' | 'join'; channel: number }
  | { do: 'nothing' };

/** The keys of the WAI-ARIA tree pattern; null for a key that is not of the tree. */
export function keyAction(list: Row[], focused: string, key: string): Action | null {
  const index = Math.max(
    0,
    list.findIndex((row) => row.key === focused),
  );
  const row = list[index];
  if (!row) return null;
  const focus = (target: Row | undefined): Action => (target ? { do: 'focus', key: target.key } : { do: 'nothing' });
  switch (key) {
    case 'ArrowDown':
      return focus(list[index + 1]);
    case 'ArrowUp':
      return focus(list[index - 1]);
    case 'Home':
      return focus(list[0]);
    case 'End':
      return focus(list[list.length - 1]);
    case 'ArrowRight':
      if (row.kind !== 'channel' || !row.expandable) return { do: 'nothing' };
      return row.expanded ? focus(list[index + 1]) : { do: 'expand', channel: row.channel.id };
    case 'ArrowLeft':
      if (row.kind === 'channel' && row.expanded) return { do: 'collapse', channel: row.channel.id };
      return focus(list.find((candidate) => candidate.key === row.parent));
    case 'Enter':
    case ' ':
      return row.kind === 'channel' && row.joinable ? { do: 'join', channel: row.channel.id } : { do: 'nothing' };
    default:
      return null;
  }
}
