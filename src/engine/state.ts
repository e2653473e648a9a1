import { PMP_ENTRIES, STATE_FIELDS_32, STATE_FIELDS_64, type StateField32, type StateField64 } from '../isa/fields.ts';
import { CODE_COUNTER_NAMES, type CounterName, HOST_COUNTER_NAMES } from './counters.ts';

/**
 * Where a hart's state stands in its hart area, in bytes from the area's start. The generated code and the classes
 * around it both read this.
 *
 *     0      control block (requests from other threads, see the memory layout)
 *     512    x registers, then f registers, 8 bytes each
 *     1024   64-bit fields, 32-bit fields
 *     ...    PMP ranges, streams, predictions, return stack
 *     ...    first-level TLBs: for each context a read and a write table; then the fetch tables
 *     ...    second-level TLB, walk cache, marks of large pages
 *     ...    jump tables, counters of jumps, decoded blocks
 */

export const CONTROL_BYTES = 512;
/** First word of the control block: not 0 when somebody wants the hart's attention. */
export const REQUEST_OFFSET = 0;

export const X_OFFSET = CONTROL_BYTES;
export const F_OFFSET = X_OFFSET + 32 * 8;
const FIELDS_OFFSET = F_OFFSET + 32 * 8;

/** What the engine keeps beyond the architectural state. */
const ENGINE_FIELDS_64 = [
  /** Instructions retired before the current chunk. */
  'retired',
  /** Instructions that may still be executed before `run` returns. */
  'budget',
  /** Value for xtval of the exception under way. */
  'trapValue',
  /** Where slow accesses put what was loaded, and CSR accesses the old value. */
  'value',
  /** Guest-physical address of the device access under way. */
  'deviceAddress',
  'reservationValue',
  /** Guest-virtual address of the entry of the region that was last left to the interpreter. */
  'regionEntry',
  /** Code for samples only: address in the region that the hart has come out of to poll; 0: it has not. */
  'leftFrom',
  /** Time in ticks at which `run` returns for a timer of the platform. */
  'deadline',
  /** Time in ticks of the last poll. */
  'polled',
] as const;

const ENGINE_FIELDS_32 = [
  /** xcause of the trap under way: exception code, or interrupt number with bit 31 set. */
  'trapCause',
  /** Instructions left of the current chunk, and those that it had: a chunk lies between two polls. */
  'remaining',
  'chunk',
  /** Instructions that a chunk has where the budget does not end before, and the most that it may have. */
  'pace',
  'longestPace',
  /** Byte address of the TLB tables for data accesses now, and of the fetch table. */
  'dataTlb',
  'fetchTlb',
  /** Byte address of the jump table for the privilege now. */
  'jumpTable',
  /** Byte address of the entry of the return stack that was pushed last. */
  'returnTop',
  /** 1: something stands in a jump table; 1: some of it is of supervisor pages that are not global. */
  'jumpTableUsed',
  'jumpTableLocal',
  /** What entries of the jump table have to say of their address space now: its number in U-mode, 0 otherwise. */
  'jumpSpace',
  /** Privilege of data accesses (it differs from `privilege` under MPRV). */
  'dataPrivilege',
  'reservationAddress',
  /** 1: the page that is being executed may have changed; fetch again before the next instruction. */
  'refetch',
  /** 1: no device answers at the address (set by the device access). */
  'deviceFault',
  /** The last translation for a write: bit 0: of a frame that holds decoded code; bit 1: good for this store only. */
  'codeFrame',
  /** Machine address that `reach` and `look` have given last. */
  'reached',
  /** 1: a region has come to a group of accesses that lies on two pages. */
  'straddled',
  /** 1: a store is being translated, and nothing but a store. */
  'storing',
  /** 1: the last translation is good for one store only. */
  'singleStore',
  /** 1: an environment call from S-mode goes to the VMM (paravirtualization). */
  'hypercalls',
  /** Byte address and number of entries of the guest's nested page table. */
  'npt',
  'ramPages',
  /** Byte address of the frame table; machine frame number of the page of zeros. */
  'frameTable',
  'zeroFrame',
  /** 0: no PMP check at all. Otherwise the number of entries in `pmpRanges`. */
  'pmpChecks',
  /** Leaf page of the last walk: the number of address bits below it, and bits 0..7 of its entry; G also if inherited. */
  'leafShift',
  'leafFlags',
  /** How the last address for a fetch was granted: by the PMP (1: the whole page), and in every address space (not 0). */
  'fetchGranted',
  'fetchGlobal',
  /** Numbers that stand in second-level entries: of the address space now, of global pages, and the next to be given. */
  'space',
  'globalSpace',
  'nextSpace',
  /** Numbers below this one are no longer valid. */
  'firstSpace',
  /** Which way of a second-level set is given up next. */
  'victim',
  /** The instruction bits that the crossing slot was decoded from. */
  'crossingBits',
  /** Raised whenever the embedder has emptied the TLBs: a translation that was begun before must not be used. */
  'flushes',
  /** What a fence has to order: a value of FENCES. */
  'fences',
  /** PAUSE instructions since the last poll, where there are other harts. */
  'pauses',
  /** Byte address of the count of changes of code by any hart of the guest; what it was when this hart last looked. */
  'codeChanges',
  'codeChangesSeen',
] as const;

