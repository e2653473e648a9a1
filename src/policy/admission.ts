/** Admission: a guest is started only if what it was promised can be kept whatever the others do. Pages throughout. */

/** What the host has. */
export interface HostLimits {
  /** Frames that guests can have. */
  frames: number;
  /** Frames that are kept free. */
  reserve: number;
  /** Swap slots in all. */
  swapSlots: number;
  /** Free pages of the VMM heap. */
  heapFree: number;
}

/** What a guest was promised, or asks for. */
export interface GuestLimits {
  name: string;
  configured: number;
  minimum: number;
  /** The most that it may have. */
  maximum: number;
  /** VMM heap that it takes. */
  overhead: number;
}

/** A guest was refused. */
export class AdmissionError extends Error {
  override readonly name = 'AdmissionError';
  /** Name of the guest. */
  readonly guest: string;

  constructor(guest: string, message: string) {
    super(`guest ${guest} can't be started: ${message}`);
    this.guest = guest;
  }
}

/**
 * Throws AdmissionError unless all minimums fit into the frames beside the reserve, and everything that is configured fits
 * into frames and swap together, so that the host can honour every page even if nothing can be shared and no balloon moves.
 */
export function admit(host: HostLimits, running: readonly GuestLimits[], candidate: GuestLimits): void {
  const { name } = candidate;
  const usable = Math.max(0, host.frames - host.reserve);
  if (candidate.minimum > candidate.configured) {
    throw new AdmissionError(
      name,
      `its minimum of ${mib(candidate.minimum)} is more than its configured ${mib(candidate.configured)}`,
    );
  }
  if (candidate.minimum > candidate.maximum) {
    throw new AdmissionError(
      name,
      `its minimum of ${mib(candidate.minimum)} is more than its maximum of ${mib(candidate.maximum)}`,
    );
  }
  if (candidate.overhead > host.heapFree) {
    throw new AdmissionError(
      name,
      `the VMM needs ${mib(candidate.overhead)} for it and has ${mib(host.heapFree)} left; give the host more machine memory`,
    );
  }
  let minimum = candidate.minimum;
  let configured = candidate.configured;
  for (const guest of running) {
    minimum += guest.minimum;
    configured += guest.configured;
  }
  if (minimum > usable) {
    throw new AdmissionError(
      name,
      `its minimum of ${mib(candidate.minimum)} and those of ${running.length} running guests are ${mib(minimum)}, ` +
        `and the host can promise ${mib(usable)}; lower the minimum or give the host more machine memory`,
    );
  }
  if (configured > usable + host.swapSlots) {
    throw new AdmissionError(
      name,
      `its ${mib(candidate.configured)} and the memory of ${running.length} running guests are ${mib(configured)}, ` +
        `and the host has ${mib(usable)} and ${mib(host.swapSlots)} of swap; give it more swap or machine memory`,
    );
  }
}

function mib(pages: number): string {
  const value = pages / 256;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} MiB`;
}
