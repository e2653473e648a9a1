/** What the guest of the benchmark runs, and the words with which it tells how far it is. */
import { MARK } from '../boot.ts';
import type { Line } from './lines.ts';

/** Folder in the guest that holds the programs and the work. */
export const FOLDER = 'bench';

/** Starts every line that the guest prints for {@link RunReader}. */
export const PREFIX = 'bench: ';

const WORK = 'work.sh';

/**
 * The script in the initial file system. It does not depend on the work, so that booting takes the same time whatever
 * is measured after it: programs and work come in an archive on the first disk.
 */
export const initScript = `echo "${MARK}"
dmesg -n 1
cd / && cpio -idmu </dev/vda 2>/dev/null && cd /${FOLDER} || exit 1
exec sh ./${WORK}
`;

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * The work: each line measured once, in order.
 * @returns a file of the archive, path and contents
 */
export function workScript(lines: readonly Line[]): { readonly path: string; readonly text: string } {
  const calls = lines.map(
    ({ name, prepare = ':', command, result = 'cat output' }) =>
      `line ${name} ${[prepare, command, result].map(quote).join(' ')}`,
  );
  const text = `fail() {
  echo "${PREFIX}failed $1 $2"
  tail -c 2000 output
  exit 1
}
line() {
  sh -c "$2" >output 2>&1
  prepared=$?
  echo "${PREFIX}start $1"
  [ $prepared = 0 ] || fail "$1" $prepared
  set -- "$1" "$4" $(./measure output sh -c "$3")
  [ "$4" = 0 ] || fail "$1" "$4"
  echo "${PREFIX}line $1 $3" $(sh -c "$2")
}
${calls.join('\n')}
echo "${PREFIX}end"
`;
  return { path: `${FOLDER}/${WORK}`, text };
}
