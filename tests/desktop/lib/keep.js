// What is left of a test that failed.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

const RESULTS = path.join(import.meta.dirname, '../results');

/** Keeps what a failure can be understood by: the screen, what the app said, and what the listener recorded. */
export function keep(folder, log) {
  mkdirSync(RESULTS, { recursive: true });
  execFileSync('/usr/bin/import', ['-window', 'root', path.join(RESULTS, 'screen.png')]);
  const recordings = readdirSync(folder).filter((name) => name.endsWith('.wav'));
  for (const file of [log, ...recordings.map((name) => path.join(folder, name))]) {
    if (existsSync(file)) copyFileSync(file, path.join(RESULTS, path.basename(file)));
  }
  console.error(`screen, log and recordings: ${RESULTS}`);
}
