// Hosting a server by way of the window.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';

import { freePort } from './app.js';

/** Of whoever hosts. */
export const PASSWORD = 'a long enough password';

/** Hosts a server, on a port that is taken first and on the one that the app offers then; tells invite and ports. */
export async function host(app) {
  const taken = net.createServer().listen(0, '0.0.0.0');
  await once(taken, 'listening');
  try {
    const voicePort = await freePort();
    await app.click('start-host');
    await app.type('host-name', 'alice');
    await app.type('host-password', PASSWORD);
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
