/** Runs an image on qemu-system-riscv64. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireDebian } from '../../scripts/debian.ts';
import type { TestMachine } from './harness.ts';
import { MEMORY_MIB } from './layout.ts';

/** The processor that Ballonet is, as QEMU's options: extensions that it does not have are off. */
const CPU = 'rv64,zba=true,zbb=true,zbc=false,zbs=true,sstc=true,h=false,v=false,debug=false';

const COMMAND = 'qemu-system-riscv64';

export const QEMU: TestMachine = { name: COMMAND, run: runOnQemu };

/**
 * Runs the image to its end.
 * @param timeout milliseconds after which the machine is stopped; what it sent until then is the result
 * @returns what the machine sent to its UART
 */
async function runOnQemu(image: Uint8Array, timeout: number): Promise<Uint8Array> {
  requireDebian('qemu');
  const folder = await mkdtemp(join(tmpdir(), 'ballonet-differential-'));
  try {
    const imageFile = join(folder, 'image');
    const outputFile = join(folder, 'uart');
    await writeFile(imageFile, image);
    await runToEnd(
      [
        // With one hart QEMU makes an AMO of a load and a store, and reports a load's fault for it.
        '-smp',
        '2',
        '-machine',
        'virt',
        '-cpu',
        CPU,
        '-m',
        `${MEMORY_MIB}M`,
        '-bios',
        imageFile,
        '-serial',
        `file:${outputFile}`,
        '-display',
        'none',
        '-monitor',
        'none',
        '-nodefaults',
      ],
      timeout,
    );
    return new Uint8Array(await readFile(outputFile));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runToEnd(options: string[], timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(COMMAND, options, { stdio: ['ignore', 'ignore', 'pipe'], timeout, killSignal: 'SIGKILL' });
    let complaints = '';
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0 || signal === 'SIGKILL') resolve();
      else reject(new Error(`${COMMAND} ended with status ${code}: ${complaints.trim()}`));
    });
  });
}
