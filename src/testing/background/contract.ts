import type { BackgroundAdapter } from '../../background/adapter'
import type { ContractCase, ProcessOptions } from '../case'
import { carries } from './carries'
import type { BackgroundCase } from './case'
import { keys, priorities, queues } from './claims'
import { ends } from './ends'
import { kills } from './kills'
import { paces } from './paces'
import { retries } from './retries'
import { survives } from './survives'
import { onTrial } from './trial'

export interface BackgroundContractOptions extends ProcessOptions {
  /** Jobs outlive the process, as where an engine keeps them: then they have to come to another adapter, made later. Default false. */
  readonly keepsJobs?: boolean
  /** Queues have names, and a worker takes from those it is told. Default false. */
  readonly queues?: boolean
  /** Of several jobs with one key that wait, one comes. Default false. */
  readonly keys?: boolean
  /** Lower priority numbers come first. Default false. */
  readonly priorities?: boolean
  /** Jobs at a time, as adapters of `make` are set where that is theirs to say. Others are told so by `work()`. Default 2. */
  readonly concurrency?: number
  /** Milliseconds until a job comes to a worker that has nothing else to do. Default 10,000. */
  readonly arrivesWithin?: number
  /** Milliseconds until the job of a process that was killed comes to another. Default 60,000. */
  readonly comesBackWithin?: number
}

/**
 * What every background adapter must do. What needs a queue passes where `enqueue()` performs the job on the spot.
 *
 * @param make gives an adapter, which the case closes. Where jobs outlive it, all that it gives during a case reach the same queue
 * @param options `module`, where jobs outlive the process, exports as default or as `makeBackground` an async function that
 *   gives an adapter which reaches that queue too; how to find it, `make` may leave in `process.env`
 */
export function backgroundContract(make: () => Promise<BackgroundAdapter>, options: BackgroundContractOptions = {}): ContractCase[] {
  const { keepsJobs = false, module, concurrency = 2, arrivesWithin = 10_000, comesBackWithin = 60_000 } = options
  const ofQueue = [
    ...retries,
    ...paces(concurrency),
    ...ends,
    ...(options.queues ? queues : []),
    ...(options.keys ? keys(concurrency) : []),
    ...(options.priorities ? priorities : []),
    ...(keepsJobs ? survives : []),
    ...(keepsJobs && module !== undefined ? kills(options, comesBackWithin) : []),
  ]
  const run = (cases: readonly BackgroundCase[], ofQueue: boolean) =>
    cases.map(([name, check]) => ({ name, run: () => onTrial(make, { within: arrivesWithin, ofQueue }, check) }))
  return [...run(carries, false), ...run(ofQueue, true)]
}
