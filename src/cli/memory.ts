/** Below this a container feels what glibc keeps. Bytes. */
const tight = 2 ** 30

/** For glibc: two arenas instead of eight for each core, and what pictures need comes from the system and goes back to it. */
const settings = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }

/** What to set before a start in little memory, if it is not set: see `npm run flood`. Undefined where that makes no difference. */
export function memoryAdvice(limit: number | undefined, glibc: boolean, env: NodeJS.ProcessEnv): string | undefined {
  const missing = Object.entries(settings).filter(([name]) => env[name] === undefined)
  if (!glibc || !limit || limit > tight || missing.length === 0) return undefined
  const wanted = missing.map(([name, value]) => `${name}=${value}`).join(' ')
  return `this process may take ${Math.round(limit / 2 ** 20)} MiB, and glibc keeps much of what was freed: start it with ${wanted}`
}

/** Whether this Node runs on glibc, as on Debian or Heroku, and not on musl, as on Alpine. */
export function onGlibc(): boolean {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime !== undefined
}
