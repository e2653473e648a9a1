/** Speed of the execution engine on loops that do nothing else. */
import { Host } from '../src/index.ts';
import { assemble } from './assemble.ts';
import { type Bench, figures, format } from './report.ts';

const MIB = 2 ** 20;
const RAM = 0x8000_0000;

/** Ends the machine well, by the test finisher. */
const END = `
  li t0, 0x100000
  li t1, 0x5555
  sw t1, 0(t0)
1: j 1b
`;

/** Loops in M-mode, by name; each retires some hundred million instructions. */
const LOOPS: Record<string, string> = {
  integer: `
  li a0, 30000000
  li a1, 12345
  li a2, 1
1:
  add a2, a2, a1
  xor a1, a1, a2
  slli a3, a1, 7
  srli a4, a1, 9
  xor a1, a3, a4
  sub a2, a2, a0
  andi a5, a2, 255
  or a1, a1, a5
  addi a0, a0, -1
  bnez a0, 1b
`,
  memory: `
  li a0, 30000000
  li s0, 0x80100000
  li s1, 0xffff8
  li a1, 0
1:
  add a2, s0, a1
  ld a3, 0(a2)
  addi a3, a3, 3
  sd a3, 0(a2)
  lw a4, 4(a2)
  add a5, a5, a4
  addi a1, a1, 1032
  and a1, a1, s1
  addi a0, a0, -1
  bnez a0, 1b
`,
  calls: `
  li a0, 20000000
  li sp, 0x80200000
1:
  jal ra, 2f
  addi a0, a0, -1
  bnez a0, 1b
  j 3f
2:
  addi sp, sp, -16
  sd ra, 8(sp)
  mul a1, a0, a0
  ld ra, 8(sp)
  addi sp, sp, 16
  ret
3:
`,
};

/** With the translator and without it. */
const TIERS = [
  { tier: 'interpreted', translation: false },
  { tier: 'translated', translation: true },
] as const;

export const interpreter: Bench = {
  description: 'millions of instructions per second on bare loops',
  async run({ runs, progress }) {
    const rows: string[][] = [];
    const data: Record<string, unknown> = {};
    const cases = Object.entries(LOOPS).flatMap(([name, source]) =>
      TIERS.map(({ tier, translation }) => ({ name, source, tier, translation })),
    );
    for (const { name, source, tier, translation } of cases) {
      const image = assemble(name, source + END, RAM).flat;
      const mips: number[] = [];
      let instructions = 0;
      for (let i = 0; i < runs; i++) {
        progress(`${name} loop, ${tier}, run ${i + 1} of ${runs}`);
        await using host = await Host.create({ machineMemory: 64 * MIB, swapSize: 0, translation });
        const guest = await host.start({ name, memory: 16 * MIB, firmware: image, devices: false });
        const exit = await guest.wait();
        if (exit.status !== 0)
          throw new Error(`the ${name} loop ended by ${exit.reason}: ${exit.message ?? exit.status}`);
        const { engine } = guest.statistics();
        instructions = engine.instructions;
        mips.push(instructions / engine.busyMs / 1000);
      }
      const result = figures(mips);
      rows.push([name, tier, (instructions / 1e6).toFixed(0), format(result, 0)]);
      data[`${name} ${tier}`] = { instructions, mips: result };
    }
    return {
      columns: [
        { heading: 'loop' },
        { heading: '' },
        { heading: 'million instructions', right: true },
        { heading: 'MIPS, median (smallest to largest)', right: true },
      ],
      rows,
      notes: [`${runs} runs each, compilation of the engine's own code included.`],
      data,
    };
  },
};
