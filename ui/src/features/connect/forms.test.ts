import { expect, it } from 'vitest';

import { passwordProblem, portProblem } from './forms';

it('counts characters, not code units', () => {
  expect(passwordProblem('1234567')).not.toBeNull();
  expect(passwordProblem('12345678')).toBeNull();
  expect(passwordProblem('🦊🦊🦊🦊')).not.toBeNull();
});

it('takes ports and nothing else', () => {
  for (const good of ['1', '9000', '65535']) expect(portProblem(good)).toBeNull();
  for (const bad of ['', '0', '65536', '-1', '9000.5', '1e3', ' 80', 'abc']) expect(portProblem(bad)).not.toBeNull();
});
