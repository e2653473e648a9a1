import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedResults, type WorkKind, workArguments } from '../../src/cli/demo/expected.ts';

const work = (kind: WorkKind) =>
  ({ kind, seed: 1, lines: 4000, rounds: 2, hold: 16, keep: 2, pause: 1, delay: 0 }) as const;

// What Debian's kernel and busybox printed for this work on QEMU.
const PRINTED: Record<WorkKind, [string, string][]> = {
  compress: [
    ['1 trailer', 'ef09b7e4f64a0100'],
    ['1 unpacked', '40a77a0025fcb93cc1a6058c6e71ed4fb3a60e56998f835f9d50c4d53c34176a'],
    ['2 trailer', '992b87cabf4b0100'],
    ['1 held', '003906c69a4b88af29cee4f4ee812473'],
    ['2 held', '9edaa4283fead86a2f257b57d78ff5aa'],
  ],
  sort: [
    ['1 bytes', 'e2500c79d137917d58165e147d93d605'],
    ['1 reverse', 'yew'],
    ['2 numeric', '627c02b1359829fa75c743ebbe4c0cdf'],
  ],
  table: [
    ['1 table', '3000:98166858'],
    ['2 table', '3000:99114840'],
  ],
  files: [['2 written', '275158ced0118a56d5fc4d4668c2edae247ffc1f877ce07483f8d0ce5dcaefd7']],
  hash: [
    ['1 sha256', '40a77a0025fcb93cc1a6058c6e71ed4fb3a60e56998f835f9d50c4d53c34176a'],
    ['1 chain', '1a1662e83768da105dd8591e5362facf53748ed9'],
    ['2 chain', 'ec7ad8eb7c6a19b44a55686e60e7839aa47ef9d0'],
  ],
  tally: [
    [
      '1 words',
      'alder=282,ash=239,birch=267,cedar=272,elm=297,fir=233,hazel=224,larch=236,maple=263,oak=268,pine=250,poplar=203,rowan=244,spruce=243,willow=224,yew=255,',
    ],
    ['2 sevens', '28'],
    ['2 upper', '719e8b8ab6dbefe01438b93fb96d70ab'],
  ],
};

for (const [kind, printed] of Object.entries(PRINTED) as [WorkKind, [string, string][]][]) {
  test(`the results of ${kind} are the ones that a real guest printed`, () => {
    const expected = expectedResults(work(kind), new Uint8Array(8));
    for (const [name, value] of printed) assert.equal(expected.get(name), value, name);
  });
}

test('what the guest reads of its disk is the first half', () => {
  const given = (disk: number[]) => expectedResults(work('files'), Uint8Array.from(disk)).get('1 given');
  assert.equal(given([1, 2, 3, 4]), given([1, 2, 9, 9]));
  assert.notEqual(given([1, 2, 3, 4]), given([1, 3, 3, 4]));
});

test('the work is said by words of the command line', () => {
  assert.equal(
    workArguments(work('sort')),
    'ballonet.kind=sort ballonet.seed=1 ballonet.lines=4000 ballonet.rounds=2 ballonet.hold=16 ballonet.keep=2 ballonet.pause=1 ballonet.delay=0',
  );
});
