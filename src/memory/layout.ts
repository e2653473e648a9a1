/**
 * Where everything stands in the machine memory: one shared linear memory of a fixed size that holds all of the host.
 *
 *     page 0        host header
 *     page 1 ...    frame table, FRAME_BYTES for each frame of the machine memory (its own pages included)
 *     then          VMM heap: guest blocks, nested page tables, hart areas, the table of swap slots
 *     then          machine frames; the first of them is the zero frame, which is never allocated and never written
 *
 * The number of a machine frame (mfn) is its byte address divided by PAGE_SIZE. Every word is a little-endian 32-bit
 * integer that threads change with Atomics. Names ending in `_BYTE` are byte offsets, all other positions are counted in
 * words from the start of their block.
 */

/** Bytes in a page, and in a machine frame. */
export const PAGE_SIZE = 4096;
/** log2 of PAGE_SIZE. */
export const PAGE_SHIFT = 12;
/** 32-bit words in a page. */
export const PAGE_WORDS = PAGE_SIZE / 4;
/** Guest-physical address at which the RAM of every guest begins; gfn 0 is the page there. */
export const GUEST_RAM_BASE = 0x8000_0000;

// ---------------------------------------------------------------------------------------------------------------------
// Host header: word positions in page 0
// ---------------------------------------------------------------------------------------------------------------------

/** HEADER_MAGIC: tells that the memory was formatted. */
export const HEADER_MAGIC = 0;
/** Value of HEADER_MAGIC ("BLLN"). */
export const MAGIC = 0x4e4c_4c42;
/** Number of frames of the whole machine memory (size / PAGE_SIZE). */
export const HEADER_MACHINE_FRAMES = 1;
/** Byte address of the frame table. */
export const HEADER_FRAME_TABLE = 2;
/** Byte address of the VMM heap. */
export const HEADER_HEAP_BASE = 3;
/** Size of the VMM heap in pages. */
export const HEADER_HEAP_PAGES = 4;
/** Free pages of the VMM heap. */
export const HEADER_HEAP_FREE = 5;
/** mfn of the zero frame: the first one behind the heap. Always full of zeros, mapped read-only, never counted. */
export const HEADER_ZERO_FRAME = 6;
/** First mfn that can be allocated. */
export const HEADER_FIRST_FRAME = 7;
/** The host mutex: 0 free, 1 held, 2 held and somebody may be waiting. */
export const HEADER_MUTEX = 8;
/** Who holds the mutex: a token that names the thread (guest slot + 1, or LOCK_OWNER_MANAGER), 0 when free. */
export const HEADER_MUTEX_OWNER = 9;
/** mfn of the first free frame, 0 when there is none (frame 0 is the header and can't be free). */
export const HEADER_FREE_HEAD = 10;
/** Number of free frames. */
export const HEADER_FREE_COUNT = 11;
/** Free frames that only the manager may still take. */
export const HEADER_RESERVE = 12;
/** Futex word: raised whenever waiting for a frame, or for a page in transit, may have come to an end. */
export const HEADER_PROGRESS = 13;
/** Number of harts that wait for HEADER_PROGRESS; those of threads that were killed meanwhile stay counted. */
export const HEADER_WAITING = 14;
/** Futex word on which the memory manager sleeps: raised when a hart starves or a guest ends. */
export const HEADER_MANAGER_WAKE = 16;
/** Free-memory state: STATE_HIGH ... STATE_LOW, written by the memory manager. */
export const HEADER_STATE = 17;
/** Byte address of the table of swap slots, 0 without swap. */
export const HEADER_SWAP_TABLE = 18;
/** Number of swap slots. */
export const HEADER_SWAP_SLOTS = 19;
/** Number of free swap slots (bad ones are not free). */
export const HEADER_SWAP_FREE = 20;
/** Slot at which the search for a free one goes on. */
export const HEADER_SWAP_HAND = 21;
/** Slots given up because of an I/O error. */
export const HEADER_SWAP_BAD = 22;
/** Number of guests in the guest table. */
export const HEADER_GUEST_COUNT = 23;
/** Number of entries of all guests that map a frame (present, in transit or being read in). */
export const HEADER_MAPPED = 24;
/** 1: a thread has died while it held the mutex, so that the memory manager has to count everything again. */
export const HEADER_REPAIR = 25;
/**
 * Number of free frames below which whoever takes one wakes the memory manager, once, and sets this to 0. The manager sets it
 * before it sleeps and clears it afterwards.
 */
