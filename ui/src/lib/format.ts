// Numbers and names as people read them.

/** A fingerprint in groups of four, as on two people's screens it is compared. */
export function groups(fingerprint: string): string[] {
  return fingerprint.match(/.{1,4}/g) ?? [];
}

/** Whole milliseconds; an en dash where nothing is known yet. */
export function milliseconds(value: number | null): string {
  return value === null ? '–' : `${Math.round(value)} ms`;
}

/** A share from 0 to 1 in percent: below ten with one digit, so that a little loss is not rounded away. */
export function percent(share: number, language: string): string {
  const digits = share > 0 && share < 0.0995 ? 1 : 0;
  return new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: digits }).format(share);
}

/** A level in decibels with the true minus sign. */
export function decibels(level: number): string {
  return `${Math.round(level).toString().replace('-', '−')} dB`;
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => [...(word ?? '?')][0]?.toUpperCase() ?? '?').join('');
}

/** One of `count` colours, the same for the same name everywhere. */
export function colourOf(name: string, count: number): number {
  let hash = 2166136261;
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619) >>> 0;
  return hash % count;
}

/** Where a level stands on a meter, 0 to 1. Below −72 dBFS a microphone only hisses: the meter begins there. */
export function meterPosition(level: number): number {
  const FLOOR = -72;
  return Math.min(1, Math.max(0, (level - FLOOR) / -FLOOR));
}

/** The address in an invite link; the link itself where it has none. */
export function addressOf(link: string): string {
  return /^\w+:\/\/([^/?#]+)/.exec(link)?.[1] ?? link;
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['week', 7 * 86_400],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** How long ago a moment is, in the largest unit that fits. Clocks that differ make no future: that is now. */
export function ago(moment: string, now: number, language: string): string {
  const seconds = Math.max(0, (now - Date.parse(moment)) / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ['second', Infinity];
  const words = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  return words.format(-Math.floor(seconds / size), unit);
}

/** The time of day of a moment, with its day where that is another one. */
export function clock(moment: string, now: number, language: string): string {
  const [date, today] = [new Date(moment), new Date(now)];
  const same = date.toDateString() === today.toDateString();
  return date.toLocaleString(language, { timeStyle: 'short', dateStyle: same ? undefined : 'short' });
}
