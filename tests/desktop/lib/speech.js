// Recorded speech, and the virtual microphone that hears it.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { join, readWav, writeWav } from './sound.js';

/** The 48 kHz voice that comes with the package alsa-utils. */
const FOLDER = '/usr/share/sounds/alsa';

/** Four phrases with no recording in common. */
export function phrases() {
  return [
    ['Rear_Left', 'Rear_Center'],
    ['Front_Center', 'Side_Left'],
    ['Rear_Right', 'Front_Right'],
    ['Front_Left', 'Side_Right'],
  ].map((names) => join(...names.map((name) => readWav(`${FOLDER}/${name}.wav`))));
}

/** Plays samples into the microphone of scripts/desktop-env.sh; resolves when it has heard them. */
export async function speak(folder, samples) {
  const file = path.join(folder, 'spoken.wav');
  writeWav(file, samples);
  await promisify(execFile)('paplay', ['--device=microphone_input', file]);
}
