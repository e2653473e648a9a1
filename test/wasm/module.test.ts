import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  call,
  type Expr,
  FunctionBuilder,
  f32,
  f64,
  type I32,
  i32,
  i64,
  type Label,
  type Local,
  ModuleBuilder,
  type ValType,
} from '../../src/wasm/index.ts';

import { build, instantiate, type Value } from './build.ts';

describe('memory', () => {
  test('loads and stores of each width, with an offset, at any alignment', () => {
    const { f, memory } = build(['i32', 'i64'], 'i64', (code) => {
      const address = code.parameter(0, 'i32').get;
      const value = code.parameter(1, 'i64').get;
      code.store(8, address, value, 100);
      code.store(4, address, value, 110);
      code.store(2, address, i32.wrap(value), 120);
      code.store(1, address, i32.wrap(value), 130);
      code.return(
        i64.add(
          i64.add(i64.load(address, 100), i64.load32_s(address, 110)),
          i64.add(i64.load16_s(address, 120), i64.load8_u(address, 130)),
        ),
      );
    });
    const value = 0x1122334485868788n;
    const parts = [value, BigInt.asIntN(32, value), BigInt.asIntN(16, value), value & 0xffn];
    assert.equal(
      f(3, value),
      parts.reduce((sum, part) => BigInt.asIntN(64, sum + part)),
    );
    assert.equal(memory.getBigUint64(103, true), value);
    assert.equal(memory.getUint32(117, true), 0);
    assert.equal(memory.getUint16(123, true), 0x8788);
    assert.throws(
      () => new FunctionBuilder({ parameters: [], result: undefined }).store(8, i32.const(0), i32.const(0)),
      /no 8-byte store of i32/,
    );
  });

  test('signed and unsigned loads', () => {
    const { f, memory } = build(['i32'], 'i32', (code) => {
      const address = code.parameter(0, 'i32').get;
      code.return(i32.sub(i32.load8_u(address), i32.load16_s(address)));
    });
    memory.setUint16(8, 0xfffe, true);
    assert.equal(f(8), 0xfe + 2);
  });

  test('loads of floats', () => {
    const { f, memory } = build(['i32'], 'f64', (code) => {
      const address = code.parameter(0, 'i32').get;
      code.return(f64.add(f64.promote(f32.load(address)), f64.load(address, 4)));
    });
    memory.setFloat32(5, 1.5, true);
    memory.setFloat64(9, 0.1, true);
    assert.equal(f(5), 1.5 + 0.1);
  });

  test('fill', () => {
    const { f, memory } = build([], undefined, (code) => code.fill(i32.const(16), i32.const(0xab), i32.const(4)));
    f();
    assert.deepEqual(
      [15, 16, 19, 20].map((at) => memory.getUint8(at)),
      [0, 0xab, 0xab, 0],
    );
  });

  const rmw: [name: 'atomicAdd' | 'atomicAnd' | 'atomicOr' | 'atomicXor' | 'atomicExchange', expected: bigint][] = [
    ['atomicAdd', 0x11n],
    ['atomicAnd', 0x4n],
    ['atomicOr', 0xdn],
    ['atomicXor', 0x9n],
    ['atomicExchange', 0x5n],
  ];
  for (const [name, expected] of rmw) {
    test(`${name} gives the old value, in both widths`, () => {
      const narrow = build([], 'i32', (code) => code.return(i32[name](i32.const(8), i32.const(5))));
      narrow.memory.setUint32(8, 12, true);
      assert.deepEqual([narrow.f(), narrow.memory.getUint32(8, true)], [12, Number(expected)]);
      const wide = build([], 'i64', (code) => code.return(i64[name](i32.const(8), i64.const((5n << 32n) | 5n))));
      wide.memory.setBigUint64(8, (12n << 32n) | 12n, true);
      assert.deepEqual(
        [wide.f(), wide.memory.getBigUint64(8, true)],
        [(12n << 32n) | 12n, (expected << 32n) | expected],
      );
    });
  }

  test('compare and exchange, atomic loads, and the trap of a misaligned one', () => {
    const { f, memory } = build(['i64', 'i64'], 'i64', (code) =>
      code.return(
        i64.atomicCompareExchange(i32.const(0), code.parameter(0, 'i64').get, code.parameter(1, 'i64').get, 24),
      ),
    );
    memory.setBigUint64(24, 5n, true);
    assert.deepEqual([f(4n, 9n), memory.getBigUint64(24, true)], [5n, 5n]);
    assert.deepEqual([f(5n, 9n), memory.getBigUint64(24, true)], [5n, 9n]);
    const load = build(['i32'], 'i32', (code) => code.return(i32.atomicLoad(code.parameter(0, 'i32').get)));
    load.memory.setUint32(4, 77, true);
    assert.equal(load.f(4), 77);
    assert.throws(() => load.f(5), WebAssembly.RuntimeError);
  });
});

