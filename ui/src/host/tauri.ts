// The host in the desktop app. The only file that knows of Tauri.

import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';

import type { AppEvent, Host } from './types';

export function openTauri(): Host {
  return {
    listen: async (handler) => void (await listen<AppEvent>('app', (event) => handler(event.payload))),
    state: () => invoke('state'),
    hostSetup: () => invoke('host_setup'),
    startHosting: (request) => invoke('start_hosting', { request }),
    stopHosting: () => invoke('stop_hosting'),
    visit: (text) => invoke('visit', { text }),
    trust: ({ address, fingerprint }, confirmation) => invoke('trust', { address, fingerprint, confirmation }),
    logIn: (request) => invoke('log_in', { request }),
    disconnect: () => invoke('disconnect'),
    join: (channel) => invoke('join', { channel }),
    leave: () => invoke('leave'),
    setSelf: (muted, deafened) => invoke('set_self', { muted, deafened }),
    pushToTalk: (pressed) => void invoke('push_to_talk', { pressed }),
    saveSettings: (settings) => invoke('save_settings', { settings }),
    devices: () => invoke('devices'),
    captureHotkey: () => invoke('capture_hotkey'),
    cancelCapture: () => invoke('cancel_capture'),
    copy: (text) => invoke('copy', { text }),
  };
}
