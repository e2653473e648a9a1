/** The guest's disk: an archive of the programs and the work, which the guest unpacks into its memory. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CpioEntry, writeCpio } from '../../src/guest/index.ts';
import { temporaryFolder } from '../assemble.ts';
import { FOLDER, workScript } from './guest-script.ts';
import type { Line, Need } from './lines.ts';
import { compilePrograms } from './programs.ts';
import { prepareSoftware } from './software.ts';

const SECTOR = 512;

/** A disk with what some lines need. */
export interface Disk {
  /** Path, in a folder that goes with this process. */
  readonly path: string;
  /** Names and versions of other people's programs on it. */
  readonly packages: readonly string[];
  /** Digest of the files that each line needs, by the line's name. */
  readonly digests: ReadonlyMap<string, string>;
}

/** Makes the disk for some lines: with what they need and nothing else. */
export async function makeDisk(lines: readonly Line[], onProgress: (line: string) => void): Promise<Disk> {
  const needs = lines.flatMap((line) => line.needs);
  const packages: string[] = [];
  const files = new Map<string, readonly CpioEntry[]>();
  const programs = new Set(['measure', ...needs.flatMap((need) => ('program' in need ? [need.program] : []))]);
  for (const [name, data] of await compilePrograms(programs)) {
    files.set(name, [{ kind: 'file', path: `${FOLDER}/${name}`, mode: 0o755, data }]);
  }
  for (const name of new Set(needs.flatMap((need) => ('software' in need ? [need.software] : [])))) {
    const software = await prepareSoftware(name, onProgress);
    files.set(name, software.entries);
    packages.push(...software.packages);
  }
  const entries = [...files.values()].flat();
  const { path, text } = workScript(lines);
  entries.push({ kind: 'file', path, mode: 0o644, data: new TextEncoder().encode(text) });
  const archive = writeCpio(entries);
  const disk = new Uint8Array(Math.ceil(archive.length / SECTOR) * SECTOR);
  disk.set(archive);
  const target = join(temporaryFolder(), 'disk');
  await writeFile(target, disk);
  const digests = new Map(
    lines.map((line) => [line.name, digestOfEntries(line.needs.flatMap((need) => files.get(nameOf(need))!))]),
  );
  return { path: target, packages, digests };
}

const nameOf = (need: Need): string => ('program' in need ? need.program : need.software);

function digestOfEntries(entries: readonly CpioEntry[]): string {
  return createHash('sha256').update(writeCpio(entries)).digest('hex');
}
