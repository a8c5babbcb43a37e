import { endWithParent, runChild } from './child'
import { missingSettings, onGlibc } from './memory'

/** In the environment of a process that was started anew: the id of who did that. */
const mark = 'TYPEORM_ATTACHMENTS_STARTED_BY'

// Node 22.15 and later, where there are such calls
declare const process: NodeJS.Process & { execve?(file: string, args: readonly string[], env: NodeJS.ProcessEnv): never }

/**
 * glibc reads its settings when a process starts. Where they are needed and missing, this command starts anew with them: as the
 * same process, or as a child, and then this resolves to its exit code when it has ended. Undefined: this is the process that
 * works, with the settings or without.
 */
export async function startAnew(): Promise<number | undefined> {
  const starter = process.env[mark]
  // not for what the user's module starts
  delete process.env[mark]
  if (starter !== undefined) {
    if (Number(starter) !== process.pid) endWithParent()
    return undefined
  }
  const missing = missingSettings(process.constrainedMemory(), onGlibc(), process.env)
  // the channel to a parent such as PM2 would be lost
  if (Object.keys(missing).length === 0 || process.connected) return undefined
  const env = { ...process.env, ...missing, [mark]: `${process.pid}` }
  const args = [...process.execArgv, ...process.argv.slice(1)]
  try {
    process.execve?.(process.execPath, [process.argv0, ...args], env)
    return await runChild(args, env)
  } catch {
    // no permission to start a process, or no room for one: it works as it is, and advises
    return undefined
  }
}
