import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Uart16550 } from '../../src/devices/uart16550.ts';
import { RecordedLine } from './lines.ts';

const [RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

function setUp() {
  const irq = new RecordedLine();
  const out: number[] = [];
  const batches: number[] = [];
  let drained = 0;
  const uart = new Uart16550({
    irq,
    output: (bytes) => {
      out.push(...bytes);
      batches.push(bytes.length);
    },
    drained: () => drained++,
  });
  return {
    uart,
    irq,
    out,
    batches,
    drained: () => drained,
    get: (offset: number) => uart.read(offset, 1),
    set: (offset: number, value: number) => uart.write(offset, 1, value),
  };
}

const text = (string: string) => new TextEncoder().encode(string);

test('what Linux 8250 probes: scratch, IER, loopback, FIFO, THRE', () => {
  const { get, set, irq } = setUp();
  set(IER, 0);
  assert.equal(get(IER), 0);
  set(IER, 0x0f);
  assert.equal(get(IER) & 0x0f, 0x0f);
  set(IER, 0);
  set(MCR, 0x10 | 0x0a);
  assert.equal(get(MSR) & 0xf0, 0x90, 'loopback: RTS and OUT2 come back as CTS and DCD');
  set(MCR, 0x08);
  set(IIR, 1);
  assert.equal(get(IIR) >>> 6, 3, 'a 16550A with FIFOs');
  set(IIR, 0);
  assert.equal(get(IIR) >>> 6, 0);
  set(SCR, 0xa5);
  assert.equal(get(SCR), 0xa5);
  set(IER, 2);
  assert.equal(irq.level, true, 'THRI with an empty transmitter interrupts at once');
  assert.equal(get(IIR) & 0x0f, 0x02);
  set(IER, 0);
  set(IER, 2);
  assert.equal(get(IIR) & 0x0f, 0x02, 'and again');
  assert.equal(irq.level, false, 'acknowledged by reading IIR');
});

test('the divisor latch hides behind DLAB', () => {
  const { get, set, out, uart } = setUp();
  set(LCR, 0x80);
  set(RBR, 0x01);
  set(IER, 0x02);
  assert.equal(get(RBR), 0x01);
  assert.equal(get(IER), 0x02);
  set(LCR, 0x03);
  assert.equal(get(IER), 0);
  uart.flush();
  assert.deepEqual(out, []);
});

test('output comes in batches, at flush or when the batch is full', () => {
  const { set, out, batches, uart } = setUp();
  for (const byte of text('hello')) set(RBR, byte);
  assert.deepEqual(batches, []);
  uart.flush();
  uart.flush();
  assert.deepEqual(out, [...text('hello')]);
  assert.deepEqual(batches, [5]);
  for (let i = 0; i < 5000; i++) set(RBR, i & 0xff);
  assert.deepEqual(batches, [5, 4096]);
});

test('transmit interrupt: one after each byte until IIR shows it', () => {
  const { get, set, irq } = setUp();
  set(IIR, 1);
  set(IER, 2);
  get(IIR);
  assert.equal(irq.level, false);
  set(RBR, 65);
  assert.equal(irq.level, true);
  assert.equal(get(LSR) & 0x60, 0x60);
  assert.equal(get(IIR), 0xc2);
  assert.equal(get(IIR), 0xc1);
});

test('receive: timeout below the trigger level, data available from it on, none when drained', () => {
  const { get, set, irq, uart } = setUp();
  set(IIR, 0x81); // trigger at 8
  set(IER, 1);
  assert.equal(uart.receive(text('abc')), 3);
  assert.equal(irq.level, true);
  assert.equal(get(IIR) & 0x0f, 0x0c);
  uart.receive(text('defgh'));
  assert.equal(get(IIR) & 0x0f, 0x04);
  let received = '';
  while ((get(LSR) & 1) !== 0) received += String.fromCharCode(get(RBR));
  assert.equal(received, 'abcdefgh');
  assert.equal(irq.level, false);
  assert.equal(get(IIR) & 0x0f, 0x01);
});

test('receive outranks transmit', () => {
  const { get, set, uart } = setUp();
  set(IIR, 1);
  set(IER, 3);
  uart.receive(text('x'));
  assert.equal(get(IIR) & 0x0f, 0x04);
  get(RBR);
  assert.equal(get(IIR) & 0x0f, 0x02);
});

test('backpressure: what does not fit is refused, and room is told once', () => {
  const { get, uart, drained } = setUp();
  const many = Uint8Array.from({ length: 6000 }, (_, i) => i & 0xff);
  assert.equal(uart.receive(many), 4096);
  assert.equal(uart.receive(many.subarray(4096)), 0);
  for (let i = 0; i < 4096; i++) {
    assert.equal(get(LSR) & 1, 1);
    assert.equal(get(RBR), i & 0xff);
  }
  assert.equal(drained(), 1);
  assert.equal(get(LSR) & 1, 0);
});

test('clearing the receive FIFO drops what arrived, not what waits behind it', () => {
  const { get, set, uart } = setUp();
  set(IIR, 1);
  uart.receive(Uint8Array.from({ length: 20 }, (_, i) => i));
  set(IIR, 3);
  assert.equal(get(RBR), 16);
});

test('a break shows in LSR once', () => {
  const { get, set, irq, uart } = setUp();
  set(IER, 4);
  uart.sendBreak();
  assert.equal(irq.level, true);
  assert.equal(get(IIR) & 0x0f, 0x06);
  assert.equal(get(LSR) & 0x11, 0x11);
  assert.equal(get(LSR) & 0x11, 0x01);
  assert.equal(irq.level, false);
});

test('loopback brings bytes back and sends none', () => {
  const { get, set, out, uart } = setUp();
  set(MCR, 0x10);
  set(RBR, 0x5a);
  assert.equal(get(RBR), 0x5a);
  uart.flush();
  assert.deepEqual(out, []);
});
