// A host without an app behind it, for the browser tests and for `npm run dev` in a plain browser.
//
// The address selects what it plays: `?scene=fresh|returning|connected|admin|alone|hosting|reconnecting|silent|failed`,
// `&mode=voice_activation`, `&theme=dark`, `&language=de`, `&still` for a picture that does not move.
// In the fresh scene what is typed decides what happens:
//   address `new.example` asks for trust, `known.example` does not, `changed.example` is refused,
//   `org.example` asks for an organization, `dead.example` does not answer, `web.example` is no voice server;
//   password `wrong-password` is refused, user name `taken` cannot be registered, port 9000 is in use,
//   organization `NOPE` is unknown. In the scenes inside, `accounts.ts` says what happens.

import { reduce } from '../lib/state';
import { Accounts } from './accounts';
import { demoRoom, demoState, hostedServer, SELF } from './demo';
import type {
  AccountQuery,
  AccountRequest,
  AppError,
  AppEvent,
  AppState,
  EngineState,
  Host,
  HostRequest,
  Hotkey,
  LoginRequest,
  Member,
  PasswordChange,
  Settings,
  Visit,
} from './types';

type EngineEvent = Extract<AppEvent, { type: 'engine' }>['data'];

const STEP_MS = 150;
const LEVEL_MS = 50;

export function openFake(search: string): Host {
  return new Fake(new URLSearchParams(search));
}

