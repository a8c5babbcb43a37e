import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'

/** Runs Node as a child, hands on what asks to stop, and gives its exit code. Ends by the signal that killed it. */
export async function runChild(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(process.execPath, args, { env, argv0: process.argv0, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
  const handOn = (signal: NodeJS.Signals) => void child.kill(signal)
  process.on('SIGTERM', handOn).on('SIGINT', handOn)
  const [code, signal] = (await once(child, 'exit').finally(() => process.off('SIGTERM', handOn).off('SIGINT', handOn))) as
    | [number, null]
    | [null, NodeJS.Signals]
  if (signal === null) return code
  process.kill(process.pid, signal)
  // the first process of a container does not die of its own signals
  return 128 + constants.signals[signal]
}

/** In such a child: nobody else would end it when its parent was killed with SIGKILL, and the next worker would run beside it. */
export function endWithParent(): void {
  const end = () => process.kill(process.pid, 'SIGKILL')
  if (process.connected) process.once('disconnect', end)
  else end()
}
