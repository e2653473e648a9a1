/** Bit positions in `mip` (and `mie`) of the interrupts that the platform drives. */
export const MIP = { SSIP: 1, MSIP: 3, STIP: 5, MTIP: 7, SEIP: 9, MEIP: 11 } as const;

/** The interrupt inputs of one hart. A device calls it when a level changes, not again for the same level. */
export interface HartLines {
  /** The level of `mip` bit `bit`, one of {@link MIP}. */
  isPending(bit: number): boolean;
  /** Sets the level of `mip` bit `bit`, one of {@link MIP}. */
  setPending(bit: number, level: boolean): void;
}