const refusal = (code: string, message: string, port: AppError['port'] = null): AppError => ({ code, message, port });
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Fake implements Host {
  #state: AppState;
  #accounts = new Accounts();
  #handler: (event: AppEvent) => void = () => {};
  #capture: ((hotkey: Hotkey | null) => void) | null = null;
  #held = false;
  #tick = 0;

  constructor(parameters: URLSearchParams) {
    this.#state = demoState(parameters);
    Object.assign(window, { fake: this });
    if (!parameters.has('still')) setInterval(() => this.#play(), LEVEL_MS);
    window.addEventListener('keydown', (event) => this.#key(event, true), { capture: true });
    window.addEventListener('keyup', (event) => this.#key(event, false), { capture: true });
  }

  /** For tests: says something as the app would. */
  emit(event: AppEvent): void {
    this.#handler(event);
  }

  async listen(handler: (event: AppEvent) => void): Promise<void> {
    this.#handler = handler;
  }

  async state(): Promise<AppState> {
    return this.#state;
  }

  async hostSetup() {
    return { has_administrator: this.#state.settings.hosting.username !== null };
  }

  async startHosting({ username, password, control_port, voice_port, server_name }: HostRequest): Promise<void> {
    for (const step of ['database', 'network', 'account', 'log_in'] as const) {
      this.#tell({ type: 'hosting', data: { state: 'starting', data: step } });
      await wait(STEP_MS);
      const taken = step === 'network' && control_port === 9000;
      const wrong = step === 'log_in' && password === 'wrong-password';
      const weak = step === 'account' && password === 'password1';
      if (!taken && !wrong && !weak) continue;
      this.#tell({ type: 'hosting', data: { state: 'stopped' } });
      if (weak) throw refusal('weak_password', 'the password is among the first that anybody would try');
      if (wrong) throw refusal('invalid_credentials', 'name or password is wrong');
      throw refusal('port_in_use', 'TCP port 9000 is in use by another program; 9010 is free', {
        plane: 'control',
        taken: 9000,
        free: 9010,
      });
    }
    this.#tell({ type: 'hosting', data: { state: 'running', data: hostedServer(control_port, voice_port) } });
    this.#enter(`127.0.0.1:${control_port}`, username, server_name ?? `${username}'s server`, true);
  }

  async stopHosting(): Promise<void> {
    this.#tell({ type: 'hosting', data: { state: 'stopping' } });
    await wait(STEP_MS);
    await this.disconnect();
    this.#tell({ type: 'hosting', data: { state: 'stopped' } });
  }

  async visit(text: string): Promise<Visit> {
    await wait(STEP_MS);
    const host = /^(?:voip:\/\/)?([^/:?]+)/.exec(text)?.[1];
    if (!host || text.includes(' ')) {
      throw refusal('invalid_address', 'an address is host or host:port, an invite voip://host:port/?fp=…');
    }
    if (host === 'dead.example') throw refusal('unreachable', 'dead.example:9000 refused the connection');
    if (host === 'web.example') throw refusal('not_a_voice_server', 'web.example:9000 speaks another protocol');
    const { fingerprint } = hostedServer(9000, 9001);
    const address = `${host}:9000`;
    if (host === 'changed.example') {
      const expected = [...fingerprint].reverse().join('');
      return { address, fingerprint, trust: { state: 'changed', data: { expected, invited: text.includes('fp=') } } };
    }
    const known = host === 'known.example' || host === '127.0.0.1' || host === 'voice.example.org';
    return { address, fingerprint, trust: { state: known || text.includes('fp=') ? 'known' : 'new' } };
  }

  async trust({ trust, fingerprint }: Visit, confirmation: string | null): Promise<void> {
    if (trust.state !== 'changed' || confirmation?.includes(fingerprint)) return;
    throw refusal('not_confirmed', 'this is not the fingerprint that the server shows');
  }

  async logIn({ address, username, password, organization, register }: LoginRequest): Promise<void> {
    await wait(STEP_MS);
    if (address.startsWith('org.example') && organization === null) {
      throw refusal('organization_required', 'the server has more than one organization: name one by its tag');
    }
    if (organization === 'NOPE') throw refusal('unknown_organization', 'there is no organization with this tag');
    if (register && password === 'password1') throw refusal('weak_password', 'the password is weak');
    if (register && username === 'taken') throw refusal('username_taken', 'the user name is taken');
    if (password === 'wrong-password') throw refusal('invalid_credentials', 'name or password is wrong');
    this.#enter(address, username, 'Night Shift', false);
  }

  async disconnect(): Promise<void> {
    this.#engine({ type: 'connection', data: { state: 'disconnected', reason: null } });
    this.#engine({ type: 'room', data: null });
    this.#setEngine({ channel: null });
  }

  async join(channel: number): Promise<void> {
    const full = this.#state.engine.room?.channels.find((candidate) => candidate.id === channel)?.max_users === 0;
    if (full) throw refusal('channel_full', 'the channel holds as many people as it may');
    this.#change(SELF, { channel, talking: false });
  }

  async leave(): Promise<void> {
    this.#change(SELF, { channel: null, talking: false });
  }

  async setSelf(muted: boolean, deafened: boolean): Promise<void> {
    this.#change(SELF, muted ? { muted, deafened, talking: false } : { muted, deafened });
  }

  pushToTalk(pressed: boolean): void {
    this.#held = pressed;
    const { channel, muted, deafened } = this.#state.engine;
    const talking = pressed && channel !== null && !muted && !deafened;
    this.#change(SELF, { talking });
    this.#levels();
  }

  async saveSettings(settings: Settings): Promise<void> {
    this.#tell({ type: 'settings', data: settings });
  }

  async devices() {
    if (this.#state.engine.audio.input === null) return { inputs: [], outputs: [] };
    return {
      inputs: [
        { id: 'headset', name: 'USB Headset Microphone', is_default: true },
        { id: 'built-in', name: 'Built-in Microphone', is_default: false },
      ],
      outputs: [
        { id: 'headset', name: 'USB Headset', is_default: true },
        { id: 'hdmi', name: 'Monitor (HDMI)', is_default: false },
      ],
    };
  }

  captureHotkey(): Promise<Hotkey | null> {
    return new Promise((resolve) => (this.#capture = resolve));
  }

  async cancelCapture(): Promise<void> {
    this.#capture?.(null);
    this.#capture = null;
  }

  async changePassword(change: PasswordChange): Promise<void> {
    await wait(STEP_MS);
    this.#accounts.changePassword(change.current, change.new);
  }

  async logins() {
    return this.#accounts.logins();
  }

  async revokeLogin(login: string): Promise<void> {
    await wait(STEP_MS);
    this.#accounts.revoke(login);
  }

  async revokeOtherLogins(): Promise<void> {
    await wait(STEP_MS);
    this.#accounts.revokeOthers();
  }

  async users(query: AccountQuery) {
    await wait(STEP_MS);
    return this.#accounts.users(query);
  }

  async roles() {
    return this.#accounts.roles();
  }

  async createUser(request: AccountRequest) {
    await wait(STEP_MS);
    return this.#accounts.create(request);
  }

  async setUserActive(user: number, active: boolean) {
    await wait(STEP_MS);
    return this.#accounts.setActive(user, active);
  }

  async resetPassword(_: number, password: string | null) {
    await wait(STEP_MS);
    return this.#accounts.reset(password);
  }

  async importUsers(file: string, atomic: boolean) {
    await wait(STEP_MS);
    return this.#accounts.import(file, atomic);
  }

  async exportUsers() {
    await wait(STEP_MS);
    return '/home/maya/Downloads/voip-users.json';
  }

  async copy(text: string): Promise<void> {
    Object.assign(window, { copied: text });
  }

  #key(event: KeyboardEvent, pressed: boolean) {
    if (pressed && this.#capture && event.key !== 'Escape') {
      this.#capture({ input: { kind: 'key', value: 74 }, label: event.key });
      this.#capture = null;
      return;
    }
    const { hotkey } = this.#state.settings;
    if (!hotkey || event.key !== hotkey.label || event.repeat) return;
    this.#tell({ type: 'hotkey', data: { ...this.#state.hotkey, pressed } });
    this.pushToTalk(pressed);
  }

  #enter(address: string, username: string, name: string, alone: boolean) {
    const room = demoRoom(username, name, alone, alone);
    this.#engine({ type: 'connection', data: { state: 'connected', server: address } });
    this.#engine({ type: 'room', data: room });
    this.#setEngine({ channel: null, muted: false, deafened: false });
  }

  /** People take turns, and the microphone hears a room. */
  #play() {
    this.#tick += 1;
    this.#levels();
    const { room } = this.#state.engine;
    const others = room?.members.filter((member) => member.session !== SELF && member.channel !== null && !member.muted);
    if (this.#tick % 30 !== 0 || !others?.length) return;
    const turn = others[(this.#tick / 30) % others.length];
    for (const { session, talking } of others) {
      const talks = session === turn?.session;
      if (talks === talking) continue;
      this.#change(session, { talking: talks });
    }
  }

  #change(session: number, change: Partial<Member>) {
    const known = this.#state.engine.room?.members.find((member) => member.session === session);
    if (known) this.#engine({ type: 'members', data: { changed: [{ ...known, ...change }], gone: [] } });
  }

  #levels() {
    const { voice } = this.#state.settings;
    const { muted, deafened, channel, audio } = this.#state.engine;
    const wave = Math.sin(this.#tick / 9) * Math.sin(this.#tick / 2.3);
    const input = audio.input === null ? -96 : this.#held ? -16 + wave * 6 : -48 + wave * 16;
    const open = voice.mode === 'push_to_talk' ? this.#held : voice.mode === 'continuous' || input > voice.activation_threshold;
    const transmitting = open && !muted && !deafened && channel !== null && audio.input !== null;
    this.#engine({ type: 'levels', data: { input, transmitting } });
  }

  #setEngine(change: Partial<EngineState>) {
    this.#tell({ type: 'engine_state', data: { ...this.#state.engine, ...change } });
  }

  #engine(data: EngineEvent) {
    this.#tell({ type: 'engine', data });
  }

  #tell(event: AppEvent) {
    this.#state = reduce(this.#state, event);
    this.#handler(event);
  }
}
