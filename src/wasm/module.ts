import type { ValType } from './expr.ts';
import { FunctionBuilder, type FunctionReference, type FunctionType, VALUE_TYPE_CODES } from './function.ts';
import { ByteSink } from './sink.ts';

interface Definition {
  readonly reference: FunctionReference;
  readonly exportName: string | undefined;
  body: Uint8Array | undefined;
}

/**
 * Builds a WebAssembly module that imports one shared memory as `env.memory` and functions from `env`.
 * All imports have to be declared before the first function. A function may be declared first and defined later.
 */
export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #imports: { name: string; type: FunctionType }[] = [];
  readonly #functions: Definition[] = [];
  readonly #memoryPages: number;

  /** @param memoryPages the size of the shared memory in WebAssembly pages (64 KiB), minimum and maximum. */
  constructor(memoryPages: number) {
    this.#memoryPages = memoryPages;
  }

  import(name: string, parameters: readonly ValType[], result?: ValType): FunctionReference {
    if (this.#functions.length > 0) throw new Error('imports come before functions');
    const type = { parameters, result };
    this.#imports.push({ name, type });
    return { ...type, index: this.#imports.length - 1 };
  }

  declare(parameters: readonly ValType[], result?: ValType, exportName?: string): FunctionReference {
    const reference = { parameters, result, index: this.#imports.length + this.#functions.length };
    this.#functions.push({ reference, exportName, body: undefined });
    return reference;
  }

  define(reference: FunctionReference, write: (builder: FunctionBuilder) => void): void {
    const definition = this.#functions[reference.index - this.#imports.length];
    if (definition === undefined || definition.body !== undefined) throw new Error('not declared, or defined twice');
    const builder = new FunctionBuilder(reference);
    write(builder);
    definition.body = builder.finish();
  }

  finish(): Uint8Array<ArrayBuffer> {
    const functionTypes = this.#functions.map((definition) => this.#typeIndex(definition.reference));
    const importTypes = this.#imports.map((entry) => this.#typeIndex(entry.type));
    const sink = new ByteSink();
    sink.append(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00));
    section(sink, 1, this.#types, (out, type) => {
      out.byte(0x60);
      out.unsigned(type.parameters.length);
      for (const parameter of type.parameters) out.byte(VALUE_TYPE_CODES[parameter]);
      out.unsigned(type.result === undefined ? 0 : 1);
      if (type.result !== undefined) out.byte(VALUE_TYPE_CODES[type.result]);
    });
    section(sink, 2, [undefined, ...this.#imports.keys()], (out, index) => {
      out.name('env');
      if (index === undefined) {
        out.name('memory');
        out.byte(0x02);
        out.byte(0x03); // shared, with a maximum
        out.unsigned(this.#memoryPages);
        out.unsigned(this.#memoryPages);
      } else {
        out.name(this.#imports[index]!.name);
        out.byte(0x00);
        out.unsigned(importTypes[index]!);
      }
    });
    section(sink, 3, functionTypes, (out, type) => out.unsigned(type));
    section(
      sink,
      7,
      this.#functions.filter((definition) => definition.exportName !== undefined),
      (out, definition) => {
        out.name(definition.exportName!);
        out.byte(0x00);
        out.unsigned(definition.reference.index);
      },
    );
    section(sink, 10, this.#functions, (out, definition) => {
      if (definition.body === undefined) throw new Error(`function ${definition.reference.index} was not defined`);
      out.unsigned(definition.body.length);
      out.append(definition.body);
    });
    return sink.finish();
  }

  #typeIndex(type: FunctionType): number {
    const same = (other: FunctionType): boolean =>
      other.result === type.result && other.parameters.join() === type.parameters.join();
    const index = this.#types.findIndex(same);
    if (index >= 0) return index;
    this.#types.push({ parameters: type.parameters, result: type.result });
    return this.#types.length - 1;
  }
}

function section<T>(sink: ByteSink, id: number, entries: readonly T[], write: (out: ByteSink, entry: T) => void): void {
  const out = new ByteSink();
  out.unsigned(entries.length);
  for (const entry of entries) write(out, entry);
  sink.byte(id);
  sink.unsigned(out.length);
  sink.append(out.finish());
}