export type Field64 = StateField64 | (typeof ENGINE_FIELDS_64)[number] | CounterName;
export type Field32 = StateField32 | (typeof ENGINE_FIELDS_32)[number];

const FIELDS_64: readonly Field64[] = [
  ...STATE_FIELDS_64,
  ...ENGINE_FIELDS_64,
  ...CODE_COUNTER_NAMES,
  ...HOST_COUNTER_NAMES,
];
const FIELDS_32: readonly Field32[] = [...STATE_FIELDS_32, ...ENGINE_FIELDS_32];
const FIELDS_32_OFFSET = FIELDS_OFFSET + FIELDS_64.length * 8;
const OFFSETS_64 = new Map(FIELDS_64.map((name, index) => [name, FIELDS_OFFSET + index * 8]));
const OFFSETS_32 = new Map(FIELDS_32.map((name, index) => [name, FIELDS_32_OFFSET + index * 4]));

export const offset64 = (field: Field64): number => OFFSETS_64.get(field)!;
export const offset32 = (field: Field32): number => OFFSETS_32.get(field)!;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

export const PMPADDR_OFFSET = align(FIELDS_32_OFFSET + FIELDS_32.length * 4, 8);
/** PMP entries that are in use, in order: first byte (u64), last byte (u64), pmpcfg byte (u64). */
export const PMP_RANGES_OFFSET = PMPADDR_OFFSET + PMP_ENTRIES * 8;
export const PMP_RANGE_BYTES = 24;

/**
 * The crossing slot, for an instruction that is looked at for every execution: one that crosses a page, because its two
 * halves may come from any two frames, and one on a page that the PMP grants only in part. One decoded instruction,
 * then two end-of-block slots, for what follows one of 2 and one of 4 bytes.
 */
export const CROSSING_OFFSET = PMP_RANGES_OFFSET + PMP_ENTRIES * PMP_RANGE_BYTES;

/**
 * The streams of the translated region that is executed: for each the page of its last access.
 *   0..7   guest-virtual address of the page
 *   8..15  an access that begins at less than this from the start of the page is on it as a whole; 0: there is no page
 *   16..19 machine address of the frame
 *   20..23 unused
 * A region empties those that it uses when it begins. They are in memory because they are more than a processor has
 * registers for, beside those of the guest.
 */
export const MOST_STREAMS = 16;
export const STREAM_BYTES = 24;
export const STREAMS_OFFSET = CROSSING_OFFSET + 24;

