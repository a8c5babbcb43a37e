/** One thing that a contract asks for. Any test framework runs it: `it(name, run)`. */
export interface ContractCase {
  readonly name: string
  /** Rejects with an `AssertionError` whose message says what was expected. */
  run(): Promise<void>
}

/** Where a contract finds what it tests, in a process that it may kill. */
export interface ProcessOptions {
  /**
   * Adds kill points: the absolute path or file URL of a module that gives the same in another process, over the same
   * place. It is loaded by `require`, so it must not await at its top level. The process inherits the environment.
   */
  readonly module?: string
  /** Options of Node for that process, such as `['--import', 'tsx']` where the module is TypeScript. Default none. */
  readonly execArgv?: readonly string[]
}
