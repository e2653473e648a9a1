// Writes dist/: the JavaScript of src/ in a few bundles. Each thread of a host but the main one loads one file then, instead
// of a hundred and more.

import { readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { buildEngine } from '../src/engine/build.ts';
import { MEMORY_CONSTANTS } from '../src/machine/engine.ts';

const root = dirname(import.meta.dirname);

/** Puts the bytes of the engine where src/machine/compile.ts looks for them. */
const builtEngine: Plugin = {
  name: 'built-engine',
  setup({ onLoad }) {
    onLoad({ filter: /\/machine\/built-engine\.ts$/ }, () => {
      const bytes = JSON.stringify(Buffer.from(buildEngine(MEMORY_CONSTANTS)).toString('base64'));
      return { contents: `export const BUILT_ENGINE = Uint8Array.fromBase64(${bytes});` };
    });
  },
};

/** Writes dist/ anew. */
export async function bundle(): Promise<void> {
  rmSync(`${root}/dist`, { recursive: true, force: true });
  const workers = readdirSync(`${root}/src/host`).filter((name) => name.endsWith('-worker.ts'));
  const common: BuildOptions = {
    absWorkingDir: root,
    outbase: 'src',
    outdir: 'dist',
    bundle: true,
    packages: 'external',
    plugins: [builtEngine],
    platform: 'node',
    format: 'esm',
    target: 'node26',
    logLevel: 'warning',
  };
  // A thread has one file to load, with nothing in it but what it uses.
  await build({ ...common, entryPoints: workers.map((name) => `src/host/${name}`) });
  await build({
    ...common,
    entryPoints: ['src/index.ts', 'src/cli/main.ts'],
    splitting: true,
    // Beside the workers, so that src/host/worker-url.ts finds them.
    chunkNames: 'host/[name]-[hash]',
  });
}
