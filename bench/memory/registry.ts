/** The experiments about memory: a file each, and a line here. */
import type { Experiment } from './experiment.ts';
import { overcommit } from './overcommit.ts';
import { reclaimCompare } from './reclaim-compare.ts';
import { sharingIdle } from './sharing-idle.ts';
import { shift } from './shift.ts';

export const experiments: readonly Experiment[] = [sharingIdle, shift, overcommit, reclaimCompare];
