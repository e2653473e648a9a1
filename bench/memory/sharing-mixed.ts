/** What guests share that do different things with different programs of Debian's. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import { prepareDebianPackages, writeCpio } from '../../src/guest/index.ts';
import { temporaryFolder } from '../assemble.ts';
import { treeEntries } from '../cpu/tree.ts';
import { type Experiment, MIB, type Surroundings } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { execute } from './shell.ts';

/** Guests of each kind, configured memory of each, and machine memory, MiB. */
const OF_EACH = 2;
const MEMORY = 256;
const MACHINE_MEMORY = 2048;
/** Time that page sharing has behind the work, milliseconds. */
const SETTLE_MS = 20_000;
const SECTOR = 512;
/** Programs name their loader in /lib, which in Debian is /usr/lib, and in the initial file system is not. */
const LOADER = 'ld-linux-riscv64-lp64d.so.1';
const UNPACK = 'cd / && cpio -idmu </dev/vda 2>/dev/null; echo unpacked';

interface Kind {
  readonly name: string;
  /** Packages of Debian's. */
  readonly packages: readonly string[];
  /** A command line; `N` stands for the number of the guest, so that no two guests compute the same. */
  readonly work: string;
  /** What the end of the output has to be. */
  readonly expected: RegExp;
}

const KINDS: readonly Kind[] = [
  {
    name: 'python3',
    packages: ['python3.13-minimal'],
    work: `python3.13 -c 'd={i*N:str(i*N) for i in range(30000)}; print(len(d), sum(map(len, d.values()))>0)'`,
    expected: /30000 True\s*$/,
  },
  {
    name: 'redis',
    packages: ['redis-server'],
    work:
      'ip link set lo up; redis-server --save "" --daemonize yes >/dev/null; sleep 1; ' +
      'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "set key-N-$i value-$i"; done | redis-cli | tail -n 1; redis-cli dbsize',
    expected: /3000\s*$/,
  },
  {
    name: 'sqlite',
    packages: ['sqlite3'],
    work:
      `sqlite3 /tmp/db 'create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i+1 ` +
      `from n where i<20000) insert into t select i, i*N from n; create index x on t(b); select count(*) from t;'`,
    expected: /20000\s*$/,
  },
];

/** A disk with an archive of packages. */
async function disk({ name, packages }: Kind, { progress }: Surroundings): Promise<string> {
  const { root } = await prepareDebianPackages(packages, { onProgress: progress });
  const archive = writeCpio([
    ...(await treeEntries(join(root, 'usr/bin'), 'usr/bin')),
    ...(await treeEntries(join(root, 'usr/lib'), 'usr/lib')),
    { kind: 'symlink', path: `lib/${LOADER}`, target: `/usr/lib/${LOADER}` },
  ]);
  const image = new Uint8Array(Math.ceil(archive.length / SECTOR) * SECTOR);
  image.set(archive);
  const path = join(temporaryFolder(), name);
  writeFileSync(path, image);
  return path;
}

export const sharingMixed: Experiment = {
  name: 'sharing-mixed',
  shows: 'what guests share that work with different programs',
  published: [
    {
      figure: '29.2% shared, 18.7% won, by nine Linux guests in production',
      source: 'ESX, Waldspurger, OSDI 2002, figure 5',
    },
    {
      figure: '65% won with different guests, by patches and compression, too',
      source: 'Difference Engine, OSDI 2008',
    },
  ],
  async run(surroundings) {
    const { progress, host: makeHost } = surroundings;
    const files = await debianFiles();
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB });
    let number = 0;
    for (const kind of KINDS) {
      const path = await disk(kind, surroundings);
      const names = Array.from({ length: OF_EACH }, (_, i) => `${kind.name}-${i + 1}`);
      progress(`${names.join(' and ')} boot`);
      for (const guest of await idleGuests(host, files, names, MEMORY, { disks: [{ path, readOnly: true }] })) {
        await execute(guest, UNPACK);
        const { output } = await execute(guest, kind.work.replaceAll('N', `${++number}`));
        if (!kind.expected.test(output))
          throw new Error(`guest ${guest.name} says ${JSON.stringify(output.slice(-200))}`);
      }
    }
    progress('they wait');
    await sleep(SETTLE_MS);
    const { memory, guests } = host.statistics();
    const resident = guests.reduce((sum, guest) => sum + guest.memory.resident, 0);
    const shared = guests.reduce((sum, guest) => sum + guest.memory.shared, 0);
    const won = memory.savings.sharing;
    return {
      findings: [
        {
          what: 'pages with a frame that are shared, %',
          measured: ((100 * shared) / resident).toFixed(1),
          beside: 'ESX: 29.2',
        },
        { what: '  memory won, % of it', measured: ((100 * won) / resident).toFixed(1), beside: 'ESX: 18.7' },
        { what: '  memory won, MiB', measured: (won / MIB).toFixed(0) },
      ],
      notes: [
        `${OF_EACH} guests of ${MEMORY} MiB each with python3, redis and sqlite of Debian's, which they unpack into their memory and`,
        'use, each for data of its own. Pages of zeros, which take no memory, are not counted.',
      ],
      data: {
        sharedPercent: (100 * shared) / resident,
        wonPercent: (100 * won) / resident,
        wonMiB: won / MIB,
        residentMiB: resident / MIB,
      },
    };
  },
};
