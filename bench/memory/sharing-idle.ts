/** Machine memory and process memory of identical idle guests, as there are more of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import type { Host } from '../../src/host/host.ts';
import { atLeast, atMost, type Experiment, type Finding, MIB } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { ksmMissing, measureKsm } from './ksm.ts';

/** Numbers of guests at which it is measured. */
const STEPS = [1, 2, 6, 10, 20];
const QEMU_STEPS = [1, 2, 6];
/** Configured memory of a guest, and machine memory, MiB. */
const MEMORY = 256;
const MACHINE_MEMORY = 4096;
/** Page sharing is done when it has won less than this within a look, bytes; and the looks' distance and longest time, ms. */
const LITTLE = MIB / 4;
const LOOK_MS = 2500;
const SETTLE_MS = 20_000;
/** Time in which guests find that they are idle, and give back what they needed to boot, milliseconds. */
const REST_MS = 12_000;
const QEMU_SETTLE_MS = 2000;
/** The goals. */
const MOST_MACHINE_MIB = 12;
const MOST_PROCESS_MB = 40;
const LEAST_SHARED = 75;

interface Step {
  readonly guests: number;
  /** Frames of guests and what the VMM keeps for them, bytes. */
  readonly frames: number;
  readonly overhead: number;
  /** Resident memory of the whole process, bytes. */
  readonly rss: number;
  /** Pages with a frame, and those of them that are shared, bytes. */
  readonly resident: number;
  readonly shared: number;
}

function look(host: Host): Step {
  const { memory, guests } = host.statistics();
  const sum = (pick: (each: (typeof guests)[number]) => number): number =>
    guests.reduce((total, each) => total + pick(each), 0);
  return {
    guests: guests.length,
    frames: memory.machineMemory - memory.overhead - memory.free,
    overhead: memory.overhead - memory.overheadFree,
    rss: process.memoryUsage.rss(),
    resident: sum((each) => each.memory.resident),
    shared: sum((each) => each.memory.shared),
  };
}

/** Waits until page sharing finds hardly anything. */
async function settled(host: Host): Promise<Step> {
  await sleep(REST_MS);
  let before = look(host);
  for (let waited = 0; waited < SETTLE_MS; waited += LOOK_MS) {
    await sleep(LOOK_MS);
    const now = look(host);
    if (before.frames - now.frames < LITTLE) return now;
    before = now;
  }
  return before;
}

const each = (steps: readonly Step[], pick: (step: Step) => number): number => {
  const [first, last] = [steps[0]!, steps.at(-1)!];
  return (pick(last) - pick(first)) / (last.guests - first.guests);
};

export const sharingIdle: Experiment = {
  name: 'sharing-idle',
  shows: 'what one more identical guest costs that waits at its shell',
  published: [
    {
      figure: '67% of the memory of ten identical Linux guests shared',
      source: 'ESX, Waldspurger, OSDI 2002, figure 4',
    },
    { figure: '1051 MB for six guests of 512 MB, 588 MB with KSM', source: 'QEMU 7.2, measured on a machine of ours' },
  ],
  async run({ progress, host: makeHost, done }) {
    const files = await debianFiles();
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB });
    const steps: Step[] = [];
    for (const guests of STEPS) {
      const from = host.guests.length;
      const names = Array.from({ length: guests - from }, (_, i) => `idle-${from + i + 1}`);
      progress(`${guests} guests`);
      await idleGuests(host, files, names, MEMORY);
      steps.push(await settled(host));
    }
    await done(host);
    const missing = ksmMissing();
    const qemu = missing === undefined ? await measureKsm(files, QEMU_STEPS, MEMORY, QEMU_SETTLE_MS) : undefined;
    const qemuEach = qemu && (qemu.at(-1)!.shared - qemu[0]!.shared) / (qemu.at(-1)!.guests - qemu[0]!.guests) / MIB;
    const machine = each(steps, ({ frames, overhead }) => frames + overhead) / MIB;
    const frames = each(steps, (step) => step.frames) / MIB;
    const rss = each(steps, (step) => step.rss) / 1e6;
    const last = steps.at(-1)!;
    const shared = (100 * last.shared) / last.resident;
    const findings: Finding[] = [
      {
        what: `machine memory for each guest more, 1 to ${last.guests}, MiB`,
        measured: machine.toFixed(1),
        beside: qemuEach === undefined ? '' : `QEMU with KSM, 1 to ${qemu!.at(-1)!.guests}: ${qemuEach.toFixed(1)}`,
        ...atMost(machine, MOST_MACHINE_MIB, ''),
      },
      { what: '  of that frames of the guest, MiB', measured: frames.toFixed(1) },
      {
        what: `pages with a frame that are shared at ${last.guests} guests, %`,
        measured: shared.toFixed(1),
        beside: 'ESX: 67',
        ...atLeast(shared, LEAST_SHARED, ''),
      },
      {
        what: 'resident memory of the process for each guest more, MB',
        measured: rss.toFixed(1),
        ...atMost(rss, MOST_PROCESS_MB, ''),
      },
      ...steps.map((step) => ({
        what: `  ${step.guests} guests: machine memory, MiB; process, MB; shared, %`,
        measured: `${((step.frames + step.overhead) / MIB).toFixed(0)}; ${(step.rss / 1e6).toFixed(0)}; ${((100 * step.shared) / step.resident).toFixed(0)}`,
        beside: qemu
          ?.filter(({ guests }) => guests === step.guests)
          .map(({ bytes, shared: after }) => `QEMU: ${(bytes / MIB).toFixed(0)}, with KSM ${(after / MIB).toFixed(0)}`)
          .join(''),
      })),
    ].map(({ beside, ...rest }: Finding & { beside?: string | undefined }) => ({ ...rest, beside: beside ?? '' }));
    return {
      findings,
      notes: [
        `Guests of ${MEMORY} MiB with Debian's kernel wait at the shell of busybox. Machine memory: frames of guests, and tables and`,
        'harts that the VMM keeps for them. Process: all threads, heaps and machine code included.',
        ...(missing === undefined
          ? ['QEMU: Pss of its processes. KSM had looked at each page four times.']
          : [`QEMU with KSM is left out: ${missing}.`]),
      ],
      data: {
        machineMiB: machine,
        framesMiB: frames,
        processMB: rss,
        sharedPercent: shared,
        steps,
        qemu: qemu ?? null,
      },
    };
  },
};
