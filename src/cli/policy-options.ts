/** The options of commands that start a host, or replay one, about the division of its memory. */

import type { HostOptions, PolicyChoice } from '../index.ts';
import type { Divisor } from '../memory/decision.ts';

/** As commander gives them. */
export interface PolicyOptions {
  readonly policy?: Divisor;
  readonly tax?: number;
}

/** The policy that was asked for. */
export function policyOf({ policy, tax }: PolicyOptions): PolicyChoice {
  return { ...(policy === undefined ? {} : { targets: policy }), ...(tax === undefined ? {} : { tax }) };
}

/** The part of a host's options that these come to. */
export function policyOptions(options: PolicyOptions & { readonly record?: string }): Partial<HostOptions> {
  return { policy: policyOf(options), ...(options.record === undefined ? {} : { record: options.record }) };
}
