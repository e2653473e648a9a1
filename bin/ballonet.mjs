#!/usr/bin/env node
// The command `ballonet`: src/cli in a clone, dist/cli in an installed package, both on the Node.js they need.

import { join } from 'node:path';
import { isClone, packageRoot, runWithRuntime } from '../scripts/runtime.mjs';

const main = isClone() ? join('src', 'cli', 'main.ts') : join('dist', 'cli', 'main.js');
await runWithRuntime(join(packageRoot, main), process.argv.slice(2));
