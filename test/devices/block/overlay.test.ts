import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openOverlay } from '../../../src/devices/block/overlay.ts';
import { dataOffset, OverlayError, type OverlayProblem } from '../../../src/devices/block/overlay-format.ts';
import { MachineDied, MemoryFile } from './memory-file.ts';

const BLOCK = 4096;
const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) + seed) & 0xff);

function contents(disk: { sizeBytes: number; read(offset: number, target: Uint8Array): void }): Uint8Array {
  const bytes = new Uint8Array(disk.sizeBytes);
  disk.read(0, bytes);
  return bytes;
}

function fails(problem: OverlayProblem, action: () => void): void {
  assert.throws(action, (error) => error instanceof OverlayError && error.problem === problem);
}

test('reads come from the base until they are written, and the base stays as it is', () => {
  const base = new MemoryFile(pattern(10 * BLOCK, 1));
  const before = base.bytes.slice();
  const disk = openOverlay(new MemoryFile(), base);
  assert.equal(disk.sizeBytes, 10 * BLOCK);
  assert.deepEqual(contents(disk), before);
  assert.equal(disk.storedBytes, 0);
  disk.write(5 * BLOCK - 512, pattern(1024, 7));
  const expected = before.slice();
  expected.set(pattern(1024, 7), 5 * BLOCK - 512);
  assert.deepEqual(contents(disk), expected);
  assert.equal(disk.storedBytes, 2 * BLOCK);
  assert.deepEqual(base.bytes, before);
});

test('what was flushed is there when it is opened again', () => {
  const base = new MemoryFile(pattern(10 * BLOCK, 1));
  const file = new MemoryFile();
  const disk = openOverlay(file, base);
  disk.write(0, pattern(3 * BLOCK, 9));
  disk.discard(4 * BLOCK, BLOCK);
  const expected = contents(disk);
  disk.flush();
  assert.deepEqual(contents(openOverlay(file, base)), expected);
});

test('a disk larger than its base, a base of an odd length, no base', () => {
  const base = new MemoryFile(pattern(BLOCK + 100, 1));
  const disk = openOverlay(new MemoryFile(), base, { sizeBytes: 4 * BLOCK });
  const expected = new Uint8Array(4 * BLOCK);
  expected.set(base.bytes);
  assert.deepEqual(contents(disk), expected);
  disk.write(BLOCK + 50, Uint8Array.of(1));
  expected[BLOCK + 50] = 1;
  assert.deepEqual(contents(disk), expected);
  assert.equal(openOverlay(new MemoryFile(), base).sizeBytes, BLOCK + 512);
  assert.deepEqual(contents(openOverlay(new MemoryFile(), undefined, { sizeBytes: 1024 })), new Uint8Array(1024));
});

test('discard and write zeroes give storage back', () => {
  const file = new MemoryFile();
  const disk = openOverlay(file, new MemoryFile(pattern(8 * BLOCK, 1)));
  disk.write(0, pattern(4 * BLOCK, 5));
  disk.discard(512, 2 * BLOCK);
  assert.equal(file.punched, BLOCK, 'whole blocks only');
  disk.writeZeroes(3 * BLOCK + 512, BLOCK, true);
  const expected = pattern(8 * BLOCK, 1);
  expected.set(pattern(4 * BLOCK, 5));
  expected.fill(0, BLOCK, 2 * BLOCK);
  expected.fill(0, 3 * BLOCK + 512, 4 * BLOCK + 512);
  assert.deepEqual(contents(disk), expected);
});

test('errors are named', () => {
  const base = new MemoryFile(pattern(10 * BLOCK, 1));
  const file = new MemoryFile();
  const disk = openOverlay(file, base);
  disk.write(7 * BLOCK, pattern(BLOCK, 1));
  disk.flush();
  fails('wrong base', () => openOverlay(file, new MemoryFile(pattern(9 * BLOCK, 1))));
  fails('wrong base', () => openOverlay(file, new MemoryFile(pattern(10 * BLOCK, 2))));
  fails('wrong base', () => openOverlay(file, undefined));
  fails('wrong size', () => openOverlay(file, base, { sizeBytes: 11 * BLOCK }));
  fails('wrong size', () => openOverlay(new MemoryFile(), undefined));
  fails('wrong size', () => openOverlay(new MemoryFile(), undefined, { sizeBytes: 1000 }));
  fails('truncated', () => openOverlay(new MemoryFile(file.bytes.subarray(0, file.size - 1)), base));
  fails('truncated', () => openOverlay(new MemoryFile(file.bytes.subarray(0, BLOCK + 10)), base));
  fails('not an overlay', () => openOverlay(new MemoryFile(file.bytes.subarray(0, 100)), base));
  fails('not an overlay', () => openOverlay(new MemoryFile(pattern(3 * BLOCK, 4)), base));
  const spoiled = (at: number, value: number) => {
    const bytes = file.bytes.slice();
    bytes[at] = value;
    return new MemoryFile(bytes);
  };
  fails('unknown version', () => openOverlay(spoiled(8, 2), base));
  fails('damaged', () => openOverlay(spoiled(17, 1), base));
  fails('damaged', () => openOverlay(spoiled(BLOCK, 3), base));
});

