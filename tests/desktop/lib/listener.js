// Somebody else in the channel: voip-cli, which records what it hears.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

import { environment } from './app.js';
import { readWav } from './sound.js';

/** Registers at the invite's server, or logs in, joins the channel and listens until `stop`. */
export function listen(program, folder, { invite, user, password, channel, register = true }) {
  const output = path.join(folder, `${user}-hears.wav`);
  const options = ['--server', invite, '--user', user, '--channel', channel, '--output', output];
  if (register) options.push('--register');
  const child = spawn(program, ['talk', ...options, '--listen', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...environment(folder), VOIP_PASSWORD: password },
  });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
  const gone = once(child, 'close');
  return {
    /** Ends it; what it heard, and what it printed. */
    async stop() {
      child.kill('SIGINT');
      const [code] = await gone;
      if (code !== 0) throw new Error(`voip-cli ended with ${code}: ${printed}`);
      return { heard: readWav(output), report: JSON.parse(printed) };
    },
    /** Its exit status, when it ends by itself. */
    async ended() {
      const [code] = await gone;
      return code;
    },
    kill: () => child.kill('SIGKILL'),
  };
}
