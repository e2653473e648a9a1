/** What can be traced: `asm` is `regions` with the code of each new one. */
export const TRACES = ['regions', 'exits', 'asm'] as const;
export type Trace = (typeof TRACES)[number];
