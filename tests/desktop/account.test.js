// Accounts in the real app: one's own password and devices, and a member who is made, comes, and is put out.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { startApp, until } from './lib/app.js';
import { host, PASSWORD } from './lib/host.js';
import { keep } from './lib/keep.js';
import { listen } from './lib/listener.js';
import { steps } from './lib/steps.js';

const { VOIP_APP, VOIP_CLI } = process.env;
assert.ok(VOIP_APP && VOIP_CLI, 'tests/desktop/run.sh builds the programs and tells where they are');
const NEW_PASSWORD = 'velvet-anchor-7';

test('password, devices, members', { timeout: 180_000 }, async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'voip-app-'));
  const app = await startApp(VOIP_APP, path.join(folder, 'home'));
  let listener;
  t.after(async () => {
    listener?.kill();
    app.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const step = steps(t);
  try {
    const server = await step('alice hosts a server', () => host(app));

    await step('her account shows this device', async () => {
      await app.click('account-open');
      // What the driver takes for visible text leaves out what is in a dialog.
      const page = await app.get('account');
      await until('the device is shown', async () => (await page.getProperty('textContent')).includes('This device'));
    });

    await step('a wrong current password is told at its field', async () => {
      await change(app, 'not her password', NEW_PASSWORD);
      await app.becomes('password-current', 'aria-invalid', 'true');
    });

    await step('her password is changed', async () => {
      await change(app, PASSWORD, NEW_PASSWORD);
      await app.get('password-changed');
      await app.click('account-close');
    });

    const password = await step('a member is made, with a password that the server makes', async () => {
      await app.click('members-open');
      await app.get('user-alice');
      await app.click('members-new');
      await app.type('new-user-name', 'bob');
      await app.click('new-user-submit');
      const made = await (await app.get('made-password')).getValue();
      await app.click('made-done');
      await app.becomes('user-bob', 'data-active', 'true');
      return made;
    });

    await step('the member logs in with it', async () => {
      const member = { invite: server.invite, user: 'bob', password, channel: 'General', register: false };
      listener = listen(VOIP_CLI, folder, member);
      await until('bob is there', () => app.has('member-bob'));
    });

    await step('disabled, the member is out at once', async () => {
      await app.click('user-active-bob');
      await app.click('switch-user-confirm');
      await app.becomes('user-bob', 'data-active', 'false');
      await until('bob is gone', async () => !(await app.has('member-bob')));
      assert.equal(await listener.ended(), 1);
    });

    await step('the members are exported into a file', async () => {
      await app.click('members-export');
      const file = await (await app.get('members-saved')).getValue();
      assert.ok(file.startsWith(path.join(folder, 'home')), file);
      await app.click('members-close');
    });

    await step('the app ends', async () => {
      assert.equal(await app.quit(), 0);
    });
  } catch (error) {
    keep(folder, app.log);
    throw error;
  }
});

/** Fills in the form for a new password, and sends it. */
async function change(app, current, wanted) {
  await app.type('password-current', current);
  await app.type('password-new', wanted);
  await app.type('password-again', wanted);
  await app.click('password-submit');
}
