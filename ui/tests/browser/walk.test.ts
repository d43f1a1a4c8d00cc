// The ways through the window, by keyboard alone where that is the point, and what goes wrong on them.

import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';

import { focused, open, tabTo } from './browser';

const alerts = (page: Page) => page.getByRole('alert');
const read = (page: Page, testid: string) => page.getByTestId(testid);

async function type(page: Page, testid: string, text: string) {
  await tabTo(page, testid);
  await page.keyboard.type(text);
}

async function join(page: Page, address: string) {
  await read(page, 'start-join').click();
  await read(page, 'join-address').fill(address);
  await read(page, 'join-submit').click();
}

describe('by keyboard alone', () => {
  it('hosts, moves through the channels, talks and stops', async () => {
    const page = await open('scene=fresh&still');
    await tabTo(page, 'start-host');
    await page.keyboard.press('Enter');
    await type(page, 'host-server-name', 'Friday Crew');
    await type(page, 'host-name', 'maya');
    await type(page, 'host-password', 'correct horse');
    await page.keyboard.press('Enter');
    await read(page, 'host-use-free-port').waitFor();
    await tabTo(page, 'host-use-free-port');
    await page.keyboard.press('Enter');

    await page.getByRole('heading', { level: 1, name: 'Friday Crew' }).waitFor();
    expect(await read(page, 'invite-link').inputValue()).toMatch(/^voip:\/\/192\.168\.1\.20:9010\/\?fp=[0-9a-f]{64}$/);

    await tabTo(page, 'channel-General');
    await page.keyboard.press('ArrowDown');
    expect(await focused(page)).toBe('channel-Social');
    await page.keyboard.press('Enter');
    await page.getByRole('treeitem', { name: /Social.*you are here/ }).waitFor();

    await tabTo(page, 'ptt-indicator');
    await page.keyboard.down('Space');
    await expect.poll(() => read(page, 'ptt-indicator').getAttribute('data-state')).toBe('talking');
    await expect.poll(() => read(page, 'member-maya').getAttribute('data-talking')).toBe('true');
    await page.keyboard.up('Space');
    await expect.poll(() => read(page, 'member-maya').getAttribute('data-talking')).toBe('false');

    await tabTo(page, 'host-stop');
    await page.keyboard.press('Enter');
    await read(page, 'start-host').waitFor();
  });

  it('joins, compares the fingerprint, registers and opens the settings', async () => {
    const page = await open('scene=fresh&still');
    await tabTo(page, 'start-join');
    await page.keyboard.press('Enter');
    await type(page, 'join-address', 'new.example');
    await page.keyboard.press('Enter');
    await read(page, 'fingerprint').waitFor();
    expect((await read(page, 'fingerprint').getAttribute('data-value'))?.length).toBe(64);
    await tabTo(page, 'trust');
    await page.keyboard.press('Enter');
    await tabTo(page, 'login-register-toggle');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Shift+Tab');
    await read(page, 'login-username').focus();
    await page.keyboard.type('maya');
    await type(page, 'login-password', 'correct horse');
    await page.keyboard.press('Enter');
    await read(page, 'channel-General').waitFor();

    await tabTo(page, 'settings-open');
    await page.keyboard.press('Enter');
    await read(page, 'settings').waitFor();
    await page.keyboard.press('Escape');
    await expect.poll(() => read(page, 'settings').count()).toBe(0);
    expect(await focused(page)).toBe('settings-open');
  });

  it('moves the threshold', async () => {
    const page = await open('scene=connected&mode=voice_activation&still');
    await tabTo(page, 'threshold');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    expect(await read(page, 'threshold').getAttribute('aria-valuetext')).toBe('−40 dB');
  });

  it('closes and opens a part of the tree', async () => {
    const page = await open('scene=connected&still');
    await tabTo(page, 'channel-General');
    await page.keyboard.press('ArrowLeft');
    await expect.poll(() => read(page, 'member-alice').count()).toBe(0);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    expect(await focused(page)).toBe('member-alice');
  });
});

