export { Expr, type F32, type F64, f32, f64, type I32, type I64, i32, i64, select, type ValType } from './expr.ts';
export { call, FunctionBuilder, type FunctionReference, type Label, type Local } from './function.ts';
export { ModuleBuilder } from './module.ts';
