import { readdir, readlink } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What this process has open: files, sockets, pipes. */
export async function openDescriptors(): Promise<string[]> {
  const numbers = await readdir('/proc/self/fd')
  const found = await Promise.all(numbers.map((number) => readlink(`/proc/self/fd/${number}`).catch(() => '')))
  // the folder itself was open while it was read
  return found.filter((target) => target !== '' && !/^\/proc\/\d+\/fd$/.test(target))
}

/** Bytes of the heap after everything that is not needed has gone. */
export function heapAfterCollection(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let times = 0; times < 3; times++) collect()
  return process.memoryUsage().heapUsed
}
