import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShareDomain, ShareDomains } from '../../src/host/share-domain.ts';
import { DOMAIN_NONE, DOMAIN_ZERO_ONLY } from '../../src/memory/layout-guest.ts';

test('a domain keeps its number for as long as it has guests', () => {
  const domains = new ShareDomains();
  assert.equal(domains.enter('a'), 0);
  assert.equal(domains.enter('b'), 1);
  assert.equal(domains.enter('a'), 0);
  domains.leave('a');
  assert.equal(domains.enter('c'), 2);
  domains.leave('a');
  // Nobody is in a any more, and its number is given again; b and c have theirs.
  assert.equal(domains.enter('d'), 0);
  assert.equal(domains.enter('b'), 1);
  assert.equal(domains.enter('a'), 3);
});

test('two words are no names of domains', () => {
  const domains = new ShareDomains();
  assert.equal(domains.enter('none'), DOMAIN_NONE);
  assert.equal(domains.enter('zero-only'), DOMAIN_ZERO_ONLY);
  domains.leave('none');
  assert.equal(domains.enter('constructor'), 0);
  assert.throws(() => parseShareDomain(''), /share-domain: "" is not between 1 and 127 bytes/);
  assert.throws(() => parseShareDomain('x'.repeat(128)), /127 bytes/);
  assert.equal(parseShareDomain('tenant 7'), 'tenant 7');
});
