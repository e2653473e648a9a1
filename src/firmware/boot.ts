import type { GuestRam } from '../devices/guest-ram.ts';
import { isElf, readElf } from './elf.ts';
import { FW_DYNAMIC_INFO_SIZE, fwDynamicInfo } from './fw-dynamic.ts';
import { ImageError, type ImageRole, sizeText } from './image-error.ts';
import { bytesOf, type ImageSource, imageInMemory } from './image-source.ts';
import { readLinuxImage } from './linux-image.ts';

/** Where a raw next stage begins in full virtualization, as on hardware with OpenSBI: 2 MiB after the start of RAM. */
const NEXT_STAGE_OFFSET = 0x20_0000;
const PAGE = 4096;
/** Firmware adds to the device tree where it stands: room left behind it. */
const DEVICE_TREE_SLACK = 16 * 1024;
const ELF_MAGIC_SIZE = 4;
/** Bytes that are in memory twice while an image is copied: few, so that they stay in the processor's cache. */
const COPIED_AT_ONCE = 128 * 1024;

/** What to copy to guest-physical `gpa`. RAM beyond the image, up to `memorySize`, is taken too and has to be zero. */
export interface Load {
  readonly role: ImageRole;
  readonly image: ImageSource;
  readonly gpa: number;
  readonly memorySize: number;
}

/** How a guest starts: what is in RAM, and the state of its first hart. All other registers are 0. */
export interface BootPlan {
  readonly mode: 'M' | 'S';
  readonly pc: number;
  /** Hart id. */
  readonly a0: number;
  /** Address of the device tree. */
  readonly a1: number;
  /** Address of OpenSBI's fw_dynamic information; 0 in S-mode. */
  readonly a2: number;
  readonly loads: readonly Load[];
  /** Addresses of the host-target interface, if the firmware has its symbols. */
  readonly htif?: { readonly tohost: number; readonly fromhost?: number };
}

export interface BootImages {
  readonly kernel?: ImageSource;
  readonly initrd?: ImageSource;
  /** Starts in M-mode if given, else the kernel starts in S-mode. */
  readonly firmware?: ImageSource;
  /** Makes the device tree once it is known where the initrd is. */
  readonly deviceTree: (initrd: { readonly start: number; readonly end: number } | undefined) => Uint8Array;
  readonly bootHart?: number;
}

/**
 * Decides where everything goes: firmware at the start of RAM, the kernel where its header says (2 MiB in), device
 * tree and, below it, initrd at the end. Throws {@link ImageError} if an image is none, is cut off, does not fit or
 * would overlap another.
 */
export function planBoot(ram: Pick<GuestRam, 'base' | 'size'>, images: BootImages): BootPlan {
  const { kernel, initrd, firmware, bootHart = 0 } = images;
  if (kernel === undefined && firmware === undefined)
    throw new RangeError('nothing to boot: pass a kernel or a firmware');
  const layout = new Layout(ram);

  let entry = 0;
  let htif: BootPlan['htif'];
  if (firmware !== undefined) {
    const placed = placeProgram(layout, 'firmware', firmware);
    entry = placed.entry;
    htif = placed.htif;
  }
  let next = ram.base + NEXT_STAGE_OFFSET;
  if (kernel !== undefined) next = placeKernel(layout, kernel);

  // From the end of RAM down: fw_dynamic information, device tree with room to grow, initrd.
  const end = ram.base + Math.floor(ram.size / PAGE) * PAGE;
  const information = end - PAGE;
  const treeLength = images.deviceTree({ start: 0, end: 0 }).length;
  const tree = alignDown(information - treeLength - DEVICE_TREE_SLACK);
  let initrdAt: { start: number; end: number } | undefined;
  if (initrd !== undefined) {
    const start = alignDown(tree - initrd.size);
    initrdAt = { start, end: start + initrd.size };
    layout.add({ role: 'initrd', image: initrd, gpa: start, memorySize: initrd.size });
  }
  const deviceTree = imageInMemory('(generated)', images.deviceTree(initrdAt));
  layout.add({ role: 'device tree', image: deviceTree, gpa: tree, memorySize: information - tree });
  if (firmware !== undefined) {
    const image = imageInMemory('(fw_dynamic information)', fwDynamicInfo(next, bootHart));
    layout.add({ role: 'firmware', image, gpa: information, memorySize: FW_DYNAMIC_INFO_SIZE });
  }
  return {
    mode: firmware === undefined ? 'S' : 'M',
    pc: firmware === undefined ? next : entry,
    a0: bootHart,
    a1: tree,
    a2: firmware === undefined ? 0 : information,
    loads: layout.loads,
    ...(htif === undefined ? {} : { htif }),
  };
}