/**
 * Predictions, for reads in loops whose address comes from what they have read in an earlier turn: what is expected in bytes 8..11
 * of the TLB entry, so that the address need not wait for the entry to be loaded. Each has its place by the contents of its
 * region; where two of them meet, both are wrong more often.
 *   0..3   the difference of machine and guest-virtual address, as in the entry; NO_PREDICTION (1): none
 *   4..7   bits 0..7: how often it was wrong too soon; 8..31: low bits of the instructions left when it was wrong last
 */
export const PREDICTIONS = 512;
export const PREDICTION_BYTES = 8;
export const PREDICTIONS_OFFSET = STREAMS_OFFSET + MOST_STREAMS * STREAM_BYTES;

/**
 * The return stack: for each region that has called itself, as a function of WebAssembly, and waits, the guest-virtual address
 * behind the guest's call (u64). A region that jumps to the address on top returns into the one that waits. Below all stands an
 * odd number, which no address is.
 * Invariant: what waits may be gone on with at once. Whatever empties the jump tables has the hart leave the region that it is
 * in, and with it all that wait.
 */
export const RETURNS_OFFSET = PREDICTIONS_OFFSET + PREDICTIONS * PREDICTION_BYTES;
/** Entries, the odd number included: so many frames there may be on the stack of a hart's thread. */
export const RETURNS = 128;
const STATE_END = RETURNS_OFFSET + RETURNS * 8;

/**
 * First-level TLBs. An entry has 16 bytes:
 *   0..7   tag: the guest-virtual page (data) or block (fetch) address; all ones when the entry is empty. An access
 *          matches when its address with the page offset cleared, but for the bits that would make it misaligned,
 *          equals the tag.
 *   8..11  data: machine address minus the low 32 bits of the guest-virtual address;
 *          fetch: machine address of the decoded block.
 *   12..15 unused
 * Data contexts: U, S, S with SUM, M. An entry is used only in the context that it was made in, so that a change of
 * privilege needs no flush.
 */
export const TLB_OFFSET = align(STATE_END, 4096);
export const TLB_ENTRIES = 1024;
export const TLB_ENTRY_BYTES = 16;
export const TLB_TABLE_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
/** In a data context the read table comes first, then the write table. */
export const TLB_WRITE_OFFSET = TLB_TABLE_BYTES;
export const DATA_CONTEXT_BYTES = 2 * TLB_TABLE_BYTES;
export const DATA_CONTEXT = { U: 0, S: 1, SUM: 2, M: 3 } as const;
export const DATA_TABLES = 8;
export const FETCH_TLB_OFFSET = TLB_OFFSET + DATA_TABLES * TLB_TABLE_BYTES;
/** Fetch contexts by privilege (0, 1, and 3 at index 2). Their entries are of decoded blocks instead of pages. */
export const FETCH_TLB_ENTRIES = 1024;
export const FETCH_TABLE_BYTES = FETCH_TLB_ENTRIES * TLB_ENTRY_BYTES;
export const FETCH_TABLES = 3;

/**
 * For each first-level table, data tables first: a u64 with a bit for each 64th part of the table that holds entries, then
 * one with those parts that hold an entry which is not valid in every address space. A flush empties only these parts.
 */
export const TLB_USED_OFFSET = FETCH_TLB_OFFSET + FETCH_TABLES * FETCH_TABLE_BYTES;
export const TLB_USED_BYTES = 16;

/**
 * Second-level TLB and walk cache: sets of 4 entries of 16 bytes.
 *   0..7   tag: the address of the page (second level) or of the 2 MiB around it (walk cache)
 *   8..11  number of the address space that the entry is of; numbers are never used again, so that a new one flushes
 *   12..15 second level: offset of the page in RAM (bits 12..31); R, W, X, U, G as page table entries have them:
 *          accesses that were granted by page table and PMP, with all accessed and dirty bits set;
 *          walk cache: see there
 * Neither knows frames: the nested page table is looked at each time.
 */
