/** Ways to execute that tests force: all of it interpreted, as much as possible translated, or now this and now that. */
import type { Region } from '../../src/engine/translate/region.ts';
import { SynchronousTranslator } from '../../src/engine/translate/synchronous.ts';
import type { Translation, Translator } from '../../src/engine/translate/translations.ts';
import { Random } from '../differential/random.ts';

export const TIERS = ['interpreter', 'translator', 'mixed'] as const;
export type Tier = (typeof TIERS)[number];

/** The variable that says the tier of tests that do not say one themselves. */
export const TIER_VARIABLE = 'BALLONET_TEST_TIER';

export function defaultTier(): Tier {
  const wanted = process.env[TIER_VARIABLE] ?? 'interpreter';
  const tier = TIERS.find((name) => name === wanted);
  if (tier === undefined) throw new Error(`${TIER_VARIABLE} is ${wanted}; it has to be one of ${TIERS.join(', ')}`);
  return tier;
}

/** Jumps to a place after which what is there has been executed, so that it can be translated. */
export const EAGER_THRESHOLD = 2;
const MOST_JUMPS = 20;
/** One in so many translations comes later than it was asked for. */
const LATE = 8;

/** Takes a translation that comes later. */
export type Install = (key: string, translation: Translation) => void;

/**
 * Each place gets hot after another number of jumps, and some translations come late, so that a hart goes from one tier
 * to the other anywhere. The same seed and the same requests give the same answers.
 */
export class MixedTranslator implements Translator {
  readonly #inner: SynchronousTranslator;
  readonly #random: Random;
  readonly #install: () => Install;
  readonly #late: [key: string, region: Region][] = [];

  /** @param install called when a translation comes that was put off */
  constructor(seed: number, install: () => Install) {
    this.#inner = new SynchronousTranslator(EAGER_THRESHOLD);
    this.#random = new Random(seed);
    this.#install = install;
  }

  get capacity(): number {
    return this.#inner.capacity;
  }

  /** Asked for whenever a place is hot, and with that what was put off before comes. */
  get threshold(): number {
    this.#deliver();
    return this.#random.between(EAGER_THRESHOLD, MOST_JUMPS);
  }

  translate(key: string, region: Region): Translation | undefined {
    if (!this.#random.chance(LATE)) return this.#inner.translate(key, region);
    this.#late.push([key, region]);
    return undefined;
  }

  #deliver(): void {
    for (const [key, region] of this.#late.splice(0)) this.#install()(key, this.#inner.translate(key, region));
  }
}

/** The translator of a tier. */
export function translatorOf(tier: Tier, seed: number, install: () => Install): Translator | undefined {
  switch (tier) {
    case 'interpreter':
      return undefined;
    case 'translator':
      return new SynchronousTranslator(EAGER_THRESHOLD);
    case 'mixed':
      return new MixedTranslator(seed, install);
  }
}
