// Every screen, light and dark, wide and narrow: no violation that axe knows of WCAG 2 A and AA, nothing cut off.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';

import { IMPORT, open, openAccount, openMembers, picture, putOut } from './browser';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Screen {
  name: string;
  query: string;
  go?: (page: Page) => Promise<void>;
}

async function fill(page: Page, values: Record<string, string>) {
  for (const [testid, value] of Object.entries(values)) await page.getByTestId(testid).fill(value);
}

async function visit(page: Page, address: string) {
  await page.getByTestId('start-join').click();
  await fill(page, { 'join-address': address });
  await page.getByTestId('join-submit').click();
}

const SCREENS: Screen[] = [
  { name: 'start', query: 'scene=fresh' },
  { name: 'start-returning', query: 'scene=returning' },
  { name: 'host', query: 'scene=fresh', go: (page) => page.getByTestId('start-host').click() },
  {
    name: 'host-problems',
    query: 'scene=fresh',
    go: async (page) => {
      await page.getByTestId('start-host').click();
      await fill(page, { 'host-password': 'short' });
      await page.getByTestId('host-submit').click();
    },
  },
  {
    name: 'host-port-in-use',
    query: 'scene=fresh',
    go: async (page) => {
      await page.getByTestId('start-host').click();
      await fill(page, { 'host-name': 'maya', 'host-password': 'correct horse' });
      await page.getByTestId('host-submit').click();
      await page.getByTestId('host-use-free-port').waitFor();
    },
  },
  { name: 'join', query: 'scene=fresh', go: (page) => page.getByTestId('start-join').click() },
  {
    name: 'trust',
    query: 'scene=fresh',
    go: async (page) => {
      await visit(page, 'new.example');
      await page.getByTestId('trust').waitFor();
    },
  },
  {
    name: 'changed',
    query: 'scene=fresh',
    go: async (page) => {
      await visit(page, 'changed.example');
      await page.getByRole('alert').waitFor();
    },
  },
  {
    name: 'login-organization',
    query: 'scene=fresh',
    go: async (page) => {
      await visit(page, 'org.example?fp=x');
      await fill(page, { 'login-username': 'maya', 'login-password': 'correct horse' });
      await page.getByTestId('login-submit').click();
      await page.getByTestId('login-organization').waitFor();
    },
  },
  {
    name: 'register',
    query: 'scene=fresh',
    go: async (page) => {
      await visit(page, 'known.example');
      await page.getByTestId('login-register-toggle').click();
    },
  },
  {
    name: 'login-organization-unknown',
    query: 'scene=fresh',
    go: async (page) => {
      await visit(page, 'org.example?fp=x');
      await fill(page, { 'login-username': 'maya', 'login-password': 'correct horse' });
      await page.getByTestId('login-submit').click();
      await fill(page, { 'login-organization': 'NOPE' });
      await page.getByTestId('login-submit').click();
      await page.getByText('There is no organization').or(page.getByText('Hier gibt es keine')).waitFor();
    },
  },
  {
    name: 'login-revoked',
    query: 'scene=connected',
    go: async (page) => {
      await page.getByTestId('channel-General').waitFor();
      await putOut(page);
      await page.getByTestId('login-submit').waitFor();
    },
  },
  { name: 'main', query: 'scene=connected' },
  { name: 'main-admin', query: 'scene=admin' },
  { name: 'account', query: 'scene=connected', go: (page) => openAccount(page) },
  {
    name: 'account-problems',
    query: 'scene=connected',
    go: async (page) => {
      await openAccount(page);
      await fill(page, { 'password-current': 'correct horse', 'password-new': 'password1', 'password-again': 'password1' });
      await page.getByTestId('password-submit').click();
      await page.locator('[data-testid=password-new][aria-invalid]').waitFor();
    },
  },
  {
    name: 'account-changed',
    query: 'scene=connected',
    go: async (page) => {
      await openAccount(page);
      const password = 'velvet-anchor-7';
      await fill(page, { 'password-current': 'correct horse', 'password-new': password, 'password-again': password });
      await page.getByTestId('password-submit').click();
      await page.getByTestId('password-changed').waitFor();
    },
  },
  {
    name: 'account-others',
    query: 'scene=connected',
    go: async (page) => {
      await openAccount(page);
      await page.getByTestId('logins-revoke-others').click();
    },
  },
  { name: 'members', query: 'scene=admin', go: (page) => openMembers(page) },
  {
    name: 'members-none',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-search').fill('zzz');
      await expect.poll(() => page.getByTestId('user-maya').count()).toBe(0);
    },
  },
  {
    name: 'members-exported',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-export').click();
      await page.getByTestId('members-saved').waitFor();
    },
  },
  {
    name: 'members-new',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-new').click();
      await page.getByTestId('new-user-own').check({ force: true });
      await fill(page, { 'new-user-name': 'taken', 'new-user-own-password': 'velvet-anchor-7' });
      await page.getByTestId('new-user-submit').click();
      await page.locator('[data-testid=new-user-name][aria-invalid]').waitFor();
    },
  },
  {
    name: 'members-made',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-new').click();
      await fill(page, { 'new-user-name': 'zoe' });
      await page.getByTestId('new-user-submit').click();
      await page.getByTestId('made-password').waitFor();
    },
  },
  {
    name: 'members-reset',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('user-reset-alice').click();
      await page.getByTestId('reset-submit').waitFor();
    },
  },
  {
    name: 'members-disable',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('user-active-bob').click();
      await page.getByTestId('switch-user-confirm').waitFor();
    },
  },
  {
    name: 'members-import',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-import').click();
      await page.getByTestId('import-submit').waitFor();
    },
  },
  {
    name: 'members-report',
    query: 'scene=admin',
    go: async (page) => {
      await openMembers(page);
      await page.getByTestId('members-import').click();
      await page.getByTestId('import-file').setInputFiles(IMPORT);
      await page.getByTestId('import-submit').click();
      await page.getByTestId('import-lines').waitFor();
    },
  },
  { name: 'main-alone', query: 'scene=alone' },
  { name: 'main-activation', query: 'scene=connected&mode=voice_activation' },
  { name: 'main-german', query: 'scene=hosting&language=de' },
  { name: 'hosting', query: 'scene=hosting' },
  {
    name: 'hosting-details',
    query: 'scene=hosting',
    go: (page) => page.getByTestId('host-panel').locator('summary').click(),
  },
  { name: 'stop-hosting', query: 'scene=hosting', go: (page) => page.getByTestId('host-stop').click() },
  {
    name: 'talking',
    query: 'scene=connected',
    go: async (page) => {
      await page.getByTestId('channel-General').waitFor();
      await page.keyboard.down('F8');
    },
  },
  {
    name: 'deafened',
    query: 'scene=connected',
    go: (page) => page.getByTestId('deafen').click(),
  },
  { name: 'silent', query: 'scene=silent' },
  { name: 'failed', query: 'scene=failed' },
  { name: 'reconnecting', query: 'scene=reconnecting' },
  { name: 'invited-elsewhere', query: 'scene=connected&link=voip://other.example/' },
  {
    name: 'settings',
    query: 'scene=connected&mode=voice_activation',
    go: (page) => page.getByTestId('settings-open').click(),
  },
  {
    name: 'settings-hotkey',
    query: 'scene=silent',
    go: async (page) => {
      await page.getByTestId('settings-open').click();
      await page.getByTestId('hotkey-bind').click();
    },
  },
];

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const runner = (window as unknown as { axe: typeof import('axe-core') }).axe;
    const { violations } = await runner.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => ({ id, html, failureSummary })));
  });
  return found.map(({ id, html, failureSummary }) => `${id}: ${html} ${failureSummary ?? ''}`);
}

