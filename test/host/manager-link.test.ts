import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ManagerLink } from '../../src/host/manager-link.ts';
import { allocateFrame } from '../../src/memory/frames.ts';
import { HEADER_WATERMARK } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';

const PAGES = 512;
/** Less than a guest that is alone does without the thread, and more than others may have to wait for it, milliseconds. */
const SOON_MS = 1500;

/** A link to a thread that has not started, and whether it has by now. */
function newLink() {
  const wasmMemory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const memory = MachineMemory.format(wasmMemory.buffer as unknown as SharedArrayBuffer);
  const link = new ManagerLink(
    {
      memory: wasmMemory,
      swap: undefined,
      sharing: true,
      policy: {},
      sampledPages: 100,
      record: undefined,
    },
    memory,
    { log: (message) => assert.fail(message), failed: (error) => assert.fail(String(error)) },
  );
  // Whoever takes frames may clear the watermark. The thread sets one of its own, by what is free, when it has nothing to do.
  const isThere = (): boolean => ![0, Math.floor(memory.guestFrames / 2)].includes(memory.i32[HEADER_WATERMARK]!);
  const started = async (): Promise<boolean> => {
    for (const end = performance.now() + SOON_MS; performance.now() < end; await sleep(10)) {
      if (isThere()) return true;
    }
    return false;
  };
  return { link, memory, started };
}

test('a first guest does without the memory manager, until somebody wakes it', { timeout: 60_000 }, async () => {
  const { link, memory, started } = newLink();
  link.guestCame();
  assert.equal(await started(), false);
  memory.wakeManager();
  assert.equal(await started(), true);
  await link.stop();
});

test('it comes with a second guest', { timeout: 60_000 }, async () => {
  const { link, started } = newLink();
  link.guestCame();
  link.guestCame();
  assert.equal(await started(), true);
  await link.stop();
});

test('it comes when it is asked, and when memory becomes scarce', { timeout: 60_000 }, async () => {
  const asked = newLink();
  const { processorMs } = await asked.link.ask({ kind: 'work' });
  assert.ok(processorMs > 0);
  await asked.link.stop();

  const scarce = newLink();
  scarce.link.guestCame();
  const { memory } = scarce;
  memory.lock();
  while (memory.freeFrames >= memory.guestFrames / 2) assert.notEqual(allocateFrame(memory), 0);
  memory.unlock();
  assert.equal(await scarce.started(), true);
  await scarce.link.stop();
});

test('it can be stopped before it has started, and does not come any more', { timeout: 60_000 }, async () => {
  const { link, memory, started } = newLink();
  link.guestCame();
  await link.stop();
  memory.wakeManager();
  assert.equal(await started(), false);
});
