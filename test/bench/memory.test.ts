import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Experiment } from '../../bench/memory/experiment.ts';
import { runExperiment } from '../../bench/memory/memory.ts';
import { experiments } from '../../bench/memory/registry.ts';
import type { Host } from '../../src/host/host.ts';

const experiment = (run: Experiment['run']): Experiment => ({ name: 'some', shows: 'something', published: [], run });
const outcome = { findings: [], notes: [], data: {} };

test('the hosts of an experiment are checked while they live, and closed', async () => {
  let host: Host | undefined;
  const one = experiment(async (surroundings) => {
    host = await surroundings.host({ machineMemory: '16M', swapSize: 0 });
    return outcome;
  });
  const result = await runExperiment(one, true);
  assert.equal(result.error, undefined);
  assert.equal(result.checks, 1);
  await assert.rejects(host!.check(), /closed/);
});

test('an experiment that fails is a result that says why, and its hosts are closed', async () => {
  let host: Host | undefined;
  const one = experiment(async (surroundings) => {
    host = await surroundings.host({ machineMemory: '16M', swapSize: 0 });
    await sleep(1);
    throw new Error('no such luck');
  });
  const { error, outcome: none } = await runExperiment(one, false);
  assert.equal(error, 'no such luck');
  assert.equal(none, undefined);
  await assert.rejects(host!.check(), /closed/);
});

test('experiments have different names', () => {
  const names = experiments.map(({ name }) => name);
  assert.deepEqual([...new Set(names)], names);
});
