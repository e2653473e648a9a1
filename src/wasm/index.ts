export {
  Displaced,
  Expr,
  type F32,
  type F64,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  select,
  type ValType,
} from './expr.ts';
export {
  call,
  callIndirect,
  FunctionBuilder,
  type FunctionReference,
  type FunctionType,
  type Label,
  type Local,
  type TypeReference,
} from './function.ts';
export { ModuleBuilder } from './module.ts';
