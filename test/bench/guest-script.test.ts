import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { workScript } from '../../bench/cpu/guest-script.ts';
import type { Line } from '../../bench/cpu/lines.ts';
import { RunReader } from '../../bench/cpu/run-reader.ts';

/** Does what bench/cpu/programs/measure.c does, but for the time. */
const MEASURE = '#!/bin/sh\nfile=$1\nshift\n"$@" >"$file" 2>&1\necho "0.125000 $?"\n';

describe('the work of the benchmark, done by the shell of this machine', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ballonet-script-'));
    writeFileSync(join(folder, 'measure'), MEASURE, { mode: 0o755 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const work = (...commands: [command: string, result?: string, prepare?: string][]): RunReader => {
    const { path, text } = workScript(
      commands.map(
        ([command, result, prepare], i): Line => ({
          name: `line${i}`,
          group: 'system',
          command,
          ...(result === undefined ? {} : { result }),
          ...(prepare === undefined ? {} : { prepare }),
          needs: [],
        }),
      ),
    );
    writeFileSync(join(folder, basename(path)), text);
    const { stdout } = spawnSync('sh', [`./${basename(path)}`], { cwd: folder, encoding: 'utf8' });
    const reader = new RunReader({ wall: 0, cpu: 0 });
    reader.feed(`init has been reached\n${stdout}`, { wall: 1000, cpu: 1 });
    return reader;
  };

  it('gives each command to a shell as it is, and its output as the result', () => {
    const reader = work(
      [`printf '%s\\n' "it's $((6 * 7))"`],
      ["printf 'a\\nb\\n'"],
      ['echo noise; echo data >kept', 'cat kept'],
    );
    assert.equal(reader.stage, 'end');
    assert.deepEqual(
      reader.measured.map(({ name, seconds, result }) => [name, seconds, result]),
      [
        ['line0', 0.125, "it's 42"],
        ['line1', 0.125, 'a b'],
        ['line2', 0.125, 'data'],
      ],
    );
  });

  it('prepares a line before its start, and ends if that fails', () => {
    const reader = work(
      ['cat there', 'cat output there', 'echo noise; echo it is >there'],
      ['true', 'true', 'echo no >&2; exit 4'],
    );
    assert.deepEqual(
      reader.measured.map(({ name, result }) => [name, result]),
      [['line0', 'it is it is']],
    );
    assert.equal(reader.failed, 'line line1 failed with exit status 4');
    assert.match(reader.tail, /no/);
  });

  it('ends with the command that fails, and shows what that printed', () => {
    const reader = work(['echo good'], ['echo nothing is right >&2; exit 3'], ['echo never']);
    assert.equal(reader.failed, 'line line1 failed with exit status 3');
    assert.match(reader.tail, /nothing is right/);
    assert.deepEqual(
      reader.measured.map(({ name }) => name),
      ['line0'],
    );
  });
});
