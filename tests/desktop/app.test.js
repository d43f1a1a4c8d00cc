// The whole way through the real app: its window, its hosted server, its microphone, a key of the keyboard.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { freePort, startApp, until } from './lib/app.js';
import { listen } from './lib/listener.js';
import { HEARD, audible, likeness } from './lib/sound.js';
import { phrases, speak } from './lib/speech.js';

const { VOIP_APP, VOIP_CLI } = process.env;
assert.ok(VOIP_APP && VOIP_CLI, 'tests/desktop/run.sh builds the programs and tells where they are');
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
  // Each step stands on the one before: the first that fails is the last.
  const step = async (name, run) => {
    let result, error;
    await t.test(name, async () => {
      try {
        result = await run();
      } catch (caught) {
        throw (error = caught);
      }
    });
    if (error) throw error;
    return result;
  };
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

    const person = { invite: server.invite, user: 'bob', password: 'correct horse battery', channel: 'General' };
    listener = listen(VOIP_CLI, folder, person);
    await app.get('member-bob');

    const [before, said, muted, again] = phrases();

    await step('with the key up the microphone hears, and nothing is sent', async () => {
      const spoken = speak(folder, before);
      await until('the microphone hears', async () => Number(await app.attribute('level-meter', 'data-level')) > -50);
      assert.equal(await app.attribute('ptt-indicator', 'data-state'), 'idle');
      await spoken;
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

    await step('unmuted, it talks again', () => withKeyDown(app, 'talking', () => speak(folder, again)));

    await step('the listener heard what was said with the key down, and nothing else', async () => {
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

    await step('quitting ends the server and frees its ports', async () => {
      assert.equal(await app.quit(), 0);
      const [control, voice] = [net.createServer(), dgram.createSocket('udp4')];
      t.after(() => [control, voice].forEach((socket) => socket.close()));
      await once(control.listen(server.controlPort), 'listening');
      await once(voice.bind(server.voicePort), 'listening');
    });
  } catch (error) {
    keep(folder);
    throw error;
  }
});

/** Hosts a server, on a port that is taken first and on the one that the app offers then; tells invite and ports. */
async function host(app) {
  const taken = net.createServer().listen(0, '0.0.0.0');
  await once(taken, 'listening');
  try {
    const voicePort = await freePort();
    await app.click('start-host');
    await app.type('host-name', 'alice');
    await app.type('host-password', 'a long enough password');
    await app.browser.$('summary').click();
    await app.type('host-control-port', String(taken.address().port));
    await app.type('host-voice-port', String(voicePort));
    await app.click('host-submit');
    await app.click('host-use-free-port');
    const invite = await (await app.get('invite-link')).getValue();
    assert.match(invite, /^voip:\/\/[^/]+:\d+\/\?fp=[0-9a-f]{64}$/);
    const controlPort = Number(invite.match(/:(\d+)\/\?/)[1]);
    assert.notEqual(controlPort, taken.address().port);
    return { invite, controlPort, voicePort };
  } finally {
    taken.close();
  }
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

/** Keeps what a failure can be understood by: the screen, and what the listener recorded. */
function keep(folder) {
  mkdirSync(RESULTS, { recursive: true });
  execFileSync('/usr/bin/import', ['-window', 'root', path.join(RESULTS, 'screen.png')]);
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.wav'))) {
    copyFileSync(path.join(folder, name), path.join(RESULTS, name));
  }
  console.error(`the screen and the recordings: ${RESULTS}`);
}
