// Keys that the window itself hears, on systems where the host takes shortcuts by name.

import type { Hotkey } from '../../host/types';

/** The key of an event as a binding; null for one that cannot be bound alone. */
export function hotkeyOf(event: Pick<KeyboardEvent, 'code' | 'key'>): Hotkey | null {
  if (event.code === '' || event.code === 'Unidentified') return null;
  if (/^(Shift|Control|Alt|Meta)(Left|Right)$/.test(event.code)) return null;
  return { input: { kind: 'code', value: event.code }, label: labelOf(event) };
}

function labelOf({ code, key }: Pick<KeyboardEvent, 'code' | 'key'>): string {
  if (key === ' ') return 'Space';
  return key.length === 1 ? key.toUpperCase() : key === 'Dead' || key === 'Unidentified' ? code : key;
}
