import type { FloatFormat, FloatOperation } from '../../isa/context.ts';
import type { FunctionReference, ModuleBuilder } from '../../wasm/index.ts';
import { REGION_TYPE } from '../jump-table.ts';
import { MISPREDICTED_TYPE } from '../predictions.ts';
import { REACH_TYPE } from '../reach.ts';
import { EFFECTS } from './effects.ts';
import { instructionsOf, type Region } from './region.ts';

/** Functions of the engine that translated code calls. */
export interface RegionImports {
  readonly reach: FunctionReference;
  readonly look: FunctionReference;
  readonly mispredicted: FunctionReference;
  readonly atomic: FunctionReference;
  readonly csr: FunctionReference;
  readonly fencePage: FunctionReference;
  readonly link: FunctionReference;
  float(operation: FloatOperation, format: FloatFormat): FunctionReference;
}

/** Imports what a module of regions needs of the engine. */
export function importFunctions(module: ModuleBuilder, regions: readonly Region[]): RegionImports {
  const float = new Map<string, FunctionReference>();
  for (const { number } of regions.flatMap(instructionsOf).flat()) {
    for (const name of EFFECTS[number]!.floatOperations) {
      if (!float.has(name)) float.set(name, module.import(name, ['i32', 'i32', 'i64', 'i64', 'i64'], 'i64'));
    }
  }
  return {
    reach: module.import('reach', REACH_TYPE.parameters, REACH_TYPE.result),
    look: module.import('look', REACH_TYPE.parameters, REACH_TYPE.result),
    mispredicted: module.import('mispredicted', MISPREDICTED_TYPE.parameters, MISPREDICTED_TYPE.result),
    atomic: module.import('atomic', ['i32', 'i64', 'i32', 'i32'], 'i32'),
    csr: module.import('csr', ['i32', 'i32', 'i64', 'i32', 'i32'], 'i32'),
    fencePage: module.import('fencePage', ['i32', 'i64', 'i64', 'i32'], 'i32'),
    link: module.import('link', REGION_TYPE.parameters, REGION_TYPE.result),
    float: (operation: FloatOperation, format: FloatFormat) => float.get(operation + format)!,
  };
}
