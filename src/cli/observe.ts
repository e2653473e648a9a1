/** The options `--trace`, `--profile` and `--symbols`: what is observed of a guest, and where it is written. */
import { closeSync, writeSync } from 'node:fs';
import { isLinuxImage, readKallsyms } from '../guest/index.ts';
import { openOutput, readWhole } from '../host/files.ts';
import { type Guest, type Observable, OptionError } from '../index.ts';
import { foldedLines, profile, profileLines } from './profile.ts';
import { kernelSymbols, readSymbols, SymbolTable } from './symbols.ts';
import { exitLines, regionLines } from './trace.ts';
import type { Trace } from './traces.ts';

export interface ObserveOptions {
  readonly trace?: readonly Trace[];
  readonly traceFile?: string;
  readonly profile?: string;
  readonly symbols?: readonly string[];
}

/** Ending of a profile's file that asks for the format of flame graph programs. */
const FOLDED = '.folded';

/** A file, or standard error, that lines go to. */
class Output {
  readonly #descriptor: number | undefined;

  constructor(use: string, path: string | undefined) {
    this.#descriptor = path === undefined ? undefined : openOutput(use, path);
  }

  write(lines: readonly string[]): void {
    if (this.#descriptor !== undefined) writeSync(this.#descriptor, lines.map((line) => `${line}\n`).join(''));
    else {
      // The terminal may be in raw mode.
      const end = process.stderr.isTTY ? '\r\n' : '\n';
      process.stderr.write(lines.map((line) => line + end).join(''));
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
  }
}

/** What a run is to find out about its guest's engine. */
export class Observation {
  /** For the host. */
  readonly observe: readonly Observable[];
  readonly #traces: readonly Trace[];
  readonly #folded: boolean;
  readonly #trace: Output | undefined;
  readonly #profile: Output | undefined;
  readonly #symbols: SymbolTable;

  /**
   * @param kernel path of the guest's kernel, whose own table of symbols is used if it has one
   * @throws OptionError, FileError, ImageError
   */
  constructor(options: ObserveOptions, kernel: string | undefined) {
    const { trace = [], traceFile, symbols = [], profile: profileFile } = options;
    if (traceFile !== undefined && trace.length === 0) {
      throw new OptionError('trace-file', 'there is nothing to write to it; say with --trace what is to be traced');
    }
    if (symbols.length > 0 && trace.length === 0 && profileFile === undefined) {
      throw new OptionError('symbols', 'are for --trace and --profile; give one of them, too');
    }
    this.#traces = trace;
    this.#folded = profileFile?.endsWith(FOLDED) ?? false;
    const regions = trace.includes('regions') || trace.includes('asm');
    this.observe = [
      ...(regions ? (['regions'] as const) : []),
      ...(trace.includes('exits') ? (['exits'] as const) : []),
      ...(profileFile === undefined ? [] : (['samples'] as const)),
    ];
    const given = symbols.flatMap(readSymbols);
    const own = this.observe.length === 0 || kernel === undefined ? [] : symbolsOfKernel(kernel);
    this.#symbols = new SymbolTable([...given, ...own]);
    this.#trace = trace.length === 0 ? undefined : new Output('trace file', traceFile);
    this.#profile = profileFile === undefined ? undefined : new Output('profile', profileFile);
  }

  /** To be called before the guest has executed much. */
  attach(guest: Guest): void {
    const withCode = this.#traces.includes('asm');
    guest.onRegion = (event) => this.#trace?.write(regionLines(event, this.#symbols, withCode));
  }

  /** Writes what is known when the guest has ended. */
  finish(guest: Guest): void {
    const { exits, samples } = guest.observations;
    if (this.#traces.includes('exits')) this.#trace?.write(exitLines(exits, this.#symbols));
    if (this.#profile !== undefined) {
      const rows = profile(samples, this.#symbols);
      this.#profile.write(this.#folded ? foldedLines(rows) : profileLines(rows));
    }
    this.#trace?.close();
    this.#profile?.close();
  }
}

/** A kernel without symbols, or that is none, is the host's to complain of, if anybody's. */
function symbolsOfKernel(path: string) {
  const image = readWhole('kernel', path);
  const symbols = isLinuxImage(image) ? readKallsyms(image) : undefined;
  return symbols === undefined ? [] : kernelSymbols(symbols);
}
