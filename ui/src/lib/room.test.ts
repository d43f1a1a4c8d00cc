import { describe, expect, it } from 'vitest';

import type { Member, MembersChange, Room } from '../host/types';
import { applyChange, managesUsers, membersOf, ownMember } from './room';

const member = (session: number, rest: Partial<Member> = {}): Member => ({
  session,
  user: session,
  username: `user${session}`,
  display_name: `User ${session}`,
  channel: 1,
  muted: false,
  deafened: false,
  talking: false,
  ...rest,
});

const room = (...members: Member[]): Room => ({
  session: 1,
  server_version: '0.1.0',
  organization: { id: 1, name: 'Crew', tag: 'CREW' },
  permissions: 3,
  channels: [],
  members,
});

const change = (changed: Member[], gone: number[] = []): MembersChange => ({ changed, gone });

describe('applyChange', () => {
  it('adds whoever comes, once', () => {
    const came = change([member(2)]);
    expect(applyChange(applyChange(room(member(1)), came), came).members).toEqual([member(1), member(2)]);
  });

  it('replaces whoever is known, in their place', () => {
    const start = room(member(1), member(2, { talking: true }), member(3));
    const after = applyChange(start, change([member(2, { muted: true })]));
    expect(after.members).toEqual([member(1), member(2, { muted: true }), member(3)]);
  });

  it('removes whoever is gone, known or not', () => {
    expect(applyChange(room(member(1), member(2)), change([], [2, 9])).members).toEqual([member(1)]);
  });

  it('leaves the room that it was given as it is', () => {
    const start = room(member(1), member(2));
    const copy = structuredClone(start);
    applyChange(start, change([member(2, { talking: true })], [1]));
    expect(start).toEqual(copy);
    expect(applyChange(start, change([]))).toBe(start);
  });
});

it('knows oneself, and who is where', () => {
  const start = room(member(1, { display_name: 'Zoe' }), member(2, { display_name: 'Ann' }), member(3, { channel: 2 }));
  expect(ownMember(start)?.display_name).toBe('Zoe');
  expect(membersOf(start, 1).map(({ display_name }) => display_name)).toEqual(['Ann', 'Zoe']);
});

it('offers the accounts to those who manage them', () => {
  const may = (permissions: number) => managesUsers({ ...room(member(1)), permissions });
  expect([0, 3, 1 << 12, 1 << 13, 1 << 17].map(may)).toEqual([false, false, false, true, true]);
});
