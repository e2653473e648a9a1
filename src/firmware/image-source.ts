/** An image given to boot from. Its contents need not be in memory: they are those of a file mostly. */
export interface ImageSource {
  /** What messages call it: the path of the file, or where it came from. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Fills all of `target` with what begins at byte `offset`; both ends are within the contents. */
  read(offset: number, target: Uint8Array): void;
}

/** An image that is in memory. */
export const imageInMemory = (name: string, bytes: Uint8Array): ImageSource => ({
  name,
  size: bytes.length,
  read: (offset, target) => target.set(bytes.subarray(offset, offset + target.length)),
});

/** Up to `length` bytes of an image, fewer where it ends. */
export function bytesOf(image: ImageSource, offset = 0, length: number = image.size): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, Math.min(length, image.size - offset)));
  image.read(offset, bytes);
  return bytes;
}
