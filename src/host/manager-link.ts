/** The host's side of the memory manager's thread: questions and their answers, log lines, and its end. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { FromManager, ManagerAnswers, ManagerQuestion, ManagerWorkerData, ToManager } from './messages.ts';
import { workerUrl } from './worker-url.ts';

/** Who is told what happens in the thread. */
interface Listener {
  log(message: string): void;
  failed(error: unknown): void;
}

/** The memory manager of a host. */
export class ManagerLink {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #wake: () => void;
  readonly #ended = Promise.withResolvers<void>();
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 0;

  /** @param wake has the thread look for messages */
  constructor(data: Omit<ManagerWorkerData, 'port'>, wake: () => void, listener: Listener) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#wake = wake;
    port1.unref();
    const workerData: ManagerWorkerData = { ...data, port: port2 };
    this.#worker = new Worker(workerUrl('manager-worker'), {
      workerData,
      transferList: [port2],
      name: 'ballonet memory manager',
    });
    // Guests keep the process going; the manager alone has nothing to do.
    this.#worker.unref();
    this.#worker.on('message', (message: FromManager) => {
      if (message.kind === 'log') listener.log(message.message);
      else this.#answered(message);
    });
    this.#worker.on('error', (error) => listener.failed(error));
    this.#worker.on('exit', () => {
      this.#ended.resolve();
      for (const { reject } of this.#asked.values()) reject(new Error('the memory manager has ended'));
      this.#asked.clear();
    });
  }

  /** Asks the thread. @throws Error with what it throws, or when it has ended */
  ask<Kind extends keyof ManagerAnswers>(
    question: Extract<ManagerQuestion, { kind: Kind }>,
  ): Promise<ManagerAnswers[Kind]> {
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
    this.#worker.ref();
    this.#tell({ kind: 'stop' });
    await this.#ended.promise;
    this.#port.close();
  }

  #tell(message: ToManager): void {
    this.#port.postMessage(message);
    this.#wake();
  }

  #answered({ id, answer, error }: Extract<FromManager, { kind: 'answer' }>): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) asked?.resolve(answer);
    else asked?.reject(new Error(error));
  }
}
