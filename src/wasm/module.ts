import type { ValType } from './expr.ts';
import {
  FunctionBuilder,
  type FunctionReference,
  type FunctionType,
  type TypeReference,
  VALUE_TYPE_CODES,
} from './function.ts';
import { ByteSink } from './sink.ts';

/** All that 32 bits can address, in WebAssembly pages (64 KiB). */
const MOST_MEMORY_PAGES = 65536;

interface Definition {
  readonly reference: FunctionReference;
  readonly exportName: string | undefined;
  body: FunctionBody | undefined;
}

/** Where the body of a function stands among all of them, and what `FunctionBuilder.finish` has given. */
interface FunctionBody {
  readonly start: number;
  readonly end: number;
  readonly unlikely: readonly number[];
}

/**
 * Builds a WebAssembly module that imports one shared memory of any size as `env.memory`, functions from `env`, and, if asked for,
 * one table of functions as `env.table`. All imports have to be declared before the first function. A function may be declared first and defined later.
 */
export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #imports: { name: string; type: FunctionType }[] = [];
  readonly #functions: Definition[] = [];
  #hasTable = false;
  readonly #bodies = ByteSink.take();
  #state: 'open' | 'defining' | 'finished' = 'open';

  import(name: string, parameters: readonly ValType[], result?: ValType): FunctionReference {
    if (this.#functions.length > 0) throw new Error('imports come before functions');
    const type = { parameters, result };
    this.#imports.push({ name, type });
    return { ...type, index: this.#imports.length - 1 };
  }

  /** The type of functions that this module calls through the table, which it imports from then on. */
  tableType(parameters: readonly ValType[], result?: ValType): TypeReference {
    this.#hasTable = true;
    const type = { parameters, result };
    return { ...type, typeIndex: this.#typeIndex(type) };
  }

  declare(parameters: readonly ValType[], result?: ValType, exportName?: string): FunctionReference {
    const reference = { parameters, result, index: this.#imports.length + this.#functions.length };
    this.#functions.push({ reference, exportName, body: undefined });
    return reference;
  }

  define(reference: FunctionReference, write: (builder: FunctionBuilder) => void): void {
    const definition = this.#functions[reference.index - this.#imports.length];
    if (definition === undefined || definition.body !== undefined) throw new Error('not declared, or defined twice');
    this.#expectOpen();
    this.#state = 'defining';
    const code = ByteSink.take();
    const builder = new FunctionBuilder(reference, code);
    write(builder);
    const start = this.#bodies.length;
    const unlikely = builder.finish(this.#bodies);
    definition.body = { start, end: this.#bodies.length, unlikely };
    ByteSink.give(code);
    this.#state = 'open';
  }

  /** The module's bytes; nothing can be added to it then. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#expectOpen();
    const functionTypes = this.#functions.map((definition) => this.#typeIndex(definition.reference));
    const importTypes = this.#imports.map((entry) => this.#typeIndex(entry.type));
    const sink = ByteSink.take();
    sink.append(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00));
    vector(sink, 1, this.#types, (out, type) => {
      out.byte(0x60);
      out.unsigned(type.parameters.length);
      for (const parameter of type.parameters) out.byte(VALUE_TYPE_CODES[parameter]);
      out.unsigned(type.result === undefined ? 0 : 1);
      if (type.result !== undefined) out.byte(VALUE_TYPE_CODES[type.result]);
    });
    const table = this.#hasTable ? ['table' as const] : [];
    vector(sink, 2, ['memory' as const, ...table, ...this.#imports.keys()], (out, index) => {
      out.name('env');
      if (index === 'table') {
        out.name('table');
        out.byte(0x01);
        out.byte(0x70); // of functions, without a maximum
        out.byte(0x00);
        out.unsigned(0);
      } else if (index === 'memory') {
        out.name('memory');
        out.byte(0x02);
        out.byte(0x03); // shared, with a maximum
        out.unsigned(1);
        out.unsigned(MOST_MEMORY_PAGES);
      } else {
        out.name(this.#imports[index]!.name);
        out.byte(0x00);
        out.unsigned(importTypes[index]!);
      }
    });
    vector(sink, 3, functionTypes, (out, type) => out.unsigned(type));
    vector(
      sink,
      7,
      this.#functions.filter((definition) => definition.exportName !== undefined),
      (out, definition) => {
        out.name(definition.exportName!);
        out.byte(0x00);
        out.unsigned(definition.reference.index);
      },
    );
    this.#branchHints(sink);
    const bodies = this.#bodies.written;
    vector(sink, 10, this.#functions, (out, definition) => {
      if (definition.body === undefined) throw new Error(`function ${definition.reference.index} was not defined`);
      const { start, end } = definition.body;
      out.unsigned(end - start);
      out.append(bodies.subarray(start, end));
    });
    const bytes = sink.finish();
    this.#state = 'finished';
    ByteSink.give(this.#bodies);
    ByteSink.give(sink);
    return bytes;
  }

  #expectOpen(): void {
    if (this.#state === 'defining') throw new Error('another function is being defined');
    if (this.#state === 'finished') throw new Error('the module is finished');
  }

  /** The custom section of the branch hinting proposal; it stands before the code section. */
  #branchHints(sink: ByteSink): void {
    const functions = this.#functions.filter((definition) => (definition.body?.unlikely.length ?? 0) > 0);
    if (functions.length === 0) return;
    section(sink, 0, (out) => {
      out.name('metadata.code.branch_hint');
      out.unsigned(functions.length);
      for (const { reference, body } of functions) {
        out.unsigned(reference.index);
        out.unsigned(body!.unlikely.length);
        for (const offset of body!.unlikely) {
          out.unsigned(offset);
          out.unsigned(1); // bytes of the hint
          out.unsigned(0); // unlikely
        }
      }
    });
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

/** A section whose contents are a vector. */
function vector<T>(sink: ByteSink, id: number, entries: readonly T[], write: (out: ByteSink, entry: T) => void): void {
  section(sink, id, (out) => {
    out.unsigned(entries.length);
    for (const entry of entries) write(out, entry);
  });
}

function section(sink: ByteSink, id: number, write: (out: ByteSink) => void): void {
  const out = ByteSink.take();
  write(out);
  sink.byte(id);
  sink.unsigned(out.length);
  sink.append(out.written);
  ByteSink.give(out);
}
