import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

import de from '../i18n/de.json';
import en from '../i18n/en.json';
import { asError, errorText } from './errors';
import { has, LANGUAGES, pickLanguage, setLanguage, t, tn } from './i18n.svelte';

const TEXTS: Record<string, Record<string, string>> = { en, de };
const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

afterEach(() => setLanguage('en', []));

describe.each(LANGUAGES)('%s', (language) => {
  const texts = TEXTS[language] ?? {};

  it('has the same keys as English, in the same order', () => {
    expect(Object.keys(texts)).toEqual(Object.keys(en));
  });

  it('says something for each, with the same placeholders', () => {
    for (const [key, text] of Object.entries(en)) {
      expect(texts[key]?.trim(), key).not.toBe('');
      expect(placeholders(texts[key] ?? ''), key).toEqual(placeholders(text));
    }
  });
});

it('has a text for every error code of the protocol, the client and the app', () => {
  const read = (path: string) => readFileSync(join(import.meta.dirname, path), 'utf8');
  const codes = [
    ...read('../host/bindings/ErrorCode.ts').matchAll(/"([a-z_]+)"/g),
    ...read('../../../client/src/error.rs').matchAll(/=> "([a-z_]+)"/g),
    ...read('../../../src-tauri/src/api/error.rs').matchAll(/=> "([a-z_]+)"/g),
  ].map(([, code]) => `error.${code}`);
  expect(codes.length).toBeGreaterThan(40);
  expect(codes.filter((code) => !has(code))).toEqual([]);
});

it('speaks the chosen language, else the system\'s, else English', () => {
  expect(pickLanguage('de', ['en-GB'])).toBe('de');
  expect(pickLanguage(null, ['fr-FR', 'de-AT', 'en'])).toBe('de');
  expect(pickLanguage(null, ['fr-FR'])).toBe('en');
  expect(pickLanguage('xx', ['de'])).toBe('de');
});

it('fills in and counts', () => {
  expect(t('talk.hold_key', { key: 'F8' })).toBe('Hold F8 to talk');
  expect(tn('channel.people', 1)).toBe('1 person');
  expect(tn('channel.people', 2)).toBe('2 people');
  setLanguage('de', []);
  expect(tn('channel.people', 0)).toBe('0 Personen');
});

describe('errorText', () => {
  it('puts the code into words, with the ports of a taken one', () => {
    const port = { plane: 'control', taken: 9000, free: 9010 } as const;
    expect(errorText({ code: 'port_in_use', message: 'x', port })).toEqual({
      text: 'Port 9000 is in use by another program. Port 9010 is free.',
      detail: null,
    });
  });

  it('says as much as is known where no port is free', () => {
    const error = { code: 'port_in_use', message: 'TCP port 9000 is in use', port: null };
    expect(errorText(error).text).toBe('TCP port 9000 is in use');
  });

  it('keeps the sentence of the host where it says more, and where the code is new', () => {
    expect(errorText({ code: 'invalid_field', message: 'username: 1 to 32 characters', port: null }).detail).toBe(
      'username: 1 to 32 characters',
    );
    expect(errorText({ code: 'brand_new', message: 'Say this.', port: null })).toEqual({ text: 'Say this.', detail: null });
  });

  it('takes whatever is thrown', () => {
    expect(asError({ code: 'a', message: 'b', port: null })).toEqual({ code: 'a', message: 'b', port: null });
    expect(asError(new Error('broken')).message).toBe('broken');
    expect(asError('text')).toMatchObject({ code: 'unexpected', message: 'text' });
  });
});
