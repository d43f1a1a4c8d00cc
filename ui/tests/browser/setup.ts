// Serves the UI over the fake host, under the app's own content security policy.

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    base: string;
  }
}

const ROOT = join(import.meta.dirname, '../../test-results/app');
const CONFIG = join(import.meta.dirname, '../../../src-tauri/tauri.conf.json');
const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

export default async function setup(project: TestProject) {
  const { csp } = JSON.parse(readFileSync(CONFIG, 'utf8')).app.security;
  const policy = Object.entries<string>(csp)
    .map(([directive, sources]) => `${directive} ${sources}`)
    .join('; ');

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const path = normalize(pathname === '/' ? '/index.html' : pathname);
    try {
      const body = await readFile(join(ROOT, path));
      response.writeHead(200, {
        'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
        'content-security-policy': policy,
      });
      response.end(body);
    } catch {
      response.writeHead(path === '/favicon.ico' ? 204 : 404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  project.provide('base', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return () => server.close();
}
