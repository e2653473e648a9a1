import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/** Runs a tool of Debian's package device-tree-compiler. */
export function deviceTreeTool(
  tool: 'dtc' | 'fdtget',
  args: readonly string[],
  input: Uint8Array | string,
): { out: string; warnings: string } {
  const result = spawnSync(tool, args, { input, timeout: 10_000 });
  assert.equal(result.error, undefined, `${tool} did not start; install it: apt-get install device-tree-compiler`);
  const warnings = result.stderr.toString();
  assert.equal(result.status, 0, `${tool} ${args.join(' ')}: ${warnings}`);
  return { out: result.stdout.toString(), warnings };
}

/** The source form of a blob as dtc reads it. */
export function decompile(blob: Uint8Array): { out: string; warnings: string } {
  return deviceTreeTool('dtc', ['-I', 'dtb', '-O', 'dts'], blob);
}

/**
 * A tree in source form: path of each node to its properties, values as dtc writes them (lists of strings as its
 * newer versions do).
 */
export function parseSource(source: string): Map<string, Map<string, string>> {
  const nodes = new Map<string, Map<string, string>>();
  const path: string[] = [];
  for (const line of source.split('\n').map((text) => text.trim())) {
    if (line.endsWith('{')) {
      const name = line.slice(0, -1).trim();
      path.push(name === '/' ? '' : name);
      nodes.set(path.join('/') || '/', new Map());
    } else if (line === '};') path.pop();
    else if (line.endsWith(';') && path.length > 0) {
      const [, name, value = ''] = /^([^ =]+)(?: = (.*))?;$/.exec(line) ?? [];
      if (name !== undefined) nodes.get(path.join('/') || '/')?.set(name, value.replaceAll('\\0', '", "'));
    }
  }
  return nodes;
}
