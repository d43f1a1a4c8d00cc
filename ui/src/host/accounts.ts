// The accounts that the fake host keeps: one's own devices, and the members of the organization.

import { SELF } from './demo';
import type { AccountQuery, AccountRequest, AppError, CreatedAccount, ImportReport, Login, Role, User, UserPage } from './types';

const PAGE = 20;
const MADE = 'copper-lantern-otter-48';
const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

const refusal = (code: string, message: string): AppError => ({ code, message, port: null });
const before = (milliseconds: number) => new Date(Date.now() - milliseconds).toISOString();

const ROLES: Role[] = [
  { id: 1, name: 'Admin', permissions: (1 << 18) - 1, priority: 100, grantable: false },
  { id: 2, name: 'Officer', permissions: 0xffff, priority: 50, grantable: true },
  { id: 3, name: 'Member', permissions: 0x1003f, priority: 10, grantable: true },
  { id: 4, name: 'Guest', permissions: 3, priority: 1, grantable: true },
];

const user = (id: number, username: string, display_name: string, rest: Partial<User> = {}): User => ({
  id,
  username,
  display_name,
  email: null,
  active: true,
  manageable: true,
  roles: [{ id: 3, name: 'Member' }],
  created_via: 'register',
  created_at: before(40 * DAY),
  last_login: before(id * 7 * 60 * MINUTE),
  locked_until: null,
  ...rest,
});

const PEOPLE: User[] = [
  user(1, 'alice', 'Alice Moreau', { roles: [{ id: 2, name: 'Officer' }, { id: 3, name: 'Member' }], email: 'alice@example.org' }),
  user(2, 'bob', 'Bob'),
  user(3, 'charlie', 'Charlie Okafor', { locked_until: new Date(Date.now() + 12 * MINUTE).toISOString() }),
  user(4, 'dana', 'Dana', { active: false, email: 'dana@example.org', last_login: before(70 * DAY) }),
  user(5, 'eli', 'Eli Novák', { last_login: null, created_via: 'admin' }),
  user(6, 'farah', 'Farah', { manageable: false, roles: [{ id: 1, name: 'Admin' }] }),
  user(SELF, 'maya', 'Maya', { manageable: false, roles: [{ id: 1, name: 'Admin' }], last_login: before(2 * MINUTE) }),
  ...Array.from({ length: 41 }, (_, index) => user(8 + index, `recruit-${index + 1}`, `Recruit ${index + 1}`)),
];

const login = (id: string, device: string | null, rest: Partial<Login>): Login => ({
  id,
  current: false,
  connected: false,
  device,
  address: '203.0.113.24',
  user_agent: 'voip-client/0.1.0',
  created_at: before(20 * DAY),
  last_activity: before(3 * DAY),
  expires_at: before(-20 * DAY),
  ...rest,
});

/** In the order in which the server tells them: the latest used first. */
const LOGINS: Login[] = [
  login('phone', 'VoIP – maya-laptop', { connected: true, last_activity: before(5 * MINUTE) }),
  login('here', 'VoIP – desk', { current: true, connected: true, address: '192.168.1.20', last_activity: before(9 * MINUTE) }),
  login('old', null, { address: null, last_activity: before(16 * DAY) }),
];

/** Name decides what happens: `taken` is taken; the password `password1` is one that anybody would try. */
export class Accounts {
  #users = PEOPLE;
  #logins = LOGINS;

  changePassword(current: string, password: string): void {
    if (current === 'wrong-password') throw refusal('invalid_credentials', 'the current password is wrong');
    this.#check(password);
    this.revokeOthers();
  }

  logins(): Login[] {
    return this.#logins;
  }

  revoke(id: string): void {
    if (!this.#logins.some((one) => one.id === id)) throw refusal('unknown_login', 'no such login');
    this.#logins = this.#logins.filter((one) => one.id !== id);
  }

  revokeOthers(): void {
    this.#logins = this.#logins.filter(({ current }) => current);
  }

  users({ search, active, after }: AccountQuery): UserPage {
    const part = search?.toLowerCase() ?? '';
    const found = this.#users.filter(
      (one) =>
        (active === null || one.active === active) &&
        [one.username, one.display_name].some((text) => text.toLowerCase().includes(part)),
    );
    const rest = found.filter((one) => after === null || one.id > after);
    const users = rest.slice(0, PAGE);
    return { users, total: found.length, next: rest.length > PAGE ? (users.at(-1)?.id ?? null) : null };
  }

  roles(): Role[] {
    return ROLES;
  }

  create({ username, display_name, email, password, role }: AccountRequest): CreatedAccount {
    if (username === 'taken' || this.#users.some((one) => one.username === username)) {
      throw refusal('username_taken', 'the user name is taken');
    }
    if (password !== null) this.#check(password);
    const roles = ROLES.filter(({ id }) => id === (role ?? 3)).map(({ id, name }) => ({ id, name }));
    const made = user(this.#users.length + 1, username, display_name ?? username, {
      email,
      roles,
      created_via: 'admin',
      last_login: null,
    });
    this.#users = [...this.#users, made];
    return { user: made, password: password === null ? MADE : null };
  }

  setActive(id: number, active: boolean): User {
    const known = this.#users.find((one) => one.id === id);
    if (!known) throw refusal('unknown_user', 'no such user');
    const changed = { ...known, active };
    this.#users = this.#users.map((one) => (one === known ? changed : one));
    return changed;
  }

  reset(password: string | null): string | null {
    if (password !== null) this.#check(password);
    return password === null ? MADE : null;
  }

  /** Takes a list with one entry a line. */
  import(file: string, atomic: boolean): ImportReport {
    let entries: { username?: string; password?: string }[];
    try {
      entries = JSON.parse(file) as typeof entries;
    } catch {
      throw refusal('malformed_message', 'the file is not JSON: line 1, column 1');
    }
    const lines: ImportReport['lines'] = entries.map(({ username = null, password = '' }, index) => {
      const line = { line: index + 2, username };
      if (username === null) return { ...line, outcome: 'refused', reason: 'the entry has no user name' };
      if (password.length < 8) return { ...line, outcome: 'refused', reason: 'password: 8 to 128 characters' };
      if (this.#users.some((one) => one.username === username)) {
        return { ...line, outcome: 'skipped', reason: 'the account is there already' };
      }
      return { ...line, outcome: 'created', reason: null };
    });
    const count = (outcome: string) => lines.filter((line) => line.outcome === outcome).length;
    if (atomic && count('refused') > 0) {
      for (const line of lines) {
        if (line.outcome === 'created') Object.assign(line, { outcome: 'skipped', reason: 'others are refused' });
      }
    }
    for (const { outcome, username } of lines) {
      if (outcome === 'created' && username !== null) this.#users = [...this.#users, user(this.#users.length + 1, username, username)];
    }
    return { created: count('created'), skipped: count('skipped'), refused: count('refused'), lines };
  }

  #check(password: string) {
    if (password === 'password1') throw refusal('weak_password', 'the password is among the first that anybody would try');
  }
}
