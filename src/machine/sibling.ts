import { Bus } from '../devices/bus.ts';
import { HostClock } from '../devices/clock.ts';
import { ACLINT } from '../devices/map.ts';
import type { Translation } from '../engine/translate/translations.ts';
import { HART_REQUEST_CONTROL } from '../memory/layout.ts';
import { GUEST_SIBLINGS_HALT } from '../memory/layout-guest.ts';
import { HartBlock, timeOrigin } from './hart-block.ts';
import { Mailbox, type Services } from './mailbox.ts';
import { deviceRead, deviceWrite } from './platform.ts';
import { Processor, type ThreadOptions } from './processor.ts';

/**
 * A hart behind the first one, in a thread of its own. It has its own timer and hypercalls; devices are those of the first
 * hart's thread.
 */
export class Sibling {
  readonly #options: ThreadOptions;
  readonly #clock: HostClock;
  readonly #processor: Processor;
  readonly #block: HartBlock;
  #ended = false;

  /** @param hart 1 or more */
  constructor(options: ThreadOptions, hart: number) {
    const { guest, now } = options;
    this.#options = options;
    this.#clock = new HostClock(now, timeOrigin(guest));
    this.#block = new HartBlock(guest, hart);
    const bus = new Bus();
    const services: Services = {
      deviceRead: (address, bytes) =>
        bus.isMapped(Number(address)) ? deviceRead(bus, address, bytes) : mailbox.deviceRead(address, bytes),
      deviceWrite: (address, bytes, value) =>
        bus.isMapped(Number(address))
          ? deviceWrite(bus, address, bytes, value)
          : mailbox.deviceWrite(address, bytes, value),
      consoleWrite: (bytes) => mailbox.consoleWrite(bytes),
      consoleRead: (length) => mailbox.consoleRead(length),
      reset: (type, failure) => {
        mailbox.reset(type, failure);
        this.#ended = true;
      },
      bringIn: (gfn) => mailbox.bringIn(gfn),
    };
    this.#processor = new Processor({ ...options, hart, clock: this.#clock, services });
    const mailbox = new Mailbox(this.#processor.control);
    bus.map(ACLINT.base, ACLINT.size, this.#processor.aclint);
  }

  /**
   * Whether the hart may run now; if not, the first hart's thread is told that it stands still. To be called before each
   * `run`, behind loading the WAKE word on which the thread sleeps if it may not.
   */
  mayRun(): boolean {
    const { guest } = this.#options;
    // In this order, so that the first hart does not take an answer to an earlier question for one to this.
    this.#block.halted = false;
    if (guest.get(GUEST_SIBLINGS_HALT) === 0) return !this.#ended;
    this.#block.halted = true;
    guest.request(HART_REQUEST_CONTROL, [0]);
    return false;
  }

  /**
   * Executes until a time, or until there is something else to do; see `Machine.run`.
   * @throws GuestStoppedError and the errors of memory and swap
   */
  run(deadlineMs: number): 'slice' | 'wait' {
    const result = this.#processor.run(deadlineMs, {
      begin: () => {},
      before: () => Infinity,
      after: () => {},
      ended: () => this.#ended,
    });
    return result === 'slice' ? 'slice' : 'wait';
  }

  /** A translation that the translator had put off. */
  install(key: string, translation: Translation): void {
    this.#processor.hart.install(key, translation);
  }

  /** Milliseconds until something happens by itself, after `run` has returned `wait`. Infinity: nothing will. */
  get waitMs(): number {
    return this.#clock.msUntil(this.#processor.nextTimer);
  }
}