describe('control flow', () => {
  test('loops, blocks and branches out of several', () => {
    // The sum of 1..n, but -1 when it exceeds 100.
    const { f } = build(['i32'], 'i32', (code) => {
      const n = code.parameter(0, 'i32');
      const sum = code.local('i32', i32.const(0));
      code.block((done) => {
        code.loop((again) => {
          code.brIf(done, i32.eqz(n.get));
          code.set(sum, i32.add(sum.get, n.get));
          code.set(n, i32.sub(n.get, i32.const(1)));
          code.if(i32.gt_s(sum.get, i32.const(100)), () => {
            code.set(sum, i32.const(-1));
            code.br(done);
          });
          code.br(again);
        });
      });
      code.return(sum.get);
    });
    assert.deepEqual([f(0), f(4), f(13), f(14)], [0, 10, 91, -1]);
  });

  test('if and else; a branch to the end of an if', () => {
    const { f } = build(['i32'], 'i32', (code) => {
      const x = code.parameter(0, 'i32').get;
      const result = code.local('i32', i32.const(1));
      code.if(
        x,
        (end) => {
          code.brIf(end, i32.eq(x, i32.const(5)));
          code.set(result, i32.const(2));
        },
        () => code.set(result, i32.const(3)),
      );
      code.return(result.get);
    });
    assert.deepEqual([f(0), f(1), f(5)], [3, 2, 1]);
  });

  test('a switch runs the body of the selector, and nothing else', () => {
    const { f } = build(['i32'], 'i32', (code) => {
      code.block((out) => {
        code.switch(code.parameter(0, 'i32').get, [
          () => code.return(i32.const(100)),
          () => code.br(out),
          ...Array.from({ length: 300 }, (_, i) => () => code.return(i32.const(i + 2))),
        ]);
      });
      code.return(i32.const(-1));
    });
    assert.deepEqual([f(0), f(1), f(2), f(3), f(301)], [100, -1, 2, 3, 301]);
    assert.throws(() => f(302), WebAssembly.RuntimeError);
    assert.throws(() => f(-1), WebAssembly.RuntimeError);
  });

  test('brTable', () => {
    const { f } = build(['i32'], 'i32', (code) => {
      const labels: Label[] = [];
      code.block((otherwise) => {
        code.block((one) => {
          code.block((zero) => {
            labels.push(zero, one);
            code.brTable(code.parameter(0, 'i32').get, labels, otherwise);
          });
          code.return(i32.const(10));
        });
        code.return(i32.const(11));
      });
      code.return(i32.const(12));
    });
    assert.deepEqual([f(0), f(1), f(2), f(99)], [10, 11, 12, 12]);
  });

  test('locals of all types, in any order, begin as 0', () => {
    const { f } = build(['i64'], 'f64', (code) => {
      const locals: Local<ValType>[] = [];
      for (let i = 0; i < 200; i++) {
        for (const type of ['i32', 'i64', 'i64', 'f64', 'f32'] as const) locals.push(code.local(type));
      }
      const last = code.local('f64', f64.convert_i64_s(code.parameter(0, 'i64').get));
      code.return(f64.add(last.get, locals.at(-2)!.get as Expr<'f64'>));
    });
    assert.equal(f(42n), 42);
  });
});

describe('modules', () => {
  test('functions call each other, whatever order they are defined in, and imports', () => {
    const module = new ModuleBuilder();
    const seen: Value[][] = [];
    const report = module.import('report', ['i32', 'i64']);
    const ask = module.import('ask', ['i64'], 'i64');
    const fibonacci = module.declare(['i32'], 'i32');
    const main = module.declare(['i32'], 'i64', 'f');
    module.define(main, (code) => {
      const n = code.parameter(0, 'i32').get;
      code.callVoid(report, n, i64.const(7));
      code.return(call('i64', ask, i64.extend_i32_s(call('i32', fibonacci, n))));
    });
    module.define(fibonacci, (code) => {
      const n = code.parameter(0, 'i32').get;
      code.if(i32.lt_s(n, i32.const(2)), () => code.return(n));
      const before = (distance: number): I32 => call('i32', fibonacci, i32.sub(n, i32.const(distance)));
      code.return(i32.add(before(1), before(2)));
    });
    const { f } = instantiate(module, {
      report: (...values) => void seen.push(values),
      ask: (value) => (value as bigint) * 2n,
    });
    assert.equal(f(10), 110n);
    assert.deepEqual(seen, [[10, 7n]]);
  });

  test('mistakes are found while the module is built', () => {
    const module = new ModuleBuilder();
    const given = module.import('given', ['i32'], 'i32');
    const declared = module.declare(['i32'], undefined, 'f');
    assert.throws(() => module.import('late', []), /imports come before functions/);
    assert.throws(() => module.finish(), /was not defined/);
    const other = module.declare([], undefined);
    module.define(declared, (code) => {
      assert.throws(() => module.define(other, () => undefined), /another function is being defined/);
      assert.throws(() => module.finish(), /another function is being defined/);
      assert.throws(() => code.parameter(0, 'i64'), /parameter 0 is not i64/);
      assert.throws(() => code.callVoid(given, i32.const(1)), /has a result/);
      assert.throws(() => code.drop(call('i32', given)), /number of arguments/);
      assert.throws(() => code.drop(call('i32', given, i64.const(1))), /argument 0 is i64/);
      assert.throws(() => call('i64', given, i32.const(1)), /not i64/);
      code.drop(i32.const(1));
    });
    assert.throws(() => module.define(declared, () => undefined), /defined twice/);
    module.define(other, () => undefined);
    module.finish();
    assert.throws(() => module.finish(), /the module is finished/);
  });

  test('modules that are built at the same time have nothing to do with each other', () => {
    const modules = [1, 2, 3].map((number) => {
      const module = new ModuleBuilder();
      const main = module.declare([], 'i32', 'f');
      return { number, module, main };
    });
    const returns = (code: FunctionBuilder, number: number): void => code.return(i32.const(number));
    const [first, second, third] = modules as [(typeof modules)[0], (typeof modules)[0], (typeof modules)[0]];
    first.module.define(first.main, (code) => {
      second.module.define(second.main, (inner) => returns(inner, second.number));
      returns(code, first.number);
    });
    assert.equal(instantiate(second.module).f(), 2);
    third.module.define(third.main, (code) => returns(code, third.number));
    assert.equal(instantiate(first.module).f(), 1);
    assert.equal(instantiate(third.module).f(), 3);
  });
});
