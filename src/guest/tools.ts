// Runs the machine's programs (apt and dpkg-deb).

import { spawn } from 'node:child_process';
import { GuestImageError, OWN_FILES_HINT, systemErrorCode } from './errors.ts';

/** The Debian package that has each program that is run here. */
const PACKAGE_OF = {
  'apt-get': 'apt',
  'apt-cache': 'apt',
  '/usr/lib/apt/apt-helper': 'apt',
  'dpkg-deb': 'dpkg',
} as const;

export type Tool = keyof typeof PACKAGE_OF;

export interface ToolResult {
  readonly status: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: string;
}

/**
 * Runs a program to its end. Its messages are in English, so that they can be understood here.
 * @throws GuestImageError `tool-missing` if the machine does not have it
 */
export function runTool(tool: Tool, args: readonly string[], folder?: string): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, {
      cwd: folder,
      env: { ...process.env, LC_ALL: 'C', LANGUAGE: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', (error) => {
      if (systemErrorCode(error) !== 'ENOENT') return reject(error);
      const get = `install it ("apt-get install ${PACKAGE_OF[tool]}" on Debian and its kin)`;
      const message = `the guest image cannot be prepared: there is no ${tool} on this machine; ${get}, ${OWN_FILES_HINT}`;
      reject(new GuestImageError('tool-missing', message, { cause: error }));
    });
    child.on('close', (status) =>
      resolve({
        status: status ?? -1,
        stdout: new Uint8Array(Buffer.concat(stdout)),
        stderr: Buffer.concat(stderr).toString(),
      }),
    );
  });
}
