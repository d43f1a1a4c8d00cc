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

test('finds what was said', () => {
  const score = likeness(said, join(silence(0.5), said.map((sample) => sample * 0.3), silence(0.2)));
  assert.ok(score > 0.99, `likeness ${score}`);
});

test('finds it when the delay changes in the middle', () => {
  const half = said.length >> 1;
  const score = likeness(said, join(silence(0.1), said.slice(0, half), silence(0.3), said.slice(half)));
  assert.ok(score > 0.9, `likeness ${score}`);
});

test('finds it under some noise', () => {
  const heard = join(silence(0.5), said, silence(0.5)).map((sample) => sample + (Math.random() - 0.5) * 0.02);
  assert.ok(likeness(said, heard) > HEARD);
});

test('takes nothing else for it', () => {
  for (const [name, heard] of Object.entries({
    silence: silence(4),
    noise: noise(4),
    'other words': join(silence(0.5), before, silence(0.7)),
    'the words backwards': join(silence(0.5), said.toReversed(), silence(0.5)),
    'half of it': said.map((sample, n) => (Math.floor(n / 14400) % 2 ? 0 : sample)),
    'the first half': said.map((sample, n) => (n < said.length / 2 ? sample : 0)),
  })) {
    const score = likeness(said, heard);
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
