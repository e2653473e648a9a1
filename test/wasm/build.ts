import { type FunctionBuilder, ModuleBuilder, type ValType } from '../../src/wasm/index.ts';

export type Value = number | bigint;
export type Host = (...values: Value[]) => Value | undefined;

export interface Built {
  readonly f: (...values: Value[]) => Value;
  readonly memory: DataView;
}

/** Builds a module with one exported function `f` and runs what was built. */
export function build(
  parameters: ValType[],
  result: ValType | undefined,
  write: (code: FunctionBuilder, module: ModuleBuilder) => void,
): Built {
  const module = new ModuleBuilder();
  module.define(module.declare(parameters, result, 'f'), (code) => write(code, module));
  return instantiate(module);
}

export function instantiate(module: ModuleBuilder, imports: Record<string, Host> = {}): Built {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), {
    env: { memory, ...imports },
  });
  return { f: instance.exports.f as Built['f'], memory: new DataView(memory.buffer) };
}