describe('joining', () => {
  it('refuses a changed certificate unless the new one is confirmed from elsewhere', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'changed.example');
    await alerts(page).waitFor();
    expect(await read(page, 'trust').count()).toBe(0);
    expect(await read(page, 'changed-submit').isDisabled()).toBe(true);
    await read(page, 'changed-confirm').fill('f'.repeat(64));
    await read(page, 'changed-submit').click();
    await page.getByText('This is not the fingerprint that the server shows').waitFor();
    const shown = await read(page, 'fingerprint').getAttribute('data-value');
    await read(page, 'changed-confirm').fill(`voip://changed.example:9000/?fp=${shown}`);
    await read(page, 'changed-submit').click();
    await read(page, 'login-username').waitFor();
  });

  it('refuses a server that is not the invited one, with no way around', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'voip://changed.example:9000/?fp=00');
    await alerts(page).waitFor();
    expect(await read(page, 'trust').count()).toBe(0);
    expect(await read(page, 'changed-confirm').count()).toBe(0);
  });

  it('asks no question where the invite has the fingerprint', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'voip://new.example:9000/?fp=00');
    await read(page, 'login-username').waitFor();
  });

  it('asks for the organization when the server does', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'org.example?fp=x');
    expect(await read(page, 'login-organization').count()).toBe(0);
    await read(page, 'login-username').fill('maya');
    await read(page, 'login-password').fill('correct horse');
    await read(page, 'login-submit').click();
    await read(page, 'login-organization').fill('CREW');
    await read(page, 'login-submit').click();
    await read(page, 'channel-General').waitFor();
  });

  it('opens on an invite link, and goes straight to the log-in of the last server', async () => {
    const linked = await open('scene=fresh&still&link=voip://new.example:9000/');
    expect(await read(linked, 'join-address').inputValue()).toBe('voip://new.example:9000/');
    const returning = await open('scene=returning&still');
    await read(returning, 'start-last').click();
    expect(await read(returning, 'login-username').inputValue()).toBe('maya');
  });

  it('asks before a link takes one away from a server', async () => {
    const page = await open('scene=connected&still&link=voip://new.example:9000/');
    await read(page, 'link-banner').getByRole('button', { name: 'Leave and go there' }).click();
    expect(await read(page, 'join-address').inputValue()).toBe('voip://new.example:9000/');
  });

  it.each([
    ['dead.example', 'Nobody answers at this address'],
    ['web.example', 'it is not a voice server'],
    ['not an address', 'not an address or an invite link'],
  ])('says what is wrong with %s', async (address, words) => {
    const page = await open('scene=fresh&still');
    await join(page, address);
    expect(await alerts(page).textContent()).toContain(words);
    expect(await read(page, 'join-address').inputValue()).toBe(address);
  });

  it('says what is wrong with a log-in and keeps what was typed', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'known.example');
    await read(page, 'login-username').fill('maya');
    await read(page, 'login-password').fill('wrong-password');
    await read(page, 'login-submit').click();
    expect(await alerts(page).textContent()).toContain('Name or password is wrong.');
    await read(page, 'login-register-toggle').click();
    expect(await alerts(page).count()).toBe(0);
    expect(await read(page, 'login-username').inputValue()).toBe('maya');
    await read(page, 'login-username').fill('taken');
    await read(page, 'login-submit').click();
    expect(await alerts(page).textContent()).toContain('This name is taken.');
  });
});