export const SET_WAYS = 4;
export const SET_BYTES = SET_WAYS * 16;
export const SECOND_TLB_SETS = 4096;
export const SECOND_TLB_OFFSET = align(TLB_USED_OFFSET + (DATA_TABLES + FETCH_TABLES) * TLB_USED_BYTES, 64);
export const WALK_CACHE_SETS = 128;
export const WALK_CACHE_OFFSET = SECOND_TLB_OFFSET + SECOND_TLB_SETS * SET_BYTES;

/** Address spaces by the low 8 bits of their ASID: satp (u64), number (u32), unused (u32). */
export const SPACES = 256;
export const SPACES_OFFSET = WALK_CACHE_OFFSET + WALK_CACHE_SETS * SET_BYTES;
export const SPACE_BYTES = 16;

/** Bits by 2 MiB, then by 1 GiB, of the address: translations of a larger page may be cached there. */
export const LARGE_MARKS_BYTES = 1024;
export const LARGE_MARKS_OFFSET = SPACES_OFFSET + SPACES * SPACE_BYTES;
export const TLB_END = LARGE_MARKS_OFFSET + 2 * LARGE_MARKS_BYTES;

/**
 * Jump tables, one by privilege as the fetch tables: translated regions by guest-virtual address, in sets of two entries
 * of which the first was used later. An entry has 16 bytes:
 *   0..7   address of the region's entry, with bit 0 set; 0 when the entry is empty
 *   8..11  index of its function in the hart's table
 *   12..15 number of the address space that it is for, or 0 (`jumpSpace`)
 * Invariant: what the table names may be executed at once: all code of the region is mapped where the region expects
 * it, and unchanged. Whatever could change that empties the table. A change of the address space does not: user code of
 * another one is not found, and supervisor code is usually global.
 */
export const JUMP_TABLE_OFFSET = align(TLB_END, 4096);
export const JUMP_SETS = 2048;
export const JUMP_ENTRY_BYTES = 16;
export const JUMP_SET_BYTES = 2 * JUMP_ENTRY_BYTES;
export const JUMP_TABLE_BYTES = JUMP_SETS * JUMP_SET_BYTES;
/** Behind the tables a bit for each page, several sharing one, that a region in them has code on: bit 0 is page 0. */
export const JUMP_PAGES_OFFSET = JUMP_TABLE_OFFSET + 3 * JUMP_TABLE_BYTES;
export const JUMP_PAGES = 65536;
export const JUMP_TABLES_END = JUMP_PAGES_OFFSET + JUMP_PAGES / 8;

/**
 * Counters (u16) of jumps by the slot that they lead to, several slots sharing one: how many more there may be until
 * the code there counts as hot.
 */
export const COUNTERS_OFFSET = JUMP_TABLES_END;
export const COUNTERS = 8192;
const COUNTERS_END = COUNTERS_OFFSET + COUNTERS * 2;

/**
 * Where the interpreter's indirect jumps but for returns have led to, by the slot of the jump, several slots sharing an entry of 104 bytes:
 *   0..3    machine address of the slot
 *   4..7    unused
 *   8..39   for each of 8 places: number of jumps to its target since that took it; 0: there is none
 *   40..103 for each place: a guest-virtual address. Which place it has follows from its lower half
 */
export const JUMP_SITES_OFFSET = align(COUNTERS_END, 8);
export const JUMP_SITES = 1024;
export const JUMP_SITE_TARGETS = 8;
export const JUMP_SITE_BYTES = 8 + JUMP_SITE_TARGETS * 12;
const JUMP_SITES_END = JUMP_SITES_OFFSET + JUMP_SITES * JUMP_SITE_BYTES;

/**
 * Where decoded blocks are, by the block of machine memory, several sharing an entry of 16 bytes:
 *   0..3   number of the block (machine address >>> BLOCK_SHIFT) + 1; 0 when the entry is empty
 *   4..7   machine address of the decoded block
 *   8..11  the frame's word with flags and generation, which has to be the same still
 *   12..15 unused
 */
