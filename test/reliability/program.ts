import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'rolldown'

const root = join(__dirname, '../..')

/** Packages with binaries, and drivers that TypeORM would load if somebody asked. */
const left =
  /^(sharp|graphile-worker|bullmq|pg-native|pg-query-stream|@google-cloud|@sap|mongodb|mssql|mysql|oracledb|react-native|redis|ioredis|sql|better-sqlite3|typeorm-aurora|hdb)/

/** A program of a folder in one file: it starts in a third of the time, and these runs start it a thousand times. */
export async function programOf(name: string, folder = __dirname): Promise<string> {
  // below node_modules, so that it finds what was left out
  const dir = join(root, 'node_modules/.cache/reliability', `${process.pid}`)
  mkdirSync(dir, { recursive: true })
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  await build({
    input: { [name]: join(folder, `${name}.ts`) },
    platform: 'node',
    external: [/^node:/, left],
    tsconfig: join(root, 'tsconfig.json'),
    logLevel: 'silent',
    output: { dir, format: 'cjs', entryFileNames: '[name].js', chunkFileNames: `${name}-[name].js` },
  })
  return join(dir, `${name}.js`)
}
