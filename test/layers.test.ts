import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';

const root = dirname(import.meta.dirname);
const rows = ['wasm', 'isa', 'engine', 'memory', 'policy', 'devices', 'firmware', 'machine', 'host', 'guest', 'cli'];
const core = rows.slice(0, rows.indexOf('host'));

interface Diagnostic {
  readonly category: string;
  readonly severity: string;
  readonly location: { readonly path: string; readonly start: { readonly line: number } };
}

/** Lints files (path -> text) with the project's settings and tells the lines with errors of each file, by rule. */
function lint(files: ReadonlyMap<string, string>): Map<string, Map<string, number[]>> {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-layers-'));
  try {
    cpSync(join(root, 'biome.json'), join(folder, 'biome.json'));
    for (const [path, text] of files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
    const options = ['--vcs-enabled=false', '--reporter=json', '--max-diagnostics=none', `--config-path=${folder}`];
    const run = spawnSync(process.execPath, [biome, 'lint', ...options, folder], { encoding: 'utf8' });
    const { diagnostics } = JSON.parse(run.stdout) as { diagnostics: Diagnostic[] };
    const found = new Map([...files.keys()].map((path) => [path, new Map<string, number[]>()]));
    for (const { category, severity, location } of diagnostics) {
      if (severity !== 'error') continue;
      const rules = found.get(location.path.slice(folder.length + 1));
      assert.ok(rules, `a diagnostic of an unknown file ${location.path}`);
      rules.set(category, [...(rules.get(category) ?? []), location.start.line]);
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Source text with one kind of import of each given row a line. */
function imports(targets: readonly string[], from: (specifier: string) => string, up = '..'): string {
  return targets.map((row) => `${from(`${up}/${row}/x.ts`)}\n`).join('');
}

describe('the layer rule', () => {
  const files = new Map<string, string>();
  const kinds: [string, (specifier: string) => string][] = [
    ['value', (s) => `import '${s}';`],
    ['type', (s) => `export type * from '${s}';`],
    ['dynamic', (s) => `await import('${s}');`],
    ['reexport', (s) => `export * from '${s}';`],
  ];
  for (const [index, row] of rows.entries()) {
    for (const [kind, from] of kinds) {
      files.set(`src/${row}/up-${kind}.ts`, imports(rows.slice(index + 1), from));
      files.set(`src/${row}/folder/up-${kind}.ts`, imports(rows.slice(index + 1), from, '../..'));
      files.set(`src/${row}/down-${kind}.ts`, imports(rows.slice(0, index), from));
    }
    files.set(`src/${row}/own.ts`, rows.map((name) => `import './${name}.ts';\n`).join(''));
    files.set(`src/${row}/library.ts`, "import '../index.ts';\n");
    files.set(`src/${row}/node.ts`, "import 'node:fs';\nimport 'fs';\nexport type * from 'node:fs/promises';\n");
    files.set(`src/${row}/globals.ts`, 'export const a = process.pid;\nexport const b = Buffer.alloc(1);\n');
    files.set(`src/${row}/any.ts`, 'export const a: any = 1;\n');
  }
  let found: ReturnType<typeof lint>;
  before(() => {
    found = lint(files);
  });

  const errors = (path: string, rule: string) => [...(found.get(path)?.get(rule) ?? [])].sort();
  const restricted = 'lint/style/noRestrictedImports';

  for (const [index, row] of rows.entries()) {
    const higher = rows.slice(index + 1).map((_, line) => line + 1);
    for (const [kind] of kinds) {
      it(`src/${row} may not import a higher row (${kind}), and may a lower one`, () => {
        const byNumber = (a: number, b: number) => a - b;
        assert.deepEqual(errors(`src/${row}/up-${kind}.ts`, restricted).sort(byNumber), higher);
        assert.deepEqual(errors(`src/${row}/folder/up-${kind}.ts`, restricted).sort(byNumber), higher);
        assert.deepEqual(errors(`src/${row}/down-${kind}.ts`, restricted), []);
      });
    }
    it(`src/${row}: own files, whatever their names, and the library's entry`, () => {
      assert.deepEqual(errors(`src/${row}/own.ts`, restricted), []);
      assert.deepEqual(errors(`src/${row}/library.ts`, restricted), row === 'cli' ? [] : [1]);
    });
    const inCore = core.includes(row);
    it(`src/${row} ${inCore ? 'may not' : 'may'} use Node.js`, () => {
      const path = `src/${row}/node.ts`;
      const lines = [...errors(path, restricted), ...errors(path, 'lint/correctness/noNodejsModules')];
      assert.deepEqual([...new Set(lines)].sort(), inCore ? [1, 2, 3] : []);
      assert.deepEqual(errors(`src/${row}/globals.ts`, 'lint/style/noRestrictedGlobals'), inCore ? [1, 2] : []);
    });
    it(`src/${row} may not use any`, () => {
      assert.deepEqual(errors(`src/${row}/any.ts`, 'lint/suspicious/noExplicitAny'), [1]);
    });
  }
});
