import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `--mode fake` builds the UI over the fake host, for the browser tests; any other build has the app's host alone.
export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  clearScreen: false,
  server: { port: 5173, strictPort: true },
  build: {
    target: 'es2022',
    outDir: mode === 'fake' ? 'test-results/app' : 'dist',
    emptyOutDir: true,
    // The content security policy allows no inline data for fonts or scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
}));
