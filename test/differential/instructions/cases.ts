/** What to execute for an instruction of the table: by its operands, or by its name where it is one of a kind. */
import { encodeOperands, type Operands } from '../../../src/isa/format.ts';
import type { Instruction } from '../../../src/isa/instruction.ts';
import type { Program } from '../program.ts';
import { A, AUX, B, BASE, C, Case, DOUBLE_VALUES, RESULT, SINGLE_VALUES } from './case.ts';
import { SYSTEM_CASES } from './system-cases.ts';

const IMMEDIATES = [0, 1, -1, 0x555, -0x556, 2047, -2048];
const OFFSETS = [0, 1, 2, 3, 4, 5, 7, 8, -1, -8, 0x7f0, -0x7f0, 2040, -2048];
const UPPER = [0, 1, 0x7_ffff, 0x8_0000, 0xf_ffff];
/** Static modes, then the dynamic one. */
const ROUNDING_MODES = [0, 1, 2, 3, 4, 7];

type Emit = (operands: Partial<Operands>) => void;
type Generator = (c: Case, emit: Emit, instruction: Instruction) => void;

/** The result in its own register, over a source, and thrown away. */
function variants(c: Case, emit: Emit, operands: Partial<Operands>): void {
  emit({ ...operands, rd: RESULT });
  c.fold(RESULT);
  c.a.op('addi', { rd: AUX, rs1: operands.rs1 ?? 0, imm: 0 });
  emit({ ...operands, rd: AUX, rs1: AUX });
  c.fold(AUX);
  emit({ ...operands, rd: 0 });
}

/** Bits of the order field of atomics. */
const AQ_RL = 3 << 25;

