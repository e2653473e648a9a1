/** A host: machine memory, the guests that share it, and the memory manager that divides it. The library's entry. */
import { closeSync } from 'node:fs';
import { MAX_DISKS } from '../devices/map.ts';
import { warmUp } from '../engine/warm-up.ts';
// Not by the index: this thread has no use for what executes guests.
import { compileEngine } from '../machine/compile.ts';
import { hartEngineBytes } from '../machine/engine.ts';
import { takeAccount } from '../memory/account.ts';
import { createGuest } from '../memory/guest.ts';
import { HART_CONTROL_BYTES, HEADER_RESERVE, HEADER_SWAP_NAIVE, PAGE_SIZE } from '../memory/layout.ts';
import { MachineMemory } from '../memory/machine-memory.ts';
import { createPool, poolTableBytes } from '../memory/pool.ts';
import { createSwap, SWAP_SLOT_BYTES } from '../memory/swap.ts';
import { admit } from '../policy/admission.ts';
import { GuestError, messageOf, OptionError } from './errors.ts';
import type { GuestExplanation } from './explanation.ts';
import { openFile, openOutput } from './files.ts';
import { Guest, type GuestStatistics } from './guest.ts';
import { closeImages, type OpenImages, openImages } from './images.ts';
import { ManagerLink } from './manager-link.ts';
import type { ManagerWork, ManagerWorkerData, OpenDisk } from './messages.ts';
import { instrumentsOf } from './observation.ts';
import {
  type DiskOptions,
  type GuestConfig,
  type GuestOptions,
  guestConfig,
  type HostConfig,
  type HostOptions,
  hostConfig,
  type PolicyChoice,
  policyChoice,
  SWAP_HABITS,
} from './options.ts';
import { ShareDomains } from './share-domain.ts';
import { parseSize, type Size } from './size.ts';
import { type HostMemoryStatistics, memoryStatistics } from './statistics.ts';
import { openSwapFile } from './swap-file.ts';
import { TranslatorLink } from './translator-link.ts';

/** A host in figures. */
export interface HostStatistics {
  readonly memory: HostMemoryStatistics;
  /** The guests that have not ended. */
  readonly guests: readonly GuestStatistics[];
}

/** Pages of a WebAssembly memory, bytes. */
const WASM_PAGE = 65536;
/** VMM heap for eight guests with large hart areas, and the smallest heap, bytes. */
const HANDFUL_OF_GUESTS = 56 * 2 ** 20;
const MIN_HEAP = 8 * 2 ** 20;

/** Runs guests on one machine memory. */
export class Host {
  readonly config: HostConfig;
  /** Messages of the memory manager, such as a failure of the swap file; set it to get them. */
  onLog: ((message: string) => void) | undefined;
  readonly #wasmMemory: WebAssembly.Memory;
  readonly #memory: MachineMemory;
  /** One for all guests, so that they share its machine code. */
  readonly #engine: WebAssembly.Module;
  readonly #swap: number | undefined;
  readonly #record: ManagerWorkerData['record'];
  readonly #translator: TranslatorLink;
  readonly #manager: ManagerLink;
  readonly #guests = new Set<Guest>();
  readonly #domains = new ShareDomains();
  #started = 0;
  #closed = false;