export const HEADER_WATERMARK = 26;
/** Byte address of the table of the compressed pool (pool.ts), 0 without one. */
export const HEADER_POOL = 27;
/** Frames that nobody maps and that are kept because other pages with their contents are still in swap (FRAME_KEPT). */
export const HEADER_KEPT = 28;
/** Operations of the swap file so far, and pages that they read and wrote, modulo 2^32. */
export const HEADER_SWAP_READS = 29;
export const HEADER_SWAP_READ_PAGES = 30;
export const HEADER_SWAP_WRITES = 31;
export const HEADER_SWAP_WRITE_PAGES = 32;
/** SWAP_NAIVE_* bits: what swapping is to do the naive way, so that experiments can compare. */
export const HEADER_SWAP_NAIVE = 33;
/** Each page is read from swap by itself. */
export const SWAP_NAIVE_READ_AHEAD = 1 << 0;
/** Slots are taken wherever one is free, and written one by one. */
export const SWAP_NAIVE_CLUSTERS = 1 << 1;
/** A page that is overwritten by a device is first read from swap. */
export const SWAP_NAIVE_DMA = 1 << 2;
/** A page that is overwritten by a hart is first read from swap. */
export const SWAP_NAIVE_STORES = 1 << 3;
/** What a page was read from is not known: pages of disks are written to swap. */
export const SWAP_NAIVE_DISKS = 1 << 4;
/** Pages of disks are taken like others. */
export const SWAP_NAIVE_VICTIMS = 1 << 5;
/** What page sharing has found of a page's contents (hash-simd.ts): hash, low and high word; 0 if it is all zeros. */
export const HEADER_HASH = 480;
/** Number of slots behind the swap slots that stand for blocks of guests' disks, the first free one + 1, and those in use. */
export const HEADER_DISK_SLOTS = 34;
export const HEADER_DISK_FREE = 35;
export const HEADER_DISK_USED = 36;
/** Operations on guests' disks that brought dropped pages back, and the pages that they read, modulo 2^32. */
export const HEADER_DISK_READS = 37;
export const HEADER_DISK_READ_PAGES = 38;
/** Frames that are kept from guests (withheld.ts). */
export const HEADER_WITHHELD = 39;
/** Pages of the VMM heap below this one have been allocated before, those from here on have never been touched: zeros. */
export const HEADER_HEAP_TOUCHED = 40;
/** 1: page sharing looks for pages that devices write, so that the memory manager is to be woken for them. */
export const HEADER_ARRIVALS_WANTED = 41;
/** Guest table: GUEST_SLOTS words, each the byte address of a guest block, or 0. */
export const HEADER_GUEST_TABLE = 512;
/** Guests that fit into the guest table. */
export const GUEST_SLOTS = 512;
/** Token of the memory manager in HEADER_MUTEX_OWNER; harts use their guest's slot + 1. */
export const LOCK_OWNER_MANAGER = 0x1000;
/** Token of the thread that creates guests (the host) in HEADER_MUTEX_OWNER. */
export const LOCK_OWNER_HOST = 0x1001;

/** Free-memory states in falling order; the policy decides which one holds. */
export const STATE_HIGH = 0;
export const STATE_SOFT = 1;
export const STATE_HARD = 2;
export const STATE_LOW = 3;

// ---------------------------------------------------------------------------------------------------------------------
// Frame table: FRAME_WORDS words for each mfn
// ---------------------------------------------------------------------------------------------------------------------

