/** The flags of V8 that the tests were started with, without the test runner's own: for processes that tests start. */
export const v8Flags: readonly string[] = process.execArgv.filter((flag) => !flag.startsWith('--test'));
