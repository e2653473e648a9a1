/** Errors that the library's users meet. Each message names the thing, what was wrong, and what would be right. */

/** An option has a value that cannot be used. */
export class OptionError extends Error {
  override readonly name = 'OptionError';
  /** The option as the library spells it, such as `machineMemory`. */
  readonly option: string;

  constructor(option: string, problem: string) {
    super(`${option}: ${problem}`);
    this.option = option;
  }
}

/** A file that was named cannot be used. */
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly path: string;

  constructor(use: string, path: string, problem: string, options?: ErrorOptions) {
    super(`${use} ${path}: ${problem}`, options);
    this.path = path;
  }
}

/** Something that was asked of a guest cannot be done, or the guest came to a bad end. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  /** The guest's name. */
  readonly guest: string;

  constructor(guest: string, problem: string, options?: ErrorOptions) {
    super(`guest ${guest}: ${problem}`, options);
    this.guest = guest;
  }
}

/** Whether an error of Node.js has this code, such as ENOENT. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** What an unknown thrown value says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
