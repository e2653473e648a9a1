/** The host's side of the memory manager's thread: questions and their answers, log lines, and its end. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { HEADER_MANAGER_WAKE, HEADER_WATERMARK } from '../memory/layout.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';
import type { FromManager, ManagerAnswers, ManagerQuestion, ManagerWorkerData, ToManager } from './messages.ts';
import { workerUrl } from './worker-url.ts';

/** Who is told what happens in the thread. */
interface Listener {
  log(message: string): void;
  failed(error: unknown): void;
}

/**
 * Time until the thread starts though nobody has needed it, milliseconds. To load it takes a processor for a tenth of a second,
 * which a guest that boots and is alone has a better use for: it may have all memory that there is.
 */
const LATEST_MS = 5000;
/** Part of the frames; when fewer are free, the thread is needed. */
const SCARCE = 0.5;

/** The memory manager of a host. Its thread starts when it is needed for the first time. */
export class ManagerLink {
  readonly #workerData: ManagerWorkerData;
  readonly #memory: MachineMemory;
  readonly #listener: Listener;
  readonly #port: MessagePort;
  readonly #ended = Promise.withResolvers<void>();
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  #worker: Worker | undefined;
  #latest: NodeJS.Timeout | undefined;
  #stopped = false;
  #next = 0;

  /** @param memory the host's view of what the thread is to manage */
  constructor(data: Omit<ManagerWorkerData, 'port'>, memory: MachineMemory, listener: Listener) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#memory = memory;
    this.#listener = listener;
    port1.unref();
    this.#workerData = { ...data, port: port2 };
  }

  /** A guest has come. A first one does without the thread until memory becomes scarce, or somebody else wants something of it. */
  guestCame(): void {
    if (this.#worker !== undefined) this.#memory.wakeManager();
    else if (this.#latest !== undefined) this.start();
    else {
      this.#latest = setTimeout(() => this.start(), LATEST_MS).unref();
      const { i32, guestFrames } = this.#memory;
      Atomics.store(i32, HEADER_WATERMARK, Math.floor(guestFrames * SCARCE));
      // Nobody has woken it before, so that a wake which comes meanwhile shows.
      const woken = Atomics.waitAsync(i32, HEADER_MANAGER_WAKE, 0);
      if (woken.async) void woken.value.then(() => this.start());
      else this.start();
    }
  }

  /** Starts the thread, if it has not been. */
  start(): void {
    if (this.#worker !== undefined || this.#stopped) return;
    clearTimeout(this.#latest);
    const worker = new Worker(workerUrl('manager-worker'), {
      workerData: this.#workerData,
      transferList: [this.#workerData.port],
      name: 'ballonet memory manager',
    });
    this.#worker = worker;
    // Guests keep the process going; the manager alone has nothing to do.
    worker.unref();
    worker.on('message', (message: FromManager) => {
      if (message.kind === 'log') this.#listener.log(message.message);
      else this.#answered(message);
    });
    worker.on('error', (error) => this.#listener.failed(error));
    worker.on('exit', () => {
      this.#ended.resolve();
      for (const { reject } of this.#asked.values()) reject(new Error('the memory manager has ended'));
      this.#asked.clear();
    });
  }

  /** Asks the thread. @throws Error with what it throws, or when it has ended */
  ask<Kind extends keyof ManagerAnswers>(
    question: Extract<ManagerQuestion, { kind: Kind }>,
  ): Promise<ManagerAnswers[Kind]> {
    this.start();
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    this.#tell({ kind: 'ask', id, question });
    return answer.promise as Promise<ManagerAnswers[Kind]>;
  }

  /** Resolves when the thread has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Has the thread come to its end, when it has given back what guests that have ended had. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#latest);
    if (this.#worker === undefined) {
      this.#workerData.port.close();
      this.#ended.resolve();
    } else {
      this.#worker.ref();
      this.#tell({ kind: 'stop' });
    }
    await this.#ended.promise;
    this.#port.close();
  }

  #tell(message: ToManager): void {
    this.#port.postMessage(message);
    this.#memory.wakeManager();
  }

  #answered({ id, answer, error }: Extract<FromManager, { kind: 'answer' }>): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) asked?.resolve(answer);
    else asked?.reject(new Error(error));
  }
}
