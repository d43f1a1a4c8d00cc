// Sound as the tests need it: WAV files, and how alike two recordings are.
//
// Likeness of `heard` to `said`, 0 to 1: `said` is cut into windows of 200 ms, of which those count that are
// louder than a tenth of the loudest. For each the best normalized cross-correlation is sought over all the
// places in `heard` that leave room for the rest of `said`; a delay that changes on the way costs nothing.
// The likeness is what two thirds of the windows reach. Speech that came through Opus scores above 0.85, also
// on a busy machine; silence 0; noise and other words below 0.65.
import { readFileSync, writeFileSync } from 'node:fs';

export const RATE = 48000;
/** Likeness from which something counts as heard. */
export const HEARD = 0.8;

// What tells speech apart lies below 4 kHz; and a sixth of the samples is a 36th of the work.
const STEP = 6;
const COARSE = RATE / STEP;
const WINDOW = COARSE / 5;
const HOP = COARSE / 100;

/** Samples, −1 to 1, of a mono WAV file of 16 bits at 48 kHz. */
export function readWav(path) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (at, length) => bytes.toString('latin1', at, at + length);
  if (text(0, 4) !== 'RIFF' || text(8, 4) !== 'WAVE') throw new Error(`${path} is not a WAV file`);
  let format;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    if (text(at, 4) === 'fmt ') {
      format = [view.getUint16(at + 10, true), view.getUint32(at + 12, true), view.getUint16(at + 22, true)];
      if (format.join() !== `1,${RATE},16`) throw new Error(`${path} is not mono, ${RATE} Hz, 16 bits: ${format}`);
    } else if (text(at, 4) === 'data') {
      if (!format) throw new Error(`${path} has no format`);
      const count = Math.min(length, bytes.length - at - 8) >> 1;
      return Float32Array.from({ length: count }, (_, n) => view.getInt16(at + 8 + 2 * n, true) / 32768);
    }
    at += 8 + length + (length & 1);
  }
  throw new Error(`${path} has no samples`);
}

/** Writes such a file. */
export function writeWav(path, samples) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(36 + 2 * samples.length, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, n) => {
    bytes.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(sample * 32768))), 44 + 2 * n);
  });
  writeFileSync(path, bytes);
}

/** Samples of several recordings, one after the other. */
export function join(...parts) {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** How alike `heard` is to `said`, 0 to 1. */
export function likeness(said, heard) {
  const [a, b] = [coarse(said), coarse(heard)];
  const [energyA, energyB] = [energyOf(a), energyOf(b)];
  const quiet = (Math.max(...curve(a)) / 10) ** 2 * WINDOW;
  const scores = [];
  for (let at = 0; at + WINDOW <= a.length; at += WINDOW) {
    const energy = energyA(at);
    if (energy < quiet) continue;
    let best = 0;
    for (let to = at; to <= at + b.length - a.length; to += 1) {
      // Where it is all but silent nothing is sought: −60 dBFS.
      if (energyB(to) < 1e-6 * WINDOW) continue;
      best = Math.max(best, product(a, at, b, to) / Math.sqrt(energy * energyB(to)));
    }
    scores.push(best);
  }
  if (scores.length < 3) throw new Error('too little sound to compare with');
  scores.sort((x, y) => x - y);
  return scores[Math.floor(scores.length / 3)];
}

/** For how many seconds something louder than −50 dBFS is heard, counted in steps of 10 ms. */
export function audible(samples) {
  return curve(coarse(samples)).filter((level) => level > 10 ** (-50 / 20)).length / 100;
}

function coarse(samples) {
  return Float32Array.from({ length: Math.floor(samples.length / STEP) }, (_, n) => {
    let sum = 0;
    for (let k = 0; k < STEP; k += 1) sum += samples[n * STEP + k];
    return sum / STEP;
  });
}

function curve(samples) {
  return Array.from({ length: Math.floor(samples.length / HOP) }, (_, n) => rms(samples, n * HOP, HOP));
}

function rms(samples, at, length) {
  let sum = 0;
  for (let n = at; n < at + length; n += 1) sum += samples[n] * samples[n];
  return Math.sqrt(sum / length);
}

/** The energy of the window that begins at a sample. */
function energyOf(samples) {
  const sums = new Float64Array(samples.length + 1);
  samples.forEach((sample, n) => {
    sums[n + 1] = sums[n] + sample * sample;
  });
  return (at) => sums[at + WINDOW] - sums[at];
}

function product(a, at, b, to) {
  let sum = 0;
  for (let n = 0; n < WINDOW; n += 1) sum += a[at + n] * b[to + n];
  return sum;
}
