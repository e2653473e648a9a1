/** What the threads of a host say to each other: one union for each direction. */
import type { MessagePort } from 'node:worker_threads';
import type { Instruments } from '../engine/observer.ts';
import type { GuestExplanation } from './explanation.ts';
import type { OpenImages } from './images.ts';
import type { Observable, Observations, RegionEvent } from './observation.ts';
import type { GuestConfig, PolicyChoice } from './options.ts';

/** How a guest came to its end. */
export interface GuestExit {
  /**
   * - `poweroff`: it switched itself off;
   * - `reset`: it asked for a restart;
   * - `panic`: the same, after its kernel said that it panics;
   * - `exit-status`: it reported a status to the test finisher or the host-target interface;
   * - `killed`: the host ended it;
   * - `error`: the VMM could not go on with it, see `message`.
   */
  readonly reason: 'poweroff' | 'reset' | 'panic' | 'exit-status' | 'killed' | 'error';
  /** 0 for a good end; otherwise what the guest reported, or 1. */
  readonly status: number;
  /** What went wrong. */
  readonly message?: string;
}

/** An open disk: descriptors of this process. */
export interface OpenDisk {
  readonly path: string;
  readonly descriptor: number;
  readonly readOnly: boolean;
  readonly overlay: number | undefined;
}

type Bytes = Uint8Array;

/** What the thread of a hart is started with. */
export interface HartThreadData {
  readonly memory: WebAssembly.Memory;
  /** The execution engine. */
  readonly engine: WebAssembly.Module;
  /** Slot in the guest table of the machine memory. */
  readonly slot: number;
  /** Number of the hart. */
  readonly hart: number;
  /** Descriptor of the swap file. */
  readonly swap: number | undefined;
  /** Where the hart asks for translations. */
  readonly translator: MessagePort;
  /** False: the hart interprets everything. */
  readonly translation: boolean;
  /** What it is to note. */
  readonly observe: readonly Observable[];
}

/** What a guest's worker, which runs its first hart, has to know. */
export interface GuestWorkerData extends HartThreadData {
  readonly config: GuestConfig;
  readonly images: OpenImages;
  readonly disks: readonly OpenDisk[];
  /** Where messages to the guest come in; looked at when HART_REQUEST_CONTROL is set. */
  readonly port: MessagePort;
}

/** To a guest's worker. */
export type ToGuest =
  | { readonly kind: 'input'; readonly bytes: Bytes }
  | { readonly kind: 'resize'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'read'; readonly id: number; readonly address: number; readonly length: number }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'kill' };

/** From a guest's worker. */
export type FromGuest =
  | { readonly kind: 'started' }
  | { readonly kind: 'output'; readonly bytes: Bytes }
  | { readonly kind: 'memory'; readonly id: number; readonly bytes: Bytes }
  | { readonly kind: 'memory-error'; readonly id: number; readonly message: string }
  | { readonly kind: 'paused' }
  | { readonly kind: 'resumed' }
  | { readonly kind: 'ended'; readonly exit: GuestExit }
  | FromAnyHart;

/** From the worker of a hart behind the first one. */
export type FromHart = { readonly kind: 'failed'; readonly message: string } | FromAnyHart;

/** From the worker of any hart: what is wrong, what it was to note, regions as they come and the rest at its end. */
export type FromAnyHart =
  | { readonly kind: 'log'; readonly message: string }
  | { readonly kind: 'region'; readonly event: RegionEvent }
  | { readonly kind: 'observed'; readonly observations: Observations };

/** What the memory manager's worker is started with. */
export interface ManagerWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly swap: number | undefined;
  readonly sharing: boolean;
  readonly policy: PolicyChoice;
  readonly sampledPages: number;
  /** A file for the recording, and its greatest size in bytes. */
  readonly record: { readonly descriptor: number; readonly limit: number } | undefined;
  /** Where messages come in; looked at whenever the manager wakes. */
  readonly port: MessagePort;
}

/** What the memory manager has done since the host was made. */
export interface ManagerWork {
  /** Processor time of its thread, milliseconds. */
  readonly processorMs: number;
  /** Pages that page sharing has hashed. */
  readonly scanned: number;
}

/** To the memory manager's worker. */
export type ToManager =
  | { readonly kind: 'stop' }
  | { readonly kind: 'ask'; readonly id: number; readonly question: ManagerQuestion };

/** What the memory manager can be asked. */
export type ManagerQuestion =
  /** To take pages from a guest. */
  | { readonly kind: 'page-out'; readonly slot: number; readonly pages: number; readonly force: boolean }
  /** To check the account of the memory. */
  | { readonly kind: 'check' }
  /** Why the guest in a slot of the guest table has what it has. */
  | { readonly kind: 'explain'; readonly slot: number }
  /** To decide in another way from now on. */
  | { readonly kind: 'policy'; readonly policy: PolicyChoice }
  /** To keep frames from guests. */
  | { readonly kind: 'withhold'; readonly frames: number }
  /** What it has done so far. */
  | { readonly kind: 'work' };

/** Its answers, by what was asked. */
export interface ManagerAnswers {
  readonly check: undefined;
  readonly policy: undefined;
  readonly withhold: undefined;
  /** Undefined when there is no guest in the slot. */
  readonly explain: GuestExplanation | undefined;
  /** Frames that became free. */
  readonly 'page-out': number;
  readonly work: ManagerWork;
}

/** From the memory manager's worker. */
export type FromManager =
  | { readonly kind: 'log'; readonly message: string }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly answer?: ManagerAnswers[keyof ManagerAnswers];
      /** What went wrong; then there is no answer. */
      readonly error?: string;
    };

/** What the translator's worker is started with. */
export interface TranslatorWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly instruments: Instruments;
  /** See `HostOptions.translatorNiceness`. */
  readonly niceness: number;
}

/** To the translator's worker: a guest's port, by which its requests come. */
export interface AttachGuest {
  readonly port: MessagePort;
}

/** A hart's request for the translation of a region: its key, which names all of its contents. */
export type ToTranslator = string;

/** Translations for a hart: a module and the names of its functions by key. */
export interface Translated {
  readonly module: WebAssembly.Module;
  /** The module's own. */
  readonly number: number;
  readonly names: readonly (readonly [key: string, name: string])[];
}
