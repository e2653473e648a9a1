import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SBI_EXTENSIONS, Sbi } from '../../src/firmware/sbi/sbi.ts';
import { StealTime } from '../../src/firmware/sbi/sta.ts';
import {
  HART_STATE,
  type HartEntry,
  type HartState,
  type RemoteFence,
  SBI_ERROR,
  type SbiPlatform,
} from '../../src/firmware/sbi/types.ts';
import { ArrayRam } from '../devices/array-ram.ts';

const EID = Object.fromEntries(SBI_EXTENSIONS.map(({ name, id }) => [name, id])) as Record<string, number>;
const ALL_ONES = 2n ** 64n - 1n;
const RAM = 0x8000_0000n;

function setUp(options: { readonly harts?: number; readonly stealTime?: boolean } = {}) {
  const { harts = 2 } = options;
  const ram = new ArrayRam(0x1_0000);
  const done: unknown[] = [];
  const states: HartState[] = Array.from({ length: harts }, (_, hart) =>
    hart === 0 ? HART_STATE.STARTED : HART_STATE.STOPPED,
  );
  const input = [...new TextEncoder().encode('input')];
  const platform: SbiPlatform = {
    hartCount: harts,
    ram,
    setTimer: (hart: number, deadline: bigint) => done.push(['timer', hart, deadline]),
    sendIpi: (hart: number) => done.push(['ipi', hart]),
    remoteFence: (fenced: readonly number[], fence: RemoteFence) => done.push(['fence', fenced, fence]),
    hartState: (hart: number) => states[hart]!,
    startHart: (hart: number, entry: HartEntry) => {
      done.push(['start', hart, entry]);
      return true;
    },
    stopHart: (hart: number) => done.push(['stop', hart]),
    suspendHart: (hart: number, resume?: HartEntry) => done.push(['suspend', hart, resume]),
    reset: (type, failure) => done.push(['reset', type, failure]),
    consoleWrite: (bytes) => {
      done.push(['write', new TextDecoder().decode(bytes)]);
      return bytes.length;
    },
    consoleRead: (length) => Uint8Array.from(input.splice(0, length)),
    ...(options.stealTime ? { stealTime: new StealTime(ram, harts) } : {}),
    machineIds: { vendor: 1n, architecture: 2n, implementation: 3n },
  };
  const sbi = new Sbi(platform);
  const call = (extension: number, id: number, ...args: (bigint | number)[]) => {
    const x = Array.from({ length: 32 }, (_, n) => BigInt(n) << 40n);
    for (let i = 0; i < 6; i++) x[10 + i] = BigInt.asUintN(64, BigInt(args[i] ?? 0));
    x[16] = BigInt.asUintN(64, BigInt(id));
    x[17] = BigInt.asUintN(64, BigInt(extension));
    const before = x.slice();
    const returned = sbi.call({
      id: 0,
      x: (n) => x[n]!,
      setX: (n, value) => {
        x[n] = value;
      },
    });
    for (let n = 0; n < 32; n++)
      if (!returned || (n !== 10 && n !== 11)) assert.equal(x[n], before[n], `x${n} is preserved`);
    return returned ? { error: Number(BigInt.asIntN(64, x[10]!)), value: x[11]! } : 'does not return';
  };
  return { call, done, states, ram, platform };
}

const ok = (value: bigint | number = 0) => ({ error: SBI_ERROR.SUCCESS, value: BigInt(value) });
const error = (name: keyof typeof SBI_ERROR) => ({ error: SBI_ERROR[name], value: 0n });

test('BASE: versions, ids, probing', () => {
  const { call } = setUp();
  assert.deepEqual(call(EID.BASE!, 0), ok(2 << 24));
  assert.deepEqual(
    [4, 5, 6].map((id) => call(EID.BASE!, id)),
    [ok(1), ok(2), ok(3)],
  );
  for (const name of ['BASE', 'TIME', 'IPI', 'RFENCE', 'HSM', 'SRST', 'PMU', 'DBCN']) {
    assert.deepEqual(call(EID.BASE!, 3, EID[name]!), ok(1), name);
  }
  for (const absent of [0, 1, 8, EID.STA!, 0x4350_5043, 0x4e41_434c, 0xffff_ffff]) {
    assert.deepEqual(call(EID.BASE!, 3, absent), ok(0));
  }
});

