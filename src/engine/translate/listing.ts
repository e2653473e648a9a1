import { disassemble } from '../../isa/disassemble.ts';
import { analyseFlow } from './flow.ts';
import { instructionLength, OUTSIDE, type Region } from './region.ts';

/** How a listing writes an address. */
export type AddressText = (address: bigint) => string;

const hex = (address: bigint): string => `0x${address.toString(16)}`;

/** Instructions of a region, those of functions that were taken into it included each time. */
export const regionSize = ({ blocks }: Region): number => blocks.reduce((sum, { code }) => sum + code.length, 0);

/**
 * A region in assembly, a line for each instruction, its blocks in the order in which control reaches them. A block's
 * heading says which loop it begins or is in; behind it stands where it leads.
 * @param pc address of the entry
 * @param text writes addresses, for those who know symbols
 */
export function listRegion(region: Region, pc: bigint, text: AddressText = hex): string[] {
  const flow = analyseFlow(region);
  const addressOf = (offset: number): bigint => BigInt.asUintN(64, pc + BigInt(offset));
  return flow.sequence.flatMap((number) => {
    const block = region.blocks[number]!;
    const loop = flow.innermostLoop[number]!;
    const role = flow.isLoopHeader[number]
      ? ', begins a loop'
      : loop === OUTSIDE
        ? ''
        : `, in the loop of ${flow.loops[loop]!.header}`;
    let offset = block.offset;
    const instructions = block.code.map((bits) => {
      const address = addressOf(offset);
      offset += instructionLength(bits);
      const digits = bits.toString(16).padStart(instructionLength(bits) * 2, '0');
      return `  ${hex(address)}  ${digits.padEnd(8)}  ${disassemble(bits, address)}`;
    });
    const edge = (name: string, to: number): string[] => {
      if (to === OUTSIDE) return [];
      const back = flow.isBackEdge(number, to) ? ' (back)' : '';
      return [`${name} to ${to}${flow.isIrreducible(number, to) ? ' (back, into a loop)' : back}`];
    };
    const edges = [
      ...edge('taken', block.taken),
      ...edge('next', block.next),
      ...block.likely.flatMap((to) => edge('likely', to)),
      ...edge('behind the call', block.returns),
    ];
    return [
      `block ${number} at ${text(addressOf(block.offset))}${role}`,
      ...instructions,
      `  leads ${edges.length === 0 ? 'out of the region' : edges.join(', ')}`,
    ];
  });
}