/** Bytes of a frame table entry. */
export const FRAME_BYTES = 16;
/** Words of a frame table entry. */
export const FRAME_WORDS = 4;
/**
 * Word 0: number of references, 0 for a free frame. One for each NPT entry whose payload is this frame, and one for each
 * frame that the memory manager holds for a moment. Free, heap, header and zero frames have none.
 */
export const FRAME_REFS = 0;
/**
 * Word 1: bits 0..7 flags (below), bits 8..31 generation. The generation is raised when the frame is allocated and when it
 * is freed, so that (mfn, generation) names one use of a frame; a decoded instruction of another generation is stale.
 */
export const FRAME_INFO = 1;
/**
 * Word 2: a free frame: a link to the next free one (zero-list.ts), the list's numbers being those of the frames. A frame of an NPT_KIND_COMING entry that is a copy: the
 * frame it was copied from, to which the entry still has a reference. Otherwise 0.
 */
export const FRAME_LINK = 2;
/**
 * Word 3: swap slot + 1 whose contents are those of this frame, 0 if there is none. While it is not 0, no NPT entry maps
 * the frame writable. With FRAME_FILLING the slot is what the frame is being filled from.
 */
export const FRAME_SLOT = 3;
/** FRAME_INFO bit 0: some hart holds decoded code of this frame, so that writes to it have to be noticed. */
export const FRAME_CODE = 1 << 0;
/** FRAME_INFO bit 1: merged by page sharing; no NPT entry maps the frame writable. */
export const FRAME_SHARED = 1 << 1;
/** FRAME_INFO bit 2: contents are being read from FRAME_SLOT; nobody may map it yet. */
export const FRAME_FILLING = 1 << 2;
/** FRAME_INFO bit 3: (with FRAME_CODE) every hart of the guest has emptied its TLBs since the frame has that flag. */
export const FRAME_CODE_KNOWN = 1 << 3;
/** FRAME_INFO bit 4: belongs to the compressed pool, which holds its one reference; FRAME_LINK is its number there. */
export const FRAME_POOL = 1 << 4;
/**
 * FRAME_INFO bit 5: no entry maps the frame; its one reference is held because entries still name the slot that it is tied
 * to, so that they find it without another read.
 */
export const FRAME_KEPT = 1 << 5;
/** FRAME_INFO: position of the generation. */
export const FRAME_GENERATION_SHIFT = 8;
/** FRAME_INFO: what is added to raise the generation by one. */
export const FRAME_GENERATION_ONE = 1 << FRAME_GENERATION_SHIFT;

// ---------------------------------------------------------------------------------------------------------------------
// Nested page table: one word for each gfn, index = (gpa - GUEST_RAM_BASE) >>> PAGE_SHIFT
// ---------------------------------------------------------------------------------------------------------------------

/** Bit 0: the payload is a frame that the guest may read. An entry of 0 is an untouched page of zeros. */
export const NPT_PRESENT = 1 << 0;
/** Bit 1: (present) the guest may write to the frame; it is the only one to reference it. */
export const NPT_WRITABLE = 1 << 1;
/**
 * Bit 2: a hart or a device has used the page since the bit was cleared. When not present with kind NPT_KIND_ZERO: a hart
 * may have mapped the zero frame, or a frame that was there before, so that a TLB flush is due when a frame is put there.
 */
