/**
 * The guest block: one page of the VMM heap for each guest, all that the threads have to know about it. Positions are
 * counted in words from the start of the block; amounts of memory are in pages of PAGE_SIZE bytes.
 *
 *     words   0..31   identity, state, tables
 *     words  32..47   balloon
 *     words  48..63   statistics from the balloon driver
 *     words  64..127  accounting
 *     words 128..191  byte addresses of the hart areas
 *     words 512..1023 pages that devices have written lately
 *     bytes 1024..1151 name, UTF-8, padded with zeros
 */

/** Slot in the guest table. */
export const GUEST_SLOT = 0;
/** GUEST_RUNNING, GUEST_STOPPING or GUEST_ENDED. */
export const GUEST_STATE = 1;
/** Byte address of the nested page table. */
export const GUEST_NPT = 2;
/** Number of gfns: the configured memory. */
export const GUEST_PAGES = 3;
/** Number of harts. */
export const GUEST_HARTS = 4;
/** Relative weight of this guest's claim to memory; at least 1. */
export const GUEST_SHARES = 5;
/** Memory that this guest is always left with, whatever the pressure. */
export const GUEST_MINIMUM = 6;
/** 1: the guest gets no more frames until the manager says so; its harts wait in their next fault that needs one. */
export const GUEST_BLOCKED = 7;
/** Memory that the policy wants the guest to have now. */
export const GUEST_TARGET = 8;
/** Pages of VMM heap that this guest takes: block, NPT, hart areas. */
export const GUEST_OVERHEAD = 9;
/** Estimate of the working set, written by the manager. */
export const GUEST_WORKING_SET = 10;
/** Sharing domain: pages are merged between guests of one domain only, from 0 to DOMAIN_MAX; or one of those below. */
export const GUEST_DOMAIN = 11;
/** Domains have numbers below the number of guests that a host can have. */
export const DOMAIN_MAX = 511;
/** GUEST_DOMAIN: no page is merged with another one; pages of zeros still lose their frames. */
export const DOMAIN_ZERO_ONLY = -1;
/** GUEST_DOMAIN: page sharing leaves the guest alone. */
export const DOMAIN_NONE = -2;
/** Number of its harts that wait because there is no frame for them. */
export const GUEST_STARVED = 12;

/** 1: the harts behind the first one are to stand still; so they do until the first one starts. */
export const GUEST_SIBLINGS_HALT = 13;
/** Host time at which the guest's time was 0, a 64-bit floating-point number (see the machine's clock). */
export const GUEST_TIME_ORIGIN = 14;
/** Number of changes of decoded code by any of the guest's harts or devices, modulo 2^32. */
export const GUEST_CODE_CHANGES = 16;
/** Number of frames that pages of it had before they were merged, and that its harts may still read. */
export const GUEST_LEFT_OVER = 17;
/** Number of pages that devices have written whole, modulo 2^32; the last ARRIVALS of them stand in GUEST_ARRIVALS. */
export const GUEST_ARRIVED = 18;

/** Byte address of the records of pages that are being overwritten (overwrite.ts), a page of the VMM heap. */
export const GUEST_OVERWRITES = 19;

/** The most memory that the guest may have, however much is free. */
export const GUEST_MAXIMUM = 24;
/** Part of its time that the guest may wait for memory before it is spared, in thousandths; 1000: it may always wait. */
export const GUEST_STALL_LIMIT = 25;

/** GUEST_STATE: runs, or is paused. */
export const GUEST_RUNNING = 1;
/** GUEST_STATE: its harts are to come to an end; faults that would wait throw instead. */
export const GUEST_STOPPING = 2;
/** GUEST_STATE: no thread uses it any more; the memory manager frees all it has. */
export const GUEST_ENDED = 3;

/** Pages that the manager wants in the balloon; the device tells the driver. */
export const GUEST_BALLOON_TARGET = 32;
/** Pages in the balloon as the driver reports it. */
export const GUEST_BALLOON_ACTUAL = 33;
/** BALLOON_* bits. */
export const GUEST_BALLOON_FLAGS = 34;
/** Raised whenever new statistics have come. */
export const GUEST_BALLOON_STATISTICS_COUNT = 35;
/** A balloon target that somebody has set by hand, -1 for none; the policy then leaves the balloon alone. */
export const GUEST_BALLOON_MANUAL = 36;
/** GUEST_BALLOON_FLAGS bit 0: a driver has taken the device into use. */
export const BALLOON_DRIVER = 1 << 0;
/** GUEST_BALLOON_FLAGS bit 1: the driver reports free pages. */
export const BALLOON_REPORTING = 1 << 1;
/** GUEST_BALLOON_FLAGS bit 2: the driver deflates by itself when the guest runs out of memory. */
export const BALLOON_DEFLATE_ON_OOM = 1 << 2;

