import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EngineObserver, PlaceDrop, RegionExit, Sample } from '../../src/engine/observer.ts';
import { CHUNK, EXIT } from '../../src/engine/state.ts';
import { listRegion, regionSize } from '../../src/engine/translate/listing.ts';
import type { Region } from '../../src/engine/translate/region.ts';
import { disassemble } from '../../src/isa/disassemble.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, type BareOptions, CODE, DATA, RAM } from './bare-machine.ts';
import { addN } from './patching.ts';

const { ra, a0, a1, a2, s0 } = R;
const DEVICE = 0x1000_0000;

interface Exit {
  readonly pc: bigint;
  readonly exit: RegionExit;
  readonly instruction: string | undefined;
}

/** Notes all that it is told. */
class Notes implements EngineObserver {
  readonly translated: { pc: bigint; key: string; region: Region }[] = [];
  readonly dropped: { pc: bigint; reason: PlaceDrop }[] = [];
  readonly exits: Exit[] = [];
  readonly samples: Sample[] = [];
  readonly spans: ('began' | 'stopped')[] = [];

  placeTranslated(pc: bigint, key: string, region: Region): void {
    this.translated.push({ pc, key, region });
  }

  placeDropped(pc: bigint, reason: PlaceDrop): void {
    this.dropped.push({ pc, reason });
  }

  regionLeft(pc: bigint, exit: RegionExit, bits: () => number | undefined): void {
    const seen = bits();
    this.exits.push({ pc, exit, instruction: seen === undefined ? undefined : disassemble(seen, pc) });
  }

  sample(sample: Sample): void {
    this.samples.push(sample);
  }

  began(): void {
    this.spans.push('began');
  }

  stopped(): void {
    this.spans.push('stopped');
  }
}

function observed(options: BareOptions = {}) {
  const notes = new Notes();
  const environment = { deviceRead: () => 0n };
  const machine = new BareMachine({ tier: 'translator', threshold: 3, environment, ...options, observer: notes });
  return { notes, machine };
}

const loop = (a: Assembler, name: string, times: number, body: (a: Assembler) => void): unknown => {
  a.li(s0, times).label(name);
  body(a);
  return a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', name, { rs1: s0 });
};

