/**
 * The engine without instruments, if what is executed has been built (scripts/bundle.ts puts its bytes here): to write it takes
 * a program's start as long as all else.
 */
export const BUILT_ENGINE: Uint8Array<ArrayBuffer> | undefined = undefined;
