/**
 * Commands that boot the same files as a guest of ours and as one of QEMU's, with the console on standard output. Ours is the
 * command as the npm package has it.
 */
import { fileURLToPath } from 'node:url';
import type { BootFiles } from '../src/cli/images.ts';

/** What a guest runs on. */
export type MachineName = 'ballonet' | 'qemu';

/** Names for people. */
export const machineTitles: Readonly<Record<MachineName, string>> = { ballonet: 'Ballonet', qemu: 'QEMU' };

/** One hart; the first serial console. */
export interface GuestDescription extends BootFiles {
  /** Configured memory, MiB. */
  readonly memoryMiB: number;
  /** Paths of raw images, which nothing is written to. */
  readonly disks?: readonly string[];
}

/** A program and its arguments. */
export interface MachineCommand {
  readonly program: string;
  readonly args: readonly string[];
}

/** The kernel's command line: an immediate end after a panic. */
const APPEND = 'console=ttyS0 panic=-1';

const commands: Readonly<Record<MachineName, (guest: GuestDescription) => MachineCommand>> = {
  ballonet: ({ kernel, initrd, memoryMiB, disks = [] }) => ({
    program: process.execPath,
    args: [
      // The flags of V8 that a guest is meant to run with, as this process was started with them.
      ...process.execArgv,
      fileURLToPath(new URL('../dist/cli/main.js', import.meta.url)),
      'run',
      ...['--memory', `${memoryMiB}M`, '--kernel', kernel, '--initrd', initrd, '--append', APPEND],
      ...disks.flatMap((path) => ['--disk', path]),
    ],
  }),
  qemu: ({ kernel, initrd, memoryMiB, disks = [] }) => ({
    program: 'qemu-system-riscv64',
    args: [
      ...['-M', 'virt', '-m', `${memoryMiB}M`, '-nographic', '-no-reboot'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', APPEND],
      ...disks.flatMap((path, i) => [
        ...['-drive', `if=none,format=raw,readonly=on,id=disk${i},file=${path.replaceAll(',', ',,')}`],
        ...['-device', `virtio-blk-device,drive=disk${i}`],
      ]),
    ],
  }),
};

/** The command that boots a guest on a machine. */
export function machineCommand(machine: MachineName, guest: GuestDescription): MachineCommand {
  return commands[machine](guest);
}
