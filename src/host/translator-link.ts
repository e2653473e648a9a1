/** The host's side of the translator's thread. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { AttachGuest, TranslatorWorkerData } from './messages.ts';
import { workerUrl } from './worker-url.ts';

/** The translator of a host. Guests go on without it: what has no translation is interpreted. */
export class TranslatorLink {
  readonly #workerData: TranslatorWorkerData;
  readonly #failed: (error: unknown) => void;
  #worker: Worker | undefined;
  /** Ports of harts that came before the thread, and have not ended since. */
  readonly #early = new Set<MessagePort>();

  /** @param failed is told what the thread has ended with */
  constructor(workerData: TranslatorWorkerData, failed: (error: unknown) => void) {
    this.#workerData = workerData;
    this.#failed = failed;
  }

  /** A way to the translator for a hart. */
  attach(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    if (this.#worker === undefined) {
      this.#early.add(port1);
      port1.once('close', () => this.#early.delete(port1));
    } else this.#hand(this.#worker, port1);
    return port2;
  }

  /**
   * Starts the thread, if it has not been. What it does first takes a processor for a while, which a guest that starts has a
   * better use for: nothing is hot yet.
   */
  start(): void {
    if (this.#worker !== undefined) return;
    const worker = new Worker(workerUrl('translator-worker'), {
      workerData: this.#workerData,
      name: 'ballonet translator',
    });
    this.#worker = worker;
    worker.unref();
    worker.on('error', this.#failed);
    for (const port of this.#early) this.#hand(worker, port);
    this.#early.clear();
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #hand(worker: Worker, port: MessagePort): void {
    const message: AttachGuest = { port };
    worker.postMessage(message, [port]);
  }
}
