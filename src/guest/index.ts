// Guest images from Debian packages.

export { buildInitramfs } from './build-initramfs.ts';
export { cacheDirectory } from './cache.ts';
export { type CpioEntry, CpioPathError, writeCpio } from './cpio.ts';
export { GuestImageError, type GuestImageErrorCode } from './errors.ts';
export {
  type GuestImage,
  type GuestImageOptions,
  IMAGE_MODULES,
  type ImageModule,
  prepareGuestImage,
} from './image.ts';
export {
  DEFAULT_MODULES,
  EXIT_MARK,
  type GuestFile,
  type Initramfs,
  type InitramfsOptions,
  prepareInitramfs,
} from './initramfs.ts';
export { type KernelSymbol, readKallsyms } from './kallsyms.ts';
export { checkOwnFile, isLinuxImage } from './kernel.ts';
export { type DebianPackages, type DebianPackagesOptions, prepareDebianPackages } from './packages.ts';
