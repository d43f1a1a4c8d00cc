// The real app in its window, driven over WebDriver.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { remote } from 'webdriverio';

const PATIENCE_MS = 20_000;

/** Starts the app with `home` as its home folder, and waits for its window. */
export async function startApp(application, home) {
  const [port, nativePort] = [await freePort(), await freePort()];
  mkdirSync(home, { recursive: true });
  // The driver starts the app and keeps its words and its exit status to itself: this keeps them for the test.
  const [starter, log, status] = ['start', 'app.log', 'status'].map((name) => path.join(home, name));
  writeFileSync(starter, `#!/bin/sh\n'${application}' "$@" >'${log}' 2>&1\necho $? >'${status}'\n`, { mode: 0o755 });
  const driver = spawn('tauri-driver', ['--port', port, '--native-port', nativePort].map(String), {
    // A process group of its own: the driver's driver and the app end with it.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: environment(home),
  });
  const driverGone = new Promise((_, fail) => {
    driver.once('error', (error) => fail(new Error(`tauri-driver does not start: ${error.message}`)));
    driver.once('exit', (code) => fail(new Error(`tauri-driver ended with ${code}`)));
  });
  driverGone.catch(() => {});
  try {
    await Promise.race([until('both drivers listen', async () => (await answers(port)) && (await answers(nativePort))), driverGone]);
    const browser = await remote({
      hostname: '127.0.0.1',
      port,
      logLevel: 'error',
      connectionRetryCount: 0,
      connectionRetryTimeout: 2 * PATIENCE_MS,
      waitforTimeout: PATIENCE_MS,
      capabilities: {
        browserName: 'wry',
        'tauri:options': { application: starter },
        'wdio:enforceWebDriverClassic': true,
      },
    });
    return new App(browser, driver, application, { log, status });
  } catch (error) {
    endGroup(driver.pid);
    throw error;
  }
}

class App {
  #driver;
  #status;

  constructor(browser, driver, application, { log, status }) {
    this.browser = browser;
    /** File of all that the app prints. */
    this.log = log;
    this.#driver = driver;
    this.#status = status;
    this.pid = membersOf(driver.pid).find((pid) => executable(pid) === path.resolve(application));
  }

  /** The element of a test id, once it is there. */
  async get(id) {
    const element = this.browser.$(`[data-testid="${id}"]`);
    await element.waitForDisplayed({ timeoutMsg: `nothing is shown as ${id}` });
    return element;
  }

  async has(id) {
    return this.browser.$(`[data-testid="${id}"]`).isExisting();
  }

  async click(id) {
    await (await this.get(id)).click();
  }

  /** Chooses one of several: what is seen of it is its label. */
  async choose(id) {
    const label = await this.browser.$(`//label[.//*[@data-testid="${id}"]]`);
    await label.waitForDisplayed();
    await label.click();
  }

  async type(id, text) {
    await (await this.get(id)).setValue(text);
  }

  async attribute(id, name) {
    return (await this.get(id)).getAttribute(name);
  }

  /** Waits until an attribute has a value. */
  async becomes(id, name, value) {
    await until(`${name} of ${id} is ${value}`, async () => (await this.attribute(id, name)) === value);
  }

  /** Ends the app as the system does at log-out; its exit status. */
  async quit() {
    if (this.#exitStatus() !== null) throw new Error(`the app ended by itself, with ${this.#exitStatus()}`);
    process.kill(this.pid, 'SIGTERM');
    await until('the app is gone', () => this.#exitStatus() !== null);
    return this.#exitStatus();
  }

  #exitStatus() {
    const text = existsSync(this.#status) ? readFileSync(this.#status, 'utf8') : '';
    return text.endsWith('\n') ? Number(text) : null;
  }

  /** Ends whatever of it is still there. */
  stop() {
    endGroup(this.#driver.pid);
  }
}

/** Waits until `condition` holds. */
export async function until(what, condition, timeout = PATIENCE_MS) {
  const end = Date.now() + timeout;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await pause(50);
  }
}

/** Whether somebody listens on a TCP port of this computer. */
export function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.end());
  });
}

/** The environment of a program that shall see nothing of the person's own folders. */
export function environment(home) {
  const folders = { CONFIG: '.config', DATA: '.local/share', CACHE: '.cache', STATE: '.local/state' };
  const environment = { ...process.env, HOME: home, LANG: 'C.UTF-8' };
  for (const [name, folder] of Object.entries(folders)) {
    environment[`XDG_${name}_HOME`] = path.join(home, folder);
    mkdirSync(environment[`XDG_${name}_HOME`], { recursive: true });
  }
  return environment;
}

/** A port that nobody uses now. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function membersOf(group) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        // After the name in brackets: state, parent, process group.
        return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ')[2] === String(group);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function executable(pid) {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return null;
  }
}

function endGroup(group) {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
