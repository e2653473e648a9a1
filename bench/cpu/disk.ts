/** The guest's disk: an archive of the programs and the work, which the guest unpacks into its memory. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CpioEntry, writeCpio } from '../../src/guest/index.ts';
import { temporaryFolder } from '../assemble.ts';
import { FOLDER, workScript } from './guest-script.ts';
import type { Line } from './lines.ts';
import { compilePrograms } from './programs.ts';

const SECTOR = 512;

/**
 * Makes the disk for some lines: with what they need and nothing else.
 * @returns its path, in a folder that goes with this process
 */
export async function makeDisk(lines: readonly Line[]): Promise<string> {
  const needs = lines.flatMap((line) => line.needs);
  const names = new Set(['measure', ...needs.flatMap((need) => ('program' in need ? [need.program] : []))]);
  const entries: CpioEntry[] = [];
  for (const [name, data] of await compilePrograms(names)) {
    entries.push({ kind: 'file', path: `${FOLDER}/${name}`, mode: 0o755, data });
  }
  const { path, text } = workScript(lines);
  entries.push({ kind: 'file', path, mode: 0o644, data: new TextEncoder().encode(text) });
  const archive = writeCpio(entries);
  const disk = new Uint8Array(Math.ceil(archive.length / SECTOR) * SECTOR);
  disk.set(archive);
  const target = join(temporaryFolder(), 'disk');
  await writeFile(target, disk);
  return target;
}
