/** What the guest of the soak does, over and over: each piece of work says what it has to print. */
import { createHash } from 'node:crypto';
import { changingProgram, changingStatus } from './changing-program.ts';

export interface Work {
  readonly name: string;
  /** A command line, and the only line that it has to print. */
  readonly command: string;
  readonly result: string;
}

/** Programs that are made, run and thrown away in each round: so many that all caches get full several times in an hour. */
const CHANGING = 16;

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
const numbers = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`).join('');

/** The work of a round, which is not quite that of another one. */
export function workOfRound(round: number): Work[] {
  const first = 1000 * (round % 100);
  const list = numbers(first, first + 4000);
  const words = Array.from({ length: 300 }, (_, i) => `w${(i * 7919) % 300}\n`);
  return [
    {
      name: 'fork and exec',
      command: 'n=0; for i in $(seq 60); do /bin/busybox true && n=$((n + 1)); done; echo $n',
      result: '60',
    },
    {
      name: 'script',
      command: `i=0; s=0; while [ $i -lt 3000 ]; do s=$((s + i * ${round % 7})); i=$((i + 1)); done; echo $s`,
      result: `${((3000 * 2999) / 2) * (round % 7)}`,
    },
    {
      name: 'gzip',
      command: `seq ${first} ${first + 4000} | gzip -6 | gunzip | md5sum | cut -c1-32`,
      result: md5(list),
    },
    {
      name: 'awk',
      command: `seq ${first} ${first + 4000} | awk '{ s += $1 % 17; t[$1 % 5]++ } END { printf "%d %d\\n", s, t[3] }'`,
      result: awkResult(first, first + 4000),
    },
    {
      name: 'sort',
      command: `i=0; while [ $i -lt 300 ]; do echo w$((i * 7919 % 300)); i=$((i + 1)); done | sort | md5sum | cut -c1-32`,
      result: md5([...words].sort().join('')),
    },
    {
      name: 'mounts',
      command:
        `mkdir -p /soak && mount -t tmpfs none /soak && seq ${first} ${first + 2000} > /soak/file && ` +
        'cp /soak/file /soak/copy && md5sum < /soak/copy | cut -c1-32; umount /soak',
      result: md5(numbers(first, first + 2000)),
    },
    {
      // The same code in other frames.
      name: 'copied program',
      command:
        'cp /bin/busybox /dev/shm/busybox; seq 500 | /dev/shm/busybox sha256sum | cut -c1-16; rm /dev/shm/busybox',
      result: createHash('sha256').update(numbers(1, 500)).digest('hex').slice(0, 16),
    },
    {
      name: 'processes that come and go at once',
      command: "for i in 1 2 3 4 5 6 7 8; do (seq 300 | awk '{ s += $1 } END { print s }') & done | sort -u; wait",
      result: '45150',
    },
    ...Array.from({ length: CHANGING }, (_, i) => changing(round * CHANGING + i)),
  ];
}

/** A program that there has never been before, at a path where others were. */
function changing(program: number): Work {
  const text = Buffer.from(changingProgram(program)).toString('base64');
  return {
    name: 'new program',
    command: `echo ${text} | base64 -d > /dev/shm/new; chmod +x /dev/shm/new; /dev/shm/new; echo $?; rm /dev/shm/new`,
    result: `${changingStatus(program)}`,
  };
}

function awkResult(from: number, to: number): string {
  let sum = 0;
  let third = 0;
  for (let n = from; n <= to; n++) {
    sum += n % 17;
    if (n % 5 === 3) third++;
  }
  return `${sum} ${third}`;
}
