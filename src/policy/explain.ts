/** What was decided about a guest, as sentences: the only place where reasons become words. */

import type { BalloonReason, Divisor, Explanation, PagingReason, TargetReason, Why } from '../memory/decision.ts';

const STATES = ['enough memory is free', 'memory is short', 'memory is very short', 'hardly any memory is left'];

const BALLOONS: Record<BalloonReason, string> = {
  manual: 'its balloon was set by hand',
  'no-driver': 'it has no balloon driver',
  takes: 'its balloon takes what it can spare',
  'no-answer': 'its balloon driver does not answer',
  'let-out': 'its balloon shrinks, as it has hardly any memory available',
  thrashing: 'its balloon shrinks, as it reads what it has no memory for again and again',
  'below-target': 'its balloon shrinks, as it has less than its target',
  'gives-back': 'its balloon shrinks, as memory is free',
  stays: 'its balloon stays as it is',
};

/** Why pages are paged out, as half a sentence that follows "as". */
export const PAGING: Readonly<Record<PagingReason, string>> = {
  urgent: 'there is no time to wait for its balloon',
  manual: BALLOONS.manual,
  'no-driver': BALLOONS['no-driver'],
  'no-answer': BALLOONS['no-answer'],
  'balloon-full': 'its balloon can take no more',
  few: 'they are too few for its balloon',
  lacking: 'another guest lacks them more',
};

const TARGETS: Record<TargetReason, (of: Explanation) => string> = {
  all: () => 'may have all of it',
  maximum: ({ guest }) => `may have ${mib(guest.maximum)}, which is its maximum`,
  minimum: ({ guest }) => `should have its minimum of ${mib(guest.minimum)}, as others pay more for the rest`,
  divided: ({ guest, decision }) =>
    `should have ${mib(decision.target)} for ${guest.shares} shares with ${mib(guest.workingSet)} in use ` +
    DIVISION[decision.why.divisor](decision.why),
};

const DIVISION: Record<Divisor, (why: Why) => string> = {
  shares: ({ tax }) => `and ${percent(tax)} tax on idle memory`,
  misses: ({ saved = 0 }) =>
    saved > 0
      ? `where the last MiB saves ${Math.round(saved * 2560) / 10} misses a second`
      : 'and more would save no misses',
};

/** Why a guest has this much now, in one sentence. */
export function sentence(of: Explanation): string {
  const { guest, decision, state, observation } = of;
  const { why, page, block } = decision;
  const parts = [
    `guest ${guest.name} has ${mib(guest.charged)} of its ${mib(guest.configured)} and ${TARGETS[why.target](of)}, because ` +
      `${observation.guests === 1 ? 'one guest is' : `${observation.guests} guests are`} configured with ` +
      `${mib(observation.configured)} on ${mib(observation.frames)} and ${STATES[state]}`,
  ];
  if (guest.balloon.actual > 0 || decision.balloonTarget > 0 || why.balloon === 'no-answer') {
    parts.push(`${BALLOONS[why.balloon]} (${mib(guest.balloon.actual)} of ${mib(decision.balloonTarget)})`);
  }
  if (why.paging !== undefined) {
    parts.push(`up to ${mib(page)} are paged out now, as ${PAGING[why.paging]}`);
  }
  if (why.spared < 1) {
    parts.push(
      `${percent(1 - why.spared)} of what it should give is left to it, as it waits for memory ` +
        `${percent(guest.stalled)} of its time and is promised ${percent(guest.stallLimit)}`,
    );
  }
  if (block) {
    parts.push('it gets no more until memory is free again');
  }
  return `${parts.join('; ')}.`;
}

function mib(pages: number): string {
  return `${Math.round((pages / 256) * 10) / 10} MiB`;
}

function percent(part: number): string {
  return `${Math.round(part * 1000) / 10}%`;
}
