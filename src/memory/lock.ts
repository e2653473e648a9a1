/**
 * The host mutex: a futex in one word of shared memory (0 free, 1 held, 2 held with waiters). All changes of the frame
 * table, of NPT entries other than their accessed and dirty bits, of the heap and of the swap slots are made under it.
 * It is held for microseconds, never while a thread waits for a hart or for I/O.
 */

import { LockTimeoutError } from './errors.ts';
import { LOCK_OWNER_HOST, LOCK_OWNER_MANAGER } from './layout.ts';

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;
/** Attempts before the thread sleeps; a critical section is about as long as this takes. */
const SPINS = 200;
/** Milliseconds after which the holder must have died. */
const TIMEOUT_MS = 20_000;

/** Takes the mutex at word `index`; `owner` is written to the next word, so that an error can name the holder. */
export function lockMutex(words: Int32Array, index: number, owner: number): void {
  if (Atomics.compareExchange(words, index, FREE, HELD) !== FREE) {
    lockContended(words, index);
  }
  words[index + 1] = owner;
}

/** Gives the mutex back. */
export function unlockMutex(words: Int32Array, index: number): void {
  words[index + 1] = 0;
  if (Atomics.exchange(words, index, FREE) === CONTENDED) {
    Atomics.notify(words, index, 1);
  }
}

function lockContended(words: Int32Array, index: number): void {
  for (let i = 0; i < SPINS; i++) {
    if (Atomics.load(words, index) === FREE && Atomics.compareExchange(words, index, FREE, HELD) === FREE) {
      return;
    }
  }
  // From here on the word says CONTENDED, so that whoever holds the mutex wakes one waiter when giving it back. The waiter
  // that gets it leaves CONTENDED there, as it can't know whether there are others.
  while (Atomics.exchange(words, index, CONTENDED) !== FREE) {
    if (Atomics.wait(words, index, CONTENDED, TIMEOUT_MS) === 'timed-out') {
      const owner = words[index + 1]!;
      throw new LockTimeoutError(owner, ownerName(owner), TIMEOUT_MS);
    }
  }
}

/** Name of a mutex owner for messages. */
export function ownerName(owner: number): string {
  switch (owner) {
    case 0:
      return 'nobody that has said so';
    case LOCK_OWNER_MANAGER:
      return 'the memory manager';
    case LOCK_OWNER_HOST:
      return 'the host';
    default:
      return `a thread of the guest in slot ${owner - 1}`;
  }
}
