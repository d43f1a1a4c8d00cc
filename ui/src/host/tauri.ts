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
    changePassword: (change) => invoke('change_password', { change }),
    logins: () => invoke('logins'),
    revokeLogin: (login) => invoke('revoke_login', { login }),
    revokeOtherLogins: () => invoke('revoke_other_logins'),
    users: (query) => invoke('users', { query }),
    roles: () => invoke('roles'),
    createUser: (request) => invoke('create_user', { request }),
    setUserActive: (user, active) => invoke('set_user_active', { user, active }),
    resetPassword: (user, password) => invoke('reset_password', { user, password }),
    importUsers: (file, atomic) => invoke('import_users', { file, atomic }),
    exportUsers: () => invoke('export_users'),
    copy: (text) => invoke('copy', { text }),
  };
}
