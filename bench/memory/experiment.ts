/** What an experiment about memory is, and what it comes to. */
import type { Host } from '../../src/host/host.ts';
import type { HostOptions } from '../../src/host/options.ts';

/** A figure of the literature or of another program that ours stand beside. */
export interface Published {
  readonly figure: string;
  /** Where it is from. */
  readonly source: string;
}

/** One line of the table: something that was measured, and what was to be reached. */
export interface Finding {
  /** What was measured, unit included. */
  readonly what: string;
  readonly measured: string;
  /** What others came to in the same run or in print; empty where there is nothing to compare with. */
  readonly beside?: string;
  readonly goal?: string;
  /** Whether the goal is reached; only with a goal. */
  readonly reached?: boolean;
}

/** What an experiment came to. */
export interface Outcome {
  readonly findings: readonly Finding[];
  /** How it was measured, and what was left out, a sentence each. */
  readonly notes: readonly string[];
  /** All figures for programs; units in the names. */
  readonly data: Record<string, unknown>;
}

/** What an experiment is given. */
export interface Surroundings {
  /** Is told what is going on, in a line each. */
  readonly progress: (line: string) => void;
  /**
   * Makes a host. Behind the experiment, or by `done`, its memory is checked if that was asked for, and it is closed with all
   * of its guests.
   */
  readonly host: (options: HostOptions) => Promise<Host>;
  /** Checks a host that was made by `host`, and closes it, before the experiment ends. */
  readonly done: (host: Host) => Promise<void>;
  /** Guests that `density` is to start. */
  readonly guests: number;
}

/** An experiment of `npm run bench -- memory`. */
export interface Experiment {
  readonly name: string;
  /** What it shows, half a sentence. */
  readonly shows: string;
  readonly published: readonly Published[];
  /** Longest time that it may take, milliseconds. Default: LIMIT_MS. */
  readonly limitMs?: number;
  run(surroundings: Surroundings): Promise<Outcome>;
}

/** Longest time that an experiment may take if it does not say otherwise, milliseconds. */
export const LIMIT_MS = 300_000;

export const MIB = 2 ** 20;

/** A goal of at most so much. */
export function atMost(measured: number, limit: number, unit: string): Pick<Finding, 'goal' | 'reached'> {
  return { goal: `<= ${limit}${unit}`, reached: measured <= limit };
}

/** A goal of at least so much. */
export function atLeast(measured: number, limit: number, unit: string): Pick<Finding, 'goal' | 'reached'> {
  return { goal: `>= ${limit}${unit}`, reached: measured >= limit };
}
