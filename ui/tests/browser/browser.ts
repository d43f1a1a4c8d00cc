// One headless browser for a test file, and pages of the UI in a scene of the fake host.

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, inject } from 'vitest';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Where pictures of the screens go, if anywhere. */
const PICTURES = process.env.UI_PICTURES;

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser: Browser;
let pages: Page[] = [];
let complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(CHROMIUM)) throw new Error(`no browser at ${CHROMIUM}: install Debian's chromium or set CHROMIUM`);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
});

afterAll(() => browser.close());

afterEach(async () => {
  const said = complaints;
  await Promise.all(pages.map((page) => page.context().close()));
  [pages, complaints] = [[], []];
  // Errors, warnings and breaches of the content security policy fail the test that made them.
  expect(said).toEqual([]);
});

/** How the window is. */
export interface View {
  width?: number;
  height?: number;
  scheme?: 'light' | 'dark';
}

/** Opens a scene; `query` is what the fake host reads. */
export async function open(query: string, { width = 1000, height = 680, scheme = 'light' }: View = {}): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
  });
  const page = await context.newPage();
  pages.push(page);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  await page.goto(`${inject('base')}/?${query}`);
  await page.getByRole('heading', { level: 1 }).waitFor();
  return page;
}

/** Saves a picture where `UI_PICTURES` says, or does nothing. */
export async function picture(page: Page, name: string): Promise<void> {
  if (!PICTURES) return;
  await mkdir(PICTURES, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(PICTURES, `${name}.png`) });
}

/** The element with the keyboard. */
export async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const { activeElement } = document;
    return activeElement?.getAttribute('data-testid') ?? activeElement?.tagName.toLowerCase() ?? '';
  });
}

/** Presses Tab until the element has the keyboard. */
export async function tabTo(page: Page, testid: string): Promise<void> {
  const LIMIT = 40;
  for (let presses = 0; presses < LIMIT; presses += 1) {
    if ((await focused(page)) === testid) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`the keyboard does not reach ${testid}`);
}

/** Says something as the app would. */
export async function tell(page: Page, ...events: object[]): Promise<void> {
  await page.evaluate((all) => {
    const { fake } = window as unknown as { fake: { emit(event: unknown): void } };
    for (const event of all) fake.emit(event);
  }, events);
}

/** Ends the login from elsewhere. */
export async function putOut(page: Page): Promise<void> {
  const reason = { code: 'login_revoked', message: 'the login was revoked' };
  await tell(
    page,
    { type: 'engine', data: { type: 'room', data: null } },
    { type: 'engine', data: { type: 'connection', data: { state: 'disconnected', reason } } },
  );
}

export async function openAccount(page: Page): Promise<void> {
  await page.getByTestId('account-open').click();
  await page.getByTestId('login-here').waitFor();
}

export async function openMembers(page: Page): Promise<void> {
  await page.getByTestId('members-open').click();
  await page.getByTestId('user-maya').waitFor();
}

/** A file of accounts: two that can be taken, one that is there, two that are broken. */
export const IMPORT = {
  name: 'users.json',
  mimeType: 'application/json',
  buffer: Buffer.from(
    JSON.stringify([
      { username: 'gwen', password: 'velvet-anchor-7' },
      { username: 'alice', password: 'velvet-anchor-7' },
      { username: 'hugo', password: 'short' },
      { username: 'ivan', password: 'velvet-anchor-8' },
      { password: 'velvet-anchor-7' },
    ]),
  ),
};
