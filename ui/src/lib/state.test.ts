import { describe, expect, it } from 'vitest';

import { demoState, SELF } from '../host/demo';
import type { AppEvent, Member } from '../host/types';
import { keepRoom, reduce } from './state';

const connected = () => demoState(new URLSearchParams('scene=connected'));
const member = (session: number, rest: Partial<Member>): Member => {
  const known = connected().engine.room?.members.find((other) => other.session === session);
  if (!known) throw new Error(`the demo has no session ${session}`);
  return { ...known, ...rest };
};
const change = (changed: Member[], gone: number[] = []) =>
  ({ type: 'engine', data: { type: 'members', data: { changed, gone } } }) satisfies AppEvent;

describe('reduce', () => {
  it('takes what the server says of oneself for the truth', () => {
    const muted = change([member(SELF, { muted: true, deafened: true })]);
    const moved = change([member(SELF, { muted: true, deafened: true, channel: 3 })]);
    const { engine } = [muted, moved].reduce(reduce, connected());
    expect(engine).toMatchObject({ muted: true, deafened: true, channel: 3 });
  });

  it('does not take what the server says of others for oneself', () => {
    const { engine } = reduce(connected(), change([member(1, { channel: 3 })]));
    expect(engine.channel).toBe(1);
  });

  it('keeps the wanted channel while the room is gone', () => {
    const { engine } = reduce(connected(), { type: 'engine', data: { type: 'room', data: null } });
    expect(engine).toMatchObject({ room: null, channel: 1 });
  });

  it('comes to the same when an event is applied that the state has already', () => {
    const events = [
      change([member(1, { channel: 3 })]),
      change([member(1, { channel: 6 })]),
      change([], [2]),
    ];
    const once = events.reduce(reduce, connected());
    expect(events.reduce(reduce, once)).toEqual(once);
  });

  it('leaves levels and problems to others', () => {
    const start = connected();
    expect(reduce(start, { type: 'engine', data: { type: 'levels', data: { input: -20, transmitting: true } } })).toBe(
      start,
    );
    expect(reduce(start, { type: 'problem', data: { code: 'internal', message: '', port: null } })).toBe(start);
  });
});

describe('keepRoom', () => {
  const { engine } = connected();
  const gone = (state: 'reconnecting' | 'connected' | 'disconnected') => ({
    ...engine,
    room: null,
    connection: { ...demoState(new URLSearchParams('scene=reconnecting')).engine.connection, state } as typeof engine.connection,
  });

  it('shows the last room in silence while the connection comes back', () => {
    const kept = keepRoom(engine.room, gone('reconnecting'));
    expect(kept?.members).toHaveLength(engine.room?.members.length ?? -1);
    expect(kept?.members.some(({ talking }) => talking)).toBe(false);
    expect(keepRoom(kept, gone('connected'))).toBe(kept);
  });

  it('shows none after leaving the server', () => {
    expect(keepRoom(engine.room, gone('disconnected'))).toBeNull();
  });
});
