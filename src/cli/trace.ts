/** What `--trace` prints. */
import { PLACE_DROPS, REGION_EXITS } from '../engine/observer.ts';
import { listRegion, regionSize } from '../engine/translate/listing.ts';
import type { ExitCount, RegionEvent } from '../index.ts';
import { disassemble } from '../isa/disassemble.ts';
import { hex, type SymbolTable } from './symbols.ts';
import { type Column, renderTable } from './table.ts';

const place = (pc: bigint, symbols: SymbolTable): string => {
  const text = symbols.text(pc);
  return text === hex(pc) ? text : `${text} (${hex(pc)})`;
};

/** The lines for an event of a region. */
export function regionLines(event: RegionEvent, symbols: SymbolTable, withCode: boolean): string[] {
  const { hart, pc } = event;
  const head = `hart ${hart}: region at ${place(pc, symbols)}`;
  if (event.kind === 'dropped') return [`${head} dropped: ${PLACE_DROPS[event.reason]}`];
  const { region, first } = event;
  const size = `${region.blocks.length} blocks, ${regionSize(region)} instructions`;
  return [
    `${head} translated: ${size}${first ? '' : ', equal to one before'}`,
    ...(withCode && first ? listRegion(region, pc, (address) => place(address, symbols)) : []),
  ];
}

const COLUMNS: readonly Column[] = [
  { heading: 'exits', right: true },
  { heading: 'share', right: true },
  { heading: 'cause' },
  { heading: 'where execution went on' },
  { heading: 'instruction' },
];

/** Places of the table of exits; what comes behind them is summed up. */
const MOST_PLACES = 200;

/** Where and why regions were left to the interpreter, the most frequent first. */
export function exitLines(exits: readonly ExitCount[], symbols: SymbolTable): string[] {
  const sums = new Map<string, ExitCount>();
  for (const each of exits) {
    const key = `${each.exit} ${each.pc}`;
    const known = sums.get(key);
    sums.set(
      key,
      known === undefined ? each : { ...each, bits: known.bits ?? each.bits, count: known.count + each.count },
    );
  }
  const rows = [...sums.values()].sort((a, b) => b.count - a.count || Number(a.pc > b.pc) - Number(a.pc < b.pc));
  const total = rows.reduce((sum, { count }) => sum + count, 0);
  const share = (count: number): string => `${((count / total) * 100).toFixed(1)}%`;
  const causes = Object.entries(REGION_EXITS).map(([exit, meaning]) => {
    const count = rows.reduce((sum, row) => sum + (row.exit === exit ? row.count : 0), 0);
    return [String(count), total === 0 ? '' : share(count), exit, meaning];
  });
  const rest = rows.slice(MOST_PLACES);
  const left = rest.reduce((sum, { count }) => sum + count, 0);
  return [
    'Exits of translated regions to the interpreter:',
    ...renderTable(COLUMNS.slice(0, 3).concat({ heading: 'meaning' }), causes),
    '',
    ...renderTable(
      COLUMNS,
      rows
        .slice(0, MOST_PLACES)
        .map(({ pc, exit, bits, count }) => [
          String(count),
          share(count),
          exit,
          place(pc, symbols),
          bits === undefined ? '' : disassemble(bits, pc),
        ]),
    ),
    ...(rest.length === 0 ? [] : [`and ${left} exits to ${rest.length} other places`]),
  ];
}
