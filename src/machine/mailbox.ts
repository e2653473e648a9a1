/**
 * Devices belong to the thread of a guest's first hart. The others send it what they want of a device and wait for the
 * answer: a mailbox in each hart's control block.
 */
import type { ResetType } from '../firmware/sbi/types.ts';
import { GuestStoppedError } from '../memory/errors.ts';
import type { Guest } from '../memory/guest.ts';
import { HART_MACHINE_END_BYTE, HART_REQUEST_SERVICE } from '../memory/layout.ts';
import { GUEST_RUNNING, GUEST_STATE } from '../memory/layout-guest.ts';
import type { HartControl } from '../memory/shootdown.ts';
import { MAILBOX_BYTE } from './hart-block.ts';

/** What a hart may want of the machine around it. */
export interface Services {
  /** @returns undefined if no device answers */
  deviceRead(address: bigint, bytes: number): bigint | undefined;
  /** @returns false if no device answers */
  deviceWrite(address: bigint, bytes: number, value: bigint): boolean;
  /** Takes console output; returns how many bytes were taken. */
  consoleWrite(bytes: Uint8Array): number;
  /** Gives at most `length` bytes of console input. */
  consoleRead(length: number): Uint8Array;
  /** Ends or restarts the machine. */
  reset(type: ResetType, failure: boolean): void;
  /** Brings in a page that is to come from a disk. */
  bringIn(gfn: number): void;
}

// Bytes from the start of a mailbox.
const STATUS = 0;
const KIND = 4;
const LENGTH = 8;
const ANSWERED = 12;
const ADDRESS = 16;
const VALUE = 24;
const DATA = 32;
/** Bytes of console input or output that go at a time. */
const DATA_BYTES = HART_MACHINE_END_BYTE - MAILBOX_BYTE - DATA;

/** STATUS: nothing is asked; the sender waits; the answer is there. */
const [IDLE, ASKED, DONE] = [0, 1, 2];
/** KIND */
const [READ, WRITE, CONSOLE_WRITE, CONSOLE_READ, RESET, BRING_IN] = [0, 1, 2, 3, 4, 5];

const RESET_TYPES: readonly ResetType[] = ['shutdown', 'cold reboot', 'warm reboot'];

/** Milliseconds after which a waiting hart looks whether its guest was stopped. */
const LOOK_MS = 50;

/** One mailbox: positions in the typed arrays. */
class Letter {
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly data: Uint8Array;
  readonly at: number;

  constructor(guest: Guest, hart: number) {
    const start = guest.hartArea(hart) + MAILBOX_BYTE;
    this.i32 = guest.memory.i32;
    this.i64 = new BigInt64Array(guest.memory.buffer);
    this.data = guest.memory.u8.subarray(start + DATA, start + DATA + DATA_BYTES);
    this.at = start;
  }

  get(field: number): number {
    return this.i32[(this.at + field) >>> 2]!;
  }

  set(field: number, value: number): void {
    this.i32[(this.at + field) >>> 2] = value;
  }

  get64(field: number): bigint {
    return BigInt.asUintN(64, this.i64[(this.at + field) / 8]!);
  }

  set64(field: number, value: bigint): void {
    this.i64[(this.at + field) / 8] = BigInt.asIntN(64, value);
  }
}

/** A hart's side, on its own thread. While it waits the hart is parked, so that nobody waits for it. */
export class Mailbox implements Services {
  readonly #guest: Guest;
  readonly #control: HartControl;
  readonly #letter: Letter;

  constructor(control: HartControl) {
    this.#guest = control.guest;
    this.#control = control;
    this.#letter = new Letter(control.guest, control.hart);
  }

  deviceRead(address: bigint, bytes: number): bigint | undefined {
    this.#letter.set64(ADDRESS, address);
    return this.#ask(READ, bytes) === 0 ? undefined : this.#letter.get64(VALUE);
  }

  deviceWrite(address: bigint, bytes: number, value: bigint): boolean {
    this.#letter.set64(ADDRESS, address);
    this.#letter.set64(VALUE, value);
    return this.#ask(WRITE, bytes) !== 0;
  }

  consoleWrite(bytes: Uint8Array): number {
    const part = bytes.subarray(0, DATA_BYTES);
    this.#letter.data.set(part);
    return this.#ask(CONSOLE_WRITE, part.length);
  }

  consoleRead(length: number): Uint8Array {
    const taken = this.#ask(CONSOLE_READ, Math.min(length, DATA_BYTES));
    return Uint8Array.from(this.#letter.data.subarray(0, taken));
  }

  reset(type: ResetType, failure: boolean): void {
    this.#letter.set64(VALUE, failure ? 1n : 0n);
    this.#ask(RESET, RESET_TYPES.indexOf(type));
  }

  bringIn(gfn: number): void {
    this.#letter.set64(VALUE, BigInt(gfn));
    this.#ask(BRING_IN, 0);
  }

  /** @throws GuestStoppedError */
  #ask(kind: number, length: number): number {
    const { i32, at } = this.#letter;
    const status = (at + STATUS) >>> 2;
    this.#letter.set(KIND, kind);
    this.#letter.set(LENGTH, length);
    this.#control.park();
    try {
      Atomics.store(i32, status, ASKED);
      this.#guest.request(HART_REQUEST_SERVICE, [0]);
      while (Atomics.load(i32, status) !== DONE) {
        Atomics.wait(i32, status, ASKED, LOOK_MS);
        if (this.#guest.get(GUEST_STATE) !== GUEST_RUNNING) throw new GuestStoppedError(this.#guest.name);
      }
    } finally {
      Atomics.store(i32, status, IDLE);
      this.#control.unpark();
    }
    return this.#letter.get(ANSWERED);
  }
}

/** The devices' side, on the first hart's thread. */
export class MailboxServer {
  readonly #letters: readonly Letter[];
  readonly #services: Services;

  constructor(guest: Guest, services: Services) {
    this.#letters = guest.allHarts.slice(1).map((hart) => new Letter(guest, hart));
    this.#services = services;
  }

  /** Does what the other harts wait for. */
  serve(): void {
    for (const letter of this.#letters) {
      const status = (letter.at + STATUS) >>> 2;
      if (Atomics.load(letter.i32, status) !== ASKED) continue;
      letter.set(ANSWERED, this.#answer(letter));
      if (Atomics.compareExchange(letter.i32, status, ASKED, DONE) === ASKED) Atomics.notify(letter.i32, status);
    }
  }

  #answer(letter: Letter): number {
    const services = this.#services;
    const length = letter.get(LENGTH);
    switch (letter.get(KIND)) {
      case READ: {
        const value = services.deviceRead(letter.get64(ADDRESS), length);
        letter.set64(VALUE, value ?? 0n);
        return value === undefined ? 0 : 1;
      }
      case WRITE:
        return services.deviceWrite(letter.get64(ADDRESS), length, letter.get64(VALUE)) ? 1 : 0;
      case CONSOLE_WRITE:
        return services.consoleWrite(Uint8Array.from(letter.data.subarray(0, length)));
      case CONSOLE_READ: {
        const bytes = services.consoleRead(length);
        letter.data.set(bytes);
        return bytes.length;
      }
      case BRING_IN:
        services.bringIn(Number(letter.get64(VALUE)));
        return 0;
      default:
        services.reset(RESET_TYPES[length]!, letter.get64(VALUE) !== 0n);
        return 0;
    }
  }
}