export const BLOCK_ENTRIES_OFFSET = align(JUMP_SITES_END, 16);
export const BLOCK_ENTRIES = 8192;
export const BLOCK_ENTRY_BYTES = 16;
const BLOCK_ENTRIES_END = BLOCK_ENTRIES_OFFSET + BLOCK_ENTRIES * BLOCK_ENTRY_BYTES;

/**
 * Decoded blocks. A block is a quarter of a page of guest code; for each halfword of it there is a slot of 8 bytes:
 *   byte 0    operation: index into the interpreter's handlers, of this instruction or of a pair (0: not decoded yet)
 *   byte 1..3 rd, rs1, rs2, each times 8
 *   byte 4..7 immediate, signed; floating point: bits 0..2 rm, bits 8..15 rs3 times 8; CSR instructions: index into
 *             CSRS
 * Behind the slots: two end-of-block slots (the last instruction may reach 2 bytes into the next block), then the
 * machine address of the block's code (u32).
 */
export const BLOCK_SHIFT = 10;
export const BLOCK_BYTES = 1 << BLOCK_SHIFT;
export const SLOT_BYTES = 8;
export const SLOTS_BYTES = (BLOCK_BYTES / 2) * SLOT_BYTES;
export const DECODED_CODE_OFFSET = SLOTS_BYTES + 2 * SLOT_BYTES;
export const DECODED_BLOCK_BYTES = SLOTS_BYTES + 3 * SLOT_BYTES;
export const DECODED_OFFSET = align(BLOCK_ENTRIES_END, 4096);

/** Decoded blocks in a piece of memory that a hart gets beside its area when it executes much code, and bytes of it. */
export const MORE_BLOCKS = 128;
export const MORE_BLOCKS_BYTES = MORE_BLOCKS * DECODED_BLOCK_BYTES;

/** Bytes of a hart area with room for `blocks` decoded blocks. */
export const hartAreaBytes = (blocks: number): number => align(DECODED_OFFSET + blocks * DECODED_BLOCK_BYTES, 4096);

/** What a fence has to do, by the harts of the guest and the processor below. */
export const FENCES = {
  /** Nothing: nobody else looks. */
  none: 0,
  /** Other harts look, and the processor keeps all orders by itself but that of a store before a load. */
  storeBeforeLoad: 1,
  /** Other harts look, and the processor keeps no order by itself. */
  all: 2,
} as const;

/** Why `run` returned. */
export const EXIT = {
  /** The budget of instructions is used up. */
  budget: 1,
  /** WFI and no interrupt is pending. */
  wfi: 2,
  /** ECALL from S-mode that is for the VMM; pc is that of the ECALL. */
  hypercall: 3,
  /** Somebody set a bit of the request word. */
  request: 4,
  /** The time in `deadline` has come. */
  deadline: 5,
  /** The hart spins: see MOST_PAUSES. */
  pause: 6,
} as const;

/** Instructions between two polls, which look at requests, timers and the budget: at first, and the least. */
export const CHUNK = 20_000;
/** The most, for the only hart of a guest: others would wait for what they ask of it. */
export const LONGEST_CHUNK = 16 * CHUNK;
/** Time in ticks between two polls: after less the next chunk has twice as many instructions, after more half as many. */
export const POLL_TICKS = { least: 1000, most: 4000 } as const;

/** PAUSE instructions between two polls after which a hart counts as spinning: a fifth or so of what fits in between. */
export const MOST_PAUSES = 500;

/** Constants of the memory manager's tables that the generated code needs; the memory layout defines them. */
export interface MemoryConstants {
  readonly ramBase: number;
  readonly present: number;
  readonly writable: number;
  readonly accessed: number;
  readonly dirty: number;
  /** Kind bits of an entry that is not present; 0 is the page of zeros. */
  readonly kindMask: number;
  readonly payloadShift: number;
  readonly frameBytes: number;
  /** Byte offset in a frame's entry of the word with the flags, and the flag of frames with decoded code. */
  readonly frameInfoOffset: number;
  readonly frameCode: number;
  /** The flag of frames with decoded code of which every hart knows. */
  readonly frameCodeKnown: number;
}