test('what is not there is NOT_SUPPORTED: legacy calls, unknown functions and extensions', () => {
  const { call, done } = setUp();
  for (let extension = 0; extension < 16; extension++) assert.deepEqual(call(extension, 0), error('NOT_SUPPORTED'));
  assert.deepEqual(call(0x1234_5678, 0), error('NOT_SUPPORTED'));
  for (const { id } of SBI_EXTENSIONS) assert.deepEqual(call(id, 99), error('NOT_SUPPORTED'));
  assert.deepEqual(done, []);
});

test('extension and function numbers may come sign-extended', () => {
  const { call } = setUp();
  assert.deepEqual(call(EID.BASE! - 2 ** 32, 0), ok(2 << 24));
});

test('ids and function numbers of the table are unique', () => {
  assert.equal(new Set(SBI_EXTENSIONS.map(({ id }) => id)).size, SBI_EXTENSIONS.length);
  for (const { functions } of SBI_EXTENSIONS)
    assert.deepEqual(
      functions.map(({ id }) => id),
      [...functions.keys()],
    );
});

test('TIME', () => {
  const { call, done } = setUp();
  assert.deepEqual(call(EID.TIME!, 0, ALL_ONES), ok());
  assert.deepEqual(done, [['timer', 0, ALL_ONES]]);
});

test('IPI: masks, bases, all harts, harts that are not there', () => {
  const { call, done } = setUp({ harts: 3 });
  assert.deepEqual(call(EID.IPI!, 0, 0b101, 0), ok());
  assert.deepEqual(call(EID.IPI!, 0, 0b1, 1), ok());
  assert.deepEqual(call(EID.IPI!, 0, 0, ALL_ONES), ok());
  assert.deepEqual(
    done.splice(0),
    [0, 2, 1, 0, 1, 2].map((hart) => ['ipi', hart]),
  );
  assert.deepEqual(call(EID.IPI!, 0, 0b1001, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.IPI!, 0, 1, ALL_ONES - 1n), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.IPI!, 0, 0, 100), ok());
  assert.deepEqual(done, [], 'an invalid mask reaches no hart');
});

test('RFENCE', () => {
  const { call, done } = setUp();
  assert.deepEqual(call(EID.RFENCE!, 0, 1, 0), ok());
  assert.deepEqual(call(EID.RFENCE!, 1, 2, 0, 0x1000, 0x2000), ok());
  assert.deepEqual(call(EID.RFENCE!, 1, 1, 0, 0, 0), ok());
  assert.deepEqual(call(EID.RFENCE!, 2, 1, 0, 5, ALL_ONES, 7), ok());
  assert.deepEqual(done, [
    ['fence', [0], { kind: 'fence.i' }],
    ['fence', [1], { kind: 'sfence.vma', range: { start: 0x1000n, size: 0x2000n } }],
    ['fence', [0], { kind: 'sfence.vma' }],
    ['fence', [0], { kind: 'sfence.vma', asid: 7n }],
  ]);
  assert.deepEqual(call(EID.RFENCE!, 1, 4, 0, 0, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.RFENCE!, 3, 1, 0, 0, 0), error('NOT_SUPPORTED'));
});

test('HSM', () => {
  const { call, done, states } = setUp();
  assert.deepEqual(call(EID.HSM!, 2, 0), ok(HART_STATE.STARTED));
  assert.deepEqual(call(EID.HSM!, 2, 1), ok(HART_STATE.STOPPED));
  assert.deepEqual(call(EID.HSM!, 2, 2), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.HSM!, 0, 1, RAM + 0x100n, 42), ok());
  assert.deepEqual(done.splice(0), [['start', 1, { pc: RAM + 0x100n, opaque: 42n }]]);
  assert.deepEqual(call(EID.HSM!, 0, 0, RAM, 0), error('ALREADY_AVAILABLE'));
  assert.deepEqual(call(EID.HSM!, 0, 2, RAM, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.HSM!, 0, ALL_ONES, RAM, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.HSM!, 0, 1, 0x1000, 0), error('INVALID_ADDRESS'));
  states[1] = HART_STATE.SUSPENDED;
  assert.deepEqual(call(EID.HSM!, 0, 1, RAM, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.HSM!, 1), 'does not return');
  assert.deepEqual(call(EID.HSM!, 3, 0), ok());
  assert.deepEqual(call(EID.HSM!, 3, 0x8000_0000, RAM, 9), 'does not return');
  assert.deepEqual(call(EID.HSM!, 3, 0xffff_ffff_8000_0000n, RAM, 9), 'does not return');
  assert.deepEqual(call(EID.HSM!, 3, 0x8000_0000, 0, 9), error('INVALID_ADDRESS'));
  assert.deepEqual(call(EID.HSM!, 3, 5), error('INVALID_PARAM'));
  const resume = { pc: RAM, opaque: 9n };
  assert.deepEqual(done, [
    ['stop', 0],
    ['suspend', 0, undefined],
    ['suspend', 0, resume],
    ['suspend', 0, resume],
  ]);
});

