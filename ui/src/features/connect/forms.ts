// What the forms check before they ask the host. The server checks again: these only save a round trip.

import { t } from '../../lib/i18n.svelte';

/** The steps of a start, in their order. */
export const STEPS = ['database', 'network', 'account', 'log_in'] as const;

const PASSWORD_MIN = 8;

/** What is wrong with a new password, or null. */
export function passwordProblem(password: string): string | null {
  return [...password].length < PASSWORD_MIN ? t('form.password.short') : null;
}

/** What is wrong with a port, or null. */
export function portProblem(text: string): string | null {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65535 ? null : t('form.port.invalid');
}
