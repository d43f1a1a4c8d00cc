import { expect, it } from 'vitest';

import { addressOf, colourOf, decibels, groups, initials, meterPosition, milliseconds, percent } from './format';

it('groups fingerprints by four', () => {
  expect(groups('0011aabbcc')).toEqual(['0011', 'aabb', 'cc']);
  expect(groups('')).toEqual([]);
});

it('writes times, shares and levels', () => {
  expect(milliseconds(18.4)).toBe('18 ms');
  expect(milliseconds(null)).toBe('–');
  expect(percent(0, 'en')).toBe('0%');
  expect(percent(0.004, 'en')).toBe('0.4%');
  expect(percent(0.25, 'de')).toBe('25\u00a0%');
  expect(decibels(-41.6)).toBe('−42 dB');
});

it('takes initials from any name', () => {
  expect(initials('Alice Moreau')).toBe('AM');
  expect(initials('bob')).toBe('B');
  expect(initials('élan_vital')).toBe('ÉV');
  expect(initials('🦊 fox')).toBe('🦊F');
  expect(initials('  ')).toBe('?');
});

it('gives the same name the same colour', () => {
  expect(colourOf('alice', 8)).toBe(colourOf('alice', 8));
  expect(new Set(['alice', 'bob', 'charlie', 'dana', 'eli'].map((name) => colourOf(name, 8))).size).toBeGreaterThan(2);
});

it('finds the address in an invite', () => {
  expect(addressOf('voip://voice.example.org:9000/?fp=00')).toBe('voice.example.org:9000');
  expect(addressOf('voip://[::1]:9000')).toBe('[::1]:9000');
  expect(addressOf('nonsense')).toBe('nonsense');
});

it('keeps the meter within its ends', () => {
  expect(meterPosition(-96)).toBe(0);
  expect(meterPosition(0)).toBe(1);
  expect(meterPosition(6)).toBe(1);
  expect(meterPosition(-36)).toBeCloseTo(0.5);
});
