// Writes src/guest/tested-packages.ts from the package lists of the machine's Debian mirror.
//
//   node_modules/.bin/node scripts/write-tested-packages.ts [SOURCE]
//
// SOURCE is a line of sources.list(5). To be followed by `npm run format`.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AptRoot, debianSourceLine } from '../src/guest/apt.ts';
import { ARCHITECTURE, SUITE } from '../src/guest/image.ts';
import { kernelPackage } from '../src/guest/make-image.ts';
import { withDependencies } from '../src/guest/packages.ts';

/** Programs of benchmarks. */
const PROGRAMS = ['python3.13-minimal'];

const work = mkdtempSync(join(tmpdir(), 'ballonet-packages-'));
try {
  const line = process.argv[2] ?? (await debianSourceLine(SUITE, ARCHITECTURE));
  const apt = await AptRoot.create(work, ARCHITECTURE, line);
  await apt.update();
  const records = [
    await apt.show(`linux-image-${ARCHITECTURE}`),
    await kernelPackage(apt),
    await apt.show('busybox-static'),
    ...(await withDependencies(apt, PROGRAMS)),
  ];
  const text = `// Packages that Ballonet was tested with. scripts/write-tested-packages.ts writes this file.

import type { PackageRecord } from './apt.ts';

export const TESTED_SUITE = '${SUITE}';

export const TESTED_PACKAGES: readonly PackageRecord[] = ${JSON.stringify(records, undefined, 2)};
`;
  writeFileSync(`${import.meta.dirname}/../src/guest/tested-packages.ts`, text);
} finally {
  rmSync(work, { recursive: true, force: true });
}