test('a file that was being made when the machine died is made anew', () => {
  const base = new MemoryFile(pattern(2 * BLOCK, 1));
  const half = new MemoryFile(new Uint8Array(dataOffset(2 * BLOCK)));
  assert.deepEqual(contents(openOverlay(half, base)), base.bytes);
  assert.deepEqual(contents(openOverlay(half, base)), base.bytes);
});

const BLOCKS = 24;
const step = fc.oneof(
  fc.record({
    kind: fc.constantFrom('write' as const, 'zero' as const, 'discard' as const, 'read' as const),
    sector: fc.nat(8 * BLOCKS - 1),
    sectors: fc.integer({ min: 1, max: 40 }),
    seed: fc.nat(255),
  }),
  fc.record({ kind: fc.constant('flush' as const) }),
  fc.record({ kind: fc.constant('open' as const) }),
);

test('property: the same contents as an array, over reopening', () => {
  const base = new MemoryFile(pattern((BLOCKS - 3) * BLOCK + 77, 1));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const file = new MemoryFile();
      let disk = openOverlay(file, base, { sizeBytes: BLOCKS * BLOCK });
      const model = new Uint8Array(BLOCKS * BLOCK);
      model.set(base.bytes);
      for (const action of steps) {
        if (action.kind === 'flush') disk.flush();
        else if (action.kind === 'open') {
          disk.flush();
          disk = openOverlay(file, base);
        } else {
          const offset = 512 * action.sector;
          const length = Math.min(512 * action.sectors, model.length - offset);
          if (action.kind === 'write') {
            disk.write(offset, pattern(length, action.seed));
            model.set(pattern(length, action.seed), offset);
          } else if (action.kind === 'zero') {
            disk.writeZeroes(offset, length, action.seed % 2 === 0);
            model.fill(0, offset, offset + length);
          } else if (action.kind === 'discard') {
            disk.discard(offset, length);
            disk.read(offset, model.subarray(offset, offset + length)); // zeros or the old contents
          } else {
            const target = new Uint8Array(length);
            disk.read(offset, target);
            assert.deepEqual(target, model.subarray(offset, offset + length));
          }
        }
      }
      assert.deepEqual(contents(disk), model);
    }),
    { numRuns: 100 },
  );
});

const CRASH_BLOCKS = 8;

test('property: after a crash each sector holds what was flushed or something written since, never anything else', () => {
  const base = new MemoryFile(pattern(CRASH_BLOCKS * BLOCK, 1));
  const dieAt = fc.oneof(fc.integer({ min: 2, max: 5 }), fc.constant(Infinity));
  const luck = fc.array(fc.boolean(), { minLength: 200, maxLength: 200 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), dieAt, luck, (steps, dieAtFlush, lucky) => {
      const file = new MemoryFile();
      const disk = openOverlay(file, base);
      file.dieAtFlush = dieAtFlush;
      // The contents that each sector may have after a crash.
      let allowed: Set<string>[] = [];
      const sectorOf = (bytes: Uint8Array, sector: number) =>
        Buffer.from(bytes.subarray(512 * sector, 512 * sector + 512)).toString('latin1');
      const reset = () => {
        const now = contents(disk);
        allowed = Array.from({ length: 8 * CRASH_BLOCKS }, (_, sector) => new Set([sectorOf(now, sector)]));
      };
      const perform = (action: (typeof steps)[number]) => {
        if (action.kind === 'flush') {
          disk.flush();
          reset();
        } else if (action.kind === 'write' || action.kind === 'zero') {
          const first = action.sector % (8 * CRASH_BLOCKS);
          const offset = 512 * first;
          const length = Math.min(512 * action.sectors, disk.sizeBytes - offset);
          if (action.kind === 'write') disk.write(offset, pattern(length, action.seed));
          else disk.writeZeroes(offset, length, true);
          const now = contents(disk);
          for (let sector = first; sector < first + length / 512; sector++) {
            allowed[sector]!.add(sectorOf(now, sector));
          }
        }
      };
      reset();
      try {
        for (const action of steps) perform(action);
      } catch (error) {
        if (!(error instanceof MachineDied)) throw error;
      }
      // Of the writes that were not flushed: some, or just one of them.
      const patterns = [(i: number) => lucky[i % lucky.length]!];
      for (let only = 0; only < file.unflushed; only++) patterns.push((i) => i === only);
      for (const survives of patterns) {
        const after = contents(openOverlay(file.afterCrash(survives), base));
        for (const [sector, ok] of allowed.entries()) assert.ok(ok.has(sectorOf(after, sector)), `sector ${sector}`);
      }
    }),
    { numRuns: 150 },
  );
});
