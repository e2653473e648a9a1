import { f32, f64, ModuleBuilder } from '../../wasm/index.ts';

let fuses: boolean | undefined;

interface Probe {
  single(a: number, b: number, c: number): number;
  double(a: number, b: number, c: number): number;
}

/**
 * Whether relaxed SIMD's multiply-add exists here and rounds once, as the processors with an instruction for it do.
 * An engine makes the same choice each time (WebAssembly 3.0, relaxed SIMD), so it is asked once.
 */
export function fusesMultiplyAdd(): boolean {
  fuses ??= probe();
  return fuses;
}

function probe(): boolean {
  const module = new ModuleBuilder();
  const single = module.declare(['f32', 'f32', 'f32'], 'f32', 'single');
  const double = module.declare(['f64', 'f64', 'f64'], 'f64', 'double');
  for (const [reference, type, operators] of [
    [single, 'f32', f32],
    [double, 'f64', f64],
  ] as const) {
    module.define(reference, (code) => {
      const [a, b, c] = [0, 1, 2].map((index) => code.parameter(index, type).get);
      // The operators are those of the parameters' type, which a union can't say.
      code.return((operators as typeof f64).relaxedMultiplyAdd(a as never, b as never, c as never));
    });
  }
  const bytes = module.finish();
  if (!WebAssembly.validate(bytes)) return false;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const exports = instance.exports as unknown as Probe;
  // (1 + e)^2 = 1 + 2e + e^2, whose last term is lost if the product is rounded.
  const s = 2 ** -13;
  const d = 2 ** -30;
  return exports.single(1 + s, 1 + s, -(1 + 2 * s)) === s * s && exports.double(1 + d, 1 + d, -(1 + 2 * d)) === d * d;
}
