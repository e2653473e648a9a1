import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BlockBackend, RawBlock } from '../../../src/devices/block/backend.ts';
import { VIRTIO_BLK_F, VirtioBlk } from '../../../src/devices/virtio/blk.ts';
import { MemoryFile } from '../block/memory-file.ts';
import { REG, record, TestDriver } from './driver.ts';

const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13];
const [OK, IOERR, UNSUPP] = [0, 1, 2];
const header = (type: number, sector: number | bigint = 0) => record([4, type], [4, 0], [8, sector]);
const range = (sector: number | bigint, sectors: number, flags = 0) => record([8, sector], [4, sectors], [4, flags]);
const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

function setUp(backend: BlockBackend, ...features: number[]) {
  const driver = new TestDriver(new VirtioBlk({ backend, id: 'disk-0' }), 4 * 1024 * 1024);
  driver.negotiate(...features);
  const queue = driver.addQueue(0);
  driver.start();
  const request = (...pieces: Parameters<typeof queue.exchange>) => {
    const { bytes, length } = queue.exchange(...pieces);
    assert.equal(length, bytes.length);
    return { status: bytes.at(-1), data: bytes.subarray(0, -1) };
  };
  return { driver, queue, request };
}

function rawDisk(sectors = 64) {
  const file = new MemoryFile(pattern(sectors * 512, 1));
  return { file, backend: new RawBlock(file) };
}

test('configuration and features', () => {
  const { driver } = setUp(rawDisk().backend, VIRTIO_BLK_F.FLUSH);
  assert.equal(driver.mmio.read(REG.Config, 4), 64);
  assert.equal(driver.mmio.read(REG.Config + 4, 4), 0);
  assert.equal(driver.mmio.read(REG.Config + 20, 4), 512);
  const has = (bit: number) => ((driver.offered >> BigInt(bit)) & 1n) === 1n;
  assert.deepEqual([VIRTIO_BLK_F.FLUSH, VIRTIO_BLK_F.DISCARD, VIRTIO_BLK_F.WRITE_ZEROES, VIRTIO_BLK_F.RO].map(has), [
    true,
    true,
    true,
    false,
  ]);
  const huge = setUp({ sizeBytes: 5 * 2 ** 42, read() {}, write() {}, flush() {} });
  assert.equal(huge.driver.mmio.read(REG.Config + 4, 4), 10);
});

test('read and write, in pieces of any size', () => {
  const { file, backend } = rawDisk();
  const { request } = setUp(backend, VIRTIO_BLK_F.FLUSH);
  const read = request(header(IN, 3), 100, 924, 1);
  assert.equal(read.status, OK);
  assert.deepEqual(read.data, file.bytes.subarray(3 * 512, 5 * 512));
  const data = pattern(1024, 99);
  assert.equal(request(header(OUT, 62), data.subarray(0, 700), data.subarray(700), 1).status, OK);
  assert.deepEqual(file.bytes.subarray(62 * 512), data);
  assert.equal(file.flushes, 0);
  assert.equal(request(header(FLUSH), 1).status, OK);
  assert.equal(file.flushes, 1);
});

test('requests larger than the bounce buffer', () => {
  const file = new MemoryFile(pattern(1024 * 1024, 3));
  const { request } = setUp(new RawBlock(file), VIRTIO_BLK_F.FLUSH);
  const read = request(header(IN, 0), 700 * 1024, 1);
  assert.deepEqual(read.data, file.bytes.subarray(0, 700 * 1024));
  const data = pattern(600 * 1024, 8);
  assert.equal(request(header(OUT, 512), data, 1).status, OK);
  assert.deepEqual(file.bytes.subarray(512 * 512, 512 * 512 + data.length), data);
});

test('without FLUSH each write is durable', () => {
  const { file, backend } = rawDisk();
  const { request } = setUp(backend);
  request(header(OUT, 0), pattern(512, 5), 1);
  assert.equal(file.flushes, 1);
});

