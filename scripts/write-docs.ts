// Writes the pages of docs/ that come from definitions in the source. A test compares them.
//
//   node_modules/.bin/node scripts/write-docs.ts

import { writeFileSync } from 'node:fs';
import { countersDocument } from '../src/cli/counters.ts';

writeFileSync(`${import.meta.dirname}/../docs/counters.md`, countersDocument());
