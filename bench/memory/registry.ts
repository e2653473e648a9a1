/** The experiments about memory: a file each, and a line here. */
import type { Experiment } from './experiment.ts';
import { sharingIdle } from './sharing-idle.ts';

export const experiments: readonly Experiment[] = [sharingIdle];
