// The whole way through the real app: its window, its hosted server, its microphone, a key of the keyboard.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { startApp, until } from './lib/app.js';
import { listen } from './lib/listener.js';
import { HEARD, audible, likeness } from './lib/sound.js';
import { phrases, speak } from './lib/speech.js';

const { VOIP_APP, VOIP_CLI } = process.env;
const RESULTS = path.join(import.meta.dirname, 'results');
const KEY = 'F8';

test('host, talk by push-to-talk, mute, quit', { timeout: 180_000 }, async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'voip-app-'));
  const app = await startApp(VOIP_APP, path.join(folder, 'home'));
  let listener;
  t.after(async () => {
    listener?.kill();
    app.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  try {
    const invite = await t.test('a first start hosts a server, on another port where one is taken', () => host(app));

    await t.test('the host is in, and joins a channel', async () => {
      await app.click('channel-General');
      await app.becomes('channel-General', 'aria-selected', 'true');
      await app.becomes('state-line', 'data-state', 'connected');
    });

    await t.test('a key that is pressed becomes the push-to-talk key', async () => {
      await app.click('settings-open');
      await app.click('hotkey-bind');
      key('key');
      const button = await app.get('hotkey-bind');
      await until(`the binding is ${KEY}`, async () => (await button.getText()).includes(KEY));
      await app.becomes('hotkey-state', 'data-pressed', 'false');
      await app.click('settings-close');
    });

    const person = { invite, user: 'bob', password: 'correct horse battery', channel: 'General' };
    listener = listen(VOIP_CLI, folder, person);
    await app.get('member-bob');

    const [before, said, muted, again] = phrases();

    await t.test('with the key up the microphone hears, and nothing is sent', async () => {
      const spoken = speak(folder, before);
      await until('the microphone hears', async () => Number(await app.attribute('level-meter', 'data-level')) > -50);
      assert.equal(await app.attribute('ptt-indicator', 'data-state'), 'idle');
      await spoken;
    });

    await t.test('with the key down it talks', async () => {
      await withKeyDown(app, 'talking', () => speak(folder, said));
      await app.becomes('ptt-indicator', 'data-state', 'idle');
    });

    await t.test('muted, the key does nothing', async () => {
      await app.click('mute');
      await withKeyDown(app, 'muted', () => speak(folder, muted));
      await app.click('mute');
      await app.becomes('ptt-indicator', 'data-state', 'idle');
    });

    await t.test('unmuted, it talks again', () => withKeyDown(app, 'talking', () => speak(folder, again)));

    await t.test('the listener heard what was said with the key down, and nothing else', async () => {
      const { heard, report } = await listener.stop();
      t.diagnostic(`voip-cli: ${JSON.stringify(report)}`);
      const found = [before, said, muted, again].map((phrase) => likeness(phrase, heard));
      t.diagnostic(`likeness before, said, muted, again: ${found.map((one) => one.likeness.toFixed(3)).join(', ')}`);
      assert.ok(found[0].likeness < HEARD, 'heard with the key up');
      assert.ok(found[1].likeness >= HEARD, 'not heard, or damaged');
      assert.ok(found[2].likeness < HEARD, 'heard while muted');
      assert.ok(found[3].likeness >= HEARD, 'not heard after the mute, or damaged');
      assert.ok(found[1].at < found[3].at, 'in the wrong order');
      const [expected, actual] = [audible(said) + audible(again), audible(heard)];
      assert.ok(Math.abs(actual - expected) < 0.2 * expected, `${actual} s are heard of ${expected} s`);
    });

    await t.test('quitting ends the server and frees its ports', async () => {
      const { port } = new URL(invite);
      assert.equal(await app.quit(), 0);
      await once(net.createServer().listen(Number(port)).unref(), 'listening');
      await once(dgram.createSocket('udp4').bind(9001).unref(), 'listening');
    });
  } catch (error) {
    await picture('app');
    throw error;
  }
});

async function host(app) {
  // Taken by this test, or by somebody else: the app must offer another port either way.
  const taken = net.createServer().listen(9000, '0.0.0.0');
  await Promise.race([once(taken, 'listening'), once(taken, 'error')]);
  await app.click('start-host');
  await app.type('host-name', 'alice');
  await app.type('host-password', 'a long enough password');
  await app.click('host-submit');
  await app.click('host-use-free-port');
  const invite = await (await app.get('invite-link')).getValue();
  taken.close();
  assert.match(invite, /^voip:\/\/[^/]+:\d+\/\?fp=[0-9a-f]{64}$/);
  return invite;
}

/** Holds the push-to-talk key down, waits until the window shows `state`, and lets go after `action`. */
async function withKeyDown(app, state, action) {
  key('keydown');
  try {
    await app.becomes('ptt-indicator', 'data-state', state);
    await action();
  } finally {
    key('keyup');
  }
}

/** A real key, as the X server gets it from a keyboard. */
function key(action) {
  execFileSync('xdotool', [action, KEY]);
}

function picture(name) {
  mkdirSync(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `${name}.png`);
  execFileSync('/usr/bin/import', ['-window', 'root', file]);
  console.error(`a picture of the screen: ${file}`);
}
