/** Domains of page sharing: which guests may have frames in common. */
import { DOMAIN_NONE, DOMAIN_ZERO_ONLY } from '../memory/layout-guest.ts';
import { OptionError } from './errors.ts';

/** The domain of guests for which none is named: all of a host, which has one owner. */
export const DEFAULT_SHARE_DOMAIN = 'default';

/** Names that are no domain: the guest shares nothing, or nothing but pages of zeros, which need no frame. */
const APART = { none: DOMAIN_NONE, 'zero-only': DOMAIN_ZERO_ONLY } as const;

const MOST_BYTES = 127;

/** @throws OptionError unless it is a name of 1 to 127 bytes */
export function parseShareDomain(name: string): string {
  if (name.length > 0 && Buffer.byteLength(name) <= MOST_BYTES) return name;
  throw new OptionError(
    'share-domain',
    `${JSON.stringify(name)} is not between 1 and ${MOST_BYTES} bytes long; give a name, none or zero-only`,
  );
}

const isApart = (name: string): name is keyof typeof APART => Object.hasOwn(APART, name);

/**
 * The numbers that the memory manager knows domains by. A number is a domain's for as long as it has guests; then it has no
 * shared frames either, and another domain may have the number.
 */
export class ShareDomains {
  /** By number: name, and guests that are in it. */
  readonly #domains: ({ readonly name: string; guests: number } | undefined)[] = [];

  /** A guest comes into a domain. @returns the number */
  enter(name: string): number {
    if (isApart(name)) return APART[name];
    const known = this.#domains.findIndex((domain) => domain?.name === name);
    if (known >= 0) {
      this.#domains[known]!.guests++;
      return known;
    }
    const free = this.#domains.indexOf(undefined);
    const number = free >= 0 ? free : this.#domains.length;
    this.#domains[number] = { name, guests: 1 };
    return number;
  }

  /** A guest has ended, and all of its memory is free. */
  leave(name: string): void {
    if (isApart(name)) return;
    const number = this.#domains.findIndex((domain) => domain?.name === name);
    const domain = this.#domains[number];
    if (domain !== undefined && --domain.guests === 0) this.#domains[number] = undefined;
  }
}
