// The ways through the window, by keyboard alone where that is the point, and what goes wrong on them.

import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';

import { focused, IMPORT, open, openAccount, openMembers, putOut, tabTo, tell } from './browser';

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

describe('hosting for the first time', () => {
  it('says at the password that it is one that anybody would try, and goes on with another', async () => {
    const page = await open('scene=fresh&still');
    await read(page, 'start-host').click();
    await read(page, 'host-name').fill('maya');
    await read(page, 'host-password').fill('password1');
    await page.locator('summary').click();
    await read(page, 'host-control-port').fill('9100');
    await read(page, 'host-submit').click();
    await page.getByText('This password is among the first').waitFor();
    await expect.poll(() => focused(page)).toBe('host-password');
    await read(page, 'host-password').fill('velvet-anchor-7');
    await page.keyboard.press('Enter');
    await read(page, 'invite-link').waitFor();
    await read(page, 'members-open').waitFor();
  });
});

describe('organizations', () => {
  it('asks for the tag when the server does, in words, with the keyboard there', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'voip://org.example:9000/?fp=00');
    await read(page, 'login-username').fill('maya');
    await read(page, 'login-password').fill('correct horse');
    expect(await read(page, 'login-organization').count()).toBe(0);
    await read(page, 'login-submit').click();
    await page.getByText('This server is shared by several organizations').waitFor();
    await expect.poll(() => focused(page)).toBe('login-organization');
    expect(await alerts(page).count()).toBe(0);

    await page.keyboard.type('NOPE');
    await page.keyboard.press('Enter');
    await page.getByText('There is no organization with this tag here.').waitFor();
    await expect.poll(() => focused(page)).toBe('login-organization');
    await read(page, 'login-organization').fill('NIGHT');
    await page.keyboard.press('Enter');
    await read(page, 'channel-General').waitFor();
  });

  it('asks for it at a registration, too, and says what is wrong with the password at its field', async () => {
    const page = await open('scene=fresh&still');
    await join(page, 'voip://org.example:9000/?fp=00');
    await read(page, 'login-register-toggle').click();
    await read(page, 'login-username').fill('nina');
    await read(page, 'login-password').fill('password1');
    await read(page, 'login-submit').click();
    await read(page, 'login-organization').fill('NIGHT');
    await page.keyboard.press('Enter');
    await page.getByText('This password is among the first').waitFor();
    await expect.poll(() => focused(page)).toBe('login-password');
  });
});

describe('one\'s account', () => {
  it('says who was put out why, and where to log in again', async () => {
    const page = await open('scene=connected&still');
    await openAccount(page);
    await putOut(page);
    await read(page, 'login-submit').waitFor();
    expect(await alerts(page).textContent()).toContain('This device was logged out');
    expect(await read(page, 'login-username').inputValue()).toBe('maya');
    await read(page, 'login-password').fill('correct horse');
    await page.keyboard.press('Enter');
    await read(page, 'channel-General').waitFor();
  });

  it('shows the devices, this one first, and logs another one out by keyboard', async () => {
    const page = await open('scene=connected&still');
    await tabTo(page, 'account-open');
    await page.keyboard.press('Enter');
    await read(page, 'login-here').waitFor();
    const rows = page.locator('[data-testid^=login-]').filter({ has: page.locator('svg') });
    expect(await rows.first().textContent()).toContain('This device');
    expect(await read(page, 'login-phone').textContent()).toContain('Connected now');
    expect(await read(page, 'login-old').textContent()).toContain('last active 2 weeks ago');
    expect(await read(page, 'login-revoke-here').count()).toBe(0);
    await tabTo(page, 'login-revoke-phone');
    await page.keyboard.press('Enter');
    await expect.poll(() => read(page, 'login-phone').count()).toBe(0);
    await page.getByText('VoIP – maya-laptop was logged out.').waitFor({ state: 'attached' });
    await page.keyboard.press('Escape');
    await expect.poll(() => focused(page)).toBe('account-open');
  });

  it('logs out everywhere else after a question', async () => {
    const page = await open('scene=connected&still');
    await openAccount(page);
    await read(page, 'logins-revoke-others').click();
    await page.getByText('2 other devices lose their connection').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await read(page, 'login-phone').count()).toBe(1);
    await read(page, 'logins-revoke-others').click();
    await read(page, 'logins-others-confirm').click();
    await page.getByText('You are logged in nowhere else.').waitFor();
  });

  it('changes the password, and says at the fields what is wrong', async () => {
    const page = await open('scene=connected&still');
    await openAccount(page);
    const type = async (current: string, wanted: string, again: string) => {
      await read(page, 'password-current').fill(current);
      await read(page, 'password-new').fill(wanted);
      await read(page, 'password-again').fill(again);
      await read(page, 'password-submit').click();
    };
    await type('correct horse', 'velvet-anchor-7', 'velvet-anchor-8');
    await page.getByText('The two are not the same.').waitFor();
    expect(await focused(page)).toBe('password-again');
    await type('wrong-password', 'velvet-anchor-7', 'velvet-anchor-7');
    await page.getByText('This is not your current password.').waitFor();
    await expect.poll(() => focused(page)).toBe('password-current');
    await type('correct horse', 'password1', 'password1');
    await page.getByText('This password is among the first').waitFor();
    await expect.poll(() => focused(page)).toBe('password-new');
    await type('correct horse', 'velvet-anchor-7', 'velvet-anchor-7');
    await read(page, 'password-changed').waitFor();
    expect(await read(page, 'password-current').inputValue()).toBe('');
    await page.getByText('You are logged in nowhere else.').waitFor();
  });
});

