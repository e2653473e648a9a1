import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Translation, Translator } from '../engine/translate/translations.ts';
import type { ToTranslator, Translated } from './messages.ts';

/** Jumps to a place after which it is worth a translation: some milliseconds of the translator's thread. */
const THRESHOLD = 4000;
/** Of a hart. */
const CAPACITY = 12_000;

/** A hart's way to the host's translator: the hart goes on interpreting until the translation comes. */
export class RemoteTranslator implements Translator {
  readonly threshold = THRESHOLD;
  readonly capacity = CAPACITY;
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  translate(key: string): undefined {
    const request: ToTranslator = key;
    this.#port.postMessage(request);
  }

  /** Takes the translations that have come. */
  receive(install: (key: string, translation: Translation) => void): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Translated } | undefined;
      if (received === undefined) return;
      const { module, number, names } = received.message;
      for (const [key, name] of names) install(key, { module, number, name });
    }
  }
}
