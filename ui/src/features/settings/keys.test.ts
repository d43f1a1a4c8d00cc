import { expect, it } from 'vitest';

import { hotkeyOf } from './keys';

it('names keys for people and for the host', () => {
  expect(hotkeyOf({ code: 'F8', key: 'F8' })).toEqual({ input: { kind: 'code', value: 'F8' }, label: 'F8' });
  expect(hotkeyOf({ code: 'KeyV', key: 'v' })?.label).toBe('V');
  expect(hotkeyOf({ code: 'Space', key: ' ' })?.label).toBe('Space');
  expect(hotkeyOf({ code: 'BracketLeft', key: 'Dead' })?.label).toBe('BracketLeft');
});

it('waits for the key when a modifier comes first', () => {
  expect(hotkeyOf({ code: 'ControlLeft', key: 'Control' })).toBeNull();
  expect(hotkeyOf({ code: '', key: 'x' })).toBeNull();
});
