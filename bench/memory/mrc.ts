/** Miss-ratio curves that are estimated from a sample, against exact ones of the same guests. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { prepareGuestImage, prepareInitramfs } from '../../src/guest/index.ts';
import { DEFAULT_APPEND, DEFAULT_SAMPLES } from '../../src/host/options.ts';
import { CURVE_PARTS, MissCurve } from '../../src/memory/reuse.ts';
import { sampleOf } from '../../src/memory/usage.ts';
import { type GuestRecord, type LookRecord, readTrace } from '../../src/policy/trace.ts';
import { compilePrograms } from '../cpu/programs.ts';
import { atMost, type Experiment, type Finding, MIB } from './experiment.ts';
import { randomDisk } from './loads.ts';

/** Configured memory of a guest, MiB: so many pages that the sample is a small part of them. */
const MEMORY = 256;
const DISK = 64;
/** Time that is recorded, seconds. */
const RECORD_S = 40;
/** Time over which a live curve is averaged, milliseconds; the exact one of a whole trace forgets nothing. */
const SPANS: Readonly<Record<string, number>> = { live: 5000, 'whole trace': 1e12 };
const MOST_POINTS = 2;

/** Work of the guests: a line of shell each. */
const WORK: Readonly<Record<string, string>> = {
  uniform: '(echo work 60; sleep 9999) | load 128',
  phases: '(while true; do echo work 20; sleep 8; echo work 90; sleep 8; done) | load 96',
  sort: 'while true; do awk "BEGIN { srand(7); for (i = 0; i < 120000; i++) print rand() }" >/dev/shm/a; sort -n /dev/shm/a | md5sum; done',
  disk: 'while true; do dd if=/dev/vda of=/dev/null bs=64k; dd if=/dev/vda of=/dev/null bs=64k count=300; done',
};

interface Recorded {
  readonly guest: GuestRecord;
  readonly looks: LookRecord[];
}

/** The looks of a trace by guest. */
function byGuest(path: string): Recorded[] {
  const guests = new Map<number, Recorded>();
  for (const record of readTrace(readFileSync(path))) {
    if (record.kind === 'guest') guests.set(record.slot, { guest: record, looks: [] });
    else if (record.kind === 'look') guests.get(record.slot)!.looks.push(record);
  }
  return [...guests.values()];
}

/** Miss ratios by 64ths of the configured memory, from the uses of so many sampled pages. */
function curve({ guest, looks }: Recorded, samples: number, spanMs: number): number[] {
  const sample = sampleOf(guest.configured, samples);
  const places = new Map(Array.from(sample, (gfn, place) => [gfn, place]));
  const model = new MissCurve(sample.length, guest.configured, spanMs);
  for (const { used, gone } of looks) {
    model.age((RECORD_S * 1000) / looks.length);
    for (const gfn of Array.from(gone)) {
      const place = places.get(gfn);
      if (place !== undefined) model.remove(place);
    }
    for (const gfn of Array.from(used)) {
      const place = places.get(gfn);
      if (place !== undefined) model.use(place);
    }
  }
  return model.missRatios();
}

export const mrc: Experiment = {
  name: 'mrc',
  shows: 'miss-ratio curves estimated from a sample of the pages, against exact ones',
  published: [
    { figure: 'an error of about 0.01 to 0.02 with 8K samples', source: 'SHARDS, FAST 2015, as quoted from memory' },
  ],
  async run(surroundings) {
    const { progress } = surroundings;
    const folder = mkdtempSync(join(tmpdir(), 'ballonet-mrc-'));
    try {
      const path = join(folder, 'trace');
      const programs = fileURLToPath(new URL('programs/', import.meta.url));
      const load = (await compilePrograms(['load'], programs)).get('load')!;
      const image = await prepareGuestImage();
      const cases = Object.entries(WORK).map(([name, work]) => `  ${name}) ${work} ;;`);
      const { path: initrd } = await prepareInitramfs(image, {
        script: `echo starts\ncase $work in\n${cases.join('\n')}\nesac >/dev/null 2>&1\n`,
        files: [{ path: 'bin/load', data: load, mode: 0o755 }],
      });
      const names = Object.keys(WORK);
      const host = await surroundings.host({
        machineMemory: `${Math.ceil(names.length * MEMORY * 1.3 + 128)}M`,
        record: path,
        sampledPages: (MEMORY * MIB) / 4096,
      });
      await Promise.all(
        names.map(async (name) => {
          const guest = await host.start({
            name,
            memory: MEMORY * MIB,
            kernel: image.kernelPath,
            initrd,
            append: `${DEFAULT_APPEND} quiet work=${name}`,
            disks: name === 'disk' ? [{ path: randomDisk(DISK), readOnly: true }] : [],
          });
          await guest.console.until(/starts/, 240_000);
        }),
      );
      progress('the guests work');
      await sleep(RECORD_S * 1000);
      await surroundings.done(host);
      progress('curves');
      const findings: Finding[] = [];
      const data: Record<string, unknown> = {};
      let worst = 0;
      for (const recorded of byGuest(path)) {
        const { guest, looks } = recorded;
        for (const [span, spanMs] of Object.entries(SPANS)) {
          const exact = curve(recorded, guest.configured, spanMs);
          const estimated = curve(recorded, DEFAULT_SAMPLES, spanMs);
          const error =
            (100 * exact.reduce((sum, ratio, i) => sum + Math.abs(ratio - estimated[i]!), 0)) / (CURVE_PARTS + 1);
          worst = Math.max(worst, error);
          data[`${guest.name}, ${span}`] = { errorPoints: error, exact, estimated, looks: looks.length };
          findings.push({
            what: `${guest.name}, ${span}: mean absolute error, points`,
            measured: error.toFixed(2),
            ...atMost(error, MOST_POINTS, ''),
          });
        }
      }
      return {
        findings,
        notes: [
          `Guests of ${MEMORY} MiB were recorded for ${RECORD_S} s with all pages in the sample: exact curves have all of them, estimated`,
          `ones ${DEFAULT_SAMPLES}, the usual sample. A use is a page used since the last look, about once a second. Errors are means over ${CURVE_PARTS + 1}`,
          `sizes; live: averaged over ${SPANS.live! / 1000} s, as the policy has it. The worst is ${worst.toFixed(2)} points.`,
        ],
        data,
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
