// The one place that holds the window's state and talks to the host.

import type { AppError, AppEvent, AppState, Connection, Host, Levels, Room, Settings } from '../host/types';
import { asError } from './errors';
import { keepRoom, reduce } from './state';

const QUIET: Levels = { input: -96, transmitting: false };

/** A connection that has ended for good without being asked to. */
export interface Ending {
  /** host:port, where that is known. */
  server: string | null;
  error: AppError;
}

/** An error that waits to be read. */
export interface Notice {
  id: number;
  error: AppError;
}

function endingOf(connection: Connection, server: string | null): Ending | null {
  if (connection.state !== 'disconnected' || !connection.reason) return null;
  return { server, error: { ...connection.reason, port: null } };
}

export class App {
  /** What the host said last. */
  state: AppState;
  /** The microphone, about 20 times a second. */
  levels: Levels;
  /** Errors that no form shows, the newest last. */
  notices: Notice[];
  /** The room, and the last one there was while the connection comes back. */
  room: Room | null;
  /** Why one is out, until somebody has seen to it. */
  ending: Ending | null;
  /** When the state of the connection last changed, by `performance.now()`. */
  connectionSince: number;

  readonly host: Host;
  #saving = false;
  #unsaved = false;
  #lastNotice = 0;
  #mutedBefore = false;

  private constructor(host: Host, state: AppState) {
    this.host = host;
    this.state = $state.raw(state);
    this.levels = $state.raw(QUIET);
    this.notices = $state.raw([]);
    this.room = $state.raw(state.engine.room);
    this.ending = $state.raw(endingOf(state.engine.connection, null));
    this.connectionSince = $state.raw(performance.now());
    for (const error of state.problems) this.#notice(error);
  }

  /**
   * Asks the host for its state and follows it. Events that come before the answer are applied again after it:
   * each sets a value, so the outcome is the same.
   */
  static async start(host: Host): Promise<App> {
    const early: AppEvent[] = [];
    let take = (event: AppEvent): void => void early.push(event);
    await host.listen((event) => take(event));
    const app = new App(host, await host.state());
    take = (event) => app.#take(event);
    early.forEach(take);
    return app;
  }

  /** Runs what a button asked for; what goes wrong becomes a notice. */
  run(task: Promise<unknown>): void {
    task.catch((reason) => this.#notice(asError(reason)));
  }

  dismiss(id: number): void {
    this.notices = this.notices.filter((notice) => notice.id !== id);
  }

  /** Takes the invite link that waits, once. */
  takeLink(): string | null {
    const { link } = this.state;
    if (link !== null) this.state = { ...this.state, link: null };
    return link;
  }

  /** Takes why one is out, once. */
  takeEnding(): Ending | null {
    const { ending } = this;
    this.ending = null;
    return ending;
  }

  /** Changes settings: at once in the window, then in the host. A slider that moves fast saves as fast as that goes. */
  save(change: Partial<Settings>): void {
    this.state = { ...this.state, settings: { ...this.state.settings, ...change } };
    this.#unsaved = true;
    if (!this.#saving) this.run(this.#saveAll());
  }

  async #saveAll(): Promise<void> {
    this.#saving = true;
    try {
      while (this.#unsaved) {
        this.#unsaved = false;
        await this.host.saveSettings(this.state.settings);
      }
    } catch (reason) {
      // What was refused is not so.
      const { settings } = await this.host.state();
      this.state = { ...this.state, settings };
      throw reason;
    } finally {
      this.#saving = false;
    }
  }

  /** Microphone off or on. Whoever hears nothing says nothing, so turning it on turns the speaker on too. */
  mute(): void {
    const { muted, deafened } = this.state.engine;
    this.run(this.host.setSelf(!(muted || deafened), false));
  }

  /** Speaker and microphone off, or the speaker on and the microphone as it was before. */
  deafen(): void {
    const { muted, deafened } = this.state.engine;
    if (!deafened) this.#mutedBefore = muted;
    this.run(this.host.setSelf(deafened ? this.#mutedBefore : true, !deafened));
  }

  saveVoice(change: Partial<Settings['voice']>): void {
    this.save({ voice: { ...this.state.settings.voice, ...change } });
  }

  #take(event: AppEvent): void {
    // An echo of a change that a newer one has overtaken.
    if (event.type === 'settings' && this.#unsaved) return;
    const before = this.state.engine.connection;
    this.state = reduce(this.state, event);
    const { connection } = this.state.engine;
    if (connection !== before) {
      this.connectionSince = performance.now();
      this.ending = endingOf(connection, 'server' in before ? before.server : null);
    }
    this.room = keepRoom(this.room, this.state.engine);
    if (event.type === 'problem') this.#notice(event.data);
    if (event.type !== 'engine') return;
    if (event.data.type === 'levels') this.levels = event.data.data;
    if (event.data.type === 'problem') this.#notice({ ...event.data.data, port: null });
  }

  #notice(error: AppError): void {
    const others = this.notices.filter((notice) => notice.error.code !== error.code).slice(-3);
    this.notices = [...others, { id: ++this.#lastNotice, error }];
  }
}
