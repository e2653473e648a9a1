export { compileEngine } from './compile.ts';
export { hartEngineBytes } from './engine.ts';
export { Machine, type MachineExit, type MachineOptions } from './machine.ts';
export type { Disk } from './platform.ts';
export type { ThreadOptions } from './processor.ts';
export { Sibling } from './sibling.ts';
