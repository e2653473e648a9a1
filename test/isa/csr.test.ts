import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CSRS, csrIndex, csrIsReadOnly, csrPrivilege } from '../../src/isa/csr.ts';

test('numbers and names are unique, and numbers have 12 bits', () => {
  assert.equal(new Set(CSRS.map(({ number }) => number)).size, CSRS.length);
  assert.equal(new Set(CSRS.map(({ name }) => name)).size, CSRS.length);
  for (const [index, { number }] of CSRS.entries()) {
    assert.ok(number >= 0 && number < 4096);
    assert.equal(csrIndex(number), index);
  }
  assert.equal(csrIndex(0x7c0), undefined);
});

test('a name that begins with s or m is of that privilege, all others are for users', () => {
  for (const { name, number } of CSRS) {
    if (name.startsWith('pmp') || /^t(select|data)/.test(name)) assert.equal(csrPrivilege(number), 3, name);
    else assert.equal(csrPrivilege(number), name.startsWith('m') ? 3 : name.startsWith('s') ? 1 : 0, name);
  }
});

test('what the number says is read-only has no write', () => {
  for (const { name, number, write } of CSRS) {
    if (csrIsReadOnly(number)) assert.equal(write, undefined, name);
  }
  for (const name of ['cycle', 'time', 'instret', 'hpmcounter31', 'mhartid', 'mvendorid']) {
    assert.ok(csrIsReadOnly(CSRS.find((csr) => csr.name === name)!.number), name);
  }
  for (const name of ['mstatus', 'satp', 'fcsr', 'pmpaddr0', 'mcycle']) {
    assert.ok(!csrIsReadOnly(CSRS.find((csr) => csr.name === name)!.number), name);
  }
});