describe('inside', () => {
  it('joins a channel by a click, and not one that is closed', async () => {
    const page = await open('scene=connected&still');
    await read(page, 'channel-Alpha Squad').click();
    await page.getByRole('heading', { name: 'Alpha Squad' }).waitFor();
    await read(page, 'channel-Command').click({ force: true });
    expect(await read(page, 'channel-Command').getAttribute('aria-selected')).toBe('false');
    expect(await page.getByRole('heading', { name: 'Alpha Squad' }).count()).toBe(1);
    await read(page, 'leave').click();
    expect(await read(page, 'ptt-indicator').getAttribute('data-state')).toBe('nowhere');
  });

  it('mutes, deafens, and is as muted afterwards as before', async () => {
    const page = await open('scene=connected&still');
    const pressed = async () => [
      await read(page, 'mute').getAttribute('aria-pressed'),
      await read(page, 'deafen').getAttribute('aria-pressed'),
    ];
    await read(page, 'deafen').click();
    expect(await pressed()).toEqual(['true', 'true']);
    await read(page, 'deafen').click();
    expect(await pressed()).toEqual(['false', 'false']);
    await read(page, 'mute').click();
    await read(page, 'deafen').click();
    await read(page, 'deafen').click();
    expect(await pressed()).toEqual(['true', 'false']);
    await read(page, 'deafen').click();
    await read(page, 'mute').click();
    expect(await pressed()).toEqual(['false', 'false']);
  });

  it('counts down while it reconnects, keeps the room in view, and comes back', async () => {
    const page = await open('scene=connected&still');
    await page.evaluate(() => {
      const { fake } = window as unknown as { fake: { emit(event: unknown): void } };
      fake.emit({ type: 'engine', data: { type: 'room', data: null } });
      const reason = { code: 'connection_lost', message: 'x' };
      const data = { state: 'reconnecting', server: 's:9000', attempt: 1, retry_in_ms: 2400, reason };
      fake.emit({ type: 'engine', data: { type: 'connection', data } });
    });
    await page.getByText('Next try in 3 s').waitFor();
    await page.getByText('Next try in 1 s').waitFor();
    await page.getByText('Trying now').waitFor();
    expect(await read(page, 'channel-General').count()).toBe(1);
    expect(await read(page, 'member-alice').getAttribute('data-talking')).toBe('false');
    await read(page, 'reconnect-cancel').click();
    await read(page, 'start-join').waitFor();
  });

  it('asks before others lose their connection', async () => {
    const page = await open('scene=hosting&still');
    await read(page, 'host-stop').click();
    await page.getByText('6 other people are connected').waitFor();
    await page.keyboard.press('Escape');
    expect(await read(page, 'channel-General').count()).toBe(1);
    await read(page, 'host-stop').click();
    await read(page, 'host-stop-confirm').click();
    await read(page, 'start-host').waitFor();
  });

  it('copies the invite', async () => {
    const page = await open('scene=hosting&still');
    await page.getByRole('button', { name: 'Copy: Invite link' }).click();
    const copied = await page.evaluate(() => (window as unknown as { copied: string }).copied);
    expect(copied).toBe(await read(page, 'invite-link').inputValue());
  });

  it('binds a key and shows it pressed and released', async () => {
    const page = await open('scene=connected&still');
    await read(page, 'settings-open').click();
    await read(page, 'hotkey-bind').click();
    await page.keyboard.press('Escape');
    await expect.poll(() => read(page, 'hotkey-bind').textContent()).toContain('F8');
    expect(await read(page, 'settings').count()).toBe(1);
    await read(page, 'hotkey-bind').click();
    await page.keyboard.press('F9');
    await expect.poll(() => read(page, 'hotkey-bind').textContent()).toContain('F9');
    await page.keyboard.down('F9');
    await expect.poll(() => read(page, 'hotkey-state').textContent()).toContain('Pressed');
    await page.keyboard.up('F9');
    await expect.poll(() => read(page, 'hotkey-state').textContent()).toContain('Released');
  });

  it('changes language and theme at once', async () => {
    const page = await open('scene=connected&still');
    await read(page, 'settings-open').click();
    await read(page, 'language-de').check({ force: true });
    await page.getByRole('heading', { name: 'Einstellungen' }).waitFor();
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('de');
    await read(page, 'theme-dark').check({ force: true });
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)).toBe('dark');
  });

  it('says that there is no microphone, and goes on', async () => {
    const page = await open('scene=silent&still');
    expect(await read(page, 'problem').getAttribute('data-code')).toBe('no_microphone');
    await read(page, 'channel-Social').click();
    await page.getByRole('heading', { name: 'Social' }).waitFor();
  });

  it('goes on when microphone and speaker fail alike', async () => {
    const page = await open('scene=failed&still');
    expect(await read(page, 'problem').count()).toBe(1);
    await read(page, 'channel-Social').click();
    await page.getByRole('heading', { name: 'Social' }).waitFor();
  });

  it('shows what nobody asked for as an alert that can be put away', async () => {
    const page = await open('scene=connected&still');
    await page.evaluate(() => {
      const { fake } = window as unknown as { fake: { emit(event: unknown): void } };
      const error = { code: 'device_failed', message: 'USB Headset is gone', port: null };
      fake.emit({ type: 'problem', data: error });
      fake.emit({ type: 'engine', data: { type: 'problem', data: error } });
    });
    expect(await alerts(page).count()).toBe(1);
    expect(await alerts(page).textContent()).toContain('USB Headset is gone');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await alerts(page).count()).toBe(0);
  });
});
