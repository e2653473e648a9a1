import {
  ACLINT,
  GOLDFISH_RTC,
  PLIC,
  PLIC_SOURCES,
  RAM_BASE,
  type Region,
  TEST_FINISHER,
  TIMEBASE_HZ,
  UART,
  UART_CLOCK_HZ,
  VIRTIO_SLOTS,
  virtioSlot,
} from '../devices/map.ts';
import { cells64, type DeviceTreeNode, encodeDeviceTree } from './fdt.ts';
import { canonicalOrder, type Extensions, isaString } from './isa-string.ts';

export interface VirtTreeOptions {
  /** Size of RAM in bytes. */
  readonly memoryBytes: number;
  readonly harts: number;
  readonly extensions: Extensions;
  /** Deepest page table mode. Default `sv48`. */
  readonly mmu?: 'sv39' | 'sv48' | 'none';
  /** Kernel command line. */
  readonly bootargs?: string;
  /** Where the initrd is, guest-physical, `end` exclusive. */
  readonly initrd?: { readonly start: number; readonly end: number } | undefined;
  /** Entropy for the kernel's random generator, 32 bytes or more; a new one for every start. */
  readonly rngSeed?: Uint8Array;
  /** False: interrupt controllers, serial port and test finisher only. Default true. */
  readonly devices?: boolean;
}

/** Numbers of the interrupt causes in `mip`, as `interrupts-extended` takes them. */
const CAUSE = { M_SOFTWARE: 3, M_TIMER: 7, S_EXTERNAL: 9, M_EXTERNAL: 11 } as const;

/**
 * The device tree of the platform in devices/map.ts, with names and properties as drivers know them from QEMU's
 * `virt`.
 */
export function virtTree(options: VirtTreeOptions): DeviceTreeNode {
  const { harts, extensions, memoryBytes, mmu = 'sv48', devices = true } = options;
  const ids = Array.from({ length: harts }, (_, hart) => hart);
  const cpuPhandle = (hart: number) => 1 + 2 * hart;
  const intcPhandle = (hart: number) => 2 + 2 * hart;
  const plicPhandle = 1 + 2 * harts;
  const testPhandle = plicPhandle + 1;
  const toHarts = (...causes: number[]) => ids.flatMap((hart) => causes.flatMap((cause) => [intcPhandle(hart), cause]));
  const interrupt = (irq: number) => ({ interrupts: irq, 'interrupt-parent': plicPhandle });

  const chosen: Record<string, DeviceTreeNode['properties'][string]> = {};
  if (options.bootargs !== undefined) chosen.bootargs = options.bootargs;
  chosen['stdout-path'] = `/soc/${unit('serial', UART)}`;
  if (options.initrd !== undefined) {
    chosen['linux,initrd-start'] = cells64(options.initrd.start);
    chosen['linux,initrd-end'] = cells64(options.initrd.end);
  }
  if (options.rngSeed !== undefined) chosen['rng-seed'] = options.rngSeed;

  const cpus: DeviceTreeNode = {
    name: 'cpus',
    properties: { '#address-cells': 1, '#size-cells': 0, 'timebase-frequency': TIMEBASE_HZ },
    children: [
      ...ids.map((hart) => ({
        name: `cpu@${hart.toString(16)}`,
        properties: {
          phandle: cpuPhandle(hart),
          device_type: 'cpu',
          reg: hart,
          status: 'okay',
          compatible: 'riscv',
          'riscv,isa': isaString(extensions),
          'riscv,isa-base': 'rv64i',
          'riscv,isa-extensions': canonicalOrder(extensions),
          'mmu-type': `riscv,${mmu}`,
        },
        children: [
          {
            name: 'interrupt-controller',
            properties: {
              '#interrupt-cells': 1,
              'interrupt-controller': true as const,
              compatible: 'riscv,cpu-intc',
              phandle: intcPhandle(hart),
            },
          },
        ],
      })),
      {
        name: 'cpu-map',
        properties: {},
        children: [
          {
            name: 'cluster0',
            properties: {},
            children: ids.map((hart) => ({ name: `core${hart}`, properties: { cpu: cpuPhandle(hart) } })),
          },
        ],
      },
    ],
  };

  const soc: DeviceTreeNode[] = [
    {
      name: unit('clint', ACLINT),
      properties: {
        compatible: ['sifive,clint0', 'riscv,clint0'],
        reg: reg(ACLINT),
        'interrupts-extended': toHarts(CAUSE.M_SOFTWARE, CAUSE.M_TIMER),
      },
    },
    {
      name: unit('plic', PLIC),
      properties: {
        phandle: plicPhandle,
        compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
        reg: reg(PLIC),
        'riscv,ndev': PLIC_SOURCES,
        'interrupt-controller': true,
        '#interrupt-cells': 1,
        '#address-cells': 0,
        'interrupts-extended': toHarts(CAUSE.M_EXTERNAL, CAUSE.S_EXTERNAL),
      },
    },
    {
      name: unit('test', TEST_FINISHER),
      properties: {
        phandle: testPhandle,
        compatible: ['sifive,test1', 'sifive,test0', 'syscon'],
        reg: reg(TEST_FINISHER),
      },
    },
    {
      name: unit('serial', UART),
      properties: {
        compatible: 'ns16550a',
        reg: reg(UART),
        'clock-frequency': UART_CLOCK_HZ,
        ...interrupt(UART.irq),
      },
    },
  ];
  if (devices) {
    soc.push({
      name: unit('rtc', GOLDFISH_RTC),
      properties: { compatible: 'google,goldfish-rtc', reg: reg(GOLDFISH_RTC), ...interrupt(GOLDFISH_RTC.irq) },
    });
    for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
      const region = virtioSlot(slot);
      soc.push({
        name: unit('virtio_mmio', region),
        properties: { compatible: 'virtio,mmio', reg: reg(region), ...interrupt(region.irq) },
      });
    }
  }
  const power = [
    ['poweroff', 0x5555],
    ['reboot', 0x7777],
  ] as const;

  return {
    name: '',
    properties: {
      '#address-cells': 2,
      '#size-cells': 2,
      compatible: 'riscv-virtio',
      model: 'riscv-virtio,ballonet',
    },
    children: [
      { name: 'chosen', properties: chosen },
      ...power.map(([name, value]) => ({
        name,
        properties: { compatible: `syscon-${name}`, regmap: testPhandle, offset: 0, value },
      })),
      {
        name: `memory@${RAM_BASE.toString(16)}`,
        properties: { device_type: 'memory', reg: [...cells64(RAM_BASE), ...cells64(memoryBytes)] },
      },
      cpus,
      {
        name: 'soc',
        properties: { '#address-cells': 2, '#size-cells': 2, compatible: 'simple-bus', ranges: true },
        children: soc,
      },
    ],
  };
}

/** {@link virtTree} as a blob. */
export function virtDeviceTree(options: VirtTreeOptions): Uint8Array {
  return encodeDeviceTree(virtTree(options));
}

function unit(name: string, region: Region): string {
  return `${name}@${region.base.toString(16)}`;
}

function reg(region: Region): number[] {
  return [...cells64(region.base), ...cells64(region.size)];
}
