// The window's copy of the host's state: pure, an event in, the next state out.

import type { AppEvent, AppState, EngineState, Room } from '../host/types';
import { applyChange, ownMember } from './room';

type EngineEvent = Extract<AppEvent, { type: 'engine' }>['data'];

/** The state after one event. Levels and problems are not part of it. */
export function reduce(state: AppState, event: AppEvent): AppState {
  switch (event.type) {
    case 'engine': {
      const engine = reduceEngine(state.engine, event.data);
      return engine === state.engine ? state : { ...state, engine };
    }
    case 'engine_state':
      return { ...state, engine: event.data };
    case 'hosting':
      return { ...state, hosting: event.data };
    case 'hotkey':
      return { ...state, hotkey: event.data };
    case 'settings':
      return { ...state, settings: event.data };
    case 'link':
      return { ...state, link: event.data };
    case 'problem':
      return state;
  }
}

/** The room to show: the engine's, or the last one with nobody talking while the connection comes back. */
export function keepRoom(last: Room | null, { room, connection }: EngineState): Room | null {
  if (room) return room;
  if (!last || connection.state === 'disconnected' || connection.state === 'connecting') return null;
  if (!last.members.some((member) => member.talking)) return last;
  return { ...last, members: last.members.map((member) => ({ ...member, talking: false })) };
}

function reduceEngine(engine: EngineState, event: EngineEvent): EngineState {
  switch (event.type) {
    case 'connection':
      return { ...engine, connection: event.data };
    case 'room':
      return withOwn({ ...engine, room: event.data });
    case 'members':
      return engine.room ? withOwn({ ...engine, room: applyChange(engine.room, event.data) }) : engine;
    case 'audio':
      return { ...engine, audio: event.data };
    case 'statistics':
      return { ...engine, statistics: event.data };
    case 'levels':
    case 'problem':
      return engine;
  }
}

/** What the server says of oneself is what holds, while there is a server. */
function withOwn(engine: EngineState): EngineState {
  const me = engine.room && ownMember(engine.room);
  return me ? { ...engine, channel: me.channel, muted: me.muted, deafened: me.deafened } : engine;
}