describe('members', () => {
  it('are there for those who manage them, and for nobody else', async () => {
    expect(await read(await open('scene=connected&still'), 'members-open').count()).toBe(0);
    expect(await read(await open('scene=admin&still'), 'members-open').count()).toBe(1);
  });

  it('are found, filtered and read page by page', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    expect(await focused(page)).toBe('members-search');
    const rows = page.locator('li[data-testid^=user-]');
    expect([await rows.count(), await read(page, 'members-count').textContent()]).toEqual([20, '48 members']);
    await read(page, 'members-more').click();
    await expect.poll(() => rows.count()).toBe(40);
    await read(page, 'members-more').click();
    await expect.poll(() => rows.count()).toBe(48);
    expect(await read(page, 'members-more').count()).toBe(0);
    await read(page, 'members-search').fill('DA');
    await expect.poll(() => rows.count()).toBe(1);
    await read(page, 'members-search').fill('a');
    await expect.poll(() => rows.count()).toBe(5);
    await read(page, 'members-shown-disabled').check({ force: true });
    await expect.poll(() => rows.count()).toBe(1);
    await read(page, 'members-search').fill('nobody at all');
    await page.getByText('Nobody is found.').waitFor();
  });

  it('are made by keyboard, with a password that is shown once', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    await tabTo(page, 'members-new');
    await page.keyboard.press('Enter');
    await expect.poll(() => focused(page)).toBe('new-user-name');
    await page.keyboard.press('Enter');
    await page.getByText('Type a name.').waitFor();
    await page.keyboard.type('zoe');
    await page.keyboard.press('Enter');
    await read(page, 'made-password').waitFor();
    await page.getByRole('button', { name: 'Copy: Password' }).click();
    const copied = await page.evaluate(() => (window as unknown as { copied: string }).copied);
    expect(copied).toBe(await read(page, 'made-password').inputValue());
    await tabTo(page, 'made-done');
    await page.keyboard.press('Enter');
    await expect.poll(() => read(page, 'new-user').count()).toBe(0);
    await expect.poll(() => focused(page)).toBe('members-new');
    await read(page, 'user-zoe').waitFor();
    expect(await page.content()).not.toContain(copied);
  });

  it('get a role and a password of the administrator\'s choice', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    await read(page, 'members-new').click();
    await read(page, 'new-user-name').fill('zoe');
    await read(page, 'new-user-role').selectOption({ label: 'Officer' });
    expect(await read(page, 'new-user-role').locator('option').allTextContents()).toEqual(['Officer', 'Member', 'Guest']);
    await read(page, 'new-user-own').check({ force: true });
    await read(page, 'new-user-own-password').fill('password1');
    await read(page, 'new-user-submit').click();
    await page.getByText('This password is among the first').waitFor();
    await read(page, 'new-user-own-password').fill('velvet-anchor-7');
    await read(page, 'new-user-submit').click();
    await page.getByText('zoe can log in now.').waitFor();
    expect(await read(page, 'made-password').count()).toBe(0);
    await read(page, 'made-done').click();
    expect(await read(page, 'user-zoe').textContent()).toContain('Officer');
  });

  it('are disabled and enabled after a question; one\'s own account and higher ones are not offered', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    const active = () => read(page, 'user-bob').getAttribute('data-active');
    await read(page, 'user-active-bob').click();
    await page.keyboard.press('Escape');
    expect(await active()).toBe('true');
    await read(page, 'user-active-bob').click();
    await read(page, 'switch-user-confirm').click();
    await expect.poll(active).toBe('false');
    await expect.poll(() => focused(page)).toBe('user-active-bob');
    await page.getByRole('button', { name: 'Enable bob' }).click();
    await read(page, 'switch-user-confirm').click();
    await expect.poll(active).toBe('true');
    expect(await read(page, 'user-active-maya').count()).toBe(0);
    expect(await read(page, 'user-farah').textContent()).toContain('Not yours to change');
  });

  it('get a new password', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    await read(page, 'user-reset-alice').click();
    await read(page, 'reset-submit').click();
    expect((await read(page, 'made-password').inputValue()).length).toBeGreaterThan(8);
    await read(page, 'made-done').click();
    await expect.poll(() => focused(page)).toBe('user-reset-alice');
  });

  it('are imported from a file, with a report by line, or not at all', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    await read(page, 'members-import').click();
    await read(page, 'import-submit').click();
    await page.getByText('Choose a file.', { exact: true }).waitFor();
    await expect.poll(() => focused(page)).toBe('import-file');
    await read(page, 'import-file').setInputFiles(IMPORT);
    await read(page, 'import-atomic').check();
    await read(page, 'import-submit').click();
    await page.getByText('Nothing was imported: 2 entries cannot be taken.').waitFor();
    await read(page, 'import-atomic').uncheck();
    await read(page, 'import-submit').click();
    await page.getByText('2 accounts were created.').waitFor();
    expect(await read(page, 'import-lines').locator('li').nth(2).textContent()).toContain('password: 8 to 128 characters');
    await read(page, 'import-file').setInputFiles({ ...IMPORT, buffer: Buffer.from('nonsense') });
    await read(page, 'import-submit').click();
    await page.getByText('The file cannot be read as a list of accounts.').waitFor();
    expect(await read(page, 'import-lines').count()).toBe(0);
    await read(page, 'import-file').setInputFiles({ ...IMPORT, buffer: Buffer.alloc(8 * 1024 * 1024 + 1) });
    await read(page, 'import-submit').click();
    await page.getByText('larger than 8 MiB').waitFor();
    await read(page, 'import-close').click();
    await expect.poll(() => read(page, 'members-count').textContent()).toBe('50 members');
  });

  it('are exported, and the window says where to', async () => {
    const page = await open('scene=admin&still');
    await openMembers(page);
    await read(page, 'members-export').click();
    expect(await read(page, 'members-saved').inputValue()).toMatch(/voip-users\.json$/);
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
    const reason = { code: 'connection_lost', message: 'x' };
    const data = { state: 'reconnecting', server: 's:9000', attempt: 1, retry_in_ms: 2400, reason };
    await tell(
      page,
      { type: 'engine', data: { type: 'room', data: null } },
      { type: 'engine', data: { type: 'connection', data } },
    );
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

  it('switches what is done to the voice, by keyboard, and keeps it', async () => {
    const page = await open('scene=connected&still');
    await read(page, 'settings-open').click();
    const echo = page.getByRole('switch', { name: 'Echo cancellation' });
    expect(await echo.isChecked()).toBe(true);
    await tabTo(page, 'echo-cancellation');
    await page.keyboard.press('Space');
    await expect.poll(() => echo.isChecked()).toBe(false);
    await read(page, 'noise-strong').check({ force: true });
    await page.getByText('Leaves hardly anything but your voice').waitFor();
    await page.keyboard.press('Escape');
    await expect.poll(() => read(page, 'settings').count()).toBe(0);
    await read(page, 'settings-open').click();
    expect(await echo.isChecked()).toBe(false);
    expect(await read(page, 'noise-strong').isChecked()).toBe(true);
    expect(await page.getByRole('switch', { name: 'Automatic volume' }).isChecked()).toBe(true);
    expect(await page.getByRole('switch', { name: 'Everybody about as loud' }).isChecked()).toBe(true);
  });

  it('says what the key does, and listens for voices alone', async () => {
    const page = await open('scene=connected&still');
    const indicator = read(page, 'ptt-indicator');
    expect(await indicator.textContent()).toContain('Hold');
    expect(await indicator.getAttribute('aria-pressed')).toBe(null);
    await read(page, 'settings-open').click();
    await read(page, 'key-tap').check({ force: true });
    await page.getByText('Tap to talk; tap again to stop.').waitFor();
    await read(page, 'mode-voice_activation').check({ force: true });
    const voices = page.getByRole('switch', { name: 'Only voices' });
    expect(await voices.isChecked()).toBe(true);
    await tabTo(page, 'voices-only');
    await page.keyboard.press('Space');
    await expect.poll(() => voices.isChecked()).toBe(false);
    await read(page, 'mode-push_to_talk').check({ force: true });
    expect(await voices.count()).toBe(0);
    expect(await read(page, 'key-tap').isChecked()).toBe(true);
    await page.keyboard.press('Escape');
    await expect.poll(() => indicator.textContent()).toContain('Tap');
    expect(await indicator.getAttribute('aria-pressed')).toBe('false');
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
    const error = { code: 'device_failed', message: 'USB Headset is gone', port: null };
    await tell(page, { type: 'problem', data: error }, { type: 'engine', data: { type: 'problem', data: error } });
    expect(await alerts(page).count()).toBe(1);
    expect(await alerts(page).textContent()).toContain('USB Headset is gone');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await alerts(page).count()).toBe(0);
  });
});
