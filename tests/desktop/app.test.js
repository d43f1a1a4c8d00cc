// The whole way through the real app: its window, its hosted server, its microphone, a key of the keyboard.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { startApp, until } from './lib/app.js';
import { host } from './lib/host.js';
import { keep } from './lib/keep.js';
import { listen } from './lib/listener.js';
import { HEARD, audible, likeness } from './lib/sound.js';
import { phrases, speak } from './lib/speech.js';
import { steps } from './lib/steps.js';

const { VOIP_APP, VOIP_CLI } = process.env;
assert.ok(VOIP_APP && VOIP_CLI, 'tests/desktop/run.sh builds the programs and tells where they are');
const KEY = 'F8';
/** What is under way when the talk ends is recorded after this, on a busy machine too. */
const UNDER_WAY_MS = 1000;

test('host, talk by push-to-talk, mute, quit', { timeout: 180_000 }, async (t) => {
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
    const server = await step('a first start hosts a server, on another port where one is taken', () => host(app));

    await step('the host is in, and joins a channel', async () => {
      await app.click('channel-General');
      await app.becomes('channel-General', 'aria-selected', 'true');
      await app.becomes('state-line', 'data-state', 'connected');
    });

    await step('a key that is pressed becomes the push-to-talk key', async () => {
      await app.click('settings-open');
      await app.click('hotkey-bind');
      key('key');
      const button = await app.get('hotkey-bind');
      await until(`the binding is ${KEY}`, async () => (await button.getText()).includes(KEY));
      await app.becomes('hotkey-state', 'data-pressed', 'false');
      await app.click('settings-close');
    });

    await step('what is done to the voice is switched off: it is compared with what was said', async () => {
      await app.click('settings-open');
      await app.choose('noise-off');
      for (const part of ['echo-cancellation', 'automatic-gain', 'high-pass']) await app.click(part);
      await app.click('settings-close');
    });

    const person = { invite: server.invite, user: 'bob', password: 'correct horse battery', channel: 'General' };
    listener = listen(VOIP_CLI, folder, person);
    await app.get('member-bob');

    const [before, said, muted, again] = phrases();

    await step('with the key up the microphone hears', async () => {
      const speaking = speak(folder, before);
      await until('the level rises', async () => Number(await app.attribute('level-meter', 'data-level')) > -50);
      assert.equal(await app.attribute('ptt-indicator', 'data-state'), 'idle');
      await speaking;
    });

    await step('with the key down it talks', async () => {
      await withKeyDown(app, 'talking', () => speak(folder, said));
      await app.becomes('ptt-indicator', 'data-state', 'idle');
    });

    await step('muted, the key does nothing', async () => {
      await app.click('mute');
      await withKeyDown(app, 'muted', () => speak(folder, muted));
      await app.click('mute');
      await app.becomes('ptt-indicator', 'data-state', 'idle');
    });

    await step('unmuted, it talks again', async () => {
      await withKeyDown(app, 'talking', () => speak(folder, again));
      await app.becomes('ptt-indicator', 'data-state', 'idle');
    });

    await step('the listener heard what was said with the key down, and nothing else', async () => {
      await pause(UNDER_WAY_MS);
      const { heard, report } = await listener.stop();
      t.diagnostic(`voip-cli: ${JSON.stringify(report)}`);
      for (const [name, phrase] of Object.entries({ said, again })) {
        const score = likeness(phrase, heard);
        t.diagnostic(`likeness of "${name}": ${score.toFixed(3)}`);
        assert.ok(score >= HEARD, `"${name}" was not heard, or damaged: likeness ${score}`);
      }
      // Each of the phrases that must not be heard would add half as much again.
      const [most, seconds] = [1.25 * (audible(said) + audible(again)), audible(heard)];
      t.diagnostic(`${seconds} s are heard`);
      assert.ok(seconds < most, `heard with the key up, or muted: ${seconds} s of sound, more than ${most} s`);
    });

    await step('quitting ends the server and frees its ports', async () => {
      assert.equal(await app.quit(), 0);
      const [control, voice] = [net.createServer(), dgram.createSocket('udp4')];
      t.after(() => [control, voice].forEach((socket) => socket.close()));
      await once(control.listen(server.controlPort), 'listening');
      await once(voice.bind(server.voicePort), 'listening');
    });
  } catch (error) {
    keep(folder, app.log);
    throw error;
  }
});

/** Holds the push-to-talk key down, waits until the window shows `state`, and lets go after `action`. */
async function withKeyDown(app, state, action) {
  key('keydown');
  try {
    await app.becomes('ptt-indicator', 'data-state', state);
    return await action();
  } finally {
    key('keyup');
  }
}

/** A real key, as the X server gets it from a keyboard. */
function key(action) {
  execFileSync('xdotool', [action, KEY]);
}
