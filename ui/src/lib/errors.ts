// What an error code is in the person's language; the host's own sentence where a code has no text.

import type { AppError } from '../host/types';
import { has, t, type Key } from './i18n.svelte';

/** Codes whose sentence says more than any text for the code can: which field, which file, which device. */
const SPECIFIC = new Set([
  'unexpected',
  'invalid_field',
  'invalid_params',
  'permission_denied',
  'internal',
  'host_failed',
  'device_failed',
  'sound_file',
  'settings_unreadable',
  'known_servers',
  'settings_not_saved',
  'file_not_saved',
  'quota_exceeded',
  'already_exists',
  'unreachable',
]);

/** An error as it is shown. */
export interface ErrorText {
  /** In the person's language. */
  text: string;
  /** The host's sentence, where it adds something. */
  detail: string | null;
}

export function errorText(error: AppError): ErrorText {
  const key = `error.${error.code}`;
  if (!has(key)) return { text: error.message, detail: null };
  // Without a free port to offer the text would have gaps.
  if (error.code === 'port_in_use' && !error.port) return { text: error.message, detail: null };
  const { taken = '', free = '' } = error.port ?? {};
  return { text: t(key as Key, { taken, free }), detail: SPECIFIC.has(error.code) ? error.message : null };
}

/** Whatever a promise was refused with, as an error. */
export function asError(reason: unknown): AppError {
  if (typeof reason === 'object' && reason !== null && 'code' in reason && 'message' in reason) {
    const { code, message } = reason;
    const port = 'port' in reason ? (reason.port as AppError['port']) : null;
    return { code: String(code), message: String(message), port };
  }
  return { code: 'unexpected', message: reason instanceof Error ? reason.message : String(reason), port: null };
}
