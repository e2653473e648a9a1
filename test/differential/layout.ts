/**
 * Memory of the machine that runs test programs. Guest-physical addresses; everything that a program may reach lies
 * in the first 2 MiB, so that one superpage covers it.
 *
 *   8000_0000  monitor code (M-mode), one page; the S-mode trap stub in the page after it
 *   8000_2000  monitor variables, saved registers
 *   8000_4000  trap log
 *   8000_8000  signature being assembled
 *   8001_0000  program code, two pages
 *   8002_0000  program data, four pages
 *   8003_0000  page tables, sixteen pages
 *   8020_0000  the batch: program after program, ended by a zero word
 */
export const RAM_BASE = 0x8000_0000;
export const STUB = 0x8000_1000;
export const VARIABLES = 0x8000_2000;
export const TRAP_LOG = 0x8000_4000;
export const SIGNATURE = 0x8000_8000;
export const CODE = 0x8001_0000;
export const CODE_SIZE = 0x2000;
export const DATA = 0x8002_0000;
export const DATA_SIZE = 0x4000;
export const PAGE_TABLES = 0x8003_0000;
export const PAGE_TABLES_SIZE = 0x10000;
export const BATCH = 0x8020_0000;

export const UART = 0x1000_0000;
export const TEST_FINISHER = 0x10_0000;
export const MSIP = 0x200_0000;
export const MTIMECMP = 0x200_4000;

/** Bytes of a page. */
export const PAGE = 4096;

/** Memory of the test machine in MiB. */
export const MEMORY_MIB = 64;

/** Most trap log entries; the program is ended by the trap after the limit in its header, which is at most this. */
export const MAX_TRAPS = 400;

/** Words (8 bytes) of a trap log entry: cause, pc, trap value, status. */
export const TRAP_WORDS = 4;

/** mcause of the entry that the monitor logs for a trap which the S-mode stub took: bit 62 marks scause. */
export const DELEGATED = 1n << 62n;