describe.each(['light', 'dark'] as const)('%s', (scheme) => {
  it.each(SCREENS)('$name keeps the rules', async ({ name, query, go }) => {
    const page = await open(`${query}&still`, { scheme });
    await go?.(page);
    await picture(page, `${name}-${scheme}`);
    expect(await violations(page)).toEqual([]);
  });
});

it.each(SCREENS)('$name fits into 360 pixels', async ({ name, query, go }) => {
  const page = await open(`${query}&still&language=de`, { width: 360, height: 640 });
  await go?.(page);
  await picture(page, `${name}-narrow`);
  const wide = await page.evaluate(() => {
    const right = document.documentElement.clientWidth;
    return [...document.querySelectorAll('button, input, select, h1, h2, p, li')]
      .filter((element) => element.checkVisibility() && element.getBoundingClientRect().right > right + 1)
      .map((element) => element.outerHTML.slice(0, 120));
  });
  expect(wide).toEqual([]);
});

it('follows the theme that is set, not the system', async () => {
  const background = async (query: string) => {
    const page = await open(`${query}&still`, { scheme: 'light' });
    return page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  };
  const [system, light, dark] = [await background('x'), await background('theme=light'), await background('theme=dark')];
  expect(light).toBe(system);
  expect(dark).not.toBe(light);
});
