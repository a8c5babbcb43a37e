/** Below this a container feels what glibc keeps. Bytes. */
const tight = 2 ** 30

/** For glibc: two arenas instead of eight for each core, and what pictures need comes from the system and goes back to it. */
const settings = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }

/** What is to be set before a start in little memory, and is not: see `npm run flood`. Empty where that makes no difference. */
export function missingSettings(limit: number | undefined, glibc: boolean, env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  // LD_PRELOAD=libjemalloc.so: these are not read then
  if (!glibc || !limit || limit > tight || env['LD_PRELOAD']?.includes('malloc')) return {}
  return Object.fromEntries(Object.entries(settings).filter(([name]) => env[name] === undefined))
}

/** For a process that could not set them itself. Undefined where nothing is missing. */
export function memoryAdvice(...[limit, glibc, env]: Parameters<typeof missingSettings>): string | undefined {
  const wanted = Object.entries(missingSettings(limit, glibc, env)).map(([name, value]) => `${name}=${value}`)
  if (!limit || wanted.length === 0) return undefined
  return `this process may take ${Math.round(limit / 2 ** 20)} MiB, and glibc keeps much of what was freed: start it with ${wanted.join(' ')}`
}

/** Whether this Node runs on glibc, as on Debian or Heroku, and not on musl, as on Alpine. */
export function onGlibc(): boolean {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime !== undefined
}
