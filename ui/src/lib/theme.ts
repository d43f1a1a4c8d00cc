// Light, dark, or as the system has it.

import type { Theme } from '../host/types';

/** Sets the theme; `app.css` has the colours of both under one `color-scheme`. */
export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
