/** What a translated region returns: what the interpreter does next. pc and the registers are in memory then. */
export const REGION_STATUS = {
  /** Goes on at pc. */
  continue: 0,
  /** Goes on at pc; the address space, privilege or enabled interrupts have changed. */
  fetch: 1,
  /** Takes the exception that was raised; pc is that of the instruction. */
  exception: 2,
  /** Looks at timers and requests, then goes on at pc. */
  poll: 3,
  /** Executes the instruction at pc itself: it is not for a region, or not now. */
  interpret: 4,
} as const;
