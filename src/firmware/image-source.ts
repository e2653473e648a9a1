/** Contents that need not be in memory: those of a file mostly. */
export interface Contents {
  /** Length in bytes. */
  readonly size: number;
  /** Fills all of `target` with what begins at byte `offset`; both ends are within the contents. */
  read(offset: number, target: Uint8Array): void;
}

/** An image given to boot from. */
export interface ImageSource extends Contents {
  /** What messages call it: the path of the file, or where it came from. */
  readonly name: string;
}

/** An image that is in memory. */
export const imageInMemory = (name: string, bytes: Uint8Array): ImageSource => ({
  name,
  size: bytes.length,
  read: (offset, target) => target.set(bytes.subarray(offset, offset + target.length)),
});

/** Up to `length` bytes of contents, fewer where they end. */
export function bytesOf(contents: Contents, offset = 0, length: number = contents.size): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, Math.min(length, contents.size - offset)));
  contents.read(offset, bytes);
  return bytes;
}
