// Where the keyboard goes when something has changed.

import { tick } from 'svelte';

/** To the first field of a form that is wrong. */
export async function focusWrong(form: HTMLElement): Promise<void> {
  await tick();
  form.querySelector<HTMLElement>('[aria-invalid]')?.focus();
}