/**
 * First of BALLOON_STATISTICS words, one for each statistics tag of virtio-balloon (virtio 1.2, 5.5.6.3), -1 while
 * unknown. Amounts of memory (tags 0, 1, 4, 5, 6, 7) in pages, counts modulo 2^31.
 */
export const GUEST_BALLOON_STATISTICS = 48;
/** Number of statistics words. */
export const BALLOON_STATISTICS = 16;
/** Tags of memory amounts that the manager uses. */
export const BALLOON_STAT_SWAP_IN = 0;
export const BALLOON_STAT_SWAP_OUT = 1;
export const BALLOON_STAT_MAJOR_FAULTS = 2;
export const BALLOON_STAT_FREE = 4;
export const BALLOON_STAT_TOTAL = 5;
export const BALLOON_STAT_AVAILABLE = 6;
export const BALLOON_STAT_CACHES = 7;

// What the guest has now, exact at every moment when the host mutex is free.
/** Entries that reference a frame: present, leaving or coming. */
export const COUNT_RESIDENT = 64;
/** Entries with NPT_MERGED. */
export const COUNT_MERGED = 65;
/** Entries of kind NPT_KIND_SWAP. */
export const COUNT_SWAPPED = 66;
// What has happened so far, modulo 2^32.
/** Calls of the fault handler. */
export const COUNT_FAULTS = 72;
/** Pages of zeros given a frame because of a write. */
export const COUNT_ZERO_FILLS = 73;
/** Copies made because of a write to a merged page. */
export const COUNT_COPIES = 74;
/** Pages read from swap. */
export const COUNT_SWAP_INS = 75;
/** Pages found again in a frame: on their way out, or read in for another page with the same contents. */
export const COUNT_RESCUES = 76;
/** Pages written to swap. */
export const COUNT_SWAP_OUTS = 77;
/** Pages that went back to swap without a write, as the slot still had their contents. */
export const COUNT_CLEAN_DROPS = 78;
/** Pages merged with an identical one. */
export const COUNT_MERGES = 79;
/** Pages of zeros whose frame was taken away. */
export const COUNT_ZERO_MERGES = 80;
/** Frames given back by inflating the balloon. */
export const COUNT_BALLOON_FRAMES = 81;
/** Frames given back by free page reporting and other discards. */
export const COUNT_REPORTED_FRAMES = 82;
/** Times that a hart had to wait for a free frame. */
export const COUNT_STARVATIONS = 83;
/** Milliseconds that harts have waited for a free frame. */
export const COUNT_STARVED_MS = 84;
/** Shootdowns asked of this guest. */
export const COUNT_SHOOTDOWNS = 85;
/** Frames taken by the manager's own paging (swapped, dropped clean, found to be zero or identical on the way out). */
export const COUNT_PAGED_FRAMES = 86;
/** Pages whose swap-out failed and that stayed where they were. */
export const COUNT_SWAP_FAILURES = 87;
/** Pages put into the compressed pool. */
export const COUNT_POOL_OUTS = 88;
/** Pages taken from the compressed pool. */
export const COUNT_POOL_INS = 89;

/** Microseconds that harts have waited for memory: for a free frame, or for a page from swap. */
export const COUNT_STALLED_US = 112;
/**
 * Microseconds that harts had something to execute and did not: they waited for memory, or the machine executed something else.
 * Stands still where nobody measures the processor time of harts.
 */
export const COUNT_LOST_US = 113;
/** Pages read from swap together with another one. */
export const COUNT_READ_AHEAD = 90;
/** Pages dropped without a write, as the guest's disk has their contents. */
export const COUNT_DISK_DROPS = 91;
/** Pages read from the guest's disk again, those that were read ahead included. */
export const COUNT_DISK_INS = 92;
/** Pages that were in swap and have been overwritten whole, so that they were not read. */
export const COUNT_OVERWRITES = 93;
/** Pages read from swap because a hart (not by an atomic access) or a device stored to a part of them. */
export const COUNT_STORE_READS = 94;

/** First of MAX_HARTS words: byte addresses of the hart areas. */
export const GUEST_HART_AREAS = 128;
/** Harts that a guest can have. */
export const MAX_HARTS = 64;
/** First of ARRIVALS words: gfns, at the number of their arrival modulo ARRIVALS. */
export const GUEST_ARRIVALS = 512;
export const ARRIVALS = 512;
/** Byte offset and size of the name. */
export const GUEST_NAME_BYTE = 1024;
export const GUEST_NAME_BYTES = 128;
