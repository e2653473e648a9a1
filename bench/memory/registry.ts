/** The experiments about memory: a file each, and a line here. */
import { balloonCost } from './balloon-cost.ts';
import { density } from './density.ts';
import type { Experiment } from './experiment.ts';
import { freed } from './freed.ts';
import { mrc } from './mrc.ts';
import { overcommit } from './overcommit.ts';
import { reclaimCompare } from './reclaim-compare.ts';
import { scanCost } from './scan-cost.ts';
import { sharingIdle } from './sharing-idle.ts';
import { sharingMixed } from './sharing-mixed.ts';
import { shift } from './shift.ts';
import { swapPathologies } from './swap-pathologies.ts';

export const experiments: readonly Experiment[] = [
  sharingIdle,
  sharingMixed,
  balloonCost,
  freed,
  density,
  scanCost,
  shift,
  overcommit,
  reclaimCompare,
  mrc,
  swapPathologies,
];
