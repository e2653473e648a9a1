/** Width of one device access in bytes. */
export type Width = 1 | 2 | 4;

/**
 * A device that is reached by loads and stores. Offsets count from the start of its region and are multiples
 * of the width; values are unsigned. A device answers every offset of its region: one without a register
 * reads as 0 and takes no write.
 */
export interface MmioDevice {
  readonly name: string;
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

/** A wire from a device to the interrupt controller. */
export interface IrqLine {
  set(level: boolean): void;
}

/** Where a device tells what a guest did wrong or what failed on its behalf. Must not throw. */
export type DeviceLog = (error: Error) => void;

/** A load or store that no device answers: an access fault for the hart. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly address: number;
  readonly width: number;

  constructor(address: number, width: number, why: string) {
    super(`${width}-byte access to guest-physical 0x${address.toString(16)}: ${why}`);
    this.address = address;
    this.width = width;
  }
}

interface Mapping {
  readonly base: number;
  readonly end: number;
  readonly device: MmioDevice;
}

/** Finds the device of a guest-physical address and splits 8-byte accesses, low half first. */
export class Bus {
  #mappings: Mapping[] = [];
  /** The mapping that answered last: devices are accessed in bursts. */
  #last: Mapping | undefined;

  /** Puts `device` at `[base, base + size)`; throws if that overlaps another one. */
  map(base: number, size: number, device: MmioDevice): void {
    const end = base + size;
    const other = this.#mappings.find((m) => base < m.end && m.base < end);
    if (other !== undefined) {
      throw new RangeError(`${device.name} at 0x${base.toString(16)} overlaps ${other.device.name}`);
    }
    this.#mappings.push({ base, end, device });
    this.#mappings.sort((a, b) => a.base - b.base);
  }

  /** Whether a device owns `address`. */
  isMapped(address: number): boolean {
    return this.#find(address) !== undefined;
  }

  /** Loads `width` bytes, zero-extended; throws {@link BusError} where nothing answers. */
  read(address: number, width: 1 | 2 | 4 | 8): bigint {
    if (width !== 8) return BigInt(this.load(address, width));
    this.#require(address, 8);
    const low = this.load(address, 4);
    return (BigInt(this.load(address + 4, 4)) << 32n) | BigInt(low);
  }

  /** Stores the low `width` bytes of `value`; throws {@link BusError} where nothing answers. */
  write(address: number, width: 1 | 2 | 4 | 8, value: bigint): void {
    if (width !== 8) {
      this.store(address, width, Number(BigInt.asUintN(8 * width, value)));
      return;
    }
    this.#require(address, 8);
    this.store(address, 4, Number(value & 0xffff_ffffn));
    this.store(address + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  /** {@link read} without bigint, for 1, 2 and 4 bytes. */
  load(address: number, width: Width): number {
    const { base, device } = this.#require(address, width);
    return device.read(address - base, width) >>> 0;
  }

  /** {@link write} without bigint, for 1, 2 and 4 bytes. */
  store(address: number, width: Width, value: number): void {
    const { base, device } = this.#require(address, width);
    device.write(address - base, width, value >>> 0);
  }

  #require(address: number, width: number): Mapping {
    const mapping = this.#find(address);
    if (mapping === undefined || address + width > mapping.end) {
      throw new BusError(address, width, 'no device is there');
    }
    if (address % width !== 0) throw new BusError(address, width, `${mapping.device.name} takes aligned accesses only`);
    return mapping;
  }

  #find(address: number): Mapping | undefined {
    const last = this.#last;
    if (last !== undefined && address >= last.base && address < last.end) return last;
    const found = this.#mappings.find((m) => address >= m.base && address < m.end);
    if (found !== undefined) this.#last = found;
    return found;
  }
}
