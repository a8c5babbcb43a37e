import { TryLater } from '../../background/adapter'
import { holds, moment, same } from '../expect'
import type { BackgroundCase } from './case'
import type { Trial } from './trial'

const hour = 3600_000

/** How adapters that have a queue come to rest. */
export const ends: BackgroundCase[] = [
  [
    'stop() waits for the jobs that run',
    async (trial) => {
      const { brought, worker, let: release } = await busy(trial)
      const stopped = observed(worker.stop())
      await moment()
      holds(!stopped.settled, 'stop() should not return while a job runs')
      release()
      await trial.ends('stop() should return when the job that ran has ended', stopped.promise)
      holds(brought[0]?.done === true, 'the job that ran should have ended when stop() returns')
    },
  ],
  [
    'takes no more jobs when it was stopped, and leaves them to the next worker',
    async ({ open, jobs, soon }) => {
      const first = await open()
      // jobs of such adapters run in their process, whether somebody works or not
      if (first.adapter.start) return
      const worker = await first.work()
      await first.enqueue(...jobs(3))
      await soon('3 jobs should be performed', () => first.performed() === 3)
      await worker.stop()
      await first.enqueue(...jobs(10))
      await moment()
      same(first.brought.length - 3, 0, 'how many jobs a worker took after stop() had returned')
      await first.work()
      await soon(
        () => `10 jobs should be left to the next worker, but ${first.performed() - 3} came`,
        () => first.performed() === 13,
      )
    },
  ],
  [
    'idle() waits for what is left to do, also for what is to be tried later',
    async ({ open, jobs, ends }) => {
      const { adapter, performed, enqueue, work } = await open(async (_, attempt) => {
        if (attempt === 1) throw new TryLater(50, new Error('not yet'))
      })
      if (!adapter.idle) return
      await ends('idle() should return where there is nothing to do', adapter.idle())
      await work()
      await enqueue(...jobs(5))
      await ends('idle() should return when everything is done', adapter.idle())
      same(performed(), 5, 'how many of 5 jobs were done when idle() returned')
    },
  ],
  [
    'close() waits for the jobs that run',
    async (trial) => {
      const { adapter, brought, close, let: release } = await busy(trial)
      if (!adapter.close) return
      const closed = observed(close())
      await moment()
      holds(!closed.settled, 'close() should not return while a job runs')
      release()
      await trial.ends('close() should return when the job that ran has ended', closed.promise)
      holds(brought[0]?.done === true, 'the job that ran should have ended when close() returns')
    },
  ],
  [
    'close() does not wait for a job whose time has not come',
    async ({ open, jobs, soon, ends }) => {
      const { brought, close, enqueue, work } = await open(async () => {
        throw new TryLater(hour, new Error('not yet'))
      })
      const worker = await work()
      await enqueue(...jobs(1))
      await soon('a job should begin', () => brought.length === 1)
      await ends('stop() should return though a job waits for an hour', worker.stop())
      await ends('close() should return though a job waits for an hour', close())
    },
  ],
]

/** An adapter that performs a job, until it is let. */
async function busy({ open, gate, jobs, soon }: Trial) {
  const { opened, open: release } = gate()
  const one = await open(() => opened)
  const worker = await one.work(1)
  await one.enqueue(...jobs(1))
  await soon('a job should begin', () => one.brought.length === 1)
  return { ...one, worker, let: release }
}

function observed(promise: Promise<void>): { readonly promise: Promise<void>; settled: boolean } {
  const one = { promise, settled: false }
  const settle = () => {
    one.settled = true
  }
  promise.then(settle, settle)
  return one
}