export const NPT_ACCESSED = 1 << 2;
/** Bit 3: (present) a hart or a device has written to the page since the bit was cleared. */
export const NPT_DIRTY = 1 << 3;
/** Bits 4..6 when not present: where the contents are. */
export const NPT_KIND_SHIFT = 4;
export const NPT_KIND_MASK = 7 << NPT_KIND_SHIFT;
/** Kind 0: all zeros; the payload is 0. Reads may be served by the zero frame. */
export const NPT_KIND_ZERO = 0 << NPT_KIND_SHIFT;
/** Kind 1: in the swap slot that is the payload. */
export const NPT_KIND_SWAP = 1 << NPT_KIND_SHIFT;
/** Kind 2: on its way out: still in the frame that is the payload, while the manager writes it to swap. */
export const NPT_KIND_LEAVING = 2 << NPT_KIND_SHIFT;
/** Kind 3: on its way in: a hart fills the frame that is the payload (from its FRAME_SLOT, or by copying). */
export const NPT_KIND_COMING = 3 << NPT_KIND_SHIFT;
/** Bit 4 when present: page sharing has merged this page (the frame is read-only until the guest writes to it). */
export const NPT_MERGED = 1 << 4;
/** Bit 5 when present: the clock has cleared NPT_ACCESSED, which the working-set sampling still counts. */
export const NPT_YOUNG = 1 << 5;
/** Bit 6 when present: the working-set sampling has cleared NPT_ACCESSED, which the clock still counts. */
export const NPT_RECENT = 1 << 6;
/** Bit 7 when present: spare. */
export const NPT_SPARE = 1 << 7;
/** Bits 8..31: payload, an mfn or a swap slot. */
export const NPT_PAYLOAD_SHIFT = 8;
/** The largest payload. */
export const NPT_PAYLOAD_MAX = 0xff_ffff;

// ---------------------------------------------------------------------------------------------------------------------
// Hart area: control block, then whatever the engine keeps there
// ---------------------------------------------------------------------------------------------------------------------

/** Bytes of the control block at the start of a hart area; the engine's state follows. */
export const HART_CONTROL_BYTES = 512;
/** REQUEST: bits that a running hart looks at often and clears as it serves them. */
export const HART_REQUEST_BYTE = 0;
/** STATE: HART_RUNNING or HART_PARKED. */
export const HART_STATE_BYTE = 4;
/** SHOOTDOWN_REQ: number of the last shootdown asked for. */
export const HART_SHOOTDOWN_REQ_BYTE = 8;
/** SHOOTDOWN_ACK: number of the last shootdown that the hart has served. */
export const HART_SHOOTDOWN_ACK_BYTE = 12;
/** WAKE: futex word that a sleeping hart waits on; raise it and notify. */
export const HART_WAKE_BYTE = 16;
/** Byte address of the first of the hart's pieces of the VMM heap (code-memory.ts), 0: it has none. */
export const HART_PIECES_BYTE = 20;
/** First byte of the part of the control block that is the machine's, and the byte behind it. */
export const HART_MACHINE_BYTE = 24;
export const HART_MACHINE_END_BYTE = 256;
/**
 * What a shootdown takes away, when that is not everything: HART_FLUSH_PARTS entries of four words, the one for shootdown n
 * at n modulo their number. Word 0: n once the others are written, HART_FLUSH_WRITING while they are.
 */
export const HART_FLUSH_PARTS_BYTE = 256;
export const HART_FLUSH_PARTS = 16;
export const HART_FLUSH_WRITING = -0x8000_0000;
/** REQUEST bit 0: look at the interrupt lines and timers. */
export const HART_REQUEST_INTERRUPT = 1 << 0;
/** REQUEST bit 1: flush the TLBs, then acknowledge SHOOTDOWN_REQ. */
export const HART_REQUEST_SHOOTDOWN = 1 << 1;
/** REQUEST bit 2: a message waits, or the guest block has changed (balloon target, state). */
export const HART_REQUEST_CONTROL = 1 << 2;
/** REQUEST bit 3: another hart has sent a supervisor software interrupt. */
export const HART_REQUEST_IPI = 1 << 3;
/** REQUEST bit 4: start at the place that stands in the control block. */
export const HART_REQUEST_START = 1 << 4;
/** REQUEST bit 5: (first hart) another hart waits for a device. */
export const HART_REQUEST_SERVICE = 1 << 5;
/** STATE: the hart executes instructions, or is inside of a fault; it acknowledges when it polls. */
export const HART_RUNNING = 0;
/** STATE: the hart uses no translation now, and looks for shootdowns before it uses one; it counts as acknowledged. */
export const HART_PARKED = 1;
