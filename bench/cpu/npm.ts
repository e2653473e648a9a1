/** Packages of npm, in the cache: what the guest runs, and what it works on. */
import { spawn } from 'node:child_process';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDirectory, namingCacheErrors } from '../../src/guest/cache.ts';
import { digestOf, makeOnce } from '../../src/guest/entry.ts';

/** Longest time that fetching may take, milliseconds. */
const TIMEOUT_MS = 300_000;
const FORMAT = 1;

/**
 * Finds npm packages in the cache, or fetches them, for whatever processor they are. No script of theirs is run.
 * @param packages names with versions: `three@0.187.0`
 * @returns absolute path of a node_modules folder
 */
export async function npmPackages(
  packages: readonly string[],
  onProgress: (line: string) => void,
  cache = cacheDirectory(),
): Promise<string> {
  const digest = digestOf({ FORMAT, packages });
  const entry = await namingCacheErrors(
    cache,
    async () =>
      await makeOnce(join(cache, 'npm', digest.slice(0, 16)), async (work, finished) => {
        onProgress(`fetching ${packages.join(', ')}`);
        await writeFile(join(work, 'package.json'), '{ "private": true }\n');
        // npm refuses packages for another processor unless it is forced to take them.
        await npm(work, ['install', '--force', '--ignore-scripts', '--no-audit', '--no-fund', ...packages]);
        await mkdir(finished);
        await rename(join(work, 'node_modules'), join(finished, 'node_modules'));
        return { digest, manifest: { packages } };
      }),
  );
  return join(entry.folder, 'node_modules');
}

function npm(folder: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    // Under "npm run" npm's environment speaks of the project here.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/.test(name)));
    const child = spawn('npm', args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', (error) => reject(new Error(`npm could not be started (${error.message}); install npm`)));
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new Error(`npm ${args.join(' ')} failed (status ${status}):\n${output.trim()}`));
    });
  });
}
