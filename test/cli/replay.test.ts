import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../bench/assemble.ts';
import { requireDebian } from '../../scripts/debian.ts';
import { Host } from '../../src/index.ts';
import type { ReplayResult } from '../../src/policy/replay.ts';
import { readTrace } from '../../src/policy/trace.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** Writes to 512 pages, again and again. */
const PROGRAM = `
1:
  li s0, 0x80100000
  li s1, 512
  li s2, 4096
2:
  sd s1, 0(s0)
  add s0, s0, s2
  addi s1, s1, -1
  bnez s1, 2b
  j 1b
`;

function replay(...args: string[]) {
  return spawnSync(process.execPath, [MAIN, 'replay', ...args], { encoding: 'utf8', timeout: 60_000 });
}

describe('a recording and its replay', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-replay-'));
  const trace = join(folder, 'trace');
  let elf: string;

  before(async () => {
    requireDebian('binutils');
    elf = assemble('writes', PROGRAM, 0x8000_0000).elf;
    const host = await Host.create({ machineMemory: '64M', record: trace });
    const guest = await host.start({ name: 'writes', memory: '8M', firmware: elf, devices: false });
    await sleep(3500);
    await guest.kill();
    await host.close();
  });
  after(() => rmSync(folder, { recursive: true }));

  test('holds what the guest used', () => {
    const records = [...readTrace(readFileSync(trace))];
    assert.deepEqual(
      records.slice(0, 2).map(({ kind }) => kind),
      ['host', 'guest'],
    );
    assert.equal(records.at(-1)!.kind, 'end');
    const looks = records.filter((record) => record.kind === 'look');
    // All 2048 pages are in the sample.
    assert.ok(looks.length >= 2 && looks.some(({ used }) => used.length >= 512), `${looks.length} looks`);
    assert.ok(looks.every(({ used }) => used.length < 600));
  });

  test('a policy is replayed by the command', () => {
    const { status, stdout, stderr } = replay(trace, '--policy', 'misses', '--json');
    assert.equal(status, 0, stderr);
    const { guests, misses, seconds } = JSON.parse(stdout) as ReplayResult;
    assert.equal(guests[0]!.name, 'writes');
    assert.ok(guests[0]!.firstUses >= 512 && guests[0]!.firstUses < 600);
    assert.equal(misses, 0);
    assert.ok(seconds > 2);
    assert.match(replay(trace).stdout, /^guest +configured[\s\S]*\nwrites +8 MiB[\s\S]*\n0 misses in [234] s on/);
  });

  test('on a smaller machine there are misses', () => {
    const { stdout, stderr } = replay(trace, '--machine-memory', '10M', '--json');
    assert.equal(stderr, '');
    assert.ok((JSON.parse(stdout) as ReplayResult).misses > 100);
  });

  test('what is no trace, and a tax that is none, are said so', () => {
    const none = join(folder, 'none');
    writeFileSync(none, 'nothing');
    assert.match(replay(none).stderr, /this is no trace: it does not begin with "ballonet trace 2"/);
    assert.match(replay(join(folder, 'gone')).stderr, /trace .*gone: does not exist/);
    assert.match(replay(trace, '--tax', '1').stderr, /--tax <part>.*give a number from 0 up to, but not 1/);
    assert.match(replay(trace, '--policy', 'luck').stderr, /--policy <targets>.*shares, misses/);
  });

  test('a recording ends where it may not grow, and says so', async () => {
    const path = join(folder, 'short');
    const said: string[] = [];
    const host = await Host.create({ machineMemory: '64M', record: path, recordLimit: 300 });
    host.onLog = (message) => said.push(message);
    await host.start({ name: 'writes', memory: '8M', firmware: elf, devices: false });
    await sleep(2500);
    await host.close();
    assert.match(said.join('\n'), /the recording has reached 300 bytes and ends here/);
    assert.ok(statSync(path).size <= 300);
    assert.equal([...readTrace(readFileSync(path))][0]!.kind, 'host');
  });

  test('policies that make no sense are refused', async () => {
    const refused = (policy: object, message: RegExp) =>
      assert.rejects(Host.create({ machineMemory: '64M', policy }), { name: 'OptionError', message });
    await refused({ tax: 1 }, /policy: idle memory tax of 1/);
    await refused({ balloonCap: 2 }, /policy: balloon cap of 2/);
    await refused({ targets: 'luck' }, /policy: targets by luck; give one of shares, misses/);
  });
});