const BY_OPERANDS: Record<string, Generator> = {
  'rd, imm': (c, emit) => {
    for (const imm of UPPER) {
      emit({ rd: RESULT, imm: (imm << 12) | 0 });
      c.fold(RESULT);
    }
    c.store();
  },

  'rd, rs1, imm': (c, emit, { format }) => {
    const shifts = Array.from({ length: format === 'shift5' ? 32 : 64 }, (_, n) => n);
    const values = format === 'I' ? IMMEDIATES : shifts;
    c.integers(() => {
      for (const imm of values) {
        emit({ rd: RESULT, rs1: A, imm });
        c.fold(RESULT);
      }
      variants(c, emit, { rs1: A, imm: values[1]! });
    });
  },

  'rd, rs1, rs2': (c, emit) => {
    c.integerPairs(() => {
      variants(c, emit, { rs1: A, rs2: B });
      emit({ rd: RESULT, rs1: A, rs2: A });
      c.fold(RESULT);
    });
  },

  'rd, rs1': (c, emit, { name }) => {
    c.integers(() => {
      // QEMU 7.2 counts into the upper word for ctzw (see the list of differences).
      if (name === 'ctzw') c.a.op('add.uw', { rd: A, rs1: A, rs2: 0 });
      variants(c, emit, { rs1: A });
    });
  },

  'rd, imm(rs1)': (c, emit, instruction) => {
    if (instruction.name === 'jalr') {
      SYSTEM_CASES.jalr!(c);
      return;
    }
    for (const imm of OFFSETS) {
      emit({ rd: RESULT, rs1: BASE, imm });
      c.fold(RESULT);
    }
    variants(c, emit, { rs1: BASE, imm: 16 });
    c.store();
  },

  'rs2, imm(rs1)': (c, emit) => {
    c.integers(() => {
      for (const imm of OFFSETS) {
        emit({ rs1: BASE, rs2: A, imm });
        c.a.op('ld', { rd: RESULT, rs1: BASE, imm: imm & ~7 });
        c.fold(RESULT);
      }
    });
  },

  'frd, imm(rs1)': (c, emit) => {
    for (const imm of OFFSETS) {
      emit({ rd: A, rs1: BASE, imm });
      c.foldFloat(A);
    }
    c.store();
  },

  'frs2, imm(rs1)': (c, emit) => {
    c.floats(() => {
      for (const imm of OFFSETS) {
        emit({ rs1: BASE, rs2: A, imm });
        c.a.op('ld', { rd: RESULT, rs1: BASE, imm: imm & ~7 });
        c.fold(RESULT);
      }
    });
  },

  'rs1, rs2, offset': (c, emit) => {
    c.integerPairs(() => {
      // Over an instruction of 4 bytes; over one of 2; back.
      c.a.li(RESULT, 1);
      emit({ rs1: A, rs2: B, imm: 8 });
      c.a.op('addi', { rd: RESULT, rs1: RESULT, imm: 2 });
      emit({ rs1: B, rs2: A, imm: 6 });
      c.a.compressed('c.addi', { rd: RESULT, imm: 4 });
      c.a.op('jal', { rd: 0, imm: 12 });
      c.a.op('addi', { rd: RESULT, rs1: RESULT, imm: 8 });
      c.a.op('jal', { rd: 0, imm: 8 });
      emit({ rs1: A, rs2: B, imm: -8 });
      c.fold(RESULT);
    });
  },

  'rd, (rs1)': (c, emit) => {
    c.integers(() => {
      c.a.op('sd', { rs1: BASE, rs2: A, imm: 0 });
      variants(c, emit, { rs1: BASE });
    });
  },

  'rd, rs2, (rs1)': (c, emit, { name }) => {
    const wide = name.endsWith('.d');
    const isStore = name.startsWith('sc.');
    c.integerPairs(() => {
      for (const place of wide ? [0] : [0, 4]) {
        c.a.op('sd', { rs1: BASE, rs2: A, imm: 0 });
        c.a.op('addi', { rd: AUX, rs1: BASE, imm: place });
        // Without a reservation first: the conditional store fails.
        if (isStore) c.a.atomic(wide ? 'sc.d' : 'sc.w', { rd: 0, rs1: AUX, rs2: B });
        if (isStore) c.a.atomic(wide ? 'lr.d' : 'lr.w', { rd: 0, rs1: AUX });
        emit({ rd: RESULT, rs1: AUX, rs2: B });
        c.fold(RESULT);
        emit({ rd: AUX, rs1: AUX, rs2: B });
        c.fold(AUX);
        c.a.op('ld', { rd: RESULT, rs1: BASE, imm: 0 });
        c.fold(RESULT);
      }
    });
  },

  'frd, frs1, frs2, rm': (c, emit) => {
    c.floatPairs(() => {
      for (const rm of ROUNDING_MODES) {
        emit({ rd: C, rs1: A, rs2: B, rm });
        c.foldFloat(C);
      }
    });
  },

  'frd, frs1, rm': (c, emit) => {
    c.floats(() => {
      for (const rm of ROUNDING_MODES) {
        emit({ rd: C, rs1: A, rm });
        c.foldFloat(C);
      }
    });
  },

  'frd, frs1, frs2, frs3, rm': (c, emit) => {
    c.floatTriples(() => {
      for (const rm of [0, 2, 7]) {
        emit({ rd: C + 1, rs1: A, rs2: B, rs3: C, rm });
        c.foldFloat(C + 1);
      }
    });
  },

  'frd, frs1, frs2': (c, emit) => {
    c.floatPairs(() => {
      emit({ rd: C, rs1: A, rs2: B });
      c.foldFloat(C);
    });
  },

  'rd, frs1, frs2': (c, emit) => {
    c.floatPairs(() => {
      emit({ rd: RESULT, rs1: A, rs2: B });
      c.fold(RESULT);
      emit({ rd: 0, rs1: A, rs2: B });
      c.foldFlags();
    });
  },

  'rd, frs1': (c, emit) => {
    c.floats(() => {
      emit({ rd: RESULT, rs1: A });
      c.fold(RESULT);
      c.foldFlags();
    });
  },

  'rd, frs1, rm': (c, emit) => {
    c.floats(() => {
      for (const rm of ROUNDING_MODES) {
        emit({ rd: RESULT, rs1: A, rm });
        c.fold(RESULT);
        c.foldFlags();
      }
    });
  },

  'frd, rs1, rm': (c, emit) => {
    c.integers(() => {
      for (const rm of ROUNDING_MODES) {
        emit({ rd: C, rs1: A, rm });
        c.foldFloat(C);
      }
    });
  },

  'frd, rs1': (c, emit) => {
    c.integers(() => {
      emit({ rd: C, rs1: A });
      c.foldFloat(C);
    });
  },

  /** A hint: it changes nothing. */
  '': (c, emit) => {
    c.integers(() => {
      emit({});
      c.fold(A);
      c.fold(B);
    });
  },

  'rd, csr, rs1': (c, emit) => {
    c.integers(() => {
      for (const imm of [0x140, 0x003, 0x341]) {
        c.a.op('andi', { rd: B, rs1: A, imm: imm === 0x003 ? 0x9f : -2 });
        emit({ rd: RESULT, rs1: B, imm });
        c.fold(RESULT);
        emit({ rd: B, rs1: B, imm });
        c.fold(B);
        emit({ rd: RESULT, rs1: 0, imm });
        c.fold(RESULT);
      }
    });
  },

  'rd, csr, uimm': (c, emit) => {
    for (const uimm of [0, 1, 2, 16, 31]) {
      for (const imm of [0x140, 0x001]) {
        emit({ rd: RESULT, rs1: uimm, imm });
        c.fold(RESULT);
        emit({ rd: 0, rs1: uimm, imm });
      }
    }
    c.store();
  },
};

/**
 * The program that tests an instruction of the table.
 * @throws Error if nothing is known about its operands: the table has grown and the cases have not
 */
export function instructionCase(instruction: Instruction, number: number): Program {
  const c = new Case();
  if (instruction.name.includes('.s') && !instruction.name.startsWith('fcvt.s.d')) c.useFloats(SINGLE_VALUES);
  else c.useFloats(DOUBLE_VALUES);
  if (instruction.syntax.startsWith('frd, frs1, frs2, frs3')) {
    // Three nested loops over all of them would take their time.
    c.useFloats(
      (instruction.name.endsWith('.s') ? SINGLE_VALUES : DOUBLE_VALUES).filter((_, index) => index % 2 === 0),
    );
  }
  const emit: Emit = (operands) => {
    const order = instruction.extension === 'A' && (operands.rd ?? 0) === 0 ? AQ_RL : 0;
    c.a.word((instruction.match | encodeOperands(instruction.format, operands) | order) >>> 0);
  };
  const special = SYSTEM_CASES[instruction.name];
  const general = BY_OPERANDS[instruction.syntax];
  if (special !== undefined) special(c);
  else if (general !== undefined) general(c, emit, instruction);
  else throw new Error(`${instruction.name}: there is no case for operands "${instruction.syntax}"`);
  return c.build(number);
}
