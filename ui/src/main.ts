import '@fontsource-variable/inter/wght.css';
import './app.css';

import { mount } from 'svelte';

import AppView from './App.svelte';
import type { Host } from './host/types';
import { App } from './lib/app.svelte';

async function openHost(): Promise<Host> {
  // The fake host is not in the build that ships.
  if (import.meta.env.DEV || import.meta.env.MODE === 'fake') {
    if (!('__TAURI_INTERNALS__' in window)) return (await import('./host/fake')).openFake(location.search);
  }
  return (await import('./host/tauri')).openTauri();
}

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element #app');
mount(AppView, { target, props: { app: await App.start(await openHost()) } });
