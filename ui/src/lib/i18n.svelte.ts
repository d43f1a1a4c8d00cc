// The texts of the window, by key, in the person's language.

import de from '../i18n/de.json';
import en from '../i18n/en.json';

/** A text's key. English has them all; a test sees to it that the others have the same. */
export type Key = keyof typeof en;
/** Keys of texts that differ by number: `<key>_one`, `<key>_other`. */
export type CountedKey = Key extends infer K ? (K extends `${infer Stem}_other` ? Stem : never) : never;

const TEXTS = { en, de } satisfies Record<string, Record<Key, string>>;
export type Language = keyof typeof TEXTS;
export const LANGUAGES = Object.keys(TEXTS) as Language[];

const current = $state<{ language: Language }>({ language: 'en' });

/** The language in use. */
export const language = (): Language => current.language;

/** Takes the person's choice; without one the first of the system's languages that there is. */
export function setLanguage(choice: string | null, system: readonly string[]): void {
  current.language = pickLanguage(choice, system);
}

export function pickLanguage(choice: string | null, system: readonly string[]): Language {
  const wanted = choice === null ? system : [choice, ...system];
  const known = wanted.map((tag) => tag.split('-')[0]?.toLowerCase()).find((tag) => tag !== undefined && tag in TEXTS);
  return (known as Language | undefined) ?? 'en';
}

/** Whether there is such a text. */
export const has = (key: string): boolean => key in TEXTS.en;

/** The text, with `{name}` replaced. */
export function t(key: Key, params: Record<string, string | number> = {}): string {
  return TEXTS[current.language][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}

/** The text for a number of things, as the language counts. */
export function tn(key: CountedKey, count: number): string {
  const rule = new Intl.PluralRules(current.language).select(count) === 'one' ? 'one' : 'other';
  return t(`${key}_${rule}` as Key, { count });
}
