export { compileEngine, hartEngineBytes } from './engine.ts';
export { Machine, type MachineExit, type MachineOptions } from './machine.ts';
export { type Disk, MAX_DISKS } from './platform.ts';
