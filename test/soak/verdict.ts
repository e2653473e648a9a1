/** Whether a series of samples grows without end. */

/** A sample: time since the start in milliseconds, and what was measured, by name. */
export interface Sample {
  readonly ms: number;
  readonly values: Readonly<Record<string, number>>;
}

/** How much a value may grow from the third quarter of the time to the last one: in its unit, and as a share of it. */
export interface Allowance {
  readonly absolute: number;
  readonly share: number;
  /**
   * What is compared. Least values, unless all is given up at once at a number that is known, and most of it comes back before
   * the next sample: how little a sample sees then is chance, and how much there is before is not.
   */
  readonly by?: 'least' | 'greatest';
}

export interface Growth {
  readonly name: string;
  /** Least values of the third and the last quarter of the time, or greatest ones. */
  readonly by: 'least' | 'greatest';
  readonly before: number;
  readonly after: number;
  /** Growth over the second half by the line that fits its samples best. */
  readonly fitted: number;
  readonly allowed: number;
  readonly grows: boolean;
}

/** The rise of the least-squares line through points over the length of their x. */
export function fittedRise(points: readonly (readonly [x: number, y: number])[]): number {
  const count = points.length;
  if (count < 2) return 0;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  let xx = 0;
  let xy = 0;
  for (const [x, y] of points) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
  }
  const length = points.at(-1)![0] - points[0]![0];
  return xx === 0 ? 0 : (xy / xx) * length;
}

/**
 * Judges the second half of the samples. Caches fill up until they are emptied, and garbage until it is collected, which
 * happens less often while much is done in a short time: what goes up and down in this way comes back to the same least
 * values, or, if there is a most of it, to the same greatest ones. What leaks is in these, too.
 */
export function judge(samples: readonly Sample[], name: string, allowance: Allowance): Growth {
  const start = samples[0]?.ms ?? 0;
  const length = (samples.at(-1)?.ms ?? 0) - start;
  const within = (from: number, to: number): Sample[] =>
    samples.filter(({ ms }) => ms - start >= from * length && ms - start <= to * length);
  const { by = 'least' } = allowance;
  const extreme = by === 'least' ? Math.min : Math.max;
  const level = (some: readonly Sample[]): number => extreme(...some.map(({ values }) => values[name]!));
  const before = level(within(0.5, 0.75));
  const after = level(within(0.75, 1));
  const fitted = fittedRise(within(0.5, 1).map(({ ms, values }) => [ms, values[name]!]));
  const allowed = allowance.absolute + allowance.share * before;
  return { name, by, before, after, fitted, allowed, grows: after - before > allowed && fitted > allowed };
}
