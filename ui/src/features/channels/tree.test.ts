import { describe, expect, it } from 'vitest';

import { demoRoom } from '../../host/demo';
import { channelKey, keyAction, memberKey, rows } from './tree';

const room = demoRoom('maya', 'Crew', false);
const open = rows(room, new Set());
const names = (list: typeof open) =>
  list.map((row) => `${'  '.repeat(row.level - 1)}${row.kind === 'channel' ? row.channel.name : `(${row.member.display_name})`}`);

describe('rows', () => {
  it('shows people before the channels below, in their order', () => {
    expect(names(open)).toEqual([
      'General',
      '  (Alice Moreau)',
      '  (Bob)',
      '  (Charlie Okafor)',
      'Operations',
      '  Alpha Squad',
      '    (Dana)',
      '    (Eli Novák)',
      '  Bravo Squad',
      '  Command',
      'Social',
      '  (Farah)',
    ]);
  });

  it('hides what is below a collapsed channel', () => {
    expect(names(rows(room, new Set([1, 2])))).toEqual(['General', 'Operations', 'Social', '  (Farah)']);
  });

  it('shows the children of a hidden parent at the top', () => {
    const partly = { ...room, channels: room.channels.filter(({ name }) => name !== 'Operations') };
    expect(rows(partly, new Set()).find((row) => row.kind === 'channel' && row.channel.name === 'Alpha Squad')).toMatchObject(
      { level: 1, parent: null },
    );
  });

  it('tells positions among siblings, and where one may go', () => {
    const bravo = open.find((row) => row.kind === 'channel' && row.channel.name === 'Bravo Squad');
    expect(bravo).toMatchObject({ position: 2, siblings: 3, expandable: false, expanded: false, joinable: true, count: 0 });
    const command = open.find((row) => row.kind === 'channel' && row.channel.name === 'Command');
    expect(command).toMatchObject({ joinable: false });
    const all = rows({ ...room, permissions: 1 << 17 }, new Set());
    expect(all.every((row) => row.kind === 'member' || row.joinable)).toBe(true);
  });
});

describe('keyAction', () => {
  const press = (key: string, focused: string) => keyAction(open, focused, key);

  it('walks up and down and stops at the ends', () => {
    expect(press('ArrowDown', channelKey(1))).toEqual({ do: 'focus', key: memberKey(1) });
    expect(press('ArrowUp', memberKey(1))).toEqual({ do: 'focus', key: channelKey(1) });
    expect(press('ArrowUp', channelKey(1))).toEqual({ do: 'nothing' });
    expect(press('End', channelKey(1))).toEqual({ do: 'focus', key: memberKey(6) });
    expect(press('ArrowDown', memberKey(6))).toEqual({ do: 'nothing' });
    expect(press('Home', memberKey(6))).toEqual({ do: 'focus', key: channelKey(1) });
  });

  it('closes, opens and goes in and out', () => {
    expect(press('ArrowLeft', channelKey(2))).toEqual({ do: 'collapse', channel: 2 });
    expect(press('ArrowLeft', memberKey(4))).toEqual({ do: 'focus', key: channelKey(3) });
    expect(press('ArrowRight', channelKey(2))).toEqual({ do: 'focus', key: channelKey(3) });
    expect(press('ArrowRight', channelKey(4))).toEqual({ do: 'nothing' });
    const closed = rows(room, new Set([2]));
    expect(keyAction(closed, channelKey(2), 'ArrowRight')).toEqual({ do: 'expand', channel: 2 });
    expect(keyAction(closed, channelKey(2), 'ArrowLeft')).toEqual({ do: 'nothing' });
  });

  it('joins where one may', () => {
    expect(press('Enter', channelKey(3))).toEqual({ do: 'join', channel: 3 });
    expect(press('Enter', channelKey(5))).toEqual({ do: 'nothing' });
    expect(press('Enter', memberKey(1))).toEqual({ do: 'nothing' });
  });

  it('leaves other keys alone, and an empty tree too', () => {
    expect(press('F8', channelKey(1))).toBeNull();
    expect(keyAction([], '', 'ArrowDown')).toBeNull();
  });

  it('begins at the top when the focused row is gone', () => {
    expect(press('ArrowDown', 'gone')).toEqual({ do: 'focus', key: memberKey(1) });
  });
});
