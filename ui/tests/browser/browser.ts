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