describe('observer', () => {
  test('is told of a region at its guest-virtual address, with its code', () => {
    const { notes, machine } = observed();
    let at = 0;
    machine.execute((a) => {
      a.li(a2, 0).li(s0, 50);
      at = a.length;
      a.label('again').i('addi', { rd: a2, rs1: a2, imm: 3 }).i('addi', { rd: s0, rs1: s0, imm: -1 });
      a.to('bne', 'again', { rs1: s0 });
    });
    assert.equal(machine.x(a2), 150n);
    assert.equal(notes.translated.length, 1);
    const { pc, region } = notes.translated[0]!;
    assert.equal(pc, BigInt(CODE + at));
    assert.equal(regionSize(region), 3);
    assert.deepEqual(notes.dropped, []);
    assert.deepEqual(notes.spans, ['began', 'stopped']);
    assert.deepEqual(
      listRegion(region, pc, (address) => `<${address === pc ? 'again' : address}>`),
      [
        'block 0 at <again>, begins a loop',
        `  0x${pc.toString(16)}  00360613  addi a2,a2,3`,
        `  0x${(pc + 4n).toString(16)}  fff40413  addi s0,s0,-1`,
        `  0x${(pc + 8n).toString(16)}  fe041ce3  bne s0,zero,0x${pc.toString(16)}`,
        '  leads taken to 0 (back)',
      ],
    );
  });

  test('is told of a region whose code is written to', () => {
    const { notes, machine } = observed();
    machine.load(DATA, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    machine.execute((a) => {
      a.li(a0, DATA).li(a1, addN(2)).li(a2, 0);
      loop(a, 'first', 9, () => a.i('jalr', { rd: ra, rs1: a0 }));
      a.i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
    });
    assert.equal(machine.x(a2), 11n);
    // The function alone, and the loop with the function in it where that was taken into it.
    assert.ok(notes.translated.some(({ pc }) => pc === BigInt(DATA)));
    assert.ok(notes.dropped.some(({ pc, reason }) => pc === BigInt(DATA) && reason === 'written'));
  });

  test('is told where and why regions are left, with the instruction', () => {
    const { notes, machine } = observed();
    let device = 0;
    let behind = 0;
    machine.execute((a) => {
      a.li(a0, DEVICE).li(s0, 30).label('again').i('addi', { rd: a2, rs1: a2, imm: 1 });
      device = a.length;
      a.i('ld', { rd: a1, rs1: a0 }).i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'again', { rs1: s0 });
      loop(a, 'long', CHUNK, () => a.i('addi', { rd: a2, rs1: a2, imm: 1 }));
      behind = a.length;
    });
    const count = (exit: RegionExit, pc?: number): number =>
      notes.exits.filter((each) => each.exit === exit && (pc === undefined || each.pc === BigInt(CODE + pc))).length;
    assert.ok(count('interpret', device) > 20, `${count('interpret', device)} exits at the load`);
    assert.equal(count('interpret'), count('interpret', device));
    assert.ok(count('poll') === 2 || count('poll') === 3, `${count('poll')} polls`);
    assert.equal(count('system', behind), 1, 'the loop ends at a WFI');
    const load = notes.exits.find(({ pc }) => pc === BigInt(CODE + device))!;
    assert.equal(load.instruction, 'ld a1,0(a0)');
    const { interpretExits, pollExits, fetchExits, regionEntries } = machine.counters;
    assert.deepEqual(
      [interpretExits, pollExits, fetchExits, regionEntries],
      [count('interpret'), count('poll'), count('fetch'), notes.exits.length],
    );
  });

  test('samples are where the time goes: in a function that a loop calls, not behind it', () => {
    for (const [tier, threshold] of [
      ['interpreter', undefined],
      ['translator', 3],
    ] as const) {
      const { notes, machine } = observed({
        tier,
        ...(threshold === undefined ? { threshold: 0xffff } : { threshold }),
      });
      const FUNCTION = RAM + 0x4000;
      // 100 instructions, so that it is not taken into the region of its caller.
      machine.load(FUNCTION, (a) => {
        for (let i = 0; i < 99; i++) a.i('addi', { rd: a2, rs1: a2, imm: 1 });
        a.i('jalr', { rs1: ra });
      });
      machine.execute((a) => {
        a.li(a0, FUNCTION).li(a2, 0);
        loop(a, 'calls', 9000, () => a.i('jalr', { rd: ra, rs1: a0 }));
      });
      assert.equal(machine.x(a2), 891_000n);
      const inside = notes.samples.filter(({ pc }) => pc >= BigInt(FUNCTION) && pc < BigInt(FUNCTION + 400));
      assert.ok(notes.samples.length >= 40, `${notes.samples.length} samples`);
      assert.ok(inside.length > 0.8 * notes.samples.length, `${tier}: ${inside.length} of ${notes.samples.length}`);
      const translated = notes.samples.filter((sample) => sample.translated).length;
      assert.equal(translated > notes.samples.length / 2, tier === 'translator', `${tier}: ${translated} translated`);
      assert.ok(notes.samples.every(({ privilege }) => privilege === 3));
    }
  });

  test('a run that ends by its budget is told', () => {
    const { notes, machine } = observed();
    machine.load(CODE, (a) => a.label('here').to('jal', 'here'));
    machine.boot();
    machine.run(EXIT.budget, 5 * CHUNK);
    assert.deepEqual(notes.spans, ['began', 'stopped']);
    assert.ok(notes.samples.length >= 4);
  });
});

test('a listing names loops, the ways out and functions that were taken in', () => {
  const { notes, machine } = observed();
  machine.load(DATA, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
  machine.execute((a) => {
    a.li(a0, DATA).li(a2, 0);
    loop(a, 'outer', 20, () => {
      a.i('addi', { rd: a1, rs1: 0, imm: 4 }).label('inner').i('addi', { rd: a1, rs1: a1, imm: -1 });
      a.to('bne', 'inner', { rs1: a1 });
    });
  });
  const { pc, region } = notes.translated.find(({ region }) => region.blocks.length >= 3)!;
  const lines = listRegion(region, pc);
  assert.equal(lines.filter((line) => /^block \d+ at 0x/.test(line)).length, region.blocks.length);
  assert.equal(lines.filter((line) => /^ {2}0x[0-9a-f]+ {2}[0-9a-f]{4}/.test(line)).length, regionSize(region));
  assert.equal(lines.filter((line) => line.startsWith('  leads ')).length, region.blocks.length);
  assert.ok(lines.some((line) => line.includes(', begins a loop')));
  assert.ok(lines.some((line) => line.includes('(back)')));
});
