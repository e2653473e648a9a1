/** What a guest boots: opened by the host, which says at once what is wrong with a path, and read by the guest's thread. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { type ImageSource, imageInMemory } from '../firmware/image-source.ts';
import { fileError, RandomAccessFile } from './files.ts';

/** The images by what they are for: GuestConfig says where they are. */
const USES = ['kernel', 'initrd', 'firmware'] as const;
type ImageUse = (typeof USES)[number];

/** An image: an open file, or the contents of what does not say how long it is (a pipe, a file of /proc). */
export type OpenImage =
  | { readonly path: string; readonly descriptor: number; readonly size: number }
  | { readonly path: string; readonly bytes: Uint8Array };

export type OpenImages = { readonly [use in ImageUse]?: OpenImage };

/**
 * Opens a guest's images; the descriptors are the caller's.
 * @throws FileError
 */
export function openImages(paths: { readonly [use in ImageUse]: string | undefined }): OpenImages {
  const images: { [use in ImageUse]?: OpenImage } = {};
  try {
    for (const use of USES) {
      const path = paths[use];
      if (path !== undefined) images[use] = openImage(use, path);
    }
  } catch (error) {
    closeImages(images);
    throw error;
  }
  return images;
}

export function closeImages(images: OpenImages): void {
  for (const image of Object.values(images)) if ('descriptor' in image) closeSync(image.descriptor);
}

function openImage(use: ImageUse, path: string): OpenImage {
  try {
    const descriptor = openSync(path, 'r');
    let isKept = false;
    try {
      const stat = fstatSync(descriptor);
      isKept = stat.isFile() && stat.size > 0;
      return isKept ? { path, descriptor, size: stat.size } : { path, bytes: readFileSync(descriptor) };
    } finally {
      if (!isKept) closeSync(descriptor);
    }
  } catch (error) {
    throw fileError(use, path, error, 'read');
  }
}

/** The images as a machine takes them. They are read only while it is made. */
export function imageSources(images: OpenImages): { readonly [use in ImageUse]?: ImageSource } {
  const sources: { [use in ImageUse]?: ImageSource } = {};
  for (const use of USES) {
    const image = images[use];
    if (image === undefined) continue;
    const { path } = image;
    if ('bytes' in image) sources[use] = imageInMemory(path, image.bytes);
    else {
      const file = new RandomAccessFile(image.descriptor, `${use} ${path}`);
      sources[use] = { name: path, size: image.size, read: (offset, target) => file.read(offset, target) };
    }
  }
  return sources;
}