test('SRST', () => {
  const { call, done } = setUp();
  assert.deepEqual(call(EID.SRST!, 0, 0, 0), 'does not return');
  assert.deepEqual(call(EID.SRST!, 0, 1, 1), 'does not return');
  assert.deepEqual(call(EID.SRST!, 0, 2, 0), 'does not return');
  assert.deepEqual(call(EID.SRST!, 0, 3, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.SRST!, 0, 0, 2), error('INVALID_PARAM'));
  assert.deepEqual(done, [
    ['reset', 'shutdown', false],
    ['reset', 'cold reboot', true],
    ['reset', 'warm reboot', false],
  ]);
});

test('PMU has no counters', () => {
  const { call } = setUp();
  assert.deepEqual(call(EID.PMU!, 0), ok(0));
  for (let id = 1; id <= 6; id++) assert.deepEqual(call(EID.PMU!, id), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.PMU!, 7), error('NOT_SUPPORTED'));
});

test('DBCN: write, read, and areas that are not RAM', () => {
  const { call, done, ram } = setUp();
  ram.write(0x8000_0010, new TextEncoder().encode('hello'));
  assert.deepEqual(call(EID.DBCN!, 0, 5, RAM + 0x10n, 0), ok(5));
  assert.deepEqual(call(EID.DBCN!, 2, 0x141), ok());
  assert.deepEqual(done, [
    ['write', 'hello'],
    ['write', 'A'],
  ]);
  assert.deepEqual(call(EID.DBCN!, 1, 3, RAM + 0x20n, 0), ok(3));
  assert.deepEqual(call(EID.DBCN!, 1, 100, RAM + 0x23n, 0), ok(2));
  assert.deepEqual(call(EID.DBCN!, 1, 100, RAM + 0x30n, 0), ok(0));
  assert.equal(new TextDecoder().decode(ram.bytes.subarray(0x20, 0x25)), 'input');
  for (const [length, low, high] of [
    [1, 0x1000n, 0n],
    [1, RAM, 1n],
    [2, RAM + 0xffffn, 0n],
    [ALL_ONES, RAM, 0n],
    [1, ALL_ONES, ALL_ONES],
  ] as const) {
    assert.deepEqual(call(EID.DBCN!, 0, length, low, high), error('INVALID_PARAM'));
    assert.deepEqual(call(EID.DBCN!, 1, length, low, high), error('INVALID_PARAM'));
  }
});

test('STA: the area is shared, updated with an even sequence, and taken back', () => {
  const { call, ram, platform } = setUp({ stealTime: true });
  assert.deepEqual(call(EID.BASE!, 3, EID.STA!), ok(1));
  const area = 0x8000_0040;
  ram.write(area, new Uint8Array(64).fill(0xff));
  platform.stealTime!.add(0, 100n);
  assert.deepEqual(call(EID.STA!, 0, area, 0, 0), ok());
  const state = () => [
    ram.readU32(area),
    ram.readU32(area + 4),
    ram.readU64(area + 8),
    ram.bytes[area - 0x8000_0000 + 16],
  ];
  assert.deepEqual(state(), [2, 0, 100n, 0]);
  platform.stealTime!.add(0, 50n);
  platform.stealTime!.add(1, 7n);
  assert.deepEqual(state(), [4, 0, 150n, 0]);
  assert.deepEqual(call(EID.STA!, 0, area + 32, 0, 0), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.STA!, 0, area, 0, 1), error('INVALID_PARAM'));
  assert.deepEqual(call(EID.STA!, 0, 0x40, 0, 0), error('INVALID_ADDRESS'));
  assert.deepEqual(call(EID.STA!, 0, ALL_ONES, ALL_ONES, 0), ok());
  platform.stealTime!.add(0, 50n);
  assert.deepEqual(state(), [4, 0, 150n, 0]);
});
