import { Assembler } from '../engine/assembler.ts';

/** A flat image with the header that Linux's have: 64 bytes, of which the first jumps behind it. */
export function kernelImage(code: Uint8Array): Uint8Array {
  const image = new Uint8Array(64 + code.length);
  const view = new DataView(image.buffer);
  image.set(new Assembler().i('jal', { rd: 0, imm: 64 }).finish());
  view.setBigUint64(8, 0x20_0000n, true);
  view.setBigUint64(16, BigInt(image.length), true);
  image.set(Buffer.from('RSC\x05', 'latin1'), 56);
  image.set(code, 64);
  return image;
}
