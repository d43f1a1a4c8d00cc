import { describe, expect, it } from 'vitest';

import type { Member, Room, RoomChange } from '../host/types';
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

const after = (start: Room, ...changes: RoomChange[]) => changes.reduce(applyChange, start);

describe('applyChange', () => {
  it('adds whoever comes, once', () => {
    const online: RoomChange = { event: 'member_online', data: member(2) };
    expect(after(room(member(1)), online, online).members).toEqual([member(1), member(2)]);
  });

  it('replaces whoever is known', () => {
    const online: RoomChange = { event: 'member_online', data: member(2, { muted: true }) };
    expect(after(room(member(2, { talking: true })), online).members).toEqual([member(2, { muted: true })]);
  });

  it('removes whoever goes', () => {
    expect(after(room(member(1), member(2)), { event: 'member_offline', data: { session: 2 } }).members).toEqual([
      member(1),
    ]);
  });

  it('ends the talk of whoever moves', () => {
    const moved: RoomChange = { event: 'member_moved', data: { session: 2, channel: 5 } };
    expect(after(room(member(2, { talking: true })), moved).members).toEqual([member(2, { channel: 5 })]);
  });

  it('ends the talk of whoever mutes, not of whoever only deafens', () => {
    const talking = room(member(2, { talking: true }));
    const muted: RoomChange = { event: 'member_state', data: { session: 2, muted: true, deafened: false } };
    expect(after(talking, muted).members).toEqual([member(2, { muted: true })]);
    const deafened: RoomChange = { event: 'member_state', data: { session: 2, muted: false, deafened: true } };
    expect(after(talking, deafened).members).toEqual([member(2, { deafened: true, talking: true })]);
  });

  it('passes over whoever is not known, and keeps the room as it was', () => {
    const start = room(member(1));
    const changes: RoomChange[] = [
      { event: 'member_moved', data: { session: 9, channel: 1 } },
      { event: 'member_state', data: { session: 9, muted: true, deafened: true } },
      { event: 'member_talking', data: { session: 9, talking: true } },
    ];
    expect(after(start, ...changes)).toBe(start);
  });

  it('leaves the room that it was given as it is', () => {
    const start = room(member(1), member(2));
    const copy = structuredClone(start);
    after(start, { event: 'member_talking', data: { session: 2, talking: true } });
    expect(start).toEqual(copy);
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
