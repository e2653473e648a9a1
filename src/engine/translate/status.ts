/** What a translated region returns: what the interpreter does next. pc and the registers are in memory then. */
export const REGION_STATUS = {
  /** Goes on at pc. */
  continue: 0,
  /** Goes on at pc; the address space, privilege or enabled interrupts have changed. */
  fetch: 1,
  /** Executes the instruction at pc itself: it is not for a region, or not now. */
  interpret: 2,
  /** To a region that waits, never to the interpreter: the address on top of the return stack has been jumped to. */
  returned: 3,
} as const;
