/**
 * Where the modules of the host's worker threads are: TypeScript in a clone, JavaScript in an installed package, whose build puts
 * what several modules share beside them.
 */

/** @param name of the module in this folder, without its ending */
export function workerUrl(name: string): URL {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./${name}.${ending}`, import.meta.url);
}
