// The measure that the test of the app relies on: it must tell speech from everything else.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { HEARD, RATE, audible, join, likeness, readWav, writeWav } from './lib/sound.js';
import { phrases } from './lib/speech.js';

const [before, said] = phrases();
const silence = (seconds) => new Float32Array(seconds * RATE);
const noise = (seconds) => Float32Array.from({ length: seconds * RATE }, () => Math.random() - 0.5);

test('finds what was said, and when', () => {
  const heard = join(silence(2.5), said.map((sample) => sample * 0.3), silence(1));
  const found = likeness(said, heard);
  assert.ok(found.likeness > 0.99, `likeness ${found.likeness}`);
  assert.ok(Math.abs(found.at - 2.5) < 0.02, `at ${found.at}`);
});

test('finds it under some noise', () => {
  const heard = join(silence(1), said, silence(1)).map((sample) => sample + (Math.random() - 0.5) * 0.02);
  assert.ok(likeness(said, heard).likeness > HEARD);
});

test('takes nothing else for it', () => {
  for (const [name, heard] of Object.entries({
    silence: silence(6),
    noise: noise(6),
    'other words': join(silence(1), before, silence(2)),
    'the words backwards': join(silence(1), said.toReversed(), silence(2)),
    'every other tenth of a second': said.map((sample, n) => (Math.floor(n / 4800) % 2 ? 0 : sample)),
    'the first half': said.map((sample, n) => (n < said.length / 2 ? sample : 0)),
  })) {
    const score = likeness(said, heard).likeness;
    assert.ok(score < HEARD, `${name}: ${score}`);
  }
});

test('counts what can be heard', () => {
  assert.equal(audible(silence(2)), 0);
  assert.ok(Math.abs(audible(join(silence(1), noise(2))) - 2) < 0.05);
});

test('WAV files round-trip', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'voip-sound-'));
  try {
    const file = path.join(folder, 'a.wav');
    writeWav(file, said);
    assert.deepEqual(readWav(file), said);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
