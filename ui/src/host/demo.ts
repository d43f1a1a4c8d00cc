// The people, channels and settings that the fake host shows.

import type {
  AppState,
  AudioState,
  Channel,
  Connection,
  HostedServer,
  Member,
  Room,
  Settings,
  Statistics,
  TalkMode,
  Theme,
} from './types';

/** One's own session. */
export const SELF = 7;

const MEMBER = 1 | 2 | 4 | 8 | 16 | 32 | (1 << 16);
const SEE_ONLY = 1;
const ALL = (1 << 18) - 1;

const channel = (id: number, parent: number | null, name: string, rest: Partial<Channel> = {}): Channel => ({
  id,
  parent,
  name,
  description: '',
  max_users: null,
  permissions: MEMBER,
  ...rest,
});

const CHANNELS = [
  channel(1, null, 'General', { description: 'Where everybody meets' }),
  channel(2, null, 'Operations', { description: 'Briefings and planning' }),
  channel(3, 2, 'Alpha Squad', { max_users: 6 }),
  channel(4, 2, 'Bravo Squad', { max_users: 6 }),
  channel(5, 2, 'Command', { permissions: SEE_ONLY }),
  channel(6, null, 'Social', { description: 'Music and chatter' }),
];

const member = (session: number, username: string, display_name: string, rest: Partial<Member> = {}): Member => ({
  session,
  user: session,
  username,
  display_name,
  channel: null,
  muted: false,
  deafened: false,
  talking: false,
  ...rest,
});

const OTHERS = [
  member(1, 'alice', 'Alice Moreau', { channel: 1, talking: true }),
  member(2, 'bob', 'Bob', { channel: 1 }),
  member(3, 'charlie', 'Charlie Okafor', { channel: 1, muted: true }),
  member(4, 'dana', 'Dana', { channel: 3 }),
  member(5, 'eli', 'Eli Novák', { channel: 3, muted: true, deafened: true }),
  member(6, 'farah', 'Farah', { channel: 6 }),
];

export function demoRoom(username: string, name: string, alone: boolean, admin = false): Room {
  return {
    session: SELF,
    server_version: '0.1.0',
    organization: { id: 1, name, tag: 'MAIN' },
    permissions: admin ? ALL : MEMBER,
    channels: alone ? CHANNELS.slice(0, 1).concat(CHANNELS.slice(5)) : CHANNELS,
    members: [...(alone ? [] : OTHERS), member(SELF, username, username[0]?.toUpperCase() + username.slice(1))],
  };
}

export function hostedServer(control_port: number, voice_port: number): HostedServer {
  const fingerprint = '3f9a1c07d2e84b6655c0a91be77f02d84c1135ae90bb6f2807d3e6a1c44f5b92';
  return {
    address: `192.168.1.20:${control_port}`,
    invite: `voip://192.168.1.20:${control_port}/?fp=${fingerprint}`,
    fingerprint,
    control_port,
    voice_port,
    reach: 'network',
  };
}

const WORKING: AudioState = {
  input: 'USB Headset Microphone',
  input_problem: null,
  output: 'USB Headset',
  output_problem: null,
};
const FAILED: AudioState = {
  input: null,
  input_problem: { code: 'device_failed', message: 'the sound system does not answer' },
  output: null,
  output_problem: { code: 'device_failed', message: 'the sound system does not answer' },
};
const SILENT: AudioState = {
  input: null,
  input_problem: { code: 'no_microphone', message: 'no microphone found' },
  output: 'USB Headset',
  output_problem: null,
};
const SERVER = 'voice.example.org:9000';

export function demoState(parameters: URLSearchParams): AppState {
  const scene = parameters.get('scene') ?? 'fresh';
  const inside = ['connected', 'admin', 'alone', 'hosting', 'reconnecting', 'silent', 'failed'].includes(scene);
  const settings = demoSettings(parameters, scene);
  const alone = scene === 'alone';
  const admin = scene === 'admin' || scene === 'hosting';
  const room = inside ? demoRoom('maya', scene === 'hosting' ? 'Friday Crew' : 'Night Shift', alone, admin) : null;
  const own = inside && !alone ? 1 : null;
  if (room) room.members = room.members.map((one) => (one.session === SELF ? { ...one, channel: own } : one));
  const connection: Connection = !inside
    ? { state: 'disconnected', reason: null }
    : scene === 'reconnecting'
      ? {
          state: 'reconnecting',
          server: SERVER,
          attempt: 3,
          retry_in_ms: 8000,
          reason: { code: 'unreachable', message: `${SERVER} refused the connection` },
        }
      : { state: 'connected', server: scene === 'hosting' ? '127.0.0.1:9000' : SERVER };
  return {
    engine: {
      connection,
      room,
      channel: own,
      muted: false,
      deafened: false,
      audio: scene === 'silent' ? SILENT : scene === 'failed' ? FAILED : WORKING,
      statistics: statistics(inside),
    },
    hosting: scene === 'hosting' ? { state: 'running', data: hostedServer(9000, 9001) } : { state: 'stopped' },
    settings,
    hotkey: { capture: 'host', pressed: false, problem: null },
    link: parameters.get('link'),
    problems: [],
    version: '0.1.0',
  };
}

function demoSettings(parameters: URLSearchParams, scene: string): Settings {
  const known = scene !== 'fresh';
  return {
    voice: {
      input: null,
      output: null,
      mode: (parameters.get('mode') as TalkMode | null) ?? 'push_to_talk',
      key: 'hold',
      voices_only: true,
      activation_threshold: -42,
      activation_hold: 300,
      release_delay: 120,
      bitrate: 40_000,
      processing: { echo_cancellation: true, noise_suppression: 'light', automatic_gain: true, high_pass: true },
      level_talkers: true,
    },
    hotkey: known ? { input: { kind: 'key', value: 74 }, label: 'F8' } : null,
    language: parameters.get('language') ?? 'en',
    theme: (parameters.get('theme') as Theme | null) ?? 'system',
    last_server: known ? { address: SERVER, organization: null, username: 'maya' } : null,
    hosting: { username: known ? 'maya' : null, control_port: 9000, voice_port: 9001, public_host: null },
  };
}

function statistics(connected: boolean): Statistics {
  const talker = (session: number, mouth_to_ear_ms: number, lost: number) => ({
    session,
    received: 5000,
    lost,
    late: 0,
    concealed: lost,
    repaired: 5 * lost,
    malformed: 0,
    loss: lost / 5000,
    felt_loss: lost / 5000,
    buffer_ms: 20,
    mouth_to_ear_ms,
  });
  return {
    frames_sent: connected ? 1200 : 0,
    frames_received: connected ? 15_000 : 0,
    frames_lost: 0,
    frames_late: 0,
    frames_concealed: 0,
    packets_rejected: 0,
    device_overruns: 0,
    device_underruns: 0,
    way: 'udp',
    rtt_ms: connected ? 18.4 : null,
    rtt_min_ms: connected ? 17.1 : null,
    jitter_ms: connected ? 0.8 : 0,
    ping_loss: 0,
    loss_up: 0,
    loss_down: 0,
    talkers: connected ? [talker(1, 64.2, 0), talker(2, 71.8, 60), talker(3, 58, 0)] : [],
  };
}