test('beyond the end, odd lengths, read-only: I/O errors', () => {
  const { file, backend } = rawDisk();
  const before = file.bytes.slice();
  const { request, driver } = setUp(backend, VIRTIO_BLK_F.FLUSH);
  assert.equal(request(header(IN, 64), 512, 1).status, IOERR);
  assert.equal(request(header(IN, 63), 1024, 1).status, IOERR);
  assert.equal(request(header(IN, 2n ** 64n - 1n), 512, 1).status, IOERR);
  assert.equal(request(header(IN, 0), 100, 1).status, IOERR);
  assert.equal(request(header(OUT, 63), pattern(1024, 0), 1).status, IOERR);
  assert.equal(request(header(OUT, 0), pattern(511, 0), 1).status, IOERR);
  const readOnly = setUp(new RawBlock(file, { readOnly: true }), VIRTIO_BLK_F.RO);
  assert.equal(readOnly.request(header(OUT, 0), pattern(512, 9), 1).status, IOERR);
  assert.equal(readOnly.request(header(IN, 0), 512, 1).status, OK);
  assert.deepEqual(file.bytes, before);
  assert.equal(driver.needsReset, false);
});

test('identity and unknown requests', () => {
  const { request } = setUp(rawDisk().backend);
  const { status, data } = request(header(GET_ID), 20, 1);
  assert.equal(status, OK);
  assert.equal(new TextDecoder().decode(data).replace(/\0+$/, ''), 'disk-0');
  assert.equal(request(header(GET_ID), 4, 1).status, OK);
  assert.equal(request(header(77), 1).status, UNSUPP);
});

test('discard and write zeroes', () => {
  const { file, backend } = rawDisk();
  const { request } = setUp(backend, VIRTIO_BLK_F.FLUSH, VIRTIO_BLK_F.DISCARD, VIRTIO_BLK_F.WRITE_ZEROES);
  assert.equal(request(header(WRITE_ZEROES), range(2, 2), 1).status, OK);
  assert.ok(file.bytes.subarray(1024, 2048).every((byte) => byte === 0));
  assert.equal(file.punched, 0);
  assert.equal(request(header(WRITE_ZEROES), range(4, 2, 1), 1).status, OK);
  assert.equal(file.punched, 1024);
  assert.equal(request(header(DISCARD), range(8, 4), range(20, 4), 1).status, OK);
  assert.equal(file.punched, 1024 + 4096);
  assert.equal(request(header(DISCARD), range(8, 4, 1), 1).status, UNSUPP);
  assert.equal(request(header(WRITE_ZEROES), range(8, 4, 2), 1).status, UNSUPP);
  assert.equal(request(header(DISCARD), range(60, 5), 1).status, IOERR);
  assert.equal(request(header(DISCARD), range(2n ** 64n - 1n, 1), 1).status, IOERR);
  assert.equal(request(header(DISCARD), new Uint8Array(15), 1).status, IOERR);
  const plain = setUp({ sizeBytes: 4096, read() {}, write() {}, flush() {} });
  assert.equal(plain.request(header(DISCARD), range(0, 1), 1).status, UNSUPP);
});

test('a failing backend is an I/O error for the guest and a named one for the host', () => {
  const failure = () => {
    throw new Error('no space left on device');
  };
  const { request, driver } = setUp(
    { sizeBytes: 4096, read: failure, write: failure, flush: failure },
    VIRTIO_BLK_F.FLUSH,
  );
  assert.equal(request(header(IN, 0), 512, 1).status, IOERR);
  assert.equal(request(header(OUT, 0), pattern(512, 0), 1).status, IOERR);
  assert.equal(request(header(FLUSH), 1).status, IOERR);
  assert.deepEqual(
    driver.errors.map(({ message }) => message),
    ['read', 'write', 'flush'].map((what) => `virtio-blk: ${what} failed: no space left on device`),
  );
  assert.equal(driver.needsReset, false);
});

test('a request without a status byte or with a short header needs a reset', () => {
  for (const pieces of [[header(IN)], [record([4, 0]), 513]]) {
    const { driver, queue } = setUp(rawDisk().backend);
    queue.add(...pieces);
    queue.kick();
    assert.equal(driver.needsReset, true);
    assert.match(driver.errors[0]!.message, /virtio-blk/);
  }
});
