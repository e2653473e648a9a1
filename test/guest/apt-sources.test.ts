import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { debianSourceLine } from '../../src/guest/apt.ts';
import {
  type AptSource,
  chooseMirror,
  parseDeb822Sources,
  parseOneLineSources,
  parseStanzas,
  readAptSources,
} from '../../src/guest/apt-sources.ts';
import { GuestImageError } from '../../src/guest/index.ts';

const source = (uri: string, suite: string, components = ['main'], options: [string, string][] = []): AptSource => ({
  uri,
  suite,
  components,
  options: new Map(options),
});

describe('parseOneLineSources', () => {
  it('reads entries with and without options', () => {
    const text = `
# a comment
deb http://mirror.example/debian bookworm main contrib  # the rest is a comment
deb-src http://mirror.example/debian bookworm main
  deb [ arch=amd64,arm64 Signed-By=/a/b.gpg check-valid-until=no ] https://other.example/debian/ trixie main
deb file:/srv/flat ./
#deb http://off.example/debian bookworm main
nonsense
`;
    assert.deepEqual(parseOneLineSources(text), [
      source('http://mirror.example/debian', 'bookworm', ['main', 'contrib']),
      source(
        'https://other.example/debian/',
        'trixie',
        ['main'],
        [
          ['arch', 'amd64,arm64'],
          ['signed-by', '/a/b.gpg'],
          ['check-valid-until', 'no'],
        ],
      ),
      source('file:/srv/flat', './', []),
    ]);
  });
});

describe('parseDeb822Sources', () => {
  it('reads stanzas with several suites and URIs, comments, continuation lines and an inline key', () => {
    const text = `# generated
Types: deb deb-src
# an old snapshot
URIs: http://one.example/debian
 http://two.example/debian
Suites: trixie trixie-updates
Components: main
 contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz
Check-Valid-Until: no

Types: deb-src
URIs: http://source.example/debian
Suites: trixie
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main
`;
    const found = parseDeb822Sources(text);
    assert.deepEqual(
      found.map(({ uri, suite }) => `${uri} ${suite}`),
      [
        'http://one.example/debian trixie',
        'http://two.example/debian trixie',
        'http://one.example/debian trixie-updates',
        'http://two.example/debian trixie-updates',
      ],
    );
    assert.deepEqual(found[0]!.components, ['main', 'contrib']);
    assert.equal(found[0]!.options.get('check-valid-until'), 'no');
    assert.match(found[0]!.options.get('signed-by') ?? '', /^\n?-----BEGIN[\s\S]*xyz$/);
  });

  it('reads line ends of both kinds, and a last stanza without one', () => {
    assert.deepEqual(
      parseDeb822Sources('Types: deb\r\nURIs: http://m.example/debian\r\nSuites: sid\r\nComponents: main'),
      [source('http://m.example/debian', 'sid')],
    );
  });
});

describe('parseStanzas', () => {
  it('takes fields in any case, and nothing that is none', () => {
    assert.deepEqual(
      parseStanzas(' lost\nA-b: 1\nnot a field\n 2\n\n\nC:\n').map((fields) => [...fields]),
      [[['a-b', '1\n2']], [['c', '']]],
    );
  });
});

describe('chooseMirror', () => {
  it('takes the archive, not the security archive, updates, ports, other distributions or discs', () => {
    const sources = [
      source('http://m.example/debian-security', 'bookworm-security'),
      source('http://m.example/debian', 'bookworm-updates'),
      source('http://m.example/ubuntu', 'noble'),
      source('http://ports.example/debian-ports', 'sid'),
      source('cdrom:[Debian]/', 'bookworm'),
      source('http://m.example/debian', 'bookworm', ['contrib']),
    ];
    assert.equal(chooseMirror(sources, 'trixie'), undefined);
    const right = source('http://right.example/debian', 'bookworm');
    assert.equal(chooseMirror([...sources, right], 'trixie')?.uri, right.uri);
  });

  it('prefers a source of the wanted suite, and keeps only options about how a source is fetched', () => {
    const options: [string, string][] = [
      ['trusted', 'yes'],
      ['arch', 'amd64'],
      ['check-valid-until', 'no'],
    ];
    const sources = [
      source('http://a.example/debian', 'bookworm'),
      source('http://b.example/debian', 'trixie', ['main'], options),
    ];
    assert.deepEqual(chooseMirror(sources, 'trixie'), {
      uri: 'http://b.example/debian',
      options: new Map([['check-valid-until', 'no']]),
    });
  });
});

describe('the machine’s apt sources', () => {
  function inFolder(files: Readonly<Record<string, string>>, check: (folder: string) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'ballonet-apt-'));
    mkdirSync(join(folder, 'sources.list.d'));
    for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
    return check(folder).finally(() => rmSync(folder, { recursive: true }));
  }
  const stanza = (host: string) => `Types: deb\nURIs: http://${host}/debian\nSuites: trixie\nComponents: main\n`;

  it('are read from sources.list and then from the files in sources.list.d with the two endings, in order', async () => {
    const files = {
      'sources.list': 'deb http://list.example/debian trixie main\n',
      'sources.list.d/b.list': 'deb http://b.example/debian trixie main\n',
      'sources.list.d/a.sources': stanza('a.example'),
      'sources.list.d/c.sources.disabled': stanza('c.example'),
    };
    await inFolder(files, async (folder) => {
      assert.deepEqual(
        (await readAptSources(folder)).map(({ uri }) => new URL(uri).hostname),
        ['list.example', 'a.example', 'b.example'],
      );
    });
  });

  it('give the line from which packages are fetched, with Debian’s keys', async () => {
    const files = { 'sources.list.d/debian.sources': `${stanza('a.example')}Check-Valid-Until: no\nTrusted: yes\n` };
    await inFolder(files, async (folder) => {
      assert.equal(
        await debianSourceLine('trixie', 'riscv64', folder),
        'deb [check-valid-until=no arch=riscv64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ' +
          'http://a.example/debian trixie main',
      );
    });
  });

  it('without a Debian mirror are an error that says what to do', async () => {
    await inFolder({ 'sources.list': 'deb http://m.example/ubuntu noble main\n' }, async (folder) => {
      await assert.rejects(debianSourceLine('trixie', 'riscv64', folder), (error) => {
        assert.ok(error instanceof GuestImageError && error.code === 'no-mirror');
        assert.match(error.message, /no Debian mirror in .*sources\.list.*--kernel FILE --initrd FILE/);
        return true;
      });
    });
    await assert.rejects(debianSourceLine('trixie', 'riscv64', '/nowhere'), GuestImageError);
  });
});
