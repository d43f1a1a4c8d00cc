// All the UI may ask of its host, and every type that crosses between them.
//
// The window has test ids that stay as they are:
//   start-host start-join
//   host-name host-password host-submit host-stop invite-link host-address
//   join-address join-submit fingerprint trust changed-confirm changed-submit
//   login-username login-password login-organization login-submit login-register-toggle
//   channel-<name> member-<username> leave disconnect
//   mute deafen ptt-indicator level-meter threshold state-line
//   settings-open settings-close hotkey-bind hotkey-state
//   account-open account-close password-current password-new password-again password-submit password-changed
//   login-<id> login-revoke-<id> logins-revoke-others
//   members-open members-close members-search members-new members-import members-export
//   user-<username> user-reset-<username> user-active-<username>
//   new-user-name new-user-submit made-password

import type { AccountQuery } from './bindings/AccountQuery';
import type { AccountRequest } from './bindings/AccountRequest';
import type { AppEvent } from './bindings/AppEvent';
import type { AppState } from './bindings/AppState';
import type { CreatedAccount } from './bindings/CreatedAccount';
import type { Devices } from './bindings/Devices';
import type { HostRequest } from './bindings/HostRequest';
import type { HostSetup } from './bindings/HostSetup';
import type { Hotkey } from './bindings/Hotkey';
import type { ImportReport } from './bindings/ImportReport';
import type { Login } from './bindings/Login';
import type { LoginRequest } from './bindings/LoginRequest';
import type { PasswordChange } from './bindings/PasswordChange';
import type { Role } from './bindings/Role';
import type { Settings } from './bindings/Settings';
import type { User } from './bindings/User';
import type { UserPage } from './bindings/UserPage';
import type { Visit } from './bindings/Visit';

export type { AccountQuery } from './bindings/AccountQuery';
export type { AccountRequest } from './bindings/AccountRequest';
export type { AppError } from './bindings/AppError';
export type { AppEvent } from './bindings/AppEvent';
export type { AppState } from './bindings/AppState';
export type { AudioState } from './bindings/AudioState';
export type { Channel } from './bindings/Channel';
export type { ClientError } from './bindings/ClientError';
export type { Connection } from './bindings/Connection';
export type { CreatedAccount } from './bindings/CreatedAccount';
export type { DeviceInfo } from './bindings/DeviceInfo';
export type { Devices } from './bindings/Devices';
export type { EngineState } from './bindings/EngineState';
export type { ErrorCode } from './bindings/ErrorCode';
export type { HostedServer } from './bindings/HostedServer';
export type { HostRequest } from './bindings/HostRequest';
export type { HostSetup } from './bindings/HostSetup';
export type { Hosting } from './bindings/Hosting';
export type { Hotkey } from './bindings/Hotkey';
export type { HotkeyState } from './bindings/HotkeyState';
export type { ImportLine } from './bindings/ImportLine';
export type { ImportReport } from './bindings/ImportReport';
export type { KeyAction } from './bindings/KeyAction';
export type { Levels } from './bindings/Levels';
export type { Login } from './bindings/Login';
export type { LoginRequest } from './bindings/LoginRequest';
export type { Member } from './bindings/Member';
export type { MembersChange } from './bindings/MembersChange';
export type { PasswordChange } from './bindings/PasswordChange';
export type { Role } from './bindings/Role';
export type { Room } from './bindings/Room';
export type { Settings } from './bindings/Settings';
export type { Statistics } from './bindings/Statistics';
export type { TalkerStatistics } from './bindings/TalkerStatistics';
export type { NoiseSuppression } from './bindings/NoiseSuppression';
export type { Processing } from './bindings/Processing';
export type { TalkMode } from './bindings/TalkMode';
export type { Way } from './bindings/Way';
export type { Theme } from './bindings/Theme';
export type { User } from './bindings/User';
export type { UserPage } from './bindings/UserPage';
export type { Visit } from './bindings/Visit';

/** What stands behind the window. Every promise that is refused is refused with an `AppError`. */
export interface Host {
  /** Calls `handler` with every event from now on. */
  listen(handler: (event: AppEvent) => void): Promise<void>;
  /** Everything, at this moment. */
  state(): Promise<AppState>;

  /** What the form for hosting needs to know. */
  hostSetup(): Promise<HostSetup>;
  /** Starts the server in this process and logs in to it. */
  startHosting(request: HostRequest): Promise<void>;
  /** Tells everybody, closes the server, and resolves when it is down. */
  stopHosting(): Promise<void>;

  /** Looks who answers at an address or an invite link; logs nobody in. */
  visit(addressOrInvite: string): Promise<Visit>;
  /**
   * Believes this certificate at this address from now on. In place of another one only with `confirmation`: the
   * same fingerprint, or an invite with it, as it came from whoever runs the server.
   */
  trust(visit: Visit, confirmation: string | null): Promise<void>;
  /** Logs in, or registers first. Only where the certificate is believed. */
  logIn(request: LoginRequest): Promise<void>;
  /** Leaves the server, or stops trying to reach it. */
  disconnect(): Promise<void>;

  /** Goes into a channel. */
  join(channel: number): Promise<void>;
  /** Leaves the channel one is in. */
  leave(): Promise<void>;
  /** Turns one's own microphone and speaker off or on. */
  setSelf(muted: boolean, deafened: boolean): Promise<void>;
  /** Holds or lets go the push-to-talk button in the window. */
  pushToTalk(pressed: boolean): void;

  /** Sets and stores. */
  saveSettings(settings: Settings): Promise<void>;
  /** The devices there are now. */
  devices(): Promise<Devices>;
  /** Waits for the next key or mouse button, wherever it is pressed; null when called off. */
  captureHotkey(): Promise<Hotkey | null>;
  /** Calls off the waiting. */
  cancelCapture(): Promise<void>;

  /** Changes one's own password; all other devices are logged out. */
  changePassword(change: PasswordChange): Promise<void>;
  /** "Your devices". */
  logins(): Promise<Login[]>;
  /** Logs one of them out. */
  revokeLogin(login: string): Promise<void>;
  /** Logs all of them out but this one. */
  revokeOtherLogins(): Promise<void>;

  /** Accounts of the organization, a page at a time. This and what follows is for those who manage users. */
  users(query: AccountQuery): Promise<UserPage>;
  /** Roles of the organization, highest first. */
  roles(): Promise<Role[]>;
  createUser(request: AccountRequest): Promise<CreatedAccount>;
  /** Lets an account log in, or not any more: then all its devices are logged out at once. */
  setUserActive(user: number, active: boolean): Promise<User>;
  /** Gives an account another password; without one it resolves to the one that the server made. */
  resetPassword(user: number, password: string | null): Promise<string | null>;
  /** Makes the accounts of a JSON file; with `atomic` all of them or none. */
  importUsers(file: string, atomic: boolean): Promise<ImportReport>;
  /** Writes the accounts of the organization into a file; resolves to where it is. */
  exportUsers(): Promise<string>;

  /** Puts a text on the clipboard. */
  copy(text: string): Promise<void>;
}
