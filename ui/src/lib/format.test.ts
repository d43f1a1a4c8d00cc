import { expect, it } from 'vitest';

import { addressOf, ago, clock, colourOf, decibels, groups, initials, meterPosition, milliseconds, percent } from './format';

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

it('says how long ago something was', () => {
  const now = Date.parse('2026-03-10T12:00:00Z');
  const before = (seconds: number, language = 'en') => ago(new Date(now - seconds * 1000).toISOString(), now, language);
  expect(before(-30)).toBe('now');
  expect(before(59)).toBe('now');
  expect(before(60)).toBe('1 minute ago');
  expect(before(3_599)).toBe('59 minutes ago');
  expect(before(7_200, 'de')).toBe('vor 2 Stunden');
  expect(before(86_400)).toBe('yesterday');
  expect(before(15 * 86_400)).toBe('2 weeks ago');
  expect(before(400 * 86_400)).toBe('last year');
});

it('writes a time of today without the day', () => {
  const now = new Date(2026, 2, 10, 12).getTime();
  expect(clock(new Date(2026, 2, 10, 15, 5).toISOString(), now, 'de')).toBe('15:05');
  expect(clock(new Date(2026, 2, 11, 15, 5).toISOString(), now, 'de')).toBe('11.03.26, 15:05');
});