  private constructor(config: HostConfig, engine: WebAssembly.Module) {
    this.config = config;
    this.#engine = engine;
    // First what can fail on account of the options.
    const swap = config.swapSize === 0 ? undefined : openSwapFile(config.swapFile, config.swapSize);
    this.#swap = swap;
    let record: ManagerWorkerData['record'];
    try {
      if (config.record !== undefined) {
        record = { descriptor: openOutput('recording', config.record), limit: config.recordLimit };
      }
      const pages = Math.floor(config.machineMemory / WASM_PAGE);
      this.#wasmMemory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
      this.#memory = MachineMemory.format(this.#wasmMemory.buffer as unknown as SharedArrayBuffer, {
        heapBytes: heapBytes(config),
      });
      for (const habit of config.naiveSwap) this.#memory.i32[HEADER_SWAP_NAIVE]! |= SWAP_HABITS[habit];
      if (swap !== undefined) {
        createSwap(this.#memory, config.swapSize / PAGE_SIZE, diskSlots(config));
        createPool(this.#memory, Math.min(poolFrames(config), this.#memory.guestFrames));
      }
    } catch (error) {
      if (swap !== undefined) closeSync(swap);
      if (record !== undefined) closeSync(record.descriptor);
      throw error;
    }
    this.#record = record;
    const work = {
      memory: this.#wasmMemory,
      instruments: instrumentsOf(config.observe),
      niceness: config.translatorNiceness,
    };
    this.#translator = new TranslatorLink(work, (error) =>
      this.onLog?.(`the translator has failed: ${messageOf(error)}`),
    );
    const data = {
      memory: this.#wasmMemory,
      swap,
      sharing: config.sharing,
      policy: config.policy,
      sampledPages: config.sampledPages,
      record,
    };
    this.#manager = new ManagerLink(data, this.#memory, {
      log: (message) => this.onLog?.(message),
      failed: (error) => {
        this.onLog?.(`the memory manager has failed: ${messageOf(error)}`);
        // Without it no guest gets memory back; better to say so than to stand still.
        for (const guest of this.#guests) void guest.kill();
      },
    });
    // What is recorded is what the memory manager sees.
    if (record !== undefined) this.#manager.start();
  }

  /**
   * Makes a host.
   * @throws OptionError, FileError
   */
  static async create(options: HostOptions): Promise<Host> {
    const config = hostConfig(options);
    return new Host(config, await compileEngine(instrumentsOf(config.observe)));
  }

  /** The guests that have not ended. */
  get guests(): readonly Guest[] {
    return [...this.#guests];
  }

  /**
   * Starts a guest; resolves when it executes its first instruction.
   * @throws OptionError, FileError, AdmissionError, GuestError
   */
  async start(options: GuestOptions): Promise<Guest> {
    if (this.#closed) throw new Error('the host is closed; create another one');
    const config = guestConfig(options, this.config, ++this.#started);
    if (config.disks.length > MAX_DISKS) {
      throw new OptionError('disks', `${config.disks.length} are given; a guest can have ${MAX_DISKS}`);
    }
    const images = openImages(config);
    try {
      return await this.#startWith(config, images);
    } finally {
      // The guest has read them, or never will.
      closeImages(images);
    }
  }

  async #startWith(config: GuestConfig, images: OpenImages): Promise<Guest> {
    const disks = openDisks(config.disks);
    const domain = this.#domains.enter(config.shareDomain);
    let guest: Guest;
    try {
      this.#admit(config);
      const memory = createGuest(this.#memory, {
        name: config.name,
        memoryBytes: config.memory,
        harts: config.harts,
        hartBytes: hartEngineBytes,
        shares: config.shares,
        minimumBytes: config.minimum,
        maximumBytes: config.maximum,
        stallLimit: config.stallLimit / 100,
        domain,
      });
      const data = {
        memory: this.#wasmMemory,
        engine: this.#engine,
        slot: memory.slot,
        config,
        images,
        disks,
        swap: this.#swap,
        translation: this.config.translation,
        observe: this.config.observe,
      };
      const translators = memory.allHarts.map(() => this.#translator.attach());
      guest = new Guest(memory, data, translators, (ended, freed) => {
        this.#guests.delete(ended);
        // A domain whose frames may still be there keeps its number.
        if (freed) this.#domains.leave(config.shareDomain);
      });
    } catch (error) {
      this.#domains.leave(config.shareDomain);
      closeDisks(disks);
      throw error;
    }
    this.#guests.add(guest);
    this.#manager.guestCame();
    // The engine's machine code is made here, while the thread of the first guest loads itself and its images.
    if (this.#guests.size === 1) warmUp(this.#engine);
    try {
      await guest.started;
    } catch (error) {
      // Not before its memory is the host's again.
      await guest.wait();
      throw error;
    }
    if (this.config.translation) this.#translator.start();
    return guest;
  }

  /** @throws AdmissionError when what running guests were promised and this one asks for is more than there is */
  #admit(config: GuestConfig): void {
    const { guestFrames: frames, i32 } = this.#memory;
    const account = takeAccount(this.#memory);
    admit(
      {
        frames,
        reserve: i32[HEADER_RESERVE]!,
        swapSlots: account.swap.slots - account.swap.bad,
        heapFree: account.heapFree,
      },
      account.guests,
      {
        name: config.name,
        configured: config.memory / PAGE_SIZE,
        minimum: config.minimum / PAGE_SIZE,
        maximum: config.maximum / PAGE_SIZE,
        overhead: guestOverhead(config),
      },
    );
  }

  /**
   * Takes pages from a guest by the VMM's own paging, whatever the policy says: those that are not in use, with `force` others,
   * too. The guest gets back what it needs.
   * @returns bytes of memory that became free
   * @throws GuestError when it does not run here; Error when swap is full or fails
   */
  async pageOut(guest: Guest, bytes: number, force = false): Promise<number> {
    if (!this.#guests.has(guest)) throw new GuestError(guest.name, 'does not run on this host');
    const pages = Math.ceil(bytes / PAGE_SIZE);
    return (await this.#manager.ask({ kind: 'page-out', slot: guest.slot, pages, force })) * PAGE_SIZE;
  }

  statistics(): HostStatistics {
    return {
      memory: memoryStatistics(this.#memory).host,
      guests: [...this.#guests].map((guest) => guest.statistics()),
    };
  }

  /**
   * Checks the account of the memory while guests run: every frame, page and swap slot. It takes tens of milliseconds in
   * which guests that need memory wait.
   * @throws Error that says what is wrong with the account
   */
  async check(): Promise<void> {
    if (this.#closed) throw new Error('the host is closed; check it earlier');
    await this.#manager.ask({ kind: 'check' });
  }

  /**
   * Divides the memory in another way from now on.
   * @throws OptionError
   */
  async setPolicy(choice: PolicyChoice): Promise<void> {
    if (this.#closed) throw new Error('the host is closed; set its policy earlier');
    await this.#manager.ask({ kind: 'policy', policy: policyChoice(choice) });
  }

  /**
   * Keeps memory from guests: in all they have at most so much, as soon as they have given back what is more, by the policy's
   * means. `'all'` for all there is. What is kept from them now, `statistics().memory.withheld` says.
   * @throws OptionError when there is less
   */
  async limitMemory(size: Size | 'all'): Promise<void> {
    if (this.#closed) throw new Error('the host is closed; limit its memory earlier');
    const { guestFrames } = this.#memory;
    const frames = size === 'all' ? guestFrames : Math.ceil(parseSize(size, 'limit') / PAGE_SIZE);
    if (frames < 1 || frames > guestFrames) {
      throw new OptionError(
        'limit',
        `${size} is not more than 0 and at most the ${guestFrames * PAGE_SIZE} bytes for guests`,
      );
    }
    await this.#manager.ask({ kind: 'withhold', frames: guestFrames - frames });
  }

  /** What the memory manager has done so far, and what it took. */
  async managerWork(): Promise<ManagerWork> {
    if (this.#closed) throw new Error('the host is closed; ask it earlier');
    return this.#manager.ask({ kind: 'work' });
  }

  /**
   * Why a guest has as much memory as it has now.
   * @param guest a guest of this host, or its name
   * @throws GuestError when it does not run here
   */
  async explain(guest: Guest | string): Promise<GuestExplanation> {
    const found = [...this.#guests].find((each) => each === guest || each.name === guest);
    if (found === undefined) {
      const names = [...this.#guests].map(({ name }) => name).join(', ');
      throw new GuestError(
        typeof guest === 'string' ? guest : guest.name,
        `does not run on this host, which has ${names === '' ? 'no guests' : names}`,
      );
    }
    const explanation = await this.#manager.ask({ kind: 'explain', slot: found.slot });
    if (explanation === undefined) throw new GuestError(found.name, 'has ended; nothing is decided about it any more');
    return explanation;
  }

  /** Ends all guests and gives everything back. */
  async close(): Promise<void> {
    if (this.#closed) return this.#manager.ended;
    this.#closed = true;
    await Promise.all([...this.#guests].map((guest) => guest.kill()));
    await this.#manager.stop();
    if (this.#record !== undefined) closeSync(this.#record.descriptor);
    await this.#translator.close();
    if (this.#swap !== undefined) closeSync(this.#swap);
  }

  /** `await using host = ...` closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Bytes of the VMM heap: a sixteenth of the machine memory for guests' tables and harts, up to an eighth where that would
 * be too little for a handful of guests; and the tables of swap slots and of the compressed pool.
 */
function heapBytes(config: HostConfig): number {
  const { machineMemory, swapSize } = config;
  const guests = Math.max(machineMemory / 16, Math.min(machineMemory / 8, HANDFUL_OF_GUESTS));
  const swap =
    swapSize === 0
      ? 0
      : (swapSize / PAGE_SIZE + diskSlots(config)) * SWAP_SLOT_BYTES + poolTableBytes(poolFrames(config));
  return Math.max(MIN_HEAP, guests) + swap;
}

/** Slots for pages that are the same as blocks of disks: as many as there are frames. */
const diskSlots = ({ machineMemory }: HostConfig): number => Math.floor(machineMemory / PAGE_SIZE);

/** Frames that the compressed pool may have; its pages have their places in the swap file, so there is none without. */
const poolFrames = ({ machineMemory, compressed }: HostConfig): number =>
  Math.floor((machineMemory * compressed) / PAGE_SIZE);

/** Pages of the VMM heap that a guest takes: its block and its overwritten pages, the nested page table, the areas of its harts. */
function guestOverhead({ memory, harts }: GuestConfig): number {
  return (
    2 +
    Math.ceil(((memory / PAGE_SIZE) * 4) / PAGE_SIZE) +
    harts * Math.ceil((HART_CONTROL_BYTES + hartEngineBytes) / PAGE_SIZE)
  );
}

/** Opens all disks of a guest, or none. */
function openDisks(disks: readonly DiskOptions[]): OpenDisk[] {
  const opened: OpenDisk[] = [];
  try {
    for (const { path, readOnly = false, overlay } of disks) {
      const image = openFile('disk', path, readOnly || overlay !== undefined ? 'read' : 'write').descriptor;
      const entry = { path, descriptor: image, readOnly, overlay: undefined };
      const place = opened.push(entry) - 1;
      if (overlay !== undefined) {
        opened[place] = { ...entry, overlay: openFile('overlay', overlay, 'create').descriptor };
      }
    }
    return opened;
  } catch (error) {
    closeDisks(opened);
    throw error;
  }
}

function closeDisks(disks: readonly OpenDisk[]): void {
  for (const { descriptor, overlay } of disks) {
    closeSync(descriptor);
    if (overlay !== undefined) closeSync(overlay);
  }
}
