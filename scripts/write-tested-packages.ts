// Writes src/guest/tested-packages.ts from the package lists of the machine's Debian mirror.
//
//   node_modules/.bin/node scripts/write-tested-packages.ts [SOURCE]
//
// SOURCE is a line of sources.list(5).

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AptRoot, debianSourceLine, type PackageRecord } from '../src/guest/apt.ts';
import { ARCHITECTURE, SUITE } from '../src/guest/image.ts';
import { withDependencies } from '../src/guest/packages.ts';

/** What guest images are made of, and the programs of benchmarks. */
const ALONE = [`linux-image-${ARCHITECTURE}`, 'busybox-static'];
const WITH_DEPENDENCIES = ['python3.13-minimal'];

const work = mkdtempSync(join(tmpdir(), 'ballonet-packages-'));
try {
  const line = process.argv[2] ?? (await debianSourceLine(SUITE, ARCHITECTURE));
  const apt = await AptRoot.create(work, ARCHITECTURE, line);
  await apt.update();
  const records = new Map<string, PackageRecord>();
  for (const name of ALONE) records.set(name, await apt.show(name));
  const [kernel] = records.get(ALONE[0]!)!.depends.filter((name) => name.startsWith('linux-image-'));
  records.set(kernel!, await apt.show(kernel!));
  for (const record of await withDependencies(apt, WITH_DEPENDENCIES)) records.set(record.name, record);
  const text = `// Packages that Ballonet was tested with. scripts/write-tested-packages.ts writes this file.

import type { PackageRecord } from './apt.ts';

export const TESTED_SUITE = '${SUITE}';

export const TESTED_PACKAGES: readonly PackageRecord[] = ${JSON.stringify([...records.values()], undefined, 2)};
`;
  writeFileSync(`${import.meta.dirname}/../src/guest/tested-packages.ts`, text);
} finally {
  rmSync(work, { recursive: true, force: true });
}