/** Copies what the plan says into fresh RAM, all zeros before. */
export function loadBoot(ram: GuestRam, plan: BootPlan): void {
  const buffer = new Uint8Array(COPIED_AT_ONCE);
  for (const { gpa, image } of plan.loads) {
    for (let done = 0; done < image.size; done += COPIED_AT_ONCE) {
      const part = buffer.subarray(0, image.size - done);
      image.read(done, part);
      ram.write(gpa + done, part);
    }
  }
}

/** A flat kernel image or an ELF file; returns its entry. */
function placeKernel(layout: Layout, kernel: ImageSource): number {
  if (isElf(bytesOf(kernel, 0, ELF_MAGIC_SIZE))) return placeProgram(layout, 'kernel', kernel).entry;
  const { textOffset, imageSize } = readLinuxImage(kernel);
  const gpa = layout.ram.base + Math.max(textOffset, NEXT_STAGE_OFFSET);
  layout.add({ role: 'kernel', image: kernel, gpa, memorySize: imageSize });
  return gpa;
}

/** An ELF file goes where its headers say, anything else to the start of RAM as it is. */
function placeProgram(
  layout: Layout,
  role: 'kernel' | 'firmware',
  source: ImageSource,
): { entry: number; htif?: NonNullable<BootPlan['htif']> } {
  const { name, size } = source;
  if (!isElf(bytesOf(source, 0, ELF_MAGIC_SIZE))) {
    if (size === 0)
      throw new ImageError(role, name, 'truncated', 'is an empty file; pass a flat binary or an ELF file');
    layout.add({ role, image: source, gpa: layout.ram.base, memorySize: size });
    return { entry: layout.ram.base };
  }
  const { entry, segments, symbols } = readElf(role, source, ['tohost', 'fromhost']);
  for (const segment of segments) {
    if (segment.gpa < layout.ram.base) {
      throw new ImageError(
        role,
        name,
        'does not fit',
        `has a segment at 0x${segment.gpa.toString(16)}, the guest's memory begins at 0x${layout.ram.base.toString(16)}; link it for an address from there on`,
      );
    }
    const { gpa, bytes, memorySize } = segment;
    layout.add({ role, image: imageInMemory(name, bytes), gpa, memorySize });
  }
  const tohost = symbols.get('tohost');
  const fromhost = symbols.get('fromhost');
  if (tohost === undefined) return { entry };
  return { entry, htif: fromhost === undefined ? { tohost } : { tohost, fromhost } };
}

/** What has been placed, checked against RAM and against each other. */
class Layout {
  readonly ram: Pick<GuestRam, 'base' | 'size'>;
  readonly loads: Load[] = [];

  constructor(ram: Pick<GuestRam, 'base' | 'size'>) {
    this.ram = ram;
  }

  add(load: Load): void {
    const { role, image, gpa, memorySize } = load;
    const { base, size } = this.ram;
    if (gpa < base || gpa + memorySize > base + size) {
      const where = gpa < base ? '' : ` at 0x${gpa.toString(16)}`;
      throw new ImageError(
        role,
        image.name,
        'does not fit',
        `needs ${sizeText(memorySize)}${where}, the guest's memory is ${sizeText(size)} from 0x${base.toString(16)}; give the guest more memory`,
      );
    }
    const other = this.loads.find((placed) => gpa < placed.gpa + placed.memorySize && placed.gpa < gpa + memorySize);
    if (other !== undefined) {
      throw new ImageError(
        role,
        image.name,
        'overlap',
        `would overlap the ${other.role} ${other.image.name} at 0x${other.gpa.toString(16)}: ${sizeText(memorySize)} at 0x${gpa.toString(16)} in ${sizeText(size)} of memory; give the guest more memory`,
      );
    }
    this.loads.push(load);
  }
}

function alignDown(address: number): number {
  return Math.floor(address / PAGE) * PAGE;
}
