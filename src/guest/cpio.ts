// The archive format of Linux's initramfs: cpio "newc" (Linux Documentation/driver-api/early-userspace/buffer-format).

/** One member of an archive. Paths are relative to the archive's root, without a leading slash. */
export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly data: Uint8Array }
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'character-device';
      readonly path: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

/** A path that no archive can hold: empty, absolute, with `.` or `..` in it, or twice in one archive. */
export class CpioPathError extends Error {
  override readonly name = 'CpioPathError';
  readonly path: string;

  constructor(path: string, what: string) {
    super(`initramfs path ${JSON.stringify(path)} ${what}; right are relative paths like etc/motd, each once`);
    this.path = path;
  }
}

/** File type bits of st_mode (inode(7)). */
const TYPE = { file: 0o100000, directory: 0o040000, symlink: 0o120000, 'character-device': 0o020000 } as const;

const HEADER_LENGTH = 110;
const TRAILER = 'TRAILER!!!';
const encoder = new TextEncoder();

const padding = (length: number) => -length & 3;

interface Member {
  readonly mode: number;
  readonly name: Uint8Array;
  readonly data: Uint8Array;
  readonly inode: number;
  readonly links: number;
  readonly major: number;
  readonly minor: number;
}

/**
 * A member's header: the magic 070701 and thirteen numbers of eight hexadecimal digits each: inode, mode, uid, gid,
 * links, mtime, length of the data, major and minor of the file system, major and minor of a device, length of the name
 * with its NUL, and a checksum that this variant of the format leaves 0. Owner is root and the time is 0, so that the
 * same description gives the same bytes.
 */
function header(member: Member): Uint8Array {
  const { inode, mode, links, data, major, minor, name } = member;
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length + 1, 0];
  return encoder.encode(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
}

function lengthOf(member: Member): number {
  const head = HEADER_LENGTH + member.name.length + 1;
  return head + padding(head) + member.data.length + padding(member.data.length);
}

function checkPath(path: string): void {
  if (path.includes('\0')) throw new CpioPathError(path, 'holds a NUL');
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw new CpioPathError(path, 'is not a relative path of plain names');
  }
  if (path === TRAILER) throw new CpioPathError(path, 'is what ends an archive');
}

/** Puts the folders that the paths need before them, and refuses what no archive can hold. */
function withFolders(entries: readonly CpioEntry[]): CpioEntry[] {
  const all = new Map<string, CpioEntry>();
  const given = new Set<string>();
  for (const entry of entries) {
    checkPath(entry.path);
    if (given.has(entry.path)) throw new CpioPathError(entry.path, 'is there twice');
    given.add(entry.path);
    const parts = entry.path.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const path = parts.slice(0, depth).join('/');
      const folder = all.get(path);
      if (folder === undefined) all.set(path, { kind: 'directory', path, mode: 0o755 });
      else if (folder.kind !== 'directory') throw new CpioPathError(entry.path, `lies below ${path}, a ${folder.kind}`);
    }
    const before = all.get(entry.path);
    if (before !== undefined && entry.kind !== 'directory') throw new CpioPathError(entry.path, 'is a folder, too');
    // A folder that is described after something in it keeps its place before that.
    all.set(entry.path, entry);
  }
  return [...all.values()];
}

function member(entry: CpioEntry, inode: number): Member {
  const permissions = entry.kind === 'symlink' ? 0o777 : entry.mode & 0o7777;
  const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
  return {
    inode,
    mode: TYPE[entry.kind] | permissions,
    links: entry.kind === 'directory' ? 2 : 1,
    name: encoder.encode(entry.path),
    data:
      entry.kind === 'file' ? entry.data : entry.kind === 'symlink' ? encoder.encode(entry.target) : new Uint8Array(0),
    major: device.major,
    minor: device.minor,
  };
}

/**
 * Writes an archive, in the order given; folders that are not described are made with mode 755 before what is in them.
 * @throws CpioPathError
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const members = withFolders(entries).map((entry, index) => member(entry, index + 1));
  const none = new Uint8Array(0);
  members.push({ inode: 0, mode: 0, links: 1, name: encoder.encode(TRAILER), data: none, major: 0, minor: 0 });
  const archive = new Uint8Array(members.reduce((sum, each) => sum + lengthOf(each), 0));
  let at = 0;
  for (const each of members) {
    archive.set(header(each), at);
    archive.set(each.name, at + HEADER_LENGTH);
    const head = HEADER_LENGTH + each.name.length + 1;
    archive.set(each.data, at + head + padding(head));
    at += lengthOf(each);
  }
  return archive;
}
