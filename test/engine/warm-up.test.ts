import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildEngine } from '../../src/engine/build.ts';
import { NO_INSTRUMENTS } from '../../src/engine/observer.ts';
import { warmUp } from '../../src/engine/warm-up.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';

test('the interpreter can be called without a hart, and executes nothing', () => {
  for (const instruments of [NO_INSTRUMENTS, { exits: true, samples: true }]) {
    const engine = new WebAssembly.Module(buildEngine(MEMORY_CONSTANTS, instruments));
    // What it calls of its embedder throws.
    assert.doesNotThrow(() => warmUp(engine));
  }
});

test('a module that is no engine says so', () => {
  const none = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  assert.throws(() => warmUp(none), TypeError);
});
