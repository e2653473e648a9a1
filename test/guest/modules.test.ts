import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadOrder, ModuleFormatError, type ModuleInfo, readModuleInfo } from '../../src/guest/modules.ts';
import { fakeModule } from './fake-archive.ts';

describe('readModuleInfo', () => {
  it('reads name and dependencies, soft ones too', () => {
    const info = ['license=GPL', 'depends=jbd2,mbcache', 'softdep=pre: crc32c sha-256 post: other', 'name=ext4'];
    assert.deepEqual(readModuleInfo(fakeModule(info)), {
      name: 'ext4',
      depends: ['jbd2', 'mbcache'],
      softDepends: ['crc32c', 'sha_256'],
    });
  });

  it('takes - and _ in names for the same', () => {
    const { name, depends } = readModuleInfo(fakeModule(['name=virtio-rng', 'depends=rng-core']));
    assert.deepEqual([name, depends], ['virtio_rng', ['rng_core']]);
  });

  it('knows a soft dependency that comes after from one that comes before', () => {
    assert.deepEqual(readModuleInfo(fakeModule(['name=a', 'softdep=post: b'])).softDepends, []);
  });

  it('refuses what is no module', () => {
    assert.throws(() => readModuleInfo(new Uint8Array(10)), ModuleFormatError);
    assert.throws(() => readModuleInfo(new Uint8Array(200)), ModuleFormatError);
    assert.throws(() => readModuleInfo(fakeModule([])), /has no name/);
    const whole = fakeModule(['name=a']);
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => readModuleInfo(whole.subarray(0, length)), ModuleFormatError, `the first ${length} bytes`);
    }
  });
});

describe('loadOrder', () => {
  const info = (name: string, depends: string[] = [], softDepends: string[] = []): ModuleInfo => ({
    name,
    depends,
    softDepends,
  });
  const order = (wanted: string[], modules: ModuleInfo[], builtIn: string[] = []) =>
    loadOrder(
      wanted,
      (name) => modules.find((module) => module.name === name),
      (name) => builtIn.includes(name),
      (name, by) => new Error(`${name} for ${by}`),
    ).map((module) => module.name);

  it('puts each module after what it needs, once', () => {
    const modules = [info('net', ['net_failover']), info('net_failover', ['failover']), info('failover')];
    assert.deepEqual(order(['net', 'failover', 'net'], modules), ['failover', 'net_failover', 'net']);
  });

  it('leaves out what is built in, and soft dependencies that are not there', () => {
    const modules = [info('a', ['core'], ['soft', 'gone']), info('soft')];
    assert.deepEqual(order(['a', 'core'], modules, ['core']), ['soft', 'a']);
  });

  it('does not go round in circles of soft dependencies', () => {
    assert.deepEqual(order(['a'], [info('a', [], ['b']), info('b', ['a'])]), ['b', 'a']);
  });

  it('names a module that is missing', () => {
    assert.throws(() => order(['a'], [info('a', ['b'])]), /b for a/);
    assert.throws(() => order(['c'], []), /c for undefined/);
  });
});
