/**
 * The host's translator: turns regions of guest code into machine code, for all guests. A region is named by its
 * contents, so that guests which run the same code share its translation.
 */
import { constants, getPriority, setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { regionOfKey } from '../engine/translate/region.ts';
import { compileRegions, regionName, translate } from '../engine/translate/translate.ts';
import type { Translation } from '../engine/translate/translations.ts';
import type { AttachGuest, ToTranslator, Translated, TranslatorWorkerData } from './messages.ts';

/** Regions of one module: few, so that the first one that is waited for is not held up by many others. */
const BATCH = 4;
/** Translations after which all are forgotten; guests keep what they use. */
const MOST_KNOWN = 30_000;

const { memory, instruments, niceness } = workerData as TranslatorWorkerData;
// On Linux each thread has a nice value of its own; elsewhere it would be that of the whole process.
if (niceness > 0 && process.platform === 'linux') {
  try {
    setPriority(Math.min(getPriority() + niceness, constants.priority.PRIORITY_LOW));
  } catch {
    // A container may forbid it; what there is to translate is translated all the same.
  }
}

const known = new Map<string, Translation>();
/** What is asked for, and by whom. */
const jobs = new Map<string, Set<MessagePort>>();
let modules = 0;

function request(port: MessagePort, key: ToTranslator): void {
  const translation = known.get(key);
  if (translation !== undefined) {
    answer(port, translation, [[key, translation.name]]);
    return;
  }
  const ports = jobs.get(key);
  if (ports !== undefined) ports.add(port);
  else {
    if (jobs.size === 0) setImmediate(work);
    jobs.set(key, new Set([port]));
  }
}

function answer(
  port: MessagePort,
  { module, number }: Omit<Translation, 'name'>,
  names: [key: string, name: string][],
): void {
  const message: Translated = { module, number, names };
  port.postMessage(message);
}

/** Translates what was asked for first; then other requests are looked at. */
function work(): void {
  const batch = [...jobs].slice(0, BATCH);
  const bytes = translate(
    batch.map(([key]) => regionOfKey(key)),
    instruments,
  );
  const compiled = { module: compileRegions(bytes, memory), number: modules++ };
  if (known.size > MOST_KNOWN) known.clear();
  const answers = new Map<MessagePort, [string, string][]>();
  for (const [index, [key, ports]] of batch.entries()) {
    const name = regionName(index);
    known.set(key, { ...compiled, name });
    jobs.delete(key);
    for (const port of ports) {
      const names = answers.get(port) ?? [];
      answers.set(port, names);
      names.push([key, name]);
    }
  }
  for (const [port, names] of answers) answer(port, compiled, names);
  if (jobs.size > 0) setImmediate(work);
}

parentPort!.on('message', ({ port }: AttachGuest) => {
  port.on('message', (message: ToTranslator) => request(port, message));
});
