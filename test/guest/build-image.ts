// A process that builds a guest image, for tests that need several, or one that is killed in the middle of its work.

import { type GuestImageOptions, prepareGuestImage } from '../../src/guest/index.ts';

const [options = '{}', mode] = process.argv.slice(2);
const image = await prepareGuestImage({
  ...(JSON.parse(options) as GuestImageOptions),
  onProgress: (progress) => {
    process.send?.({ progress });
    // Waits where it is, in the middle of the work, to be killed.
    if (mode === 'stop' && progress.startsWith('unpacking'))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
});
process.send?.({ folder: image.folder });
process.disconnect?.();
