// Writes dist/: the JavaScript of src/ in a few bundles. Each thread of a host loads a handful of files then, instead of a
// hundred and more.

import { readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { build } from 'esbuild';

const root = dirname(import.meta.dirname);

/** Writes dist/ anew. */
export async function bundle(): Promise<void> {
  rmSync(`${root}/dist`, { recursive: true, force: true });
  const workers = readdirSync(`${root}/src/host`).filter((name) => name.endsWith('-worker.ts'));
  await build({
    absWorkingDir: root,
    entryPoints: ['src/index.ts', 'src/cli/main.ts', ...workers.map((name) => `src/host/${name}`)],
    outbase: 'src',
    outdir: 'dist',
    bundle: true,
    splitting: true,
    // Beside the workers, so that src/host/worker-url.ts finds them.
    chunkNames: 'host/[name]-[hash]',
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node26',
    logLevel: 'warning',
  });
}
